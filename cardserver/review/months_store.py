"""A month's review: opened once, sampled, flagged; and cases made of what was found.

Whatever is broken off is begun again and comes to the same: a settlement has one case. Not here:
what is drawn (`sampling.py`) and found (`flagging.py`).
"""

import datetime as dt
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from cardserver.claims import tables as claims
from cardserver.claims.audit_store import INSERT_AUDIT, audit_row
from cardserver.registry.roles import Role
from cardserver.review import tables
from cardserver.review.cases_store import INSERT_CASES, new_case
from cardserver.review.population_store import (
    Flagged,
    StratumDrawn,
    draw_sample,
    find_flagged,
)
from cardserver.review.rules_store import review_rules_for, review_rules_named
from cardserver.review.sampling import SEED_SIZE, Stratum
from cardserver.review.values import FUND, Refusal, Reviewer, Source
from ledger import tables as ledger
from ledger.bulk_store import Row, insert, put, select, update
from ledger.calendar import business_date
from ledger.database_store import Database, in_batches
from ledger.scripts import Script

CASES_A_STEP = 250
"""So many are made in one transaction: some ten milliseconds on SQLite."""
NUMBERS_A_MONTH = 10**7

_MONTH_COLUMNS = (
    "rules", "seed", "opened_time_ms", "operator_no", "cases", "sampled_time_ms",
    "flagged_time_ms",
)  # fmt: skip
_FIND_MONTH = select(tables.review_month, _MONTH_COLUMNS, by=("month",))
_LOCK_MONTH = select(tables.review_month, ("cases",), by=("month",), lock=True)
_OPEN_MONTH = insert(tables.review_month, ("month", *_MONTH_COLUMNS), ignore_existing=True)
_COUNT_CASES = update(tables.review_month, set=("cases",), by=("month",))
_NOTE_SAMPLED = update(tables.review_month, set=("sampled_time_ms",), by=("month",))
_NOTE_FLAGGED = update(tables.review_month, set=("flagged_time_ms",), by=("month",))
_PUT_STRATA = put(
    tables.review_stratum,
    set=("settlements", "fund_pay_fen", "sampled"),
    by=("month", "institution_no", "clearing_type"),
)
_STRATA = select(
    tables.review_stratum,
    ("institution_no", "clearing_type", "settlements", "fund_pay_fen", "sampled"),
    by=("month",),
)
_CASES_OF = select(tables.review_case, ("case_no", "sources", "flags"), by=("claim_no",))
_SET_SOURCES = update(tables.review_case, set=("sources", "flags"), by=("case_no",))
_CLAIMS = select(
    claims.claim,
    ("person_no", "institution_no", "undoes", "total_fen", "fund_pay_fen"),
    by=("entry_no",),
)
_ENTRIES = select(ledger.entry, ("period", "clearing_type", "business_date"), by=("entry_no",))
_UNDOING = select(claims.claim, ("entry_no",), by=("undoes",))
_REVIEW_ROLES = frozenset({Role.ACCEPTANCE, Role.CALCULATION, Role.AUDIT})
_FLAGS_SIZE_MAX = 400
OnProgress = Callable[[int], None]


class ReviewError(Exception):
    """A month's review can't be opened, sampled or flagged as asked; says why."""


class Month(Struct, frozen=True):
    """A month whose settlements are reviewed.

    Attributes:
        rules: The version of the rules by which it was opened.
        seed: Of the sample.
        cases: How many numbers of cases were given out.
        sampled_time_ms: When the sample was whole; 0 not yet.
        flagged_time_ms: When flags were last looked for; 0 never.
    """

    month: int
    rules: str
    seed: bytes
    opened_time_ms: int
    operator_no: int
    cases: int
    sampled_time_ms: int
    flagged_time_ms: int


class Made(Struct, frozen=True):
    """What sampling or flagging came to.

    Attributes:
        found: Settlements drawn or found.
        opened: Cases that are new.
        strata: What was sampled of what; empty for flags.
    """

    found: int
    opened: int
    strata: tuple[StratumDrawn, ...] = ()


async def find_month(database: Database, month: int) -> Month | None:
    """Read how a month's review stands; None where it was not opened."""
    rows = await database.fetch(_FIND_MONTH([(month,)]))
    if not rows:
        return None
    number, rules, seed, *rest = rows[0]
    return Month(number, rules, bytes(seed), *rest)


async def find_strata(database: Database, month: int) -> list[StratumDrawn]:
    """Read what a month's sample was drawn from."""
    rows = await database.fetch(_STRATA([(month,)]))
    return sorted(
        StratumDrawn(Stratum(institution_no, clearing_type), *rest)
        for _, institution_no, clearing_type, *rest in rows
    )


