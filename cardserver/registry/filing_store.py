"""Filings (备案) of persons: what benefits depend on, as administrators record it.

Not here: how a commit group reads them (`cardserver/claims/claims_store.py`).
"""

from cardserver.registry import tables
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.history_store import audit
from cardserver.registry.import_files import filing_fault
from cardserver.registry.values import Actor, Filing, FilingKind
from ledger.bulk_store import insert, select, update
from ledger.database_store import Database
from ledger.scripts import Script

FILING_COLUMNS = ("person_no", "kind", "code", "institution_no", "begins", "ends")

_FILINGS = select(tables.filing, FILING_COLUMNS[1:], by=("person_no",))
_PERSON = select(tables.person, ("deceased_date",), by=("person_no",), lock=True)
_ADD = insert(tables.filing, FILING_COLUMNS, ignore_existing=True)
_END = update(
    tables.filing, set=("ends",), by=("person_no", "kind", "code", "institution_no", "begins")
)


async def filings_of(database: Database, person_no: int) -> list[Filing]:
    """List a person's filings, ended ones too, by kind and first day."""
    rows = await database.fetch(_FILINGS([(person_no,)]))
    filings = [Filing(row[0], FilingKind(row[1]), *row[2:]) for row in rows]
    return sorted(filings, key=lambda one: (one.kind, one.begins, one.code, one.institution_no))


async def add_filing(database: Database, filing: Filing, actor: Actor) -> None:
    """Record a filing.

    Raises:
        AdministrationError: The person is not there, or has the same filing over these days.
    """
    fault = filing_fault(filing.kind, filing.code, filing.institution_no)
    if fault is None and filing.ends < filing.begins:
        fault = "it ends before it begins"
    if fault is not None:
        raise AdministrationError(fault)

    def script() -> Script[None]:
        if not (yield _PERSON([(filing.person_no,)])):
            raise AdministrationError("there is no such person")
        for row in (yield _FILINGS([(filing.person_no,)])):
            present = Filing(row[0], FilingKind(row[1]), *row[2:])
            if _is_same(present, filing) and _overlap(present, filing):
                raise AdministrationError(
                    f"the person has this filing from {present.begins} to {present.ends}"
                )
        yield _ADD([_row(filing)])
        yield audit(actor, "filing added", f"person {filing.person_no}", _words(filing))

    await database.transact(script)


async def end_filing(
    database: Database,
    *,
    person_no: int,
    kind: FilingKind,
    code: str,
    institution_no: int,
    ends: int,
    actor: Actor,
) -> Filing:
    """Set the last day of the filing that holds on that day, or begins later; return it as it is.

    Raises:
        AdministrationError: There is none.
    """
    wanted = Filing(person_no, kind, code, institution_no, ends, ends)

    def script() -> Script[Filing]:
        yield _PERSON([(person_no,)])
        for row in (yield _FILINGS([(person_no,)])):
            present = Filing(row[0], FilingKind(row[1]), *row[2:])
            if _is_same(present, wanted) and _overlap(present, wanted):
                yield _END([(ends, *_row(present)[:-1])])
                detail = f"{_words(present)}, now to {ends}"
                yield audit(actor, "filing ended", f"person {person_no}", detail)
                return Filing(person_no, kind, code, institution_no, present.begins, ends)
        raise AdministrationError(f"the person has no such filing that holds on {ends}")

    return await database.transact(script)


def _row(filing: Filing) -> tuple[int, int, str, int, int, int]:
    return (
        filing.person_no, int(filing.kind), filing.code, filing.institution_no, filing.begins,
        filing.ends,
    )  # fmt: skip


def _words(filing: Filing) -> str:
    place = f" at {filing.institution_no}" if filing.institution_no else ""
    code = f" {filing.code}" if filing.code else ""
    return f"{filing.kind.name.lower()}{code}{place} from {filing.begins} to {filing.ends}"


def _is_same(one: Filing, other: Filing) -> bool:
    return (one.kind, one.code, one.institution_no) == (
        other.kind,
        other.code,
        other.institution_no,
    )


def _overlap(one: Filing, other: Filing) -> bool:
    return one.begins <= other.ends and other.begins <= one.ends
