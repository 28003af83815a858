"""A clearing whose process is killed half-way is finished by the next one, and nothing is twice."""

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from cardserver.clearing.clearing_store import activate_terms, stored_clearings
from cardserver.registry.administration_store import add_operator
from cardserver.registry.passwords import hash_password
from ledger.accounts import Account
from ledger.database_store import Database
from tests.cardserver.claims.books import config_for
from tests.cardserver.clearing.month import (
    INPATIENT,
    OFFICER,
    OUTPATIENT,
    PHARMACY_TYPE,
    TERMS,
    Fund,
    open_fund,
    settlement,
)
from tests.cardserver.clearing.test_commands import BEFORE, MONTH
from tests.cities import ON_POSTGRESQL

INSTITUTIONS = 700
TYPES = (OUTPATIENT, INPATIENT, PHARMACY_TYPE)
PASSWORD = "made up for a test"


async def fill(fund: Fund) -> int:
    """Settle once for every institution and clearing type; return what is owed."""
    fund.clock.be(BEFORE * 100 + 20)
    drafts = [
        settlement(number, 1_000 + number, clearing_type, 310)
        for number in range(1, INSTITUTIONS + 1)
        for clearing_type in TYPES
    ]
    for start in range(0, len(drafts), 300):
        await fund.post(*drafts[start : start + 300])
    await activate_terms(fund.database, TERMS, OFFICER)
    fund.clock.be(MONTH * 100 + 3)
    await fund.close(BEFORE)
    await add_operator(
        fund.database, institution=None, code="f001", name="李雷", role="clearing_officer",
        password_hash=hash_password(PASSWORD), actor=OFFICER,
    )  # fmt: skip
    return sum(-one.amount_fen for draft in drafts for one in draft.postings if one.account == 2010)


def count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM clearing")).scalar_one())


async def some_are_cleared(database: Database) -> None:
    # Another process' rows raise no event here.
    while not await database.report(count):  # noqa: ASYNC110
        await asyncio.sleep(0.002)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("database_url", ON_POSTGRESQL, indirect=True)
async def test_a_run_that_is_killed_half_way_is_gone_on_with(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    async with open_fund(database, "") as fund:
        owed_fen = await fill(fund)
        config = config_for(database_url, tmp_path / "office")
        password = tmp_path / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        words = (
            str(Path(sys.executable).with_name("cardserver")), "clearing", "run", "--config",
            str(config), str(BEFORE), "--by", "f001", "--password-file", str(password),
            "--despite", "a test",
        )  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(120):
            await some_are_cleared(database)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        assert await process.wait() == -9
        done = await database.report(count)
        assert 0 < done < INSTITUTIONS * len(TYPES)
        first = {one.clearing_no: one.clearing for one in await database.report(stored_clearings)}

        process = await asyncio.create_subprocess_exec(
            *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        assert f"{INSTITUTIONS * len(TYPES) - done} cleared now" in output.decode()
        found = {one.clearing_no: one.clearing for one in await database.report(stored_clearings)}
        assert len({one.place for one in found.values()}) == len(found) == INSTITUTIONS * len(TYPES)
        assert {number: found[number] for number in first} == first
        assert sum(one.result.applied_fen for one in found.values()) == owed_fen
        assert await fund.held_fen(Account.INSTITUTION_PAYABLE) == 0
        balance = await fund.balance()
        assert balance.is_equal
        assert balance.entry_count == 2 * INSTITUTIONS * len(TYPES)
