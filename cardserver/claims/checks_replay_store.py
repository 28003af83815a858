"""Stored settlements for a replay of checks, read by ranges of persons.

Not here: what is made of them (`checks_replay.py`).
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from msgspec import Raw, Struct, msgpack
from sqlalchemy import Connection, bindparam, select

from cardserver.checks.values import Patient
from cardserver.claims import tables
from cardserver.claims.checks_replay import StoredSettlement
from cardserver.claims.eligibility import age_on
from cardserver.claims.history_store import occasion_of
from cardserver.claims.replay_store import PersonRange
from cardserver.registry import tables as registry
from ledger import tables as ledger
from ledger.bulk_store import Row
from ledger.database_store import Database

_claim, _entry = tables.claim.c, ledger.entry.c
_person = registry.person.c
_SETTLEMENTS = (
    select(
        _claim.person_no, _claim.business_date, _person.sex, _person.birth_date,
        _claim.entry_no, _claim.undoes, _entry.recorded_time_ms, _claim.care_date, _claim.insutype,
        _claim.med_type, _claim.institution_no, _claim.card_no, _claim.total_fen,
        _claim.fund_pay_fen, _claim.detail,
    )
    .join(ledger.entry, _entry.entry_no == _claim.entry_no)
    .join(registry.person, _person.person_no == _claim.person_no)
    .where(
        _claim.person_no >= bindparam("first"),
        _claim.person_no < bindparam("end"),
        _claim.business_date >= bindparam("from_day"),
        _claim.business_date <= bindparam("last_day"),
    )
    .order_by(
        _claim.person_no, _claim.business_date, _entry.recorded_time_ms, _claim.entry_no
    )
)  # fmt: skip


class _Case(Struct, frozen=True, array_like=True):
    insutype: str
    med_type: str
    person_type: str
    age: int
    institution_kind: int
    institution_level: int
    region: str


class _Facts(Struct, frozen=True, array_like=True):
    case: _Case


class _Detail(Struct, frozen=True, array_like=True):
    """The part of a stored detail that says who was treated."""

    bill: Raw
    split: Raw
    line_splits: Raw
    moved: Raw
    scheme: Raw
    year: Raw
    payer_person_no: Raw
    reason: Raw
    layers: Raw = Raw(b"\x90")
    facts: _Facts | None = None


_DECODER = msgpack.Decoder(_Detail)


async def read_settlements(
    database: Database,
    persons: PersonRange,
    *,
    from_day: int,
    last_day: int,
    take: Callable[[list[StoredSettlement]], None],
) -> None:
    """Read a range of persons' settlements, and hand over one person's at a time."""
    bounds = {
        "first": persons.first, "end": persons.end, "from_day": from_day, "last_day": last_day
    }  # fmt: skip

    def read(connection: Connection) -> None:
        rows = connection.execute(_SETTLEMENTS, bounds).all()
        for _, group in groupby(_settlements(rows), key=attrgetter("person_no")):
            take(list(group))

    await database.report(read)


def _settlements(rows: Sequence[Row]) -> Iterator[StoredSettlement]:
    for row in rows:
        person_no, business_date, sex, birth_date, *claim = row
        undoes = claim[1]
        if undoes is not None:
            nobody = Patient("", "", sex, 0)
            yield StoredSettlement(person_no, business_date, nobody, None, undoes)
            continue
        occasion = occasion_of(tuple(claim))
        facts = _DECODER.decode(claim[-1]).facts
        # A claim of the time before facts were kept says nothing of person type and region.
        patient = (
            Patient("", "", sex, age_on(birth_date, occasion.day))
            if facts is None
            else Patient(facts.case.person_type, facts.case.region, sex, facts.case.age)
        )
        yield StoredSettlement(person_no, business_date, patient, occasion, 0)
