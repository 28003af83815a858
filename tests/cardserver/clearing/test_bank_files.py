"""Files for and from a bank: valid by the message's own schema, and whatever a stranger sends.

The schema is the one that the package `sepaxml` carries; what it does not say (sums that agree,
texts that a bank may print) is checked here by hand.
"""

import datetime as dt
from decimal import Decimal
from importlib import resources

import pytest
import xmlschema
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

from cardserver.clearing.pain001 import NAMESPACE, Initiation, Instruction, clean, initiation_file
from cardserver.clearing.pain002 import ReportError, Said, read_report
from cardserver.clearing.payments import (
    end_to_end_id,
    message_id,
    payment_number,
    payment_of,
    run_of,
)
from cardserver.clearing.terms_document import Holder
from tests.cardserver.clearing.bank import answer

REGION = "110199"
SCHEMA = xmlschema.XMLSchema(
    str(resources.files("sepaxml") / "schemas" / "pain.001.001.09.xsd"), allow="local"
)
CHINA = dt.timezone(dt.timedelta(hours=8))
PAYER = Holder(name="医疗保障基金", account="110199000000001", bank="102100099996")

names = st.text(min_size=1, max_size=70).filter(lambda text: clean(text) != "")
holders = st.builds(
    Holder,
    name=names,
    account=st.from_regex(r"[A-Za-z0-9]{1,34}", fullmatch=True),
    bank=st.from_regex(r"[0-9]{12}", fullmatch=True),
)
amounts = st.integers(1, 10**13)


def initiation(instructions: list[Instruction]) -> Initiation:
    return Initiation(
        run_no=3,
        region=REGION,
        created=dt.datetime(2026, 11, 2, 10, tzinfo=CHINA),
        execution_date=dt.date(2026, 11, 3),
        payer=PAYER,
        instructions=instructions,
    )


@settings(max_examples=60)
@given(st.lists(st.tuples(amounts, holders, st.text(max_size=300)), min_size=1, max_size=5))
@example([(1, Holder(name="<&>\"'\u0085\ufffe]]>", account="1", bank="1" * 12), "\x00\ud800 a")])
def test_whatever_the_names_the_file_is_valid_and_adds_up(
    rows: list[tuple[int, Holder, str]],
) -> None:
    instructions = [
        Instruction(payment_number(run_no=3, index=index), fen, holder, text or "x")
        for index, (fen, holder, text) in enumerate(rows, 1)
        if clean(text or "x")
    ]
    if not instructions or not all(clean(one.holder.name) for one in instructions):
        return
    content = initiation_file(initiation(instructions))
    SCHEMA.validate(content)
    root = etree.fromstring(content)
    names = {"p": NAMESPACE}

    def texts(path: str) -> list[str]:
        return [str(one) for one in root.xpath(f"//p:{path}/text()", namespaces=names)]

    expected = sum(one.amount_fen for one in instructions)
    assert [Decimal(one) * 100 for one in texts("CtrlSum")] == [expected, expected]
    assert texts("NbOfTxs") == [str(len(instructions))] * 2
    assert sum(Decimal(one) * 100 for one in texts("InstdAmt")) == expected
    assert set(root.xpath("//p:InstdAmt/@Ccy", namespaces=names)) == {"CNY"}
    assert texts("EndToEndId") == [end_to_end_id(one.payment_no) for one in instructions]
    assert len(set(texts("EndToEndId"))) == len(instructions)
    assert [payment_of(one) for one in texts("EndToEndId")] == [
        one.payment_no for one in instructions
    ]
    assert texts("CdtrAcct/p:Id/p:Othr/p:Id") == [one.holder.account for one in instructions]
    for text in texts("Nm") + texts("Ustrd"):
        assert 0 < len(text) <= 140
        assert "\n" not in text
        assert text == text.strip()
    assert initiation_file(initiation(instructions)) == content


def test_the_schema_refuses_what_is_no_payment() -> None:
    good = initiation_file(initiation([Instruction(300_001, 100, PAYER, "x")]))
    SCHEMA.validate(good)
    for old, new in ((b"CNY", b"cny"), (b"<NbOfTxs>1<", b"<NbOfTxs>x<"), (b"CNAPS", b"CNAPSX")):
        with pytest.raises(xmlschema.XMLSchemaValidationError):
            SCHEMA.validate(good.replace(old, new))


@given(st.integers(1, 2**31 - 1), st.integers(1, 99_999), st.text(max_size=12))
def test_references_name_their_payment_and_nothing_else(run: int, index: int, text: str) -> None:
    if run < 10**9:
        number = payment_number(run_no=run, index=index)
        assert payment_of(end_to_end_id(number)) == number
        assert len(end_to_end_id(number)) <= 35
        assert run_of(message_id(run, REGION), REGION) == run
    named = payment_of(text)
    assert named is None or end_to_end_id(named) == text
    assert run_of(text, REGION) is None


def test_a_report_is_read_in_every_version_that_says_the_same() -> None:
    content = answer(3, REGION, {300_001: "RJCT", 300_002: "ACSP"}, reason="AC04")
    for version in (b"03", b"10", b"15"):
        report = read_report(
            content.replace(b"pain.002.001.10", b"pain.002.001." + version), REGION
        )
        assert report.run_no == 3
        assert [(one.payment_no, one.said, one.reason) for one in report.reported] == [
            (300_001, Said.RETURNED, "AC04"), (300_002, Said.UNDER_WAY, ""),
        ]  # fmt: skip


BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10">&b;</Document>"""
OUTSIDE = b"""<?xml version="1.0"?>
<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/hostname">]>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10">&x;</Document>"""


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x00", b"<", b"<a/>", BOMB, OUTSIDE,
        answer(3, REGION, {300_001: "ACSC"}).replace(b"pain.002", b"pain.001"),
        answer(3, REGION, {300_001: "XXXX"}),
        answer(3, REGION, {300_001: "ACSC"}).replace(b"CLR110199-3<", b"CLR110199-03<"),
        answer(3, REGION, {300_001: "ACSC"}, amounts={300_001: 5}).replace(b"CNY", b"EUR"),
        answer(3, REGION, {300_001: "ACSC"}, amounts={300_001: 5}).replace(b"0.05", b"0.051"),
        answer(3, REGION, {300_001: "ACSC", 300_002: "ACSC"}).replace(b"CLR-3-2", b"CLR-3-1"),
        b"<d>" * 400 + b"</d>" * 400,
    ],
)  # fmt: skip
def test_a_file_that_is_no_report_is_refused_in_a_sentence(content: bytes) -> None:
    with pytest.raises(ReportError):
        read_report(content, REGION)


GOOD = answer(3, REGION, {300_001: "ACSC", 300_002: "RJCT"}, reason="AC04", group="PART")


@settings(max_examples=200)
@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=4), st.integers(0, 8))
def test_any_change_of_a_report_gives_a_report_or_a_sentence(at: int, put: bytes, cut: int) -> None:
    try:
        report = read_report(GOOD[:at] + put + GOOD[at + cut :], REGION)
    except ReportError:
        return
    assert all(one.said in Said for one in report.reported)
