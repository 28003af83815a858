"""CANCEL, REVERSE and PRINT_ACK: what may still be done to a settlement. Pure decisions.

A settlement is undone at most once, by its exact negative, which posts in the open period and
gives back what the original took of its own year. Not here: SETTLE (`settlement.py`).
"""

from collections.abc import Callable

from msgspec import structs

from cardserver.benefits.adjudication import negated
from cardserver.benefits.values import given_back
from cardserver.claims.settlement import ENCODER, refused, split_message
from cardserver.claims.values import (
    Attempt,
    Claim,
    ClaimDetail,
    ClaimsDecision,
    ClaimsPost,
    ClaimsView,
    ClaimsWork,
    Needs,
    Print,
    Record,
    claim_number,
    request_key,
)
from cardserver.visits.values import Unsettled
from cardserver.visits.visit_book import Noted
from ledger.decisions import Answer, Post, Posted, Work
from ledger.entries import EntryKind, negative
from ledger.group import TOMBSTONE_TYPE
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType, ReverseResult

_KIND = {
    MessageType.CANCEL: EntryKind.CANCELLATION,
    MessageType.REVERSE: EntryKind.REVERSAL,
    MessageType.REFUND: EntryKind.REFUND,
}


def cancel_work(attempt: Attempt, cancel: messages.Cancel) -> ClaimsWork:
    """Make the writer's work of a CANCEL."""
    claim_no = claim_number(cancel.setl_id)

    def decide(view: ClaimsView) -> ClaimsDecision:
        return _decide_cancel(view, attempt, cancel, claim_no)

    return Work(
        key=attempt.key,
        type=MessageType.CANCEL,
        request_hash=attempt.request_hash,
        persons=(),
        original=None,
        needs=Needs(claim_no=claim_no),
        decide=decide,
        deadline_ms=attempt.deadline_ms,
    )


def reverse_work(
    attempt: Attempt, reverse: messages.Reverse, *, original_terminal_no: int
) -> ClaimsWork:
    """Make the writer's work of a REVERSE.

    Args:
        attempt: Who asks.
        reverse: The decoded body.
        original_terminal_no: The number of the terminal that it names, of the same institution.
    """
    original = request_key(attempt.institution_no, original_terminal_no, reverse.original_msgid)

    def decide(view: ClaimsView) -> ClaimsDecision:
        return _decide_reverse(view, attempt, reverse, original_terminal_no)

    return Work(
        key=attempt.key,
        type=MessageType.REVERSE,
        request_hash=attempt.request_hash,
        persons=(),
        original=original,
        needs=Needs(original=original),
        decide=decide,
        deadline_ms=attempt.deadline_ms,
    )


def print_ack_work(attempt: Attempt, ack: messages.PrintAck) -> ClaimsWork:
    """Make the writer's work of a PRINT_ACK."""
    claim_no = claim_number(ack.setl_id)

    def decide(view: ClaimsView) -> ClaimsDecision:
        claim = claim_of(view, attempt.institution_no, claim_no)
        if claim is None:
            return refused(ResponseCode.ORIGINAL_NOT_FOUND)
        _, copies = view.book.printed.get(claim_no, (0, 0))
        record = Record(
            attempt=attempt,
            action="print_ack",
            subject=ack.setl_id,
            reason="printed" if ack.is_printed else "not printed",
            printed=Print(claim_no, ack.is_printed),
        )
        body = ENCODER.encode(messages.PrintAcked(copies=copies))
        return Answer(ResponseCode.APPROVED, body, record=record)

    return Work(
        key=attempt.key,
        type=MessageType.PRINT_ACK,
        request_hash=attempt.request_hash,
        persons=(),
        original=None,
        needs=Needs(claim_no=claim_no),
        decide=decide,
        deadline_ms=attempt.deadline_ms,
    )


def _decide_cancel(
    view: ClaimsView, attempt: Attempt, cancel: messages.Cancel, claim_no: int
) -> ClaimsDecision:
    claim = claim_of(view, attempt.institution_no, claim_no)
    if claim is None:
        return refused(ResponseCode.ORIGINAL_NOT_FOUND)
    if claim.type != MessageType.SETTLE:
        return refused(ResponseCode.ORIGINAL_NOT_SETTLED)
    if claim_no in view.book.undone:
        return refused(ResponseCode.ALREADY_UNDONE)

    def body_of(posted: Posted) -> bytes:
        return ENCODER.encode(
            messages.Settled(
                setl_id=str(posted.entry_no),
                psn_no=str(claim.presented.person_no),
                split=split_message(negated(claim.detail.split)),
                balance_after_fen=_balance_after(view, claim),
                settled_time_ms=posted.when.recorded_time_ms,
                cancels=str(claim_no),
                clearing_type=claim.draft.clearing_type,
            )
        )

    return _undo(claim, claim_no, attempt, MessageType.CANCEL, cancel.reason, body_of)


