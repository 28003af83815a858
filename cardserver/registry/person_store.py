"""What an administrator changes of a person, one transaction each, with its history.

Not here: what files change (`person_import_store.py`), making one person of two (`merge_store.py`).
"""

from collections.abc import Mapping

from cardserver.registry import identity_number, tables
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.history_store import audit, changed
from cardserver.registry.person_import_store import (
    ADD_IDENTITIES,
    COLUMNS,
    HOLDERS,
    ID_TYPE,
    NUMBER,
    change_person,
)
from cardserver.registry.values import FOREVER, Actor, IDType
from ledger.bulk_store import Row, select
from ledger.database_store import Database
from ledger.scripts import Script

_PERSON = select(tables.person, COLUMNS[1:], by=("person_no",), lock=True)
_EMPLOYER = select(tables.employer, (), by=("employer_no",))
_FAMILY = select(tables.family, (), by=("family_no",))


async def set_person(
    database: Database, person_no: int, changes: Mapping[str, object], actor: Actor, *, today: int
) -> None:
    """Change a person's columns; a new identity number leaves the earlier one known.

    Raises:
        AdministrationError: The person, employer or family is not there, or the number is another
            person's or not well-formed.
    """

    def script() -> Script[None]:
        present = yield from _found(person_no)
        values: Row = tuple(
            changes.get(name, old) for name, old in zip(COLUMNS, present, strict=True)
        )
        if values == present:
            raise AdministrationError("the person is like this already")
        fault = identity_number.fault_of(values[NUMBER], IDType(values[ID_TYPE]))
        if fault is not None:
            raise AdministrationError(f"the number: {fault}")
        died, born = values[COLUMNS.index("deceased_date")], values[COLUMNS.index("birth_date")]
        if died is not None and died < born:
            raise AdministrationError(f"the person would have died before being born: {born}")
        yield from _check_holder(person_no, values[NUMBER], values[ID_TYPE])
        employer_no, family_no = changes.get("employer_no"), changes.get("family_no")
        if employer_no and not (yield _EMPLOYER([(employer_no,)])):
            raise AdministrationError("there is no such employer")
        if family_no and not (yield _FAMILY([(family_no,)])):
            raise AdministrationError("there is no such family")
        yield from change_person(actor, present, values, ended=today)
        yield audit(actor, "person changed", f"person {person_no}", ", ".join(changes))

    await database.transact(script)


async def add_document(
    database: Database, person_no: int, id_type: IDType, number: str, actor: Actor
) -> None:
    """Let a person be known by a further document beside the present one.

    Raises:
        AdministrationError: It is another person's or not well-formed.
    """
    fault = identity_number.fault_of(number, id_type)
    if fault is not None:
        raise AdministrationError(f"the number: {fault}")

    def script() -> Script[None]:
        yield from _found(person_no)
        yield from _check_holder(person_no, number, id_type)
        if not (yield ADD_IDENTITIES([(number, id_type, person_no, FOREVER, 0)])):
            raise AdministrationError("the person is known by this document already")
        yield changed(
            actor, tables.identity.name, (number, id_type), person_no=person_no,
            after={"ends": FOREVER},
        )  # fmt: skip
        yield audit(actor, "document added", f"person {person_no}", f"type {id_type}")

    await database.transact(script)


def _found(person_no: int) -> Script[Row]:
    rows = yield _PERSON([(person_no,)])
    if not rows:
        raise AdministrationError("there is no such person")
    return rows[0]


def _check_holder(person_no: int, number: str, id_type: str) -> Script[None]:
    for row in (yield HOLDERS([(number, id_type)])):
        if row[2] != person_no:
            raise AdministrationError(f"this number is that of person {row[2]}")
