"""An allotment beside cashiers at work: the auditor, who shares no code, finds every fen."""

import asyncio
import csv
import datetime as dt
import sys
from pathlib import Path

from msgspec import json

from cardserver.config import load_config
from cardserver.funding.rules import load_rules
from cardserver.funding.rules_store import activate_rules
from ledger.accounts import Account
from ledger.database_store import Database
from simulators.auditor import Given
from simulators.centre_process import CentreProcess, City
from tests.cardserver.funding.fund import ACTOR
from tests.cardserver.funding.office import OFFICER, PASSWORD, add_officer
from tests.cardserver.funding.test_rules import ALLOTMENT, rules
from tests.cardserver.test_kill import CHINA, audited_run, enrol_terminals

TEXT = rules(ALLOTMENT, "monthly = 37\n", begins="2020-01-01")
SEED = 11


def rows(city: City, name: str) -> list[dict[str, str]]:
    with (city.population / f"{name}.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def entitled(city: City, month: int) -> dict[str, int]:
    """Whom the rule fits, by the files that the registry was filled from."""
    day = f"{month}01"
    dead = {one["person_no"] for one in rows(city, "persons") if "" < one["deceased_date"] < day}
    return {
        one["person_no"]: 3_700
        for one in rows(city, "insurances")
        if one["insutype"] == "310" and one["state"] == "1" and one["begins"] <= day <= one["ends"]
        and one["person_no"] not in dead
    }  # fmt: skip


async def prepare(city: City) -> None:
    database = Database.open(load_config(city.config_file).database_url)
    await database.start()
    await add_officer(database)
    await activate_rules(database, load_rules(TEXT), TEXT, ACTOR)
    await database.close()


async def test_the_auditor_finds_every_fen_of_an_allotment(city: City, tmp_path: Path) -> None:
    await prepare(city)
    ground = await enrol_terminals(city, tmp_path)
    month = int(dt.datetime.now(CHINA).strftime("%Y%m"))
    password = tmp_path / "password"
    password.write_text(PASSWORD, encoding="utf-8")
    centre = CentreProcess(city.config_file)
    await centre.start()
    try:
        run = audited_run(ground, centre, SEED)
        async with run.cashiers():
            await asyncio.sleep(0.5)
            began = run.journal.tick()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cardserver", "allotment", "run", str(month), "--config",
                str(city.config_file), "--by", OFFICER, "--password-file", str(password), "--json",
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, _ = await process.communicate()
            assert process.returncode == 0
            ended = run.journal.tick()
            await asyncio.sleep(1.0)
        amounts = entitled(city, month)
        shown = json.decode(out)
        assert shown["persons_count"] == len(amounts)
        account = Account.CONTRIBUTIONS.value
        given = Given("the allotment", account, shown["steps_done"], amounts, began, ended)
        assert "2030" in "\n".join(await run.findings())
        run.given.append(given)
        assert await run.findings() == []
    finally:
        await centre.stop()
