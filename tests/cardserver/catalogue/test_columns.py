"""Rows of files: what is taken, and that each mistake is refused with its column and a sentence."""

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from cardserver.catalogue.columns import ITEMS, Placed, Rejection, kind_of_code, mapping_form
from cardserver.catalogue.sheets import SheetRow, read_sheet, write_sheet
from cardserver.catalogue.values import CatalogueRow, MappingRow
from cardserver.registry.import_files import ImportFileError

GOOD = {
    "item": "XA01BA001", "begins": "20260101", "ends": "", "name": "阿莫西林", "item_class": "2",
    "self_pay_ratio": "0.1", "price_limit": "12.5", "price_limit_0": "", "price_limit_1": "10",
    "price_limit_2": "12", "price_limit_3": "", "kind": "", "unit": "盒", "sex": "", "age_from": "",
    "age_below": "", "daily_quantity_max": "3",
}  # fmt: skip


def rows_of(*rows: Iterable[str]) -> Iterable[SheetRow]:
    return (SheetRow(line, tuple(cells)) for line, cells in enumerate(rows, 1))


def read(header: Iterable[str], *rows: Iterable[str]) -> list[Placed[CatalogueRow] | Rejection]:
    return list(ITEMS.read(iter(rows_of(header, *rows)), "file"))


def one(**changed: str) -> Placed[CatalogueRow] | Rejection:
    values = GOOD | changed
    (found,) = read(values, values.values())
    return found


def test_a_row_that_says_everything() -> None:
    found = one()
    assert isinstance(found, Placed)
    assert found.line == 2
    assert found.row == CatalogueRow(
        item="XA01BA001", begins=20260101, ends=99991231, name="阿莫西林", item_class=2,
        self_pay_ratio_e4=1000, price_limit_microyuan=12_500_000, kind=1, unit="盒",
        price_limit_1_microyuan=10_000_000, price_limit_2_microyuan=12_000_000,
        daily_quantity_max_e4=30_000,
    )  # fmt: skip
    assert [found.row.limit_at(level) for level in range(4)] == [
        12_500_000, 10_000_000, 12_000_000, 12_500_000,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        ("item", "", "expected a code"),
        ("item", "XA01 BA", "expected a code"),
        ("item", "ＸＡ０１", "expected a code"),
        ("item", "X" * 41, "expected a code"),
        ("begins", "", "expected a date"),
        ("begins", "2026-02-30", "expected a date"),
        ("begins", "2026", "expected a date"),
        ("ends", "20251231", "it ends before it begins"),
        ("name", "", "expected 1 to 200"),
        ("name", "a\x07b", "expected 1 to 200"),
        ("item_class", "丁", "expected one of"),
        ("item_class", "4", "expected one of"),
        ("item_class", "", "expected one of"),
        ("item_class", "甲", "class A has no self-pay ratio"),
        ("item_class", "丙", "class C is the patient's alone"),
        ("self_pay_ratio", "", "a class B item has a self-pay ratio"),
        ("self_pay_ratio", "1", "what the patient pays all of is class C"),
        ("self_pay_ratio", "10", "expected a share from 0 to 1"),
        ("self_pay_ratio", "0.00001", "expected a share from 0 to 1"),
        ("self_pay_ratio", "-0.1", "expected a share from 0 to 1"),
        ("price_limit", "12,50", "expected a price in yuan"),
        ("price_limit", "0", "is it in another unit"),
        ("price_limit", "12500001", "is it in another unit"),
        ("price_limit", "0.00001", "expected a price in yuan"),
        ("price_limit_1", "13", "the limit rises where the level falls"),
        ("price_limit_2", "12.6", "the limit rises where the level falls"),
        ("kind", "药", "expected one of"),
        ("sex", "3", "expected one of"),
        ("age_from", "201", "expected a whole number"),
        ("daily_quantity_max", "0", "expected a quantity above 0"),
        ("daily_quantity_max", "1.00001", "expected a quantity above 0"),
    ],
)
def test_a_mistake_is_refused_with_its_column(column: str, text: str, reason: str) -> None:
    found = one(**{column: text})
    assert isinstance(found, Rejection)
    assert found.line == 2
    assert reason in found.reason
    told_of = {
        ("item_class", "甲"): "self_pay_ratio", ("item_class", "丙"): "self_pay_ratio",
        ("price_limit_2", "12.6"): "price_limit_2",
    }.get((column, text), column)  # fmt: skip
    assert found.column == told_of


def test_a_level_without_a_limit_below_one_with_a_limit() -> None:
    found = one(price_limit="", price_limit_1="", price_limit_2="", price_limit_3="15")
    assert isinstance(found, Rejection)
    assert found.reason.startswith(
        "the limit rises where the level falls: level 2 none, level 3 15"
    )


@pytest.mark.parametrize(
    ("text", "is_taken"),
    [("12500000", True), ("1250", False), ("12", False), ("12500050", False), ("99" * 8, False)],
)
def test_millionths_of_a_yuan_that_are_yuan_or_fen(text: str, *, is_taken: bool) -> None:
    header = ["item", "begins", "name", "item_class", "price_limit_microyuan"]
    (found,) = read(header, ["XA01", "20260101", "药", "1", text])
    assert isinstance(found, Placed) == is_taken
    if isinstance(found, Rejection):
        assert found.column == "price_limit_microyuan"
        assert "unit" in found.reason


def test_ages_that_nobody_has() -> None:
    found = one(age_from="18", age_below="18")
    assert isinstance(found, Rejection)
    assert found.column == "age_below"