def _decide_reverse(
    view: ClaimsView, attempt: Attempt, reverse: messages.Reverse, original_terminal_no: int
) -> ClaimsDecision:
    original = request_key(attempt.institution_no, original_terminal_no, reverse.original_msgid)
    if original == attempt.key:
        return refused(ResponseCode.ORIGINAL_NOT_SETTLED)
    stored = view.requests.get(original)
    note = Record(
        attempt=attempt, action="reverse", subject=reverse.original_msgid, reason=reverse.reason
    )
    if stored is None or stored.type == TOMBSTONE_TYPE:
        return Answer(
            ResponseCode.APPROVED,
            _reversed(ReverseResult.NOT_FOUND),
            record=note,
            tombstone=original if stored is None else None,
        )
    if stored.type != MessageType.SETTLE:
        return refused(ResponseCode.ORIGINAL_NOT_SETTLED)
    if stored.entry_no is None:
        return Answer(ResponseCode.APPROVED, _reversed(ReverseResult.NOT_SETTLED), record=note)
    claim_no = stored.entry_no
    claim = view.book.claims[claim_no]
    undo_no = view.book.undone.get(claim_no)
    if undo_no is not None:
        balance_fen = view.personal_balance(claim.presented.person_no)
        return Answer(
            ResponseCode.APPROVED,
            _reversed(ReverseResult.ALREADY_UNDONE, claim_no, undo_no, balance_fen),
            record=note,
        )
    if view.book.printed.get(claim_no, (0, 0))[1]:
        return refused(ResponseCode.ALREADY_PRINTED)

    def body_of(posted: Posted) -> bytes:
        return _reversed(
            ReverseResult.REVERSED, claim_no, posted.entry_no, _balance_after(view, claim)
        )

    return _undo(claim, claim_no, attempt, MessageType.REVERSE, reverse.reason, body_of)


def claim_of(view: ClaimsView, institution_no: int, claim_no: int) -> Claim | None:
    """Return the claim, if it is the asking institution's own."""
    claim = view.book.claims.get(claim_no)
    if claim is None or claim.attempt.institution_no != institution_no:
        return None
    return claim


def _balance_after(view: ClaimsView, claim: Claim) -> int:
    """Return the balance once the undoing is posted: the writer has moved it by then."""
    return view.personal_balance(claim.presented.person_no)


def _undo(
    claim: Claim,
    claim_no: int,
    attempt: Attempt,
    how: MessageType,
    reason: str,
    body_of: Callable[[Posted], bytes],
) -> ClaimsPost:
    undoing = undoing_claim(claim, claim_no, attempt, how, reason)
    record = Record(
        attempt=attempt, action=how.name.lower(), subject=str(claim_no), reason=reason,
        claim=undoing, visit=reopened(claim, claim_no),
    )  # fmt: skip
    return Post(undoing.draft, ResponseCode.APPROVED, body_of, record)


def reopened(claim: Claim, claim_no: int) -> Noted | None:
    """Return what an undoing leaves with the visit that the claim had settled."""
    visit_no = claim.detail.visit_no
    return Noted(visit_no, record=Unsettled(claim_no)) if visit_no else None


def undoing_claim(
    claim: Claim, claim_no: int, attempt: Attempt, how: MessageType, reason: str
) -> Claim:
    """Return the claim that undoes another: its exact negative."""
    detail = ClaimDetail(
        bill=None,
        split=negated(claim.detail.split),
        line_splits=(),
        moved=given_back(claim.detail.moved),
        scheme=claim.detail.scheme,
        year=claim.detail.year,
        payer_person_no=claim.detail.payer_person_no,
        reason=reason,
        visit_no=claim.detail.visit_no,
    )
    return structs.replace(
        claim,
        attempt=attempt,
        type=how,
        undoes=claim_no,
        detail=detail,
        draft=negative(claim.draft, kind=_KIND[how], undoes=claim_no),
    )


def _reversed(
    result: ReverseResult, claim_no: int = 0, undo_no: int = 0, balance_after_fen: int = 0
) -> bytes:
    return ENCODER.encode(
        messages.Reversed(
            result=result,
            setl_id=str(claim_no or ""),
            undo_setl_id=str(undo_no or ""),
            balance_after_fen=balance_after_fen,
        )
    )
