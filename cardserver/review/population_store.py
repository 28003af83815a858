"""The settlements of a month that stand and of which the fund paid something, read as they go by.

In one snapshot, a few thousand at a time, so that a month of millions takes little memory.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    false,
    func,
    literal,
    or_,
    select,
)

from cardserver.claims import tables as claims
from cardserver.registry import tables as registry
from cardserver.review.flagging import (
    Detail,
    Knowledge,
    ListAges,
    Settlement,
    flags_of,
    is_at,
    look_into,
    needs_detail,
)
from cardserver.review.rules_document import AnyFlag, OftenFlag, Sampling
from cardserver.review.sampling import Drawn, Place, Sampler, Stratum, sample_size
from ledger import tables as ledger
from ledger.database_store import Database
from ledger.period_store import numbers_of_period

CHUNK_ROWS = 5_000

_claim = claims.claim.c
_entry = ledger.entry.c
_undoing = claims.claim.alias("undoing")
OnProgress = Callable[[int], None]
# SQLAlchemy's rows and statements have whatever columns were selected.
_Statement = Select[*tuple[Any, ...]]
_Row = Row[*tuple[Any, ...]]


class StratumDrawn(NamedTuple):
    """What a stratum held, and how much of it was drawn."""

    stratum: Stratum
    settlements: int
    fund_pay_fen: int
    sampled: int


class Sample(NamedTuple):
    """A month's sample, and what it was drawn from."""

    drawn: list[Drawn]
    strata: list[StratumDrawn]


class Flagged(NamedTuple):
    """A settlement in which flags found something."""

    claim_no: int
    flags: tuple[str, ...]


async def count_population(database: Database, month: int) -> int:
    """Tell how many settlements there are to be drawn from, for a progress bar."""

    def count(connection: Connection) -> int:
        wanted = select(func.count()).select_from(_standing()).where(*_of_month(connection, month))
        return connection.execute(wanted).scalar_one()

    return await database.report(count)


async def draw_sample(
    database: Database, month: int, sampling: Sampling, seed: bytes, on_progress: OnProgress
) -> Sample:
    """Draw a month's sample as `sampling.py` says."""

    def draw(connection: Connection) -> Sample:
        places = _places(connection)
        rows_of_strata = connection.execute(_strata(connection, month))
        counted = [
            (Stratum(institution_no, clearing_type), count, fund_fen)
            for institution_no, clearing_type, count, fund_fen in rows_of_strata
        ]
        sizes = {
            stratum: sample_size(sampling, stratum, places[stratum.institution_no], count)
            for stratum, count, _ in counted
        }
        sampler = Sampler(seed, sizes)
        numbers = select(_claim.entry_no, _claim.institution_no, _entry.clearing_type)
        for rows in _stream(connection, numbers, month):
            for claim_no, institution_no, clearing_type in rows:
                sampler.see(Stratum(institution_no, clearing_type), claim_no)
            on_progress(len(rows))
        strata = [
            StratumDrawn(stratum, count, int(fund_fen), sizes[stratum])
            for stratum, count, fund_fen in sorted(counted)
        ]
        return Sample(list(sampler.drawn()), strata)

    return await database.report(draw)


async def find_flagged(
    database: Database,
    month: int,
    flags: Sequence[AnyFlag],
    *,
    seed: bytes,
    timezone: dt.tzinfo,
    on_found: Callable[[Flagged], None],
    on_progress: OnProgress,
) -> None:
    """Tell of every settlement of a month in which flags find something, as they go by."""

    def find(connection: Connection) -> None:
        places = _places(connection)
        knowledge = Knowledge(
            seed=seed,
            timezone=timezone,
            places=places,
            list_ages=_list_ages(connection),
            too_often={
                flag.name: _too_often(connection, month, flag, places)
                for flag in flags
                if isinstance(flag, OftenFlag)
            },
        )
        has_detail = needs_detail(flags)
        for rows in _stream(connection, _settlements(has_detail=has_detail), month):
            seen = [Settlement(*row) for row in rows]
            details = [look_into(one) for one in seen]
            known = replace(knowledge, refunded_days=_refunded_days(connection, details))
            for one, detail in zip(seen, details, strict=True):
                found = flags_of(one, detail, flags, known)
                if found:
                    on_found(Flagged(one.claim_no, found))
            on_progress(len(rows))

    await database.report(find)