async def open_month(
    database: Database, month: int, who: Reviewer, *, seed: bytes, now_ms: int
) -> Month:
    """Open a month's review: rules and seed are fixed, once and for all.

    Args:
        database: Started.
        month: YYYYMM.
        who: An auditor of the fund.
        seed: 32 random bytes, drawn now, so that nobody could know the sample before.
        now_ms: The time.

    Raises:
        ReviewError: No rules are in force, this is nobody who may, or it was opened before.
    """
    assert len(seed) == SEED_SIZE
    if who.institution_no != FUND or who.role != Role.AUDIT:
        raise ReviewError(Refusal.WRONG_ROLE.text_en)
    rules = await review_rules_for(database, month)
    if rules is None:
        raise ReviewError("no review rules are in force for this month: activate a file first")
    row = (month, rules.identity, seed, now_ms, who.operator_no, 0, 0, 0)

    def script() -> Script[bool]:
        if not (yield _OPEN_MONTH([row])):
            return False
        yield INSERT_AUDIT(
            [_audited(who, now_ms, "review open", month, f"{rules.identity} seed {seed.hex()}")]
        )
        return True

    if not await database.transact(script):
        raise ReviewError(f"the review of {month} was opened before: its seed stays")
    found = await find_month(database, month)
    assert found is not None, "it was committed"
    return found


async def sample_month(
    database: Database,
    month: int,
    who: Reviewer,
    *,
    now_ms: int,
    timezone: dt.tzinfo,
    on_progress: OnProgress = lambda _: None,
) -> Made:
    """Draw the month's sample and open a case for each settlement of it.

    Drawn once: done again, it tells what was drawn.

    Raises:
        ReviewError: The month was not opened, has not ended, or this is nobody who may.
    """
    opened = await _opened(database, month, who)
    if opened.sampled_time_ms:
        strata = await find_strata(database, month)
        return Made(sum(one.sampled for one in strata), 0, tuple(strata))
    if business_date(now_ms, timezone) // 100 <= month:
        raise ReviewError(f"{month} has not ended: an institution would know what is not sampled")
    rules = await review_rules_named(database, opened.rules)
    sample = await draw_sample(database, month, rules.document.sampling, opened.seed, on_progress)
    made = 0
    for start in range(0, len(sample.drawn), CASES_A_STEP):
        found = {one.claim_no: "" for one in sample.drawn[start : start + CASES_A_STEP]}
        made += await _make_cases(database, month, found, Source.SAMPLED, now_ms)
    rows = [(month, *one.stratum, *one[1:]) for one in sample.strata]

    def script() -> Script[None]:
        for some in in_batches(rows, CASES_A_STEP):
            yield _PUT_STRATA(some)
        yield _NOTE_SAMPLED([(now_ms, month)])
        detail = f"{len(sample.drawn)} drawn, {made} cases opened"
        yield INSERT_AUDIT([_audited(who, now_ms, "review sample", month, detail)])

    await database.transact(script)
    return Made(len(sample.drawn), made, tuple(sample.strata))


async def flag_month(
    database: Database,
    month: int,
    who: Reviewer,
    *,
    now_ms: int,
    timezone: dt.tzinfo,
    on_progress: OnProgress = lambda _: None,
) -> Made:
    """Open a case for each settlement of the month in which a flag finds something.

    Done again, it opens cases for what came since.

    Raises:
        ReviewError: The month was not opened, or this is nobody who may.
    """
    opened = await _opened(database, month, who)
    rules = await review_rules_named(database, opened.rules)
    flagged = _FoundFlags()
    await find_flagged(
        database,
        month,
        rules.document.flags,
        seed=opened.seed,
        timezone=timezone,
        on_found=flagged.add,
        on_progress=on_progress,
    )
    made = 0
    for found in flagged.in_batches(CASES_A_STEP):
        made += await _make_cases(database, month, found, Source.FLAGGED, now_ms)
    detail = f"{flagged.count} found, {made} cases opened"
    await database.execute(
        _NOTE_FLAGGED([(now_ms, month)]),
        INSERT_AUDIT([_audited(who, now_ms, "review flag", month, detail)]),
    )
    return Made(flagged.count, made)


