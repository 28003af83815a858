"""Families and employers: whom persons belong to."""

from dataclasses import dataclass

from cardserver.registry import tables
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.history_store import audit, changed
from cardserver.registry.values import Actor, PersonName
from ledger.bulk_store import insert, plain, select, update
from ledger.database_store import Database
from ledger.scripts import Script

# Numbers that we give lie above those of imported files, which are theirs to choose.
FAMILY_NO_FIRST = 10**12

_PERSON = select(tables.person, ("family_no",), by=("person_no",), lock=True)
_FAMILY = select(tables.family, ("payer_person_no",), by=("family_no",))
_ADD_FAMILY = insert(tables.family, ("family_no", "payer_person_no"))
_SET_FAMILY = update(tables.person, set=("family_no",), by=("person_no",))
_LAST_TEXT = "SELECT max(family_no) FROM family"
_LAST = plain("last family", postgresql=_LAST_TEXT, sqlite=_LAST_TEXT)
_MEMBERS_TEXT = (
    "SELECT m.person_no, m.name, m.birth_date, m.person_no = f.payer_person_no"
    " FROM person p JOIN person m ON m.family_no = p.family_no AND p.family_no <> 0"
    " JOIN family f ON f.family_no = p.family_no WHERE p.person_no = {person} ORDER BY 1"
)
_MEMBERS = plain(
    "members of a family",
    postgresql=_MEMBERS_TEXT.format(person="$1::bigint"),
    sqlite=_MEMBERS_TEXT.format(person="?1"),
)
_EMPLOYERS_TEXT = (
    "SELECT e.employer_no, e.code, e.name,"
    " (SELECT count(*) FROM person p WHERE p.employer_no = e.employer_no)"
    " FROM employer e WHERE e.code LIKE {like} OR e.name LIKE {like}"
    " ORDER BY e.code LIMIT {rows}"
)
_EMPLOYERS = plain(
    "list employers",
    postgresql=_EMPLOYERS_TEXT.format(like="$1::text", rows="$2::integer"),
    sqlite=_EMPLOYERS_TEXT.format(like="?1", rows="?2"),
)


@dataclass(frozen=True, slots=True)
class FamilyMember:
    """One of a family; the payer's account aids the others."""

    person_no: int
    name: PersonName
    birth_date: int
    is_payer: bool


@dataclass(frozen=True, slots=True)
class Employer:
    """An employer, and how many persons it has."""

    employer_no: int
    code: str
    name: str
    persons: int


async def family_of(database: Database, person_no: int) -> list[FamilyMember]:
    """List who is of a person's family, that person included; empty without one."""
    return [
        FamilyMember(number, PersonName(name), birth_date, is_payer=bool(is_payer))
        for number, name, birth_date, is_payer in await database.fetch(_MEMBERS([(person_no,)]))
    ]


async def employers_like(database: Database, like: str, rows_max: int) -> list[Employer]:
    """List employers of whose code or name this is a part."""
    rows = await database.fetch(_EMPLOYERS([(f"%{like}%", rows_max)]))
    return [Employer(*row) for row in rows]


async def join_family(database: Database, person_no: int, payer_no: int, actor: Actor) -> int:
    """Let a person be aided by another one's account; return the family's number.

    Raises:
        AdministrationError: They are one, or the payer is aided by someone else.
    """
    if person_no == payer_no:
        raise AdministrationError("nobody aids themselves")

    def script() -> Script[int]:
        rows = yield _PERSON([(number,) for number in sorted((person_no, payer_no))])
        families = {row[0]: row[1] for row in rows}
        family_no: int = families[payer_no]
        if family_no:
            ((_, present),) = yield _FAMILY([(family_no,)])
            if present != payer_no:
                raise AdministrationError(f"person {payer_no} is aided by {present}, and pays not")
        else:
            ((last,),) = yield _LAST()
            family_no = max(FAMILY_NO_FIRST, (last or 0) + 1)
            yield _ADD_FAMILY([(family_no, payer_no)])
            yield changed(
                actor, tables.family.name, (family_no,), person_no=payer_no,
                after={"payer_person_no": payer_no},
            )  # fmt: skip
        for _, present in (yield _FAMILY([(families[person_no],)])):
            if present == person_no:
                raise AdministrationError(f"person {person_no} pays for a family of their own")
        for number in (payer_no, person_no):
            if families[number] != family_no:
                yield from _move(actor, number, families[number], family_no)
        return family_no

    return await database.transact(script)


async def leave_family(database: Database, person_no: int, actor: Actor) -> None:
    """Let a person be of no family.

    Raises:
        AdministrationError: They are of none, or pay for it.
    """

    def script() -> Script[None]:
        ((_, family_no),) = yield _PERSON([(person_no,)])
        if not family_no:
            raise AdministrationError("the person is of no family")
        for _, payer_no in (yield _FAMILY([(family_no,)])):
            if payer_no == person_no:
                raise AdministrationError("the person pays for the family; others leave first")
        yield from _move(actor, person_no, family_no, 0)

    await database.transact(script)


def _move(actor: Actor, person_no: int, old: int, new: int) -> Script[None]:
    yield _SET_FAMILY([(new, person_no)])
    yield changed(
        actor, tables.person.name, (person_no,), person_no=person_no,
        before={"family_no": old}, after={"family_no": new},
    )  # fmt: skip
    yield audit(actor, "family changed", f"person {person_no}", f"{old} to {new}")
