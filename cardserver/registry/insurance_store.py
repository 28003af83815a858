"""What an administrator changes of insurances, one transaction each, with its history."""

from cardserver.registry import tables
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.history_store import audit, changed
from cardserver.registry.values import Actor, Insurance, InsuranceState
from ledger.bulk_store import Row, insert, select, update
from ledger.database_store import Database
from ledger.scripts import Script

_COLUMNS = ("insutype", "begins", "ends", "state", "person_type", "region")
_LOCK = select(tables.person, (), by=("person_no",), lock=True)
_INSURANCES = select(tables.insurance, _COLUMNS, by=("person_no",))
_ADD = insert(tables.insurance, ("person_no", *_COLUMNS))
_SET = update(tables.insurance, set=("ends", "state"), by=("person_no", "insutype", "begins"))


async def add_insurance(database: Database, new: Insurance, actor: Actor) -> None:
    """Insure a person from a day on.

    Raises:
        AdministrationError: The person is not there, or has this insurance on one of these days.
    """
    if new.ends < new.begins:
        raise AdministrationError("it ends before it begins")
    row = (
        new.person_no, new.insutype, new.begins, new.ends, int(new.state), new.person_type,
        new.region,
    )  # fmt: skip

    def script() -> Script[None]:
        for one in (yield from _insurances(new.person_no)):
            if one.insutype == new.insutype and one.begins <= new.ends and new.begins <= one.ends:
                raise AdministrationError(
                    f"the person has this insurance from {one.begins} to {one.ends}"
                )
        yield _ADD([row])
        yield from _noted(
            actor, new, "insurance added", after=dict(zip(_COLUMNS, row[1:], strict=True))
        )

    await database.transact(script)


async def change_insurance(
    database: Database,
    person_no: int,
    insutype: str,
    actor: Actor,
    *,
    on: int,
    state: InsuranceState | None = None,
    ends: int | None = None,
) -> Insurance:
    """Change the state or the last day of the insurance that a person has on a day.

    Raises:
        AdministrationError: There is none on that day, or it would end before it begins.
    """

    def script() -> Script[Insurance]:
        found = [
            one
            for one in (yield from _insurances(person_no))
            if one.insutype == insutype and one.begins <= on <= one.ends
        ]
        if not found:
            raise AdministrationError(f"the person has no insurance {insutype} on {on}")
        old = max(found, key=lambda one: one.begins)
        new_ends = old.ends if ends is None else ends
        new_state = old.state if state is None else state
        if new_ends < old.begins:
            raise AdministrationError(f"it begins on {old.begins}")
        yield _SET([(new_ends, int(new_state), person_no, insutype, old.begins)])
        yield from _noted(
            actor, old, "insurance changed",
            before={"ends": old.ends, "state": int(old.state)},
            after={"ends": new_ends, "state": int(new_state)},
        )  # fmt: skip
        return Insurance(
            person_no, insutype, old.begins, new_ends, new_state, old.person_type, old.region
        )

    return await database.transact(script)


def _insurances(person_no: int) -> Script[list[Insurance]]:
    if not (yield _LOCK([(person_no,)])):
        raise AdministrationError("there is no such person")
    rows: list[Row] = yield _INSURANCES([(person_no,)])
    return [
        Insurance(person_no, insutype, begins, ends, InsuranceState(state), person_type, region)
        for _, insutype, begins, ends, state, person_type, region in rows
    ]


def _noted(
    actor: Actor,
    insurance: Insurance,
    action: str,
    *,
    before: dict[str, object] | None = None,
    after: dict[str, object],
) -> Script[None]:
    key = (insurance.person_no, insurance.insutype, insurance.begins)
    yield changed(
        actor, tables.insurance.name, key, person_no=insurance.person_no, before=before,
        after=after,
    )  # fmt: skip
    detail = ", ".join(f"{name} {value}" for name, value in after.items())
    yield audit(actor, action, f"person {insurance.person_no}", f"{insurance.insutype}: {detail}")
