"""A bank's report on payments, ISO 20022 pain.002: which were made, which come back.

The file comes from outside: it is bounded, has no document type and no entities, and nothing of it
is believed but what names a payment of ours by its reference and agrees with it. Every version of
the message from 03 on has the few elements that are read here in the same places. Not here: what
becomes of a payment (`payment_acts.py`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, unique
from io import BytesIO
from typing import BinaryIO

from lxml import etree

from cardserver.clearing.errors import ClearingError
from cardserver.clearing.payments import payment_of, run_of

SIZE_MAX = 64 * 1024 * 1024
REPORTED_MAX = 200_000
_DEPTH_MAX = 30
_TEXT_MAX = 200
_NAMESPACE = re.compile(r"urn:iso:std:iso:20022:tech:xsd:pain\.002\.001\.(\d{2})", re.ASCII)
_VERSION_MIN = 3
_AMOUNT = re.compile(r"(\d{1,13})(?:\.(\d{1,2})0*)?", re.ASCII)
_PRINTABLE = re.compile(r"[^\x20-\x7e\u3000-\u9fff\uff00-\uffef]")


class ReportError(ClearingError):
    """A file is no report on payments that could be taken in."""


@unique
class Said(Enum):
    """What a bank says of a payment."""

    PAID = "paid"
    RETURNED = "returned"
    DUPLICATE = "refused as a duplicate"
    """The bank had it before; what became of that one is not said."""
    UNDER_WAY = "under way"


_SAID = {
    # ExternalPaymentTransactionStatus1Code: settled on the creditor's or the debtor's account ...
    "ACCC": Said.PAID, "ACSC": Said.PAID,
    # ... refused or taken back ...
    "RJCT": Said.RETURNED, "CANC": Said.RETURNED,
    # ... or on its way.
    "RCVD": Said.UNDER_WAY, "PDNG": Said.UNDER_WAY, "ACTC": Said.UNDER_WAY,
    "ACCP": Said.UNDER_WAY, "ACSP": Said.UNDER_WAY, "ACWC": Said.UNDER_WAY,
    "ACWP": Said.UNDER_WAY, "PART": Said.UNDER_WAY, "PATC": Said.UNDER_WAY,
    "ACFC": Said.UNDER_WAY, "BLCK": Said.UNDER_WAY,
}  # fmt: skip

_DUPLICATES = frozenset({"AM05", "DU01", "DU02", "DU03", "DU04", "DU05"})
"""ExternalStatusReason1Code: the message, the payments or one of them came before."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What is reported of one payment.

    Attributes:
        payment_no: Ours; None where the reference names none, or all of a run is meant.
        reference: As the file says it.
        said: What became of it.
        amount_fen: If the file repeats it.
        reason: Code and words, as the file gives them.
    """

    payment_no: int | None
    reference: str
    said: Said
    amount_fen: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class BankReport:
    """A report.

    Attributes:
        message: What the bank calls it.
        run_no: Of the run that it is about.
        of_all: What is said of every payment of the run that isn't named, by the status of the
            payment information or, without one, of the group; None: nothing.
        reason_of_all: Why.
        reported: Of single payments.
    """

    message: str
    run_no: int
    of_all: Said | None
    reason_of_all: str
    reported: tuple[Reported, ...]


def read_report(content: bytes, region: str) -> BankReport:
    """Read a file.

    Args:
        content: Its bytes.
        region: The fund's, six digits.

    Raises:
        ReportError: It is none, or about no run of this fund.
    """
    if len(content) > SIZE_MAX:
        raise ReportError(f"the file has {len(content)} bytes, more than {SIZE_MAX}")
    root = _parsed(BytesIO(content))
    namespace = _namespace(root)
    report = root.find(f"{namespace}CstmrPmtStsRpt")
    if report is None:
        raise ReportError("the file holds no CstmrPmtStsRpt")
    original = report.find(f"{namespace}OrgnlGrpInfAndSts")
    if original is None:
        raise ReportError("the file does not say which message it reports on")
    named = _text(original, f"{namespace}OrgnlMsgId")
    run_no = run_of(named, region)
    if run_no is None:
        raise ReportError(f"the file reports on {named!r}, which is no payment run of this fund")
    of_all, reason_of_all = _of_all(report, original, namespace)
    reported = tuple(_reported(report, namespace, of_all))
    references = [one.reference for one in reported]
    if len(set(references)) != len(references):
        raise ReportError("the file reports twice on one payment")
    return BankReport(
        message=_text(report, f"{namespace}GrpHdr/{namespace}MsgId"),
        run_no=run_no,
        of_all=of_all,
        reason_of_all=reason_of_all,
        reported=reported,
    )


def _parsed(source: BinaryIO) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False,
        remove_comments=True, remove_pis=True, collect_ids=False,
    )  # fmt: skip
    try:
        tree = etree.parse(source, parser)
    except etree.XMLSyntaxError as error:
        raise ReportError(f"the file is not XML: {error.msg}") from error
    if tree.docinfo.internalDTD is not None or tree.docinfo.externalDTD is not None:
        raise ReportError("the file declares a document type, which none of these has")
    root: etree._Element = tree.getroot()
    for count, element in enumerate(root.iter()):
        if not isinstance(element.tag, str):
            raise ReportError("the file holds an entity, which none of these has")
        if count > 100 * REPORTED_MAX:
            raise ReportError("the file holds too many elements")
    if _depth(root) > _DEPTH_MAX:
        raise ReportError("the file is nested too deeply")
    return root


def _depth(root: etree._Element) -> int:
    deepest = depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        deepest = max(deepest, depth)
    return deepest


def _namespace(root: etree._Element) -> str:
    name = etree.QName(root)
    match = _NAMESPACE.fullmatch(name.namespace or "")
    if name.localname != "Document" or match is None or int(match[1]) < _VERSION_MIN:
        raise ReportError("the file is no pain.002.001 of version 03 or later")
    return f"{{{name.namespace}}}"


def _of_all(
    report: etree._Element, original: etree._Element, namespace: str
) -> tuple[Said | None, str]:
    """Read what is said of all of a run: its file is one group with one payment information."""
    named = _text(original, f"{namespace}OrgnlMsgId")
    parent, code = original, _text(original, f"{namespace}GrpSts")
    blocks = [
        (block, status)
        for block in report.iterfind(f"{namespace}OrgnlPmtInfAndSts")
        if (status := _text(block, f"{namespace}PmtInfSts"))
    ]
    if len(blocks) > 1:
        raise ReportError("the file reports twice on the same payment information")
    for block, status in blocks:
        of = _text(block, f"{namespace}OrgnlPmtInfId")
        if of != named:  # a run's payment information has the name of its message
            raise ReportError(f"the file reports on {of!r}, which is not the run's")
        parent, code = block, status
    return (_said(code, parent, namespace) if code else None), _reason(parent, namespace)


def _reported(report: etree._Element, namespace: str, of_all: Said | None) -> Iterator[Reported]:
    count = 0
    for block in report.iterfind(f"{namespace}OrgnlPmtInfAndSts"):
        for one in block.iterfind(f"{namespace}TxInfAndSts"):
            count += 1
            if count > REPORTED_MAX:
                raise ReportError(f"the file reports on more than {REPORTED_MAX} payments")
            # Banks that do not repeat the one repeat the other; a payment's are the same.
            reference = _text(one, f"{namespace}OrgnlEndToEndId") or _text(
                one, f"{namespace}OrgnlInstrId"
            )
            code = _text(one, f"{namespace}TxSts")
            yield Reported(
                payment_no=payment_of(reference),
                reference=reference,
                said=of_all if of_all and not code else _said(code, one, namespace),
                amount_fen=_amount(one, namespace),
                reason=_reason(one, namespace),
            )


def _said(code: str, parent: etree._Element, namespace: str) -> Said:
    said = _SAID.get(code)
    if said is None:
        raise ReportError(f"the file says {code!r} of a payment, which is no status known here")
    reasons = {
        _text(reason, f"{namespace}Rsn/{namespace}Cd")
        for reason in parent.iterfind(f"{namespace}StsRsnInf")
    }
    is_duplicate = said is Said.RETURNED and not reasons.isdisjoint(_DUPLICATES)
    return Said.DUPLICATE if is_duplicate else said


def _amount(one: etree._Element, namespace: str) -> int | None:
    found = one.find(f"{namespace}OrgnlTxRef/{namespace}Amt/{namespace}InstdAmt")
    if found is None:
        return None
    match = _AMOUNT.fullmatch((found.text or "").strip())
    if match is None or found.get("Ccy") != "CNY":
        raise ReportError("the file repeats an amount that is none in CNY")
    return int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))


def _reason(parent: etree._Element, namespace: str) -> str:
    words: list[str] = []
    for reason in parent.iterfind(f"{namespace}StsRsnInf"):
        words += [_text(reason, f"{namespace}Rsn/{namespace}{name}") for name in ("Cd", "Prtry")]
        words += [_clean(info.text or "") for info in reason.iterfind(f"{namespace}AddtlInf")]
    return " ".join(word for word in words if word)[:_TEXT_MAX]


def _text(parent: etree._Element, path: str) -> str:
    found = parent.find(path)
    return "" if found is None else _clean(found.text or "")


def _clean(text: str) -> str:
    return _PRINTABLE.sub(" ", text).strip()[:_TEXT_MAX]
