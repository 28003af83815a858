"""Lines of a visit from files of three kinds, to the fen."""

import datetime as dt
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardserver.benefits.netting import EnteredLine, net_lines
from cardserver.benefits.values import BillRefusal
from protocol.terminal.messages import VisitLine
from terminals.bill_file import BillFileError
from terminals.visit_file import gross_of, load_lines

TODAY = dt.date(2026, 11, 22)
CSV = (
    "feedetl_sn,fee_ocur_time,med_list_codg,name,pric,cnt,init_feedetl_sn\n"
    "1,2026-11-20,D1,阿司匹林,0.335,3,\n"
    "2,,D1,,0.335,-1,1\n"
)
TOML = """
[[lines]]
feedetl_sn = "1"
fee_ocur_time = 2026-11-20
med_list_codg = "D1"
name = "阿司匹林"
pric = "0.335"
cnt = 3
[[lines]]
feedetl_sn = "2"
init_feedetl_sn = "1"
med_list_codg = "D1"
pric = 0.335
cnt = -1
"""
JSON = json.dumps(
    {
        "lines": [
            {
                "feedetl_sn": "1", "fee_ocur_time": "2026-11-20", "med_list_codg": "D1",
                "name": "阿司匹林", "pric": "0.335", "cnt": 3,
            },
            {
                "feedetl_sn": "2", "init_feedetl_sn": "1", "med_list_codg": "D1", "pric": "0.335",
                "cnt": "-1",
            },
        ]
    }
)  # fmt: skip
EXPECTED = (
    VisitLine("1", dt.date(2026, 11, 20), "D1", "阿司匹林", 335_000, 30_000, 101),
    VisitLine("2", TODAY, "D1", "D1", 335_000, -10_000, -34, "1"),
)


def load(folder: Path, text: str, suffix: str) -> tuple[VisitLine, ...]:
    file = folder / f"lines{suffix}"
    file.write_text(text, encoding="utf-8")
    return load_lines(file, today=TODAY)


@pytest.mark.parametrize(
    ("text", "suffix"), [(CSV, ".csv"), ("\ufeff" + CSV, ".csv"), (TOML, ".toml"), (JSON, ".json")]
)
def test_the_same_lines_in_every_form(tmp_path: Path, text: str, suffix: str) -> None:
    assert load(tmp_path, text, suffix) == EXPECTED


@pytest.mark.parametrize(
    ("text", "suffix", "says"),
    [
        ("lines = []", ".toml", "lines"),
        ("feedetl_sn,pric\n1,2\n", ".csv", "med_list_codg"),
        ("feedetl_sn,med_list_codg,pric,price\n1,D1,2,3\n", ".csv", "price"),
        ("feedetl_sn,med_list_codg,pric\n1,D1,-2\n", ".csv", "pric"),
        ("feedetl_sn,med_list_codg,pric,cnt\n1,D1,2,--1\n", ".csv", "cnt"),
        ("feedetl_sn,med_list_codg,pric,cnt\n1,D1,2,1.00001\n", ".csv", "cnt"),
        ('feedetl_sn,med_list_codg,pric\n"1,D1,2\n', ".csv", "lines.csv"),
        ("feedetl_sn,med_list_codg,pric\n1,D1,2,3\n", ".csv", "more columns"),
        ("{", ".json", "lines.json"),
        ("[[lines]]\nfeedetl_sn = 1", ".toml", "feedetl_sn"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, suffix: str, says: str) -> None:
    with pytest.raises(BillFileError, match=says):
        load(tmp_path, text, suffix)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BillFileError):
        load_lines(tmp_path / "none.csv", today=TODAY)


def test_an_amount_given_is_taken_as_it_is(tmp_path: Path) -> None:
    (line,) = load(
        tmp_path,
        "feedetl_sn,med_list_codg,pric,cnt,init_feedetl_sn,det_item_fee_sumamt\n9,D1,0.335,-1,1,-0.33\n",
        ".csv",
    )
    assert line.gross_fen == -33


@given(
    price=st.integers(0, 10**9),
    quantity=st.integers(1, 10**6),
    refunds=st.lists(st.integers(1, 10**6), max_size=4),
)
def test_refunds_of_a_file_are_what_the_centre_nets(
    tmp_path_factory: pytest.TempPathFactory, price: int, quantity: int, refunds: list[int]
) -> None:
    rows = ["feedetl_sn,med_list_codg,pric,cnt,init_feedetl_sn"]
    yuan, count = f"{price / 1_000_000:.6f}", f"{quantity / 10_000:.4f}"
    rows.append(f"L,D1,{yuan},{count},")
    left = quantity
    for index, wanted in enumerate(refunds):
        taken = min(wanted, left)
        if taken:
            left -= taken
            rows.append(f"R{index},D1,{yuan},-{taken / 10_000:.4f},L")
    lines = load(tmp_path_factory.mktemp("lines"), "\n".join(rows), ".csv")
    net = net_lines(
        [
            EnteredLine(
                one.number, one.refunds, one.price_microyuan, one.quantity_e4, one.gross_fen
            )
            for one in lines
        ]
    )
    assert not isinstance(net, BillRefusal)
    assert sum(one.gross_fen for one in lines) == gross_of(price, left)


def test_a_line_without_a_day_keeps_the_one_it_was_sent_with(tmp_path: Path) -> None:
    """The same file again after midnight holds the same lines."""
    file = tmp_path / "lines.csv"
    file.write_text(CSV, encoding="utf-8")
    first = load_lines(file, today=TODAY)
    days = {line.number: line.date for line in first}
    tomorrow = TODAY + dt.timedelta(days=1)
    assert load_lines(file, today=tomorrow, known_days=days) == first
    assert load_lines(file, today=tomorrow)[1].date == tomorrow