def test_a_header_in_chinese_and_national_names_in_any_order() -> None:
    (found,) = read(
        ["名称", "甲乙类", "国家编码", "begndate", "三级限价", "一级限价", "二级限价", "限性别"],
        ["剖宫产术", "甲", "0013010", "2026年1月1日", "900", "700.5", "800", "女"],
    )
    assert isinstance(found, Placed)
    assert (found.row.item, found.row.kind, found.row.sex) == ("0013010", 2, 2)
    assert found.row.limit_at(1) == 700_500_000
    assert found.row.limit_at(0) is None


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (["item", "begins", "name"], "there is no column item_class"),
        (["item", "item", "begins", "name", "item_class"], "two columns say item"),
        (["item", "begins", "name", "item_class", "prize"], "column 'prize' is unknown"),
        (
            ["item", "begins", "name", "item_class", "price_limit", "price_limit_microyuan"],
            "two columns say price_limit_microyuan",
        ),
    ],
)
def test_a_header_that_is_none(header: list[str], said: str) -> None:
    with pytest.raises(ImportFileError, match=said):
        read(header, [])
    with pytest.raises(ImportFileError, match="empty"):
        list(ITEMS.read(iter(()), "file"))


def test_cells_too_many_and_too_few() -> None:
    header = ["item", "begins", "name", "item_class", "unit"]
    short, long = read(
        header, ["XA01", "20260101", "药", "1"], ["XA01", "20260101", "药", "1", "盒", "?"]
    )
    assert isinstance(short, Placed)
    assert isinstance(long, Rejection)
    assert "found 6" in long.reason


@pytest.mark.parametrize(
    ("code", "kind"),
    [("XN02BE", 1), ("ZA01", 1), ("T0001", 1), ("D0000001", 1), ("0011010", 2), ("S0000001", 2),
     ("C0101", 3), ("M0000001", 3)],
)  # fmt: skip
def test_what_a_code_is_of(code: str, kind: int) -> None:
    assert kind_of_code(code) == kind


def workbook(path: Path, *rows: list[Any], sheet: str = "目录") -> Path:
    book = openpyxl.Workbook()
    book.active.title = sheet
    for row in rows:
        book.active.append(row)
    book.create_sheet("说明").append(["别的"])
    book.save(path)
    return path


def test_a_spreadsheet_with_numbers_and_dates_as_cells(tmp_path: Path) -> None:
    file = workbook(
        tmp_path / "a.xlsx",
        ["item", "begins", "name", "item_class", "self_pay_ratio", "price_limit", "ends"],
        ["XA01", dt.datetime(2026, 1, 1), "药", 2, 0.1 + 0.2, 12.1, 99991231],  # noqa: DTZ001 - as cells hold them
        [None, None, None, None],
        [10010, dt.date(2026, 1, 1), "服务", "甲", None, 5, None],
    )
    first, second = ITEMS.read(read_sheet(file), "a.xlsx")
    assert isinstance(first, Placed)
    assert (first.row.self_pay_ratio_e4, first.row.price_limit_microyuan) == (3000, 12_100_000)
    assert isinstance(second, Placed)
    assert (second.line, second.row.item, second.row.price_limit_microyuan) == (
        4,
        "10010",
        5_000_000,
    )
    assert [row.cells for row in read_sheet(file, sheet="说明")] == [("别的",)]
    with pytest.raises(ImportFileError, match="no sheet '目'"):
        list(read_sheet(file, sheet="目"))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("名称\n药".encode("gb18030"))
    with pytest.raises(ImportFileError, match="gb18030"):
        list(read_sheet(tmp_path / "a.csv"))
    assert len(list(read_sheet(tmp_path / "a.csv", encoding="gb18030"))) == 2
    with pytest.raises(ImportFileError, match="unknown encoding"):
        list(read_sheet(tmp_path / "a.csv", encoding="klingon"))
    (tmp_path / "a.xlsx").write_bytes(b"PK no")
    for name, said in (
        ("a.xlsx", "not an XLSX file"),
        ("a.ods", "in .csv or .xlsx"),
        ("b.csv", "No"),
    ):
        with pytest.raises(ImportFileError, match=said):
            list(read_sheet(tmp_path / name))
    (tmp_path / "q.csv").write_text('a,"b\n', encoding="utf-8")
    with pytest.raises(ImportFileError, match="not CSV"):
        list(read_sheet(tmp_path / "q.csv"))


@pytest.mark.parametrize("name", ["out.csv", "out.xlsx"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    rows = [["item", "name"], ["0013010", "剖宫产术, 含"], ["1e3", "药"]]
    write_sheet(tmp_path / name, rows)
    assert [list(row.cells) for row in read_sheet(tmp_path / name)] == rows
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_mapping_names_an_institution() -> None:
    def read_mapping(header: str, *rows: str, institution: str = "") -> list[Any]:
        form = mapping_form({"H1": 1, "H2": 2}, institution)
        return list(form.read(iter(rows_of(*(row.split(",") for row in (header, *rows)))), "file"))

    header = "local_item,item,begins"
    (own,) = read_mapping(header, "YP1,XA01,20260101", institution="H1")
    assert own.row == MappingRow(1, "YP1", 20260101, 99991231, "XA01")
    (nobody,) = read_mapping(header, "YP1,XA01,20260101")
    assert "whose code is it" in nobody.reason
    taken, unknown, other = read_mapping(
        f"institution,{header}", "H2,YP1,XA01,20260101", "H3,YP1,XA01,20260101",
        "H1,YP1,XA01,20260101", institution="H2",
    )  # fmt: skip
    assert taken.row.institution_no == 2
    assert unknown.reason == "there is no such institution"
    assert other.reason == "the file is that of H2"
