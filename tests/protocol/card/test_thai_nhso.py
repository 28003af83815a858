"""The Thai card: its layout, the Buddhist calendar, the check digit of citizens' numbers."""

import contextlib
import datetime as dt
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.card.catalogue import find_opening
from protocol.card.errors import CardDataError
from protocol.card.profiles import thai_nhso
from protocol.card.script import Script
from simulators.card.thai_nhso import ATR_OLD, FICTITIOUS, CardData, ThaiNHSOCard
from terminals.readers.channel import run_script

T = TypeVar("T")

_OK = b"\x90\x00"


def answers(**changes: bytes) -> tuple[bytes, ...]:
    """What a card answers to the opening batch, put together by hand."""
    values = {
        "selected": b"",
        "version": b"0003",
        "cid": b"9999999999994",
        "name": "นาย#ทดสอบ##ตัวอย่าง".encode("tis-620").ljust(100),
        "birth_date": b"25240101",
        "sex": b"1",
        "issued": b"25650413",
        "expires": b"25740412",
        "insurance": b"",
        "main_right": "สิทธิ".encode("tis-620").ljust(60),
        "sub_right": bytes(100),
        "main_hospital": b" " * 80,
        "sub_hospital": b" " * 80,
        "paid_type": b"1",
        "begins": b"25630101",
        "ends": bytes(8),
        "updated": b" " * 8,
        "changes": b"2",
    } | changes
    return tuple(value + _OK for value in values.values())


def play(script: Script[T], given_answers: tuple[bytes, ...]) -> T:
    next(script)
    try:
        script.send(given_answers)
    except StopIteration as stop:
        value: T = stop.value
        return value
    raise AssertionError("the script wants more than one batch")


def opened(**changes: bytes) -> thai_nhso.OpenedFile:
    return play(thai_nhso.open_card(), answers(**changes))


def test_the_card_is_read() -> None:
    file = opened()
    person, insurance = file.person, file.insurance
    assert (person.cid, str(person.name)) == ("9999999999994", "นายทดสอบ ตัวอย่าง")
    assert person.name == thai_nhso.Name("นาย", "ทดสอบ", "", "ตัวอย่าง")
    assert (person.birth_date, person.sex) == (19810101, 1)
    assert (person.issue_date, person.expiry_date) == (20220413, 20310412)
    assert insurance is not None
    assert (insurance.main_right, insurance.sub_right, insurance.paid_type) == ("สิทธิ", "", "1")
    assert (insurance.begins, insurance.ends, insurance.update_date) == (20200101, None, None)
    assert insurance.changes == 2


def test_nothing_personal_is_shown() -> None:
    shown = repr(opened())
    for secret in ("9999", "ทดสอบ", "19810101"):
        assert secret not in shown


def test_a_card_without_the_insurance_applet_is_an_identity_card_still() -> None:
    """What is read after the failed SELECT is the person's memory, and no insurance."""
    absent = answers()
    absent = (*absent[:8], b"\x6a\x82", *(value[:-2] + _OK for value in absent[9:]))
    file = play(thai_nhso.open_card(), absent)
    assert file.person.cid == "9999999999994"
    assert file.insurance is None
    bare = CardData(
        cid=FICTITIOUS.cid, name=FICTITIOUS.name, name_english="", birth_date=19810101, sex=1,
        issue_date=20220413, expiry_date=20310412, has_insurance=False,
    )  # fmt: skip
    assert run_script(ThaiNHSOCard(bare), thai_nhso.open_card()).insurance is None


def test_what_else_is_printed_is_read() -> None:
    document = run_script(ThaiNHSOCard(FICTITIOUS), thai_nhso.read_document())
    assert document.name_english.last == "Tuayang"
    assert document.issuer == "อำเภอตัวอย่าง/จังหวัดตัวอย่าง"
    assert document.address[0] == "99/9"
    assert document.address[-1] == "จังหวัดตัวอย่าง"
    assert "" not in document.address


@pytest.mark.parametrize(
    "changes",
    [
        {"cid": b"9999999999993"},
        {"cid": b"999999999999"},
        {"cid": b"999999999999A"},
        {"cid": b"\xff" * 13},
        {"name": b""},
        {"birth_date": b"25240001"},
        {"birth_date": b"25241301"},
        {"birth_date": b"2524010"},
        {"sex": b"0"},
        {"issued": b"25650431"},
        {"issued": b"25650000"},
        {"expires": b"        "},
        {"version": b"00030"},
        {"begins": b"25631301"},
        {"main_right": b"short"},
    ],
)
def test_malformed_data_is_refused(changes: dict[str, bytes]) -> None:
    with pytest.raises(CardDataError):
        opened(**changes)


