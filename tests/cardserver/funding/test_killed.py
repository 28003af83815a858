"""Commands as processes that are killed at work: what was begun goes on, and nothing doubles."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from msgspec import json

from tests.cardserver.claims.books import config_for
from tests.cardserver.funding.fund import Fund, insurance_row, person_row, row, write
from tests.cardserver.funding.office import OFFICER, PASSWORD, activate_shipped, add_officer
from tests.cities import ON_POSTGRESQL, ON_SQLITE

PERSONS = range(1_001, 5_001)
EXPECTED = len(PERSONS)


async def fill(fund: Fund, person_type: str) -> None:
    """Add persons in bulk, an officer, rules."""
    persons = [person_row(number, 19620101) for number in PERSONS]
    insurances = [insurance_row(number, person_type) for number in PERSONS]
    await fund.add_all(persons, insurances)
    await add_officer(fund.database)
    await activate_shipped(fund.database)


class Process:
    """The centre's command line, with an officer's password."""

    def __init__(self, fund: Fund, folder: Path) -> None:
        self.fund = fund
        self.config_file = config_for(fund.database.url, folder / "centre")
        self.password = folder / "password"
        self.password.write_text(PASSWORD, encoding="utf-8")

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cardserver", *words, "--config", str(self.config_file),
            "--by", OFFICER, "--password-file", str(self.password), "--json",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

    async def finish(self, *words: str) -> dict[str, object]:
        process = await self.start(*words)
        out, _ = await process.communicate()
        assert process.returncode == 0, out
        found: dict[str, object] = json.decode(out)
        return found

    async def kill_when(self, has_begun: str, *words: str) -> None:
        """Start a command and kill it once a query says that it has done a part."""
        process = await self.start(*words)
        while not (await self.fund.query(has_begun))[0][0]:
            assert process.returncode is None, "it ended before it was killed"
            await asyncio.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        await process.communicate()


async def count(fund: Fund, what: str) -> int:
    ((found,),) = await fund.query(f"SELECT count(*) FROM {what}")
    return int(found)


@pytest.mark.parametrize("database_url", ON_POSTGRESQL, indirect=True)
async def test_an_allotment_that_is_killed_goes_on(fund: Fund, tmp_path: Path) -> None:
    await fill(fund, "12")
    process = Process(fund, tmp_path)
    words = ("allotment", "run", "202611")
    done = "funding_step WHERE is_done = 1"
    await process.kill_when(f"SELECT count(*) >= 2 FROM {done}", *words)
    steps = await count(fund, "funding_step")
    assert 2 <= await count(fund, done) < steps
    assert await count(fund, "funding_run WHERE ends_time_ms = 0") == 1
    rest = await process.finish(*words)
    assert rest["persons_count"] == EXPECTED + 2
    assert 0 < int(str(rest["steps_done"])) <= steps - 2
    again = await process.finish(*words)
    assert again["steps_done"] == 0
    assert again["sums"] == rest["sums"]
    rows = await fund.query("SELECT DISTINCT balance_fen FROM account_balance WHERE owner > 1000")
    assert rows == [(10_000,)]
    assert await count(fund, "account_balance WHERE owner > 1000") == EXPECTED
    await fund.assert_sound()


@pytest.mark.parametrize("database_url", ON_SQLITE, indirect=True)
async def test_a_file_of_contributions_that_is_killed_goes_on(fund: Fund, tmp_path: Path) -> None:
    await fill(fund, "11")
    process = Process(fund, tmp_path)
    path = write(tmp_path / "a.csv", (row(number) for number in PERSONS))
    words = ("contributions", "post", str(path))
    await process.kill_when("SELECT count(*) >= 1000 FROM contribution", *words)
    assert 1000 <= await count(fund, "contribution") < EXPECTED
    rest = await process.finish(*words)
    assert rest["counts"] == {
        "posted": EXPECTED, "corrected": 0, "unchanged": 0, "rejected": 0,
        "pool_fen": 90_000 * EXPECTED, "account_fen": 20_000 * EXPECTED,
    }  # fmt: skip
    again = await process.finish(*words)
    assert (again["is_repeated"], again["counts"]) == (True, rest["counts"])
    assert await count(fund, "contribution") == EXPECTED
    rows = await fund.query("SELECT DISTINCT balance_fen FROM account_balance")
    assert rows == [(20_000,)]
    await fund.assert_sound()