def _standing() -> Any:  # noqa: ANN401 - a join, for which SQLAlchemy has no short name
    """Join a settlement with its entry, and with what undid it."""
    return claims.claim.join(ledger.entry, _entry.entry_no == _claim.entry_no).outerjoin(
        _undoing, _undoing.c.undoes == _claim.entry_no
    )


def _of_month(connection: Connection, month: int) -> tuple[ColumnElement[bool], ...]:
    # The period decides; the numbers spare the reading of other months.
    numbers = numbers_of_period(connection, month)
    return (
        or_(false(), *(_claim.entry_no.between(first, last) for first, last in numbers)),
        or_(false(), *(_entry.entry_no.between(first, last) for first, last in numbers)),
        _entry.period == month,
        _claim.undoes.is_(None),
        _undoing.c.entry_no.is_(None),
        _claim.fund_pay_fen > 0,
    )


def _stream(connection: Connection, columns: _Statement, month: int) -> Iterator[Sequence[_Row]]:
    wanted = columns.select_from(_standing()).where(*_of_month(connection, month))
    result = connection.execute(wanted.execution_options(yield_per=CHUNK_ROWS))
    yield from result.partitions()


def _strata(connection: Connection, month: int) -> _Statement:
    stratum = (_claim.institution_no, _entry.clearing_type)
    return (
        select(*stratum, func.count(), func.sum(_claim.fund_pay_fen))
        .select_from(_standing())
        .where(*_of_month(connection, month))
        .group_by(*stratum)
    )


def _settlements(*, has_detail: bool) -> _Statement:
    return select(
        _claim.entry_no, _claim.person_no, _claim.institution_no, _entry.clearing_type,
        _claim.insutype, _claim.med_type, _entry.business_date, _claim.care_date,
        _entry.recorded_time_ms, _claim.total_fen, _claim.fund_pay_fen, _claim.card_no,
        _claim.proof, _claim.list_version, _claim.detail if has_detail else literal(b""),
    )  # fmt: skip


def _places(connection: Connection) -> Mapping[int, Place]:
    columns = registry.institution.c
    rows = connection.execute(
        select(columns.institution_no, columns.code, columns.kind, columns.level)
    )
    return {number: Place(code, kind, level) for number, code, kind, level in rows}


def _list_ages(connection: Connection) -> ListAges:
    columns = registry.revocation_version.c
    rows = connection.execute(
        select(columns.version, columns.made_time_ms).order_by(columns.version)
    ).all()
    return ListAges([row[0] for row in rows], [row[1] for row in rows])


def _too_often(
    connection: Connection, month: int, flag: OftenFlag, places: Mapping[int, Place]
) -> frozenset[int]:
    """Find the settlements of a person, of those that the flag is about, beyond its limit."""
    whose = [_claim.person_no]
    if flag.where == "institution":
        whose.append(_claim.institution_no)
    turn = func.row_number().over(
        partition_by=whose, order_by=(_entry.recorded_time_ms, _claim.entry_no)
    )
    conditions = list(_of_month(connection, month))
    if flag.clearing_types is not None:
        conditions.append(_entry.clearing_type.in_([int(one) for one in flag.clearing_types]))
    if flag.insutypes is not None:
        conditions.append(_claim.insutype.in_(flag.insutypes))
    if flag.med_types is not None:
        conditions.append(_claim.med_type.in_(flag.med_types))
    if flag.institution_kinds is not None or flag.levels is not None:
        numbers = [number for number, place in places.items() if is_at(flag, place)]
        conditions.append(_claim.institution_no.in_(numbers))
    numbered = (
        select(_claim.entry_no, turn.label("turn"))
        .select_from(_standing())
        .where(and_(*conditions))
        .subquery()
    )
    beyond = select(numbered.c.entry_no).where(numbered.c.turn > flag.most)
    return frozenset(connection.execute(beyond).scalars())


def _refunded_days(connection: Connection, details: Sequence[Detail]) -> dict[int, int]:
    """Tell when the settlements were made whose remainders are among these."""
    originals = sorted({detail.replaces for detail in details} - {0})
    if not originals:
        return {}
    rows = connection.execute(
        select(_claim.entry_no, _claim.business_date).where(_claim.entry_no.in_(originals))
    )
    return {number: day for number, day in rows}  # noqa: C416 - rows are no pairs to mypy
