"""Who may be one person: every slip is found, nothing else is, and without comparing everyone."""

import datetime as dt
import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cardserver.registry import identity_number, likeness
from cardserver.registry.likeness import Known, Likeness, Pair, find_pairs, likeness_of, plain_name
from cardserver.registry.values import IDType


def number_of(digits: str) -> str:
    return digits + identity_number.check_character(digits)


digits_of_numbers = st.tuples(
    st.just("110199"),
    st.dates().map(lambda day: f"{day:%Y%m%d}".zfill(8)),
    st.integers(0, 999).map(lambda number: f"{number:03}"),
).map("".join)


def person(person_no: int, digits: str, *, name: str = "王小明", sex: int = 1) -> Known:
    return Known(person_no, number_of(digits), "01", name, sex, int(digits[6:14]))


@given(digits_of_numbers, st.integers(0, 16), st.integers(1, 9))
def test_one_digit_wrong_is_found(digits: str, at: int, change: int) -> None:
    other = digits[:at] + str((int(digits[at]) + change) % 10) + digits[at + 1 :]
    pairs = list(find_pairs([person(2, digits), person(1, other)]))
    assert pairs == [Pair(1, 2, Likeness.ONE_DIGIT)]


@given(digits_of_numbers, st.integers(0, 15), st.integers(0, 80))
def test_two_neighbours_exchanged_are_found_also_in_a_crowd(
    digits: str, at: int, others: int
) -> None:
    assume(digits[at] != digits[at + 1])
    other = digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :]
    # A crowd of one name, far from both: in all, more than is compared one with another.
    crowd = [person(10 + n, f"7301{n:03}{2000 + n}{n:03}777"[:17]) for n in range(others)]
    pairs = [
        pair
        for pair in find_pairs([*crowd, person(1, digits), person(2, other)])
        if pair[:2] == (1, 2)
    ]
    assert pairs == [Pair(1, 2, Likeness.EXCHANGED)]


@given(st.lists(digits_of_numbers, min_size=2, max_size=90, unique=True))
def test_exactly_those_that_comparing_everyone_finds(digits: list[str]) -> None:
    people = [person(number, one) for number, one in enumerate(digits, 1)]
    expected = {
        (one.person_no, other.person_no)
        for one, other in itertools.combinations(people, 2)
        if likeness_of(one.id_number, other.id_number) is not None
    }
    found = [pair[:2] for pair in find_pairs(people)]
    assert set(found) == expected
    assert len(found) == len(expected)


@given(st.integers(65, 140))
def test_exactly_those_also_where_a_drawer_is_full(count: int) -> None:
    people = [person(n + 1, f"11019919900101{n:03}") for n in range(count)]
    expected = {
        (one.person_no, other.person_no)
        for one, other in itertools.combinations(people, 2)
        if likeness_of(one.id_number, other.id_number) is not None
    }
    found = [pair[:2] for pair in find_pairs(people)]
    assert set(found) == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(("name", "sex"), [("王小红", 1), ("王小明", 2)])
def test_another_name_or_sex_is_another_person(name: str, sex: int) -> None:
    one, other = person(1, "11019919900101001"), person(2, "11019919900101003", name=name, sex=sex)
    assert not list(find_pairs([one, other]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("古丽·阿依", "古丽•阿依"),
        ("古丽·阿依", "古丽 阿依"),
        ("Anna Müller", "ＡＮＮＡ  müller"),
        ("王 小明", "王小明"),
        ("王小明", "王小明"),
    ],
)
def test_names_that_are_written_differently_are_one(one: str, other: str) -> None:
    assert plain_name(one) == plain_name(other)
    found = find_pairs(
        [person(1, "11019919900101001", name=one), person(2, "11019919900101011", name=other)]
    )
    assert [pair.likeness for pair in found] == [Likeness.ONE_DIGIT]


def test_someone_with_a_passport_and_someone_with_a_card_born_on_one_day() -> None:
    card = person(1, "11019919900101001")
    passport = Known(2, "E12345678", IDType.PASSPORT, "王小明", 1, 19900101)
    other_day = Known(3, "E87654321", IDType.PASSPORT, "王小明", 1, 19900102)
    assert list(find_pairs([card, passport, other_day])) == [Pair(1, 2, Likeness.OTHER_DOCUMENT)]


def test_a_city_of_one_name_is_not_compared_one_with_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = 0

    def counted(one: str, other: str) -> Likeness | None:
        nonlocal compared
        compared += 1
        return likeness_of(one, other)

    monkeypatch.setattr(likeness, "likeness_of", counted)
    count = 8_000
    people = [
        person(n, f"110199{1930 + n % 80}{1 + n // 80 % 12:02}{1 + n // 960 % 28:02}{n % 997:03}")
        for n in range(count)
    ]
    for _ in find_pairs(people):
        pass
    assert compared < 100 * count < count * count // 50


@given(digits_of_numbers)
def test_a_number_is_read_however_it_is_typed(digits: str) -> None:
    number = number_of(digits)
    wide = number.translate({ord(plain): ord(plain) + 0xFEE0 for plain in "0123456789X"})
    spaced = f" {number[:6]} {number[6:14]}\u3000{number[14:].lower()} "
    assert identity_number.normalised(number) == number
    assert identity_number.normalised(wide) == number
    assert identity_number.normalised(spaced) == number


@given(st.dates(dt.date(1900, 1, 1), dt.date(1999, 12, 31)), st.integers(0, 999))
def test_fifteen_digits_are_the_same_number(day: dt.date, sequence: int) -> None:
    digits = f"110199{day:%Y%m%d}{sequence:03}"
    old = digits[:6] + digits[8:]
    assert identity_number.normalised(old) == number_of(digits)
    assert identity_number.fault_of(identity_number.normalised(old)) is None


@pytest.mark.parametrize(
    ("id_type", "good", "bad"),
    [
        (IDType.HONG_KONG, ["H12345678"], ["M12345678", "H1234567", "H1234567800"]),
        (IDType.MACAO, ["M12345678"], ["H12345678"]),
        (IDType.TAIWAN, ["12345678"], ["1234567", "T2345678"]),
        (IDType.PASSPORT, ["E12345678", "AB123"], ["AB 12", "A1", "é12345"]),
        (IDType.PERMANENT_RESIDENT, ["CAN110105198012", number_of("91012419900101001")],
         ["CAN11010519800A", number_of("11012419900101001"), "911124199001010019"]),
    ],
)  # fmt: skip
def test_the_forms_of_other_documents(id_type: IDType, good: list[str], bad: list[str]) -> None:
    for number in good:
        assert identity_number.fault_of(number, id_type) is None, number
    for number in bad:
        assert identity_number.fault_of(number, id_type) is not None, number
