"""What is agreed with institutions, by period, and whether they may work at all."""

from dataclasses import dataclass

from cardserver.registry import tables
from cardserver.registry.administration_store import ACTIVE, INACTIVE, AdministrationError
from cardserver.registry.history_store import audit, changed
from cardserver.registry.values import Actor, Institution
from ledger.bulk_store import insert, select, update
from ledger.database_store import Database
from ledger.scripts import Script

_COLUMNS = ("institution_no", "begins", "ends", "level", "care")
_LOCK = select(tables.institution, ("state",), by=("institution_no",), lock=True)
_CONTRACTS = select(tables.contract, _COLUMNS[1:], by=("institution_no",))
_ADD = insert(tables.contract, _COLUMNS, ignore_existing=True)
_SET_STATE = update(tables.institution, set=("state",), by=("institution_no",))


@dataclass(frozen=True, slots=True)
class Contract:
    """What holds from `begins` on, until a later one begins; no `care` is all that the kind gives.

    Attributes:
        care: med_types, spaces between.
    """

    institution_no: int
    begins: int
    ends: int
    level: int
    care: str


async def contracts_of(database: Database, institution: Institution) -> list[Contract]:
    """List an institution's contracts by first day, its own first one included."""
    rows = await database.fetch(_CONTRACTS([(institution.institution_no,)]))
    first = Contract(
        institution.institution_no,
        institution.contract_begins,
        institution.contract_ends,
        institution.level,
        "",
    )
    return [first, *sorted((Contract(*row) for row in rows), key=lambda one: one.begins)]


async def add_contract(database: Database, contract: Contract, actor: Actor) -> None:
    """Agree something else with an institution from a day on.

    Raises:
        AdministrationError: A contract of theirs begins on this day already.
    """
    if contract.ends < contract.begins:
        raise AdministrationError("it ends before it begins")
    number = contract.institution_no
    row = (number, contract.begins, contract.ends, contract.level, contract.care)

    def script() -> Script[None]:
        yield _LOCK([(number,)])
        if not (yield _ADD([row])):
            raise AdministrationError(f"a contract begins on {contract.begins} already")
        yield changed(
            actor, tables.contract.name, row[:2],
            after=dict(zip(_COLUMNS[2:], row[2:], strict=True)),
        )  # fmt: skip
        detail = f"level {contract.level} from {contract.begins} to {contract.ends}"
        yield audit(actor, "contract added", f"institution {number}", detail)

    await database.transact(script)


async def set_institution_active(
    database: Database, institution_no: int, actor: Actor, *, is_active: bool
) -> None:
    """Suspend an institution, or let it work again; from its next request on."""
    state = ACTIVE if is_active else INACTIVE

    def script() -> Script[None]:
        ((_, before),) = yield _LOCK([(institution_no,)])
        yield _SET_STATE([(state, institution_no)])
        yield changed(
            actor, tables.institution.name, (institution_no,),
            before={"state": before}, after={"state": state},
        )  # fmt: skip
        action = "institution resumed" if is_active else "institution suspended"
        yield audit(actor, action, f"institution {institution_no}", "")

    await database.transact(script)
