"""How each value of a CSV file is checked."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardserver.registry import identity_number, import_files
from cardserver.registry.import_files import FileSpec, NumberedRow, Rejection, read_rows

SPECS = (
    import_files.EMPLOYERS, import_files.INSTITUTIONS, import_files.OPERATORS,
    import_files.PERSONS, import_files.FAMILIES, import_files.INSURANCES,
    import_files.CARDS, import_files.BALANCES,
)  # fmt: skip
CARD = (
    "1,social_security_card,869711011234ABCD,110199,A00000001,110199D1560000051234ABCD00000000,"
    "10000001,3.00,3,3,110199000001FFFFFFFFFFFF,20200101,20300101,1,00814E4323869711011234ABCD"
)


def read(tmp_path: Path, spec: FileSpec, *rows: str) -> list[NumberedRow | Rejection]:
    file = tmp_path / f"{spec.name}.csv"
    header = ",".join(spec.columns)
    file.write_text("".join(f"{row}\n" for row in (header, *rows)), encoding="utf-8")
    return list(read_rows(file, spec))


def parse(spec: FileSpec, column: str, text: str) -> object:
    return spec.columns[column](text)


@pytest.mark.parametrize(
    ("spec", "column", "good", "bad"),
    [
        (import_files.PERSONS, "person_no", ["1", "9007199254740992"],
         ["0", "", "-1", "+1", " 1", "1_0", "1.0", "９", "9007199254740993", "1" * 5000]),
        (import_files.PERSONS, "id_number", ["111111198101011110"],
         ["111111198101011111", "11111119810101111X", "111111198102301110", "", "1" * 17]),
        (import_files.PERSONS, "name", ["张三", "古丽·阿依"],
         ["", " 张三", "张\u200b三", "张" * 51]),
        (import_files.PERSONS, "sex", ["1", "2", "9"], ["0", "", "男", "01"]),
        (import_files.PERSONS, "birth_date", ["20240229", "99991231"],
         ["20230229", "2024-02-29", "240229", "", "00000101"]),
        (import_files.PERSONS, "deceased_date", ["", "20240229"], ["0", "20241301"]),
        (import_files.CARDS, "identity", ["AB", "ab" * 16], ["", "A", "GG", "AB" * 17, "A B "]),
        (import_files.CARDS, "region", ["", "110199"], ["11019", "11019a", "１１０１９９"]),
        (import_files.CARDS, "version", ["3.00"], ["3", "3.0", "03.00", "3,00"]),
        (import_files.CARDS, "issuer", ["11" * 12], ["11" * 11, "11" * 13]),
        (import_files.INSTITUTIONS, "code", ["H11019900001"],
         ["h11019900001", "H1", "H1101990000X"]),
        (import_files.INSTITUTIONS, "level", ["0", "3"], ["4", ""]),
        (import_files.OPERATORS, "role", ["cashier"], ["admin", "", "Cashier"]),
        (import_files.OPERATORS, "password_hash", ["!"], ["", "secret", "$2b$12$abc"]),
        (import_files.BALANCES, "balance_fen", ["1"], ["0", "-1", "1.5", ""]),
    ],
)  # fmt: skip
def test_values(spec: FileSpec, column: str, good: list[str], bad: list[str]) -> None:
    for text in good:
        parse(spec, column, text)
    for text in bad:
        with pytest.raises(ValueError, match=r"expected|check character|not a date"):
            parse(spec, column, text)


def test_a_good_card_and_its_bytes(tmp_path: Path) -> None:
    (row,) = read(tmp_path, import_files.CARDS, CARD)
    assert isinstance(row, NumberedRow)
    assert row.line == 2
    assert row.values[2] == bytes.fromhex("869711011234ABCD")


def test_a_cards_identity_must_be_that_of_its_historical_bytes(tmp_path: Path) -> None:
    (row,) = read(
        tmp_path, import_files.CARDS, CARD.replace(",869711011234ABCD", ",869711011234ABCE")
    )
    assert isinstance(row, Rejection)
    assert "historical" in str(row)


def test_what_ends_before_it_begins(tmp_path: Path) -> None:
    (row,) = read(tmp_path, import_files.CARDS, CARD.replace("20300101", "20190101"))
    assert str(row) == "cards.csv, line 2: it ends before it begins"


def test_lines_are_those_of_the_file_also_after_a_quoted_line_break(tmp_path: Path) -> None:
    rows = read(tmp_path, import_files.EMPLOYERS, '1,E1,"a\nb"', "2,E2,c", "3,E3")
    assert [(row.line, type(row)) for row in rows] == [
        (3, Rejection), (4, NumberedRow), (5, Rejection),
    ]  # fmt: skip


def test_a_byte_order_mark_and_crlf_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "families.csv"
    file.write_bytes(b"\xef\xbb\xbffamily_no,payer_person_no\r\n1,2\r\n")
    assert list(read_rows(file, import_files.FAMILIES)) == [NumberedRow(2, (1, 2))]
    assert import_files.count_rows(file) == 1


@given(st.lists(st.text(max_size=30), max_size=20), st.sampled_from(SPECS))
def test_whatever_the_fields_each_is_read_or_refused_with_a_reason(
    fields: list[str], spec: FileSpec
) -> None:
    for parse_field in spec.columns.values():
        for field in fields:
            try:
                parse_field(field)
            except ValueError as error:
                assert str(error)  # noqa: PT017 - one of two right outcomes


@given(st.binary(max_size=300), st.sampled_from(SPECS))
def test_whatever_the_bytes_a_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, spec: FileSpec
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_bytes(",".join(spec.columns).encode() + b"\n" + data)
    try:
        for row in read_rows(file, spec):
            assert isinstance(row, NumberedRow | Rejection)
    except import_files.ImportFileError as error:
        assert "any.csv" in str(error)  # noqa: PT017 - as above


@given(st.integers(0, 16), st.integers(1, 9))
def test_every_single_wrong_digit_is_found(index: int, change: int) -> None:
    number = "111111198101011110"  # the standard's fictitious 张三
    assert identity_number.fault_of(number) is None
    wrong = number[:index] + str((int(number[index]) + change) % 10) + number[index + 1 :]
    assert identity_number.fault_of(wrong) is not None