@pytest.mark.parametrize(
    ("text", "date"),
    [(b"25240101", 19810101), (b"25470229", 20040229), (b"99999999", 99991231)],
)
def test_the_buddhist_calendar(text: bytes, date: int) -> None:
    assert thai_nhso.decode_buddhist_date(text) == date


@pytest.mark.parametrize(
    ("text", "date"), [(b"24800000", 19370000), (b"24800300", 19370300), (b"24800315", 19370315)]
)
def test_a_birth_date_may_lack_its_day(text: bytes, date: int) -> None:
    assert thai_nhso.decode_buddhist_date(text, may_lack_day=True) == date


@given(st.dates(dt.date(1800, 1, 1), dt.date(9455, 12, 31)))
def test_every_day_is_itself(day: dt.date) -> None:
    text = f"{day.year + 543:04d}{day:%m%d}".encode()
    assert thai_nhso.decode_buddhist_date(text) == int(f"{day.year:04d}{day:%m%d}")


@given(st.from_regex(r"\A[0-9]{12}\Z"))
def test_the_check_digit_against_a_second_calculation(digits: str) -> None:
    """Add each digit as often as its weight, one at a time, and count down by elevens."""
    total = sum(int(digit) for index, digit in enumerate(digits) for _ in range(13 - index))
    while total >= 11:
        total -= 11
    right = str(11 - total)[-1]
    for digit in "0123456789":
        if digit == right:
            thai_nhso.check_cid(digits + digit)
        else:
            with pytest.raises(CardDataError):
                thai_nhso.check_cid(digits + digit)


@pytest.mark.parametrize(
    "atr",
    [
        "3B6800005448204E49442036",
        "3B781800005448204E49442031",
        "3B781800005448204E49442039",
        "3B791800005448204E4944203130",
        "3B799600005448204E4944203131",
        "3B799600005448204E4944203137",
        "3B799600FF5448204E4944203135",
    ],
)
def test_the_family_of_atrs_is_known(atr: str) -> None:
    opening = find_opening(bytes.fromhex(atr))
    assert opening is not None
    assert opening.profile == thai_nhso.PROFILE


@pytest.mark.parametrize("atr", ["3B6800005448204E49442046", "3B6800005448204E494420"])
def test_an_atr_that_only_looks_alike_is_not(atr: str) -> None:
    assert find_opening(bytes.fromhex(atr)) is None


@pytest.mark.parametrize(("atr", "get_response"), [(None, "00C00000"), (ATR_OLD, "00C00001")])
def test_get_response_is_what_the_atr_wants(atr: bytes | None, get_response: str) -> None:
    class Listening(ThaiNHSOCard):
        def transmit(self, command: bytes) -> bytes:
            sent.append(command.hex().upper())
            return super().transmit(command)

    sent: list[str] = []
    data = FICTITIOUS
    if atr is not None:
        data = CardData(
            cid=data.cid, name=data.name, name_english="", birth_date=data.birth_date, sex=1,
            issue_date=data.issue_date, expiry_date=data.expiry_date, atr=atr,
        )  # fmt: skip
    assert run_script(Listening(data), thai_nhso.open_card()).person.cid == data.cid
    fetched = [command for command in sent if command.startswith("00C0")]
    assert len(fetched) == len(thai_nhso.OPENING)
    assert all(command.startswith(get_response) for command in fetched)


@given(st.lists(st.binary(max_size=110), min_size=18, max_size=18))
def test_garbage_is_read_or_refused(garbage: list[bytes]) -> None:
    with contextlib.suppress(CardDataError):
        play(thai_nhso.open_card(), tuple(value + _OK for value in garbage))


@given(st.sampled_from(range(18)), st.binary(max_size=110))
def test_mutated_answers_are_read_or_refused(index: int, value: bytes) -> None:
    mutated = list(answers())
    mutated[index] = value + _OK
    try:
        file = play(thai_nhso.open_card(), tuple(mutated))
    except CardDataError:
        return
    thai_nhso.check_cid(file.person.cid)
