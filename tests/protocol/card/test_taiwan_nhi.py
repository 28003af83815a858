"""Taiwan's card: its layout, the Republic's calendar, the check digit of identity numbers."""

import contextlib
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.card.errors import CardDataError
from protocol.card.profiles import taiwan_nhi

# Put together by hand: 王小明, whose number of nines nobody has.
DATA = (
    b"999999999999" + bytes.fromhex("A4FDA470A9FA") + bytes(14) + b"Y199999998" + b"0700101"
    + b"M" + b"1040704"
)  # fmt: skip


def changed(start: int, value: bytes) -> bytes:
    return DATA[:start] + value + DATA[start + len(value) :]


def test_the_basic_data_is_read() -> None:
    data = taiwan_nhi.decode_basic_data(DATA)
    assert (data.card_number, data.name, data.id_number) == ("999999999999", "王小明", "Y199999998")
    assert (data.birth_date, data.sex, data.issue_date) == (19810101, 1, 20150704)


def test_the_date_of_issue_is_not_the_date_of_birth() -> None:
    """One published reader of these cards computes the first from the second."""
    data = taiwan_nhi.decode_basic_data(changed(50, b"1130229"))
    assert (data.birth_date, data.issue_date) == (19810101, 20240229)


def test_nothing_personal_is_shown() -> None:
    shown = repr(taiwan_nhi.decode_basic_data(DATA))
    for secret in ("9999", "王", "Y1", "19810101"):
        assert secret not in shown


def test_bytes_behind_are_left_alone() -> None:
    assert taiwan_nhi.decode_basic_data(DATA + b"later") == taiwan_nhi.decode_basic_data(DATA)


@pytest.mark.parametrize("padding", [b"\0", b" "])
def test_names_are_padded_either_way(padding: bytes) -> None:
    name = "歐陽小明".encode("big5").ljust(20, padding)
    assert taiwan_nhi.decode_basic_data(changed(12, name)).name == "歐陽小明"


def test_a_character_of_a_private_area_does_not_stop_the_card() -> None:
    name = bytes.fromhex("A4FDFA40A9FA").ljust(20, b"\0")
    assert taiwan_nhi.decode_basic_data(changed(12, name)).name.startswith("王\ufffd")


@pytest.mark.parametrize(
    "malformed",
    [
        DATA[:56],
        b"",
        changed(0, b"99999999999 "),
        changed(0, b"\xff"),
        changed(32, b"Y199999997"),
        changed(42, b"0701301"),
        changed(42, b"1020229"),  # 2013 had no 29 February
        changed(42, b"000010A"),
        changed(42, b"0000101"),
        changed(49, b"X"),
        changed(50, b"1040631"),
    ],
)
def test_malformed_data_is_refused(malformed: bytes) -> None:
    with pytest.raises(CardDataError):
        taiwan_nhi.decode_basic_data(malformed)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        (b"0010101", 19120101),
        (b"0890229", 20000229),
        (b"1000101", 20110101),
        (b"1151121", 20261121),
    ],
)
def test_the_republics_calendar(text: bytes, date: int) -> None:
    assert taiwan_nhi.decode_roc_date(text) == date


# A123456789 is the example that every description of the check digit uses.
@pytest.mark.parametrize("number", ["A123456789", "Y199999998", "A800000014", "AD99999993"])
def test_right_check_digits_pass(number: str) -> None:
    taiwan_nhi.check_id_number(number)
    for digit in set("0123456789") - {number[-1]}:
        with pytest.raises(CardDataError):
            taiwan_nhi.check_id_number(number[:-1] + digit)


@pytest.mark.parametrize(
    "number",
    ["", "A12345678", "A1234567890", "a123456789", "1123456789", "AZ23456789", "A12345678９"],
)
def test_what_is_no_identity_number_is_refused(number: str) -> None:
    with pytest.raises(CardDataError):
        taiwan_nhi.check_id_number(number)


LETTERS = dict(
    zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (10, 11, 12, 13, 14, 15, 16, 17, 34, 18, 19, 20, 21, 22, 35, 23, 24, 25, 26, 27, 28, 29, 32,
         30, 31, 33),
        strict=True,
    )
)  # fmt: skip


@given(st.sampled_from(sorted(LETTERS)), st.sampled_from("1289ABCD"), st.from_regex(r"\A\d{7}\Z"))
def test_the_check_digit_against_a_second_calculation(letter: str, second: str, rest: str) -> None:
    """Sum up what the digits leave to the next ten, instead of testing the sum."""
    rest = "".join(str(int(digit)) for digit in rest)
    ones = LETTERS[second] % 10 if second in LETTERS else int(second)
    total = LETTERS[letter] // 10 + LETTERS[letter] % 10 * 9 + ones * 8
    for index, digit in enumerate(rest):
        total += int(digit) * (7 - index)
    taiwan_nhi.check_id_number(f"{letter}{second}{rest}{-total % 10}")


@given(st.dates(dt.date(1912, 1, 1), dt.date(2910, 12, 31)))
def test_every_day_is_itself(day: dt.date) -> None:
    text = f"{day.year - 1911:03d}{day:%m%d}".encode()
    assert taiwan_nhi.decode_roc_date(text) == int(f"{day.year:04d}{day:%m%d}")


@given(st.binary(max_size=80))
def test_garbage_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(CardDataError):
        taiwan_nhi.decode_basic_data(data)


@given(st.integers(0, 56), st.binary(min_size=1, max_size=8))
def test_mutated_data_is_read_or_refused(start: int, value: bytes) -> None:
    try:
        data = taiwan_nhi.decode_basic_data(changed(start, value))
    except CardDataError:
        return
    taiwan_nhi.check_id_number(data.id_number)
    dt.date(data.birth_date // 10_000, data.birth_date // 100 % 100, data.birth_date % 100)
