"""A payment run as ISO 20022 pain.001.001.09, customer credit transfer initiation.

Version 09, of the edition of 2019: the one that the SEPA and the cross-border guidelines moved to,
which banks that take ISO 20022 files at all therefore read; what versions 10 and later add is of no
use here. One payment information block: one debtor, one day, one transfer an institution. Amounts
are CNY with two decimals. Banks are named by their number in the national payment system (clearing
system code CNAPS).

The file is made of sorted data and a stored moment, so that the same run gives the same bytes. Not
here: what is paid (`payments.py`), what the bank answers (`pain002.py`).
"""

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from lxml import etree

from cardserver.clearing.payments import end_to_end_id, message_id
from cardserver.clearing.terms_document import Holder

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
_TEXT_MAX = 140
_NSMAP: dict[Any, str] = {None: NAMESPACE}  # Any: lxml names the default namespace None
_CONTROL = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One transfer as the file says it."""

    payment_no: int
    amount_fen: int
    holder: Holder
    remittance: str


@dataclass(frozen=True, slots=True)
class Initiation:
    """A file's content.

    Attributes:
        run_no: The run's.
        region: The fund's, six digits: message ids of two funds at one bank differ.
        created: In the fund's time.
        execution_date: When the bank shall pay.
        payer: The fund.
        instructions: In their order.
    """

    run_no: int
    region: str
    created: dt.datetime
    execution_date: dt.date
    payer: Holder
    instructions: Sequence[Instruction]


def initiation_file(initiation: Initiation) -> bytes:
    """Write the file; as large as its transfers, which are as many as institutions."""
    out = BytesIO()
    with etree.xmlfile(out, encoding="utf-8") as xml:
        xml.write_declaration()
        with (
            xml.element(_tag("Document"), nsmap=_NSMAP),
            xml.element(_tag("CstmrCdtTrfInitn")),
        ):
            xml.write(_header(initiation))
            with xml.element(_tag("PmtInf")):
                for element in _block(initiation):
                    xml.write(element)
                for instruction in initiation.instructions:
                    xml.write(_transfer(instruction))
    return out.getvalue()


def yuan_text(amount_fen: int) -> str:
    """Write an amount as the message does: two decimals, a point, no separators."""
    assert amount_fen > 0
    return f"{amount_fen // 100}.{amount_fen % 100:02d}"


def clean(text: str, size_max: int = _TEXT_MAX) -> str:
    """Make a text one that the message may carry: one line, no control character, not too long."""
    return " ".join(_CONTROL.sub(" ", text).split())[:size_max].rstrip()


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _sum(initiation: Initiation) -> str:
    return yuan_text(sum(one.amount_fen for one in initiation.instructions))


def _node(parent: etree._Element, path: str, text: str | None = None) -> etree._Element:
    """Add elements below each other, the last with a text."""
    at = parent
    for name in path.split("/"):
        at = etree.SubElement(at, _tag(name))
    at.text = text
    return at


def _element(name: str) -> etree._Element:
    return etree.Element(_tag(name), nsmap=_NSMAP)


def _header(initiation: Initiation) -> etree._Element:
    header = _element("GrpHdr")
    _node(header, "MsgId", message_id(initiation.run_no, initiation.region))
    _node(header, "CreDtTm", initiation.created.isoformat(timespec="seconds"))
    _node(header, "NbOfTxs", str(len(initiation.instructions)))
    _node(header, "CtrlSum", _sum(initiation))
    _node(header, "InitgPty/Nm", clean(initiation.payer.name))
    return header


def _block(initiation: Initiation) -> Iterator[etree._Element]:
    """Give what comes before the transfers, in the message's order."""
    holder = _element("PmtInf")
    _node(holder, "PmtInfId", message_id(initiation.run_no, initiation.region))
    _node(holder, "PmtMtd", "TRF")
    _node(holder, "BtchBookg", "false")
    _node(holder, "NbOfTxs", str(len(initiation.instructions)))
    _node(holder, "CtrlSum", _sum(initiation))
    _node(holder, "ReqdExctnDt/Dt", initiation.execution_date.isoformat())
    _node(holder, "Dbtr/Nm", clean(initiation.payer.name))
    _account(holder, "DbtrAcct", initiation.payer)
    _agent(holder, "DbtrAgt", initiation.payer)
    _node(holder, "ChrgBr", "DEBT")
    yield from list(holder)


def _transfer(instruction: Instruction) -> etree._Element:
    transfer = _element("CdtTrfTxInf")
    reference = end_to_end_id(instruction.payment_no)
    identification = _node(transfer, "PmtId")
    _node(identification, "InstrId", reference)
    _node(identification, "EndToEndId", reference)
    amount = _node(transfer, "Amt/InstdAmt", yuan_text(instruction.amount_fen))
    amount.set("Ccy", "CNY")
    _agent(transfer, "CdtrAgt", instruction.holder)
    _node(transfer, "Cdtr/Nm", clean(instruction.holder.name))
    _account(transfer, "CdtrAcct", instruction.holder)
    _node(transfer, "RmtInf/Ustrd", clean(instruction.remittance))
    return transfer


def _account(parent: etree._Element, name: str, holder: Holder) -> None:
    account = _node(parent, name)
    _node(account, "Id/Othr/Id", holder.account)
    _node(account, "Ccy", "CNY")


def _agent(parent: etree._Element, name: str, holder: Holder) -> None:
    clearing = _node(parent, f"{name}/FinInstnId/ClrSysMmbId")
    _node(clearing, "ClrSysId/Cd", "CNAPS")
    _node(clearing, "MmbId", holder.bank)
