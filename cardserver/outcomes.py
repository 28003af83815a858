"""From each room's own outcomes to the wire's response codes: the one place that maps them."""

from typing import assert_never

from cardserver.benefits.values import BillRefusalReason
from cardserver.cards.refusals import CardRefusalReason
from cardserver.clearing.applications_store import ClearingRefusal
from cardserver.review.values import Refusal
from ledger.decisions import NotTaken
from protocol.terminal.codes import ResponseCode

_CODES = {code.value: code for code in ResponseCode}


def code_of_card(reason: CardRefusalReason) -> ResponseCode:  # noqa: C901, PLR0911, PLR0912 - a table
    """The code that tells why a card, or a card session, was refused."""
    match reason:
        case CardRefusalReason.CARD_READER_FAULT:
            return ResponseCode.CARD_READER_FAULT
        case CardRefusalReason.CARD_REMOVED:
            return ResponseCode.CARD_REMOVED
        case CardRefusalReason.CARD_UNKNOWN:
            return ResponseCode.CARD_UNKNOWN
        case CardRefusalReason.CARD_UNEXPECTED_STATUS:
            return ResponseCode.CARD_UNEXPECTED_STATUS
        case CardRefusalReason.CARD_DATA_MALFORMED:
            return ResponseCode.CARD_DATA_MALFORMED
        case CardRefusalReason.CARD_RELAY_VIOLATION:
            return ResponseCode.CARD_RELAY_VIOLATION
        case CardRefusalReason.CHALLENGE_NOT_VALID:
            return ResponseCode.CHALLENGE_NOT_VALID
        case CardRefusalReason.CARD_NOT_REGISTERED:
            return ResponseCode.CARD_NOT_REGISTERED
        case CardRefusalReason.CARD_ALGORITHM_UNSUPPORTED:
            return ResponseCode.CARD_ALGORITHM_UNSUPPORTED
        case CardRefusalReason.CARD_ALGORITHM_MISMATCH:
            return ResponseCode.CARD_ALGORITHM_MISMATCH
        case CardRefusalReason.CARD_NOT_GENUINE:
            return ResponseCode.CARD_NOT_GENUINE
        case CardRefusalReason.CARD_IDENTITY_MISMATCH:
            return ResponseCode.CARD_IDENTITY_MISMATCH
        case CardRefusalReason.CARD_REVOKED:
            return ResponseCode.CARD_REVOKED
        case CardRefusalReason.CARD_ISSUER_REFUSED:
            return ResponseCode.CARD_ISSUER_REFUSED
        case CardRefusalReason.CARD_CLASS_REFUSED:
            return ResponseCode.CARD_CLASS_REFUSED
        case CardRefusalReason.CARD_VERSION_MISMATCH:
            return ResponseCode.CARD_VERSION_MISMATCH
        case CardRefusalReason.CARD_NOT_YET_VALID:
            return ResponseCode.CARD_NOT_YET_VALID
        case CardRefusalReason.CARD_EXPIRED:
            return ResponseCode.CARD_EXPIRED
        case CardRefusalReason.CARD_SESSION_NOT_VALID:
            return ResponseCode.CARD_SESSION_NOT_VALID
        case CardRefusalReason.CARD_SESSION_EXPIRED:
            return ResponseCode.CARD_SESSION_EXPIRED
        case _:
            assert_never(reason)


def code_of_bill(reason: BillRefusalReason) -> ResponseCode:
    """The code that tells why a bill can't be adjudicated."""
    match reason:
        case BillRefusalReason.POLICY_NOT_FOUND:
            return ResponseCode.POLICY_NOT_FOUND
        case BillRefusalReason.BILL_INVALID:
            return ResponseCode.BILL_INVALID
        case BillRefusalReason.TOTAL_MISMATCH:
            return ResponseCode.TOTAL_MISMATCH
        case BillRefusalReason.CARE_EXCLUDED:
            return ResponseCode.CARE_EXCLUDED
        case _:
            assert_never(reason)


def code_of_appeal(refusal: Refusal) -> ResponseCode:
    """The code that tells why review does not take an institution's appeal."""
    match refusal:
        case Refusal.CASE_UNKNOWN:
            return ResponseCode.REVIEW_CASE_UNKNOWN
        case Refusal.APPEAL_OVER:
            return ResponseCode.APPEAL_TOO_LATE
        case Refusal.APPEALED_ALREADY:
            return ResponseCode.APPEAL_FILED_ALREADY
        case Refusal.NOTHING_TO_APPEAL | Refusal.SETTLEMENT_UNDONE:
            return ResponseCode.APPEAL_NOT_POSSIBLE
        case _:
            raise AssertionError(f"this refuses no appeal: {refusal}")


def code_of_not_taken(reason: NotTaken) -> ResponseCode:
    """The code that tells why the writer did not take a request."""
    match reason:
        case NotTaken.MSGID_REUSED:
            return ResponseCode.MSGID_REUSED
        case NotTaken.BUSY:
            return ResponseCode.BUSY
        case NotTaken.DEADLINE_PASSED:
            return ResponseCode.DEADLINE_PASSED
        case NotTaken.STOPPING:
            return ResponseCode.SHUTTING_DOWN
        case _:
            assert_never(reason)


def code_of_clearing(reason: ClearingRefusal) -> ResponseCode:
    """The code that tells why an institution's wish about a month's clearing is not done."""
    match reason:
        case ClearingRefusal.MONTH_NOT_OVER:
            return ResponseCode.CLEARING_MONTH_NOT_OVER
        case ClearingRefusal.UNKNOWN:
            return ResponseCode.CLEARING_APPLICATION_UNKNOWN
        case ClearingRefusal.CLEARED:
            return ResponseCode.CLEARED_ALREADY
        case ClearingRefusal.APPLIED_OTHERWISE:
            return ResponseCode.CLEARING_APPLIED_OTHERWISE
        case _:
            assert_never(reason)


def code_of_number(number: int) -> ResponseCode:
    """The code of a number that this centre stored; numbers are permanent."""
    return _CODES[number]
