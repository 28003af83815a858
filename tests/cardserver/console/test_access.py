"""Sessions of the console: who they are for, until when, and what guessing comes to."""

import asyncio

import pytest

from cardserver.config import Config, load_config
from cardserver.console import access
from cardserver.console.access import ConsoleSession, Language, Sessions, SignOnRefusal
from cardserver.registry.administration_store import (
    FUND,
    add_operator,
    set_operator_active,
    set_password,
)
from cardserver.registry.passwords import hash_password
from cardserver.registry.registry_store import Registry
from cardserver.registry.roles import Role
from cardserver.registry.values import Actor, Operator
from ledger.calendar import SystemClock
from ledger.database_store import Database
from ledger.store_errors import CommitUnknownError, StoreUnavailableError
from simulators.centre_process import City

PASSWORD = "a made-up password"
WHO = Actor("a made-up administrator", 1)


@pytest.fixture(scope="session")
def config(made_city: City) -> Config:
    """A centre's, of which only the limits are of use here."""
    return load_config(made_city.config_file)


async def operator_of(database: Database, code: str, *, role: Role = Role.AUDIT) -> Operator:
    await add_operator(
        database, institution=None, code=code, name=code, role=role,
        password_hash=hash_password(PASSWORD), actor=WHO,
    )  # fmt: skip
    operator = await Registry(database).operator(FUND, code)
    assert operator is not None
    return operator


async def signed_on(sessions: Sessions, code: str) -> ConsoleSession:
    session = await sessions.sign_on(code, PASSWORD, Language.EN)
    assert isinstance(session, ConsoleSession)
    return session


async def test_who_is_locked_after_signing_on_goes_no_further(
    database: Database, config: Config
) -> None:
    sessions = Sessions(database, config, SystemClock())
    operator = await operator_of(database, "s001")
    session, other = await signed_on(sessions, "s001"), await signed_on(sessions, "s001")
    assert await sessions.confirm(session)
    await set_operator_active(database, operator, WHO, is_active=False)
    assert not await sessions.confirm(session)
    assert sessions.find(session.token) is None
    await set_operator_active(database, operator, WHO, is_active=True)
    assert not await sessions.confirm(session), "ended is ended"
    assert await sessions.confirm(other), "nobody looked while they were locked"


async def test_a_new_password_ends_what_the_old_one_began(
    database: Database, config: Config
) -> None:
    sessions = Sessions(database, config, SystemClock())
    operator = await operator_of(database, "s001")
    session = await signed_on(sessions, "s001")
    await set_password(database, operator, hash_password("another made-up one"), WHO)
    assert not await sessions.confirm(session)


async def test_guesses_made_at_once_are_looked_at_one_after_another(
    database: Database, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = Sessions(database, config, SystemClock())
    await operator_of(database, "s001")
    at_once, most = 0, 0

    async def verify(_hash: str, _password: str) -> bool:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        return False

    monkeypatch.setattr(access, "verify_password", verify)
    allowed = config.sign_on.failures_max

    async def guess(number: int) -> ConsoleSession | SignOnRefusal:
        await asyncio.sleep(number / 200)  # some come while others are looked at
        return await sessions.sign_on("s001", f"guess number {number}", Language.EN)

    said = await asyncio.gather(*(guess(number) for number in range(4 * allowed)))
    assert said.count(SignOnRefusal.REFUSED) == allowed - 1
    assert said.count(SignOnRefusal.LOCKED) == 3 * allowed + 1
    assert most == 1


async def test_a_flood_of_guesses_is_turned_away_before_it_is_looked_at(
    database: Database, config: Config
) -> None:
    sessions = Sessions(database, config, SystemClock())
    await operator_of(database, "s001")
    said = await asyncio.gather(
        *(sessions.sign_on(f"x{number}", PASSWORD, Language.EN) for number in range(200))
    )
    assert set(said) == {SignOnRefusal.REFUSED, SignOnRefusal.BUSY}
    assert said.count(SignOnRefusal.BUSY) > 100
    await signed_on(sessions, "s001")


async def test_a_look_that_may_not_have_been_noted_is_none(
    database: Database, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = Sessions(database, config, SystemClock())
    await operator_of(database, "s001")
    session = await signed_on(sessions, "s001")

    async def transact(_script: object) -> None:
        raise CommitUnknownError("the connection ended")

    monkeypatch.setattr(database, "transact", transact)
    with pytest.raises(StoreUnavailableError):
        await sessions.note(session, "registry_show", "person 1")
