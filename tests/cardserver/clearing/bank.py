"""A bank's report on payments, as a bank writes it; made without the code under test."""

from collections.abc import Mapping
from xml.etree import ElementTree as ET

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"


def answer(
    run_no: int,
    region: str,
    statuses: Mapping[int, str],
    *,
    group: str = "",
    block_status: str = "",
    reason: str = "",
    amounts: Mapping[int, int] | None = None,
) -> bytes:
    """Report on payments by their numbers."""
    ET.register_namespace("", NAMESPACE)
    document = ET.Element(_tag("Document"))
    report = _add(document, "CstmrPmtStsRpt")
    header = _add(report, "GrpHdr")
    _add(header, "MsgId", f"BANK-{run_no}")
    _add(header, "CreDtTm", "2026-11-03T08:00:00+08:00")
    original = _add(report, "OrgnlGrpInfAndSts")
    _add(original, "OrgnlMsgId", f"CLR{region}-{run_no}")
    _add(original, "OrgnlMsgNmId", "pain.001.001.09")
    if group:
        _add(original, "GrpSts", group)
        if reason and group == "RJCT":
            _add(_add(_add(original, "StsRsnInf"), "Rsn"), "Cd", reason)
    if statuses or block_status:
        block = _add(report, "OrgnlPmtInfAndSts")
        _add(block, "OrgnlPmtInfId", f"CLR{region}-{run_no}")
        if block_status:
            _add(block, "PmtInfSts", block_status)
        for number, status in statuses.items():
            one = _add(block, "TxInfAndSts")
            _add(one, "OrgnlEndToEndId", f"CLR-{number // 100_000}-{number % 100_000}")
            _add(one, "TxSts", status)
            if reason and status == "RJCT":
                _add(_add(_add(one, "StsRsnInf"), "Rsn"), "Cd", reason)
            amount_fen = (amounts or {}).get(number)
            if amount_fen is not None:
                amount = _add(_add(_add(one, "OrgnlTxRef"), "Amt"), "InstdAmt")
                amount.set("Ccy", "CNY")
                amount.text = f"{amount_fen // 100}.{amount_fen % 100:02d}"
    return ET.tostring(document, encoding="utf-8", xml_declaration=True)


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _add(parent: ET.Element, name: str, text: str | None = None) -> ET.Element:
    child = ET.SubElement(parent, _tag(name))
    child.text = text
    return child