async def choose_settlement(
    database: Database, month: int, claim_no: int, who: Reviewer, *, reason: str, now_ms: int
) -> int:
    """Open a case for a settlement by hand; return its number, also where it had one.

    Raises:
        ReviewError: There is no such settlement in the month that stands and that the fund paid.
    """
    await _opened(database, month, who)
    if not reason.strip():
        raise ReviewError(Refusal.NOTE_MISSING.text_en)
    await _make_cases(database, month, {claim_no: ""}, Source.CHOSEN, now_ms)
    rows = await database.fetch(_CASES_OF([(claim_no,)]))
    if not rows or rows[0][1] // NUMBERS_A_MONTH != month:
        raise ReviewError(f"no settlement of {month} stands under this number that the fund paid")
    case_no: int = rows[0][1]
    await database.execute(INSERT_AUDIT([_audited(who, now_ms, "review choose", case_no, reason)]))
    return case_no


class _FoundFlags:
    """Settlements and the flags that found something in them, ten bytes each."""

    def __init__(self) -> None:
        self._numbers = array("q")
        self._which = array("L")
        self._texts: dict[tuple[str, ...], int] = {}

    @property
    def count(self) -> int:
        """How many settlements."""
        return len(self._numbers)

    def add(self, found: Flagged) -> None:
        """Take one."""
        self._numbers.append(found.claim_no)
        self._which.append(self._texts.setdefault(found.flags, len(self._texts)))

    def in_batches(self, size_max: int) -> Iterator[dict[int, str]]:
        """Give them by number, with the flags' names."""
        texts = [_names((), flags) for flags in self._texts]
        for start in range(0, self.count, size_max):
            part = slice(start, start + size_max)
            pairs = zip(self._numbers[part], self._which[part], strict=True)
            yield {number: texts[which] for number, which in pairs}


async def _opened(database: Database, month: int, who: Reviewer) -> Month:
    if who.institution_no != FUND or who.role not in _REVIEW_ROLES:
        raise ReviewError(Refusal.WRONG_ROLE.text_en)
    opened = await find_month(database, month)
    if opened is None:
        raise ReviewError(f"the review of {month} is not open: `cardserver review open` first")
    return opened


async def _make_cases(
    database: Database, month: int, found: Mapping[int, str], source: Source, now_ms: int
) -> int:
    """Open cases, or add to those that there are why they were opened; return how many are new."""

    def script() -> Script[int]:
        # The month's row puts all who open cases in order.
        ((_, count),) = yield _LOCK_MONTH([(month,)])
        keys = [(claim_no,) for claim_no in sorted(found)]
        existing = {row[0]: row[1:] for row in (yield _CASES_OF(keys))}
        changed = [
            row
            for claim_no, (case_no, sources, flags) in sorted(existing.items())
            if (row := _with_source(case_no, sources, flags, source, found[claim_no])) is not None
        ]
        if changed:
            yield _SET_SOURCES(changed)
        new = [key for key in keys if key[0] not in existing]
        if not new:
            return 0
        settled = {row[0]: row[1:] for row in (yield _CLAIMS(new))}
        entries = {row[0]: row[1:] for row in (yield _ENTRIES(new))}
        undone = {row[0] for row in (yield _UNDOING(new))}
        rows: list[Row] = []
        for claim_no in sorted(settled.keys() - undone):
            person_no, institution_no, undoes, total_fen, fund_pay_fen = settled[claim_no]
            period, clearing_type, day = entries[claim_no]
            if undoes is not None or fund_pay_fen <= 0 or period != month:
                continue
            rows.append(
                new_case(
                    case_no=month * NUMBERS_A_MONTH + count + len(rows) + 1,
                    month=month,
                    claim_no=claim_no,
                    person_no=person_no,
                    institution_no=institution_no,
                    clearing_type=clearing_type,
                    business_date=day,
                    total_fen=total_fen,
                    fund_pay_fen=fund_pay_fen,
                    sources=source.value,
                    flags=found[claim_no],
                    opened_time_ms=now_ms,
                )
            )
        if rows:
            yield INSERT_CASES(rows)
            yield _COUNT_CASES([(count + len(rows), month)])
        return len(rows)

    return await database.transact(script)


def _with_source(case_no: int, sources: int, flags: str, source: Source, found: str) -> Row | None:
    names = _names(flags.split(), found.split())
    if sources | source == sources and names == flags:
        return None
    return (sources | source, names, case_no)


def _names(known: Sequence[str], more: Sequence[str]) -> str:
    """Write flags as a case keeps them; what its column can't hold is left out."""
    names = [*known, *(name for name in more if name not in known)]
    while len(text := " ".join(names)) > _FLAGS_SIZE_MAX:
        names.pop()
    return text


def _audited(who: Reviewer, now_ms: int, action: str, subject: int, detail: str) -> Row:
    return audit_row(
        time_ms=now_ms, institution_no=0, terminal_no=0, operator_no=who.operator_no,
        action=action, subject=str(subject), detail=detail,
    )  # fmt: skip
