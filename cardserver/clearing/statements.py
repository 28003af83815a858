"""A month's statements, one institution at a time: its clearing as PDF and CSV, its entries as CSV.

Entries are streamed: memory holds one institution's days, never its entries. CSV begins with a
byte-order mark, by which spreadsheets know that it is UTF-8. Not here: what is read
(`statement_store.py`), how a page looks (`printed.py`).
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from cardserver.clearing.amounts import month_text, type_text, yuan
from cardserver.clearing.plan import StoredClearing
from cardserver.clearing.printed import Grid, Page, printed
from cardserver.clearing.statement_store import DaySum, StatementEntry
from ledger.entries import EntryKind

_KINDS = {
    EntryKind.OPENING: ("期初", "opening"),
    EntryKind.SETTLEMENT: ("结算", "settlement"),
    EntryKind.CANCELLATION: ("撤销", "cancellation"),
    EntryKind.REVERSAL: ("冲正", "reversal"),
    EntryKind.REFUND: ("退费", "refund"),
    EntryKind.CLEARING: ("清算", "clearing"),
    EntryKind.PAYMENT: ("付款", "payment"),
    EntryKind.PAYMENT_RETURNED: ("退汇", "payment returned"),
    EntryKind.DEPOSIT_RELEASED: ("退还保证金", "deposit released"),
    EntryKind.REVIEW_DEDUCTION: ("审核扣款", "review deduction"),
}
_CARE = (EntryKind.SETTLEMENT, EntryKind.CANCELLATION, EntryKind.REVERSAL, EntryKind.REFUND)
_ENTRY_HEADER = (
    "业务日期 date", "业务号 number", "类别 type", "业务 kind", "金额(元) amount",
    "原业务号 undoes", "原期间 of period",
)  # fmt: skip
_CLEARING_HEADER = (
    "清算类别 type", "结算笔数 settled", "结算金额 settled amount", "撤销笔数 undone",
    "撤销金额 undone amount", "其中跨期 of earlier months", "其他 other", "上期结转 brought",
    "申报金额 applied", "审核扣款 review", "总额控制扣减 cap", "保证金 withheld", "应付金额 paid",
    "转下期 carried", "清算号 clearing",
)  # fmt: skip

_FORMULA = (
    "申报 = 应付 + 保证金 + 扣款（审核与总额控制）；申报 = 结算 + 撤销 + 其他 + 上期结转 - 转下期"
)
_SIGNED = (
    "经办人 prepared by: ____________    复核 checked by: ____________"
    "    机构确认 confirmed by: ____________"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Whom a statement is for, and whose it is."""

    fund: str
    code: str
    name: str
    month: int


def file_name(place: Place, ending: str) -> str:
    """Name a statement's file; codes are letters and digits, whatever a registry holds."""
    code = "".join(letter for letter in place.code if letter.isalnum())
    return f"{code}-{place.month}{ending}"


def write_clearing_csv(folder: Path, place: Place, clearings: Sequence[StoredClearing]) -> None:
    """Write an institution's clearings, one a line."""
    with (folder / file_name(place, ".csv")).open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_CLEARING_HEADER)
        writer.writerows(_clearing_row(one, _plain) for one in clearings)


def write_entries_csv(folder: Path, place: Place, entries: Iterable[StatementEntry]) -> int:
    """Write an institution's entries as they come; return how many."""
    path = folder / file_name(place, "-entries.csv")
    count = 0
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_ENTRY_HEADER)
        for one in entries:
            count += 1
            writer.writerow((
                _day(one.day), one.entry_no, one.clearing_type, _kind(one.kind),
                _plain(one.amount_fen), one.undoes or "",
                month_text(one.of_period) if one.of_period else "",
            ))  # fmt: skip
    return count


def by_institution(
    entries: Iterable[StatementEntry],
) -> Iterator[tuple[int, Iterator[StatementEntry]]]:
    """Cut a stream of entries where the institution changes."""
    return groupby(entries, key=lambda one: one.institution_no)


def statement_pdf(place: Place, clearings: Sequence[StoredClearing], days: Sequence[DaySum]
                  ) -> bytes:  # fmt: skip
    """Print an institution's statement."""
    rows = [_clearing_row(one, yuan) for one in clearings]
    paid_fen = sum(one.clearing.result.paid_fen for one in clearings)
    page = Page(
        title="医疗保障基金月度清算单 Monthly clearing statement",
        facts=(
            ("经办机构 fund", place.fund),
            ("医药机构 institution", f"{place.code} {place.name}"),
            ("清算期间 month", month_text(place.month)),
            ("应付合计 to be paid", f"{yuan(paid_fen)} 元 CNY"),
        ),
        parts=(
            "清算结果 clearing",
            _turned(rows),
            _FORMULA,
            "每日合计 by day",
            Grid(
                ("日期 date", "类别 type", "业务 kind", "笔数 count", "金额 amount"),
                [
                    (_day(one.day), type_text(one.clearing_type), _kind(one.kind),
                     f"{one.count:,}", yuan(one.amount_fen))
                    for one in days
                    if one.kind in _CARE or one.kind == EntryKind.REVIEW_DEDUCTION
                ],
                left_count=3,
            ),
        ),
        footer=(_SIGNED,),
    )  # fmt: skip
    return printed(page)


def _turned(rows: Sequence[tuple[str, ...]]) -> Grid:
    """Turn clearings on their side: a line a figure, a column a clearing type."""
    header = ("", *(row[0] for row in rows))
    lines = [
        (label, *(row[index] for row in rows))
        for index, label in enumerate(_CLEARING_HEADER[1:], 1)
    ]
    return Grid(header, lines)


def _clearing_row(stored: StoredClearing, amount: Callable[[int], str]) -> tuple[str, ...]:
    one = stored.clearing
    totals, result = one.totals, one.result
    return (
        type_text(one.clearing_type),
        str(totals.settled_count), amount(totals.settled_fen),
        str(totals.undone_count), amount(totals.undone_fen), amount(totals.earlier_fen),
        amount(totals.other_fen), amount(one.before.brought_fen), amount(result.applied_fen),
        amount(totals.review_fen), amount(result.cap_fen), amount(result.withheld_fen),
        amount(result.paid_fen), amount(result.carried_fen), str(stored.clearing_no),
    )  # fmt: skip


def _plain(amount_fen: int) -> str:
    """Write yuan for a machine: without separators of thousands."""
    return yuan(amount_fen).replace(",", "")


def _kind(kind: int) -> str:
    return " ".join(_KINDS.get(EntryKind(kind), ("", str(kind))))


def _day(day: int) -> str:
    return f"{day // 10_000}-{day // 100 % 100:02d}-{day % 100:02d}"
