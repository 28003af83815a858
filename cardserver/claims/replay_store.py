"""Stored claims for a replay, read by ranges of persons, each range in one snapshot.

Not here: what is made of them (`replay.py`).
"""

from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter

from msgspec import Struct
from sqlalchemy import Connection, bindparam, func, select

from cardserver.benefits.values import Accumulated
from cardserver.claims import tables
from cardserver.claims.replay import Months, StoredClaim, Used, YearKey
from ledger import tables as ledger
from ledger.bulk_store import plain
from ledger.database_store import Database

_YEAR = 10_000
_SLOT_BITS = 40  # of an entry's number, below its writer's
_PERSON, _ENTRY = 0, 1
_claim, _accumulator, _entry = tables.claim.c, tables.accumulator.c, ledger.entry.c

# All claims since the first day, but for those of care in later years: these moved accumulators
# that no replayed claim looks at.
_CLAIMS = (
    select(
        _claim.person_no, _claim.entry_no, _claim.institution_no, _claim.business_date,
        _claim.undoes, _claim.insutype, _claim.policy, _claim.detail,
    )
    .where(
        _claim.person_no >= bindparam("first"),
        _claim.person_no < bindparam("end"),
        _claim.business_date >= bindparam("from_day"),
        _claim.care_date < bindparam("next_year"),
    )
    .order_by(_claim.person_no, _claim.business_date, _claim.entry_no)
)  # fmt: skip
_ACCUMULATORS = select(
    _accumulator.person_no, _accumulator.year, _accumulator.insutype, _accumulator.scheme,
    _accumulator.deductible_fen, _accumulator.in_scope_fen, _accumulator.pool_fen,
    _accumulator.large_amount_fen, _accumulator.admissions,
).where(
    _accumulator.person_no >= bindparam("first"),
    _accumulator.person_no < bindparam("end"),
    _accumulator.year <= bindparam("year"),
)  # fmt: skip
_TIMES = select(_entry.entry_no, _entry.recorded_time_ms).where(
    _entry.entry_no.in_(bindparam("entries", expanding=True))
)
_INSTITUTIONS_TEXT = "SELECT institution_no, code, name FROM institution"
_INSTITUTIONS = plain("read institutions", postgresql=_INSTITUTIONS_TEXT, sqlite=_INSTITUTIONS_TEXT)


class PersonRange(Struct, frozen=True):
    """Persons by number: the first, and the one after the last; and how many claims they have."""

    first: int
    end: int
    claim_count: int


class PersonClaims(Struct, frozen=True):
    """A person's claims in the order of their entries, and their accumulators as they are."""

    person_no: int
    claims: list[StoredClaim]
    now: dict[YearKey, Used]


async def person_ranges(database: Database, claims_max: int) -> list[PersonRange]:
    """Cut the persons who have claims into ranges of about so many claims."""
    return await database.report(lambda connection: _person_ranges(connection, claims_max))


async def read_persons(
    database: Database, persons: PersonRange, months: Months, take: Callable[[PersonClaims], None]
) -> None:
    """Read the claims of a range of persons in one snapshot, and hand over one person's at a time.

    They are taken by the thread that reads.
    """

    def read(connection: Connection) -> None:
        for one in _read_persons(connection, persons, months):
            take(one)

    await database.report(read)


async def institution_names(database: Database) -> dict[int, tuple[str, str]]:
    """Return every institution's code and name, by our number."""
    rows = await database.fetch(_INSTITUTIONS())
    return {number: (code, name) for number, code, name in rows}


def _person_ranges(connection: Connection, claims_max: int) -> list[PersonRange]:
    ranges: list[PersonRange] = []
    count = connection.execute(select(func.count()).select_from(tables.claim)).scalar_one()
    after = select(_claim.person_no).where(_claim.person_no >= bindparam("first"))
    edge = after.order_by(_claim.person_no).offset(claims_max).limit(1)
    first = connection.execute(select(func.min(_claim.person_no))).scalar_one()
    last = connection.execute(select(func.max(_claim.person_no))).scalar_one()
    if first is None or last is None:
        return []
    while True:
        # The person in whose claims the cut falls belongs to this range as a whole.
        cut = connection.execute(edge, {"first": first}).scalar_one_or_none()
        end = last + 1 if cut is None else max(cut, first) + 1
        ranges.append(PersonRange(first, end, min(claims_max, count)))
        count -= ranges[-1].claim_count
        if end > last:
            return ranges
        first = end


def _read_persons(
    connection: Connection, persons: PersonRange, months: Months
) -> Iterator[PersonClaims]:
    year = months.last_day // _YEAR
    bounds = {"first": persons.first, "end": persons.end}
    now: dict[int, dict[YearKey, Used]] = {}
    rows = connection.execute(_ACCUMULATORS, {**bounds, "year": year})
    for person_no, of_year, insutype, scheme, *amounts in rows:
        used = now.setdefault(person_no, {}).setdefault((of_year, insutype), {})
        used[scheme] = Accumulated(*amounts)
    days = {"from_day": months.first_day, "next_year": (year + 1) * _YEAR}
    found = connection.execute(_CLAIMS, {**bounds, **days}).all()
    for person_no, group in groupby(found, key=itemgetter(_PERSON)):
        claims = [StoredClaim(*row[_ENTRY:]) for row in group]
        if len({claim.entry_no >> _SLOT_BITS for claim in claims}) > 1:
            claims = _by_time(connection, claims)
        yield PersonClaims(person_no, claims, now.get(person_no, {}))


def _by_time(connection: Connection, claims: list[StoredClaim]) -> list[StoredClaim]:
    """Put claims that several writers entered into the order of their times."""
    entries = [claim.entry_no for claim in claims]
    rows = connection.execute(_TIMES, {"entries": entries})
    times: dict[int, int] = {row.entry_no: row.recorded_time_ms for row in rows}
    return sorted(claims, key=lambda claim: (times[claim.entry_no], claim.entry_no))
