"""The statement of a personal account: opening balance, each movement and why, closing balance.

It is made of postings alone, and adds up: opening and movements are the closing balance.
Not here: how it is printed (`commands/account.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec import Struct

from cardserver.funding.contributions_store import PostedContribution, contributions_of
from cardserver.funding.rules import RulesVersion, load_rules
from cardserver.funding.rules_store import activated_rules
from cardserver.funding.runs_store import About, about_entries
from cardserver.funding.statement_store import Movement, movements_of, owners_of
from ledger.database_store import Database
from ledger.entries import EntryKind

_UNDOING = frozenset({EntryKind.CANCELLATION, EntryKind.REVERSAL, EntryKind.REFUND})
_OF_RUNS = frozenset({EntryKind.ALLOTMENT, EntryKind.INTEREST})
_UNDONE = {
    EntryKind.CANCELLATION: ("撤销结算", "settlement cancelled:"),
    EntryKind.REVERSAL: ("冲正结算", "settlement reversed:"),
    EntryKind.REFUND: ("退费，冲回结算", "refund, settlement given back:"),
}


class StatementLine(Struct, frozen=True):
    """A movement.

    Attributes:
        day: The fund's day, YYYYMMDD.
        number: Of the entry: a settlement's number, or that of the posting in bulk.
        kind: Of the entry.
        amount_fen: What the account gained; negative: what it paid.
        balance_fen: What it held then.
    """

    day: int
    time_ms: int
    number: str
    kind: str
    reason_zh: str
    reason_en: str
    amount_fen: int
    balance_fen: int


class Statement(Struct, frozen=True):
    """An account from one day to another, both included."""

    person_no: int
    first_day: int
    last_day: int
    opening_fen: int
    lines: tuple[StatementLine, ...]
    closing_fen: int
    gained_fen: int
    paid_fen: int


async def statement_of(
    database: Database, person_no: int, *, first_day: int, last_day: int
) -> Statement:
    """Make a statement.

    Args:
        database: Started.
        person_no: The person's number, as it is kept.
        first_day: YYYYMMDD.
        last_day: The same, not before.
    """
    movements = await movements_of(database, person_no)
    opening_fen = sum(one.amount_fen for one in movements if one.business_date < first_day)
    wanted = [one for one in movements if first_day <= one.business_date <= last_day]
    reasons = await _reasons(database, person_no, wanted)
    lines: list[StatementLine] = []
    held_fen = opening_fen
    for one in wanted:
        held_fen += one.amount_fen
        reason_zh, reason_en = reasons.of(one)
        lines.append(
            StatementLine(
                one.business_date,
                one.recorded_time_ms,
                str(one.entry_no),
                _kind(one.kind),
                reason_zh,
                reason_en,
                one.amount_fen,
                held_fen,
            )
        )
    return Statement(
        person_no, first_day, last_day, opening_fen, tuple(lines), held_fen,
        sum(line.amount_fen for line in lines if line.amount_fen > 0),
        -sum(line.amount_fen for line in lines if line.amount_fen < 0),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Reasons:
    """What movements are called."""

    person_no: int
    runs: Mapping[int, About]
    rules: Mapping[str, RulesVersion]
    contributions: Mapping[int, Sequence[PostedContribution]]
    merged: Mapping[int, set[int]]

    def of(self, one: Movement) -> tuple[str, str]:
        """Say why an account moved, in Chinese and English."""
        if one.kind in _UNDOING:
            zh, en = _UNDONE[EntryKind(one.kind)]
            return self._aided(one, f"{zh} {one.undoes}", f"{en} {one.undoes}")
        if one.kind == EntryKind.SETTLEMENT:
            place = one.institution or ""
            return self._aided(one, f"{place} 结算", f"settlement at {place}")
        if one.kind in _OF_RUNS and one.entry_no in self.runs:
            return self._of_run(self.runs[one.entry_no])
        if one.kind == EntryKind.CONTRIBUTION and one.entry_no in self.contributions:
            return _of_contributions(self.contributions[one.entry_no])
        if one.kind == EntryKind.OPENING:
            return "期初余额转入", "balance taken over at opening"
        if one.kind == EntryKind.MERGE:
            others = sorted(self.merged.get(one.entry_no, set()) - {self.person_no})
            names = ", ".join(map(str, others))
            return f"人员合并，自 {names} 转入", f"records merged: from {names}"
        return _kind(one.kind), _kind(one.kind)

    def _aided(self, one: Movement, zh: str, en: str) -> tuple[str, str]:
        if one.person_no in {0, self.person_no}:
            return zh, en
        return f"家庭共济（{one.person_no}）：{zh}", f"family aid for {one.person_no}: {en}"

    def _of_run(self, about: About) -> tuple[str, str]:
        version = self.rules.get(about.rules)
        if about.kind == EntryKind.INTEREST:
            year = about.month // 100
            return f"{year} 年度利息", f"interest of {year}"
        titles = [
            (rule.title_zh, rule.title_en)
            for rule in (version.document.allotments if version else ())
            if rule.name == about.rule
        ]
        zh, en = titles[0] if titles else (about.rule, about.rule)
        return f"{about.month} {zh}", f"{about.month} {en}"


def _of_contributions(some: Sequence[PostedContribution]) -> tuple[str, str]:
    parts = sorted({(one.month, one.employer or "", bool(one.reverses)) for one in some})
    zh = "；".join(
        f"{month} {employer} 缴费{'冲销' if is_reversed else '划入'}"
        for month, employer, is_reversed in parts
    )
    en = "; ".join(
        f"contribution {'reversed, ' if is_reversed else ''}{month}, {employer}"
        for month, employer, is_reversed in parts
    )
    return zh, en


async def _reasons(database: Database, person_no: int, movements: Sequence[Movement]) -> _Reasons:
    by_kind: dict[int, list[int]] = {}
    for one in movements:
        by_kind.setdefault(one.kind, []).append(one.entry_no)
    runs = await about_entries(database, [no for kind in _OF_RUNS for no in by_kind.get(kind, ())])
    rules: dict[str, RulesVersion] = {}
    if runs:
        versions = [load_rules(one.text) for one in await activated_rules(database)]
        rules = {version.identity: version for version in versions}
    contributions: dict[int, list[PostedContribution]] = {}
    if EntryKind.CONTRIBUTION in by_kind:
        for posted in await contributions_of(database, person_no):
            contributions.setdefault(posted.entry_no, []).append(posted)
    merged = await owners_of(database, by_kind.get(EntryKind.MERGE, ()))
    return _Reasons(person_no, runs, rules, contributions, merged)


def _kind(kind: int) -> str:
    return EntryKind(kind).name.lower()
