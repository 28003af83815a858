"""An institution's file: what a terminal writes is read, and each row that is none is named."""

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cardserver.reconciliation import day_file
from cardserver.reconciliation.comparison import key_of, totals_of
from cardserver.reconciliation.day_file import BadRow, DayFileError, Expected, SortedDay
from protocol.terminal.messages import ReconcileRow, RowState
from terminals.day_file import COLUMNS, write_day

CODE = "H11019900001"
DAY = dt.date(2026, 11, 21)
EXPECTED = Expected(CODE, "2026-11-21")
GOOD = {
    "institution": CODE, "business_date": "2026-11-21", "terminal": "T1",
    "msgid": f"{CODE}202611211000000001", "kind": "settlement", "setl_id": "7",
    "clearing_type": "11", "total": "10.00", "fund": "7", "account": "2.5", "cash": "0.50",
    "state": "stands",
}  # fmt: skip


def read(file: Path, expected: Expected = EXPECTED) -> tuple[list[ReconcileRow], list[BadRow]]:
    refused: list[BadRow] = []
    with SortedDay.read(file, expected, refused.append) as day:
        rows = list(day)
        assert (day.count, day.refused) == (len(rows), len(refused))
        assert day.totals == totals_of(rows)
        assert list(day) == rows
    return rows, refused


def written(folder: Path, *rows: dict[str, str], encoding: str = "utf-8") -> Path:
    file = folder / "day.csv"
    lines = [",".join(COLUMNS), *(",".join(row[name] for name in COLUMNS) for row in rows)]
    file.write_text("\n".join(lines) + "\n", encoding=encoding)
    return file


rows = st.builds(
    ReconcileRow,
    msgid=st.integers(0, 99).map(lambda number: f"{CODE}20261121100000{number:04d}"),
    terminal=st.sampled_from(["T1", "t1", "Ä2", '",']),
    is_refund=st.booleans(),
    setl_id=st.sampled_from(["", "7"]),
    clearing_type=st.sampled_from([11, 21, 41]),
    total_fen=st.just(0),
    fund_pay_fen=st.just(0),
    account_pay_fen=st.just(0),
    cash_fen=st.just(0),
    state=st.just(RowState.STANDS),
)


@given(given_rows=st.lists(rows, max_size=30, unique_by=key_of), chunk=st.integers(1, 7))
@example(given_rows=[], chunk=1)
def test_what_a_terminal_writes_is_read_in_order(
    given_rows: list[ReconcileRow], chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("day") / "day.csv"
    with file.open("w", encoding="utf-8", newline="") as opened:
        assert write_day(opened, CODE, DAY, given_rows) == len(given_rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(day_file, "ROWS_A_CHUNK", chunk)
        assert read(file) == (sorted(given_rows, key=key_of), [])


def test_amounts_and_states_are_read_exactly(tmp_path: Path) -> None:
    undone = GOOD | {"msgid": f"{CODE}202611211000000002", "state": "undone"}
    refund = GOOD | {
        "kind": "refund", "total": "-10", "fund": "-7.00", "account": "-2.50", "cash": "-.5"
    }  # fmt: skip
    refund["cash"] = "-0.5"
    found, refused = read(written(tmp_path, GOOD, undone, refund, encoding="utf-8-sig"))
    assert refused == []
    assert [(one.total_fen, one.fund_pay_fen, one.account_pay_fen, one.cash_fen)
            for one in found] == [(1000, 700, 250, 50), (-1000, -700, -250, -50),
                                  (1000, 700, 250, 50)]  # fmt: skip
    assert [one.state for one in found] == [RowState.STANDS, RowState.STANDS, RowState.UNDONE]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"institution": "H11019900002"}, "institution 'H11019900002' is not H11019900001"),
        ({"business_date": "2026-11-22"}, "business_date '2026-11-22' is not 2026-11-21"),
        ({"terminal": ""}, "terminal '' is no terminal's code"),
        ({"terminal": "T2"}, "terminal 'T2' is not T1"),
        ({"msgid": "x"}, "msgid 'x': a msgid is 12 letters"),
        ({"msgid": "H11019900002202611211000000001"}, "begins with another institution's code"),
        ({"msgid": f"{CODE}202613211000000001"}, "the msgid's time does not exist"),
        ({"kind": "sale"}, "kind 'sale' is none of settlement, refund"),
        ({"setl_id": "7" * 41}, "is no settlement's number"),
        ({"clearing_type": "12"}, "clearing_type '12' is none of 11, 21, 41"),
        ({"total": "1e3"}, "total '1e3' is no amount in yuan"),
        ({"cash": "0.005"}, "cash '0.005' is no amount in yuan"),
        ({"fund": ""}, "fund '' is no amount in yuan"),
        ({"total": "-10"}, "total -10 has the sign of another kind"),
        ({"kind": "refund"}, "total 10.00 has the sign of another kind"),
        ({"cash": "0.51"}, "fund, account and cash are more than the total"),
        ({"state": "open"}, "state 'open' is none of stands, undone"),
        ({"cash": "0.50,extra"}, "13 columns in place of 12"),
        (
            {"kind": "refund", "total": "0", "fund": "0", "account": "0", "cash": "0",
             "state": "undone"},
            "a refund can't be undone",
        ),
    ],
)  # fmt: skip
def test_a_row_that_is_none_is_named_with_its_line(
    change: dict[str, str], reason: str, tmp_path: Path
) -> None:
    file = written(tmp_path, GOOD | {"msgid": f"{CODE}202611211000000009"}, GOOD | change)
    found, (bad,) = read(file, Expected(CODE, "2026-11-21", "T1"))
    assert len(found) == 1
    assert bad.line == 3
    assert reason in bad.reason


def test_the_same_row_twice_is_used_once(tmp_path: Path) -> None:
    dearer = GOOD | {"total": "11.00"}
    found, refused = read(written(tmp_path, GOOD, dearer, GOOD))
    assert [one.total_fen for one in found] == [1000]
    assert refused == [BadRow(3, "the same row as line 2"), BadRow(4, "the same row as line 2")]


@pytest.mark.parametrize(
    "content",
    [b"", b"a,b\n1,2\n", b"\xff\xfe", ",".join((*COLUMNS, "more")).encode(),
     ",".join(COLUMNS).encode() + b'\n"open'],
)  # fmt: skip
def test_a_file_that_is_none_is_refused_whole(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "day.csv"
    file.write_bytes(content)
    with pytest.raises(DayFileError):
        read(file)
    with pytest.raises(DayFileError):
        read(tmp_path / "absent.csv")
