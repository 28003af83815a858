"""A clearing officer clears a month at the console, and others look on."""

import asyncio
import datetime as dt
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, expect
from sqlalchemy import make_url
from typer.testing import CliRunner

from cardserver.clearing.readiness import CHECKS
from cardserver.cli import app
from cardserver.commands.database import acting_user, open_database
from cardserver.config import load_config
from cardserver.console.pages import clearing as clearing_page
from cardserver.registry import administration_store as administration
from cardserver.registry.passwords import hash_password
from cardserver.registry.roles import Role
from ledger.entries import EntryKind
from simulators.centre_process import City, command
from tests.cardserver.clearing.month import (
    CODES,
    COMMUNITY,
    HOSPITAL,
    INPATIENT,
    PHARMACY,
    PHARMACY_TYPE,
    SHANGHAI,
    TERMS,
    Fund,
    open_fund,
)
from tests.cardserver.conftest import copy_city
from tests.web.conftest import PASSWORD, Console, ConsoleProcess, opened, sign_on

OFFICERS = {
    "c101": Role.CLEARING_OFFICER,
    "c102": Role.CLEARING_OFFICER,
    "g101": Role.SIGNATORY,
}


def month_before(month: int) -> int:
    return month - 1 if month % 100 > 1 else month - 89


MONTH = month_before(int(f"{dt.datetime.now(tz=SHANGHAI):%Y%m}"))
BEFORE = month_before(MONTH)


@dataclass(frozen=True)
class Office:
    """A fund's office: its configuration and database, and the console before its officers."""

    city: City
    console: Console

    @property
    def database_file(self) -> Path:
        name = make_url(load_config(self.city.config_file).database_url).database
        assert name is not None
        return Path(name)

    async def close_months(self) -> None:
        for month in (BEFORE, MONTH):
            await self.command("period", "close", str(month), "--despite", "made up", by="c101")

    async def shown(self, month: int) -> list[dict[str, Any]]:
        """What the command shows of a month, in fen."""
        found = json.loads(await self.command("clearing", "show", str(month), "--json"))
        assert isinstance(found, list)
        return found

    async def command(self, *words: str, by: str = "") -> str:
        """Run `cardserver` in this process, beside the test: to start one takes seconds."""
        options = ["--config", str(self.city.config_file)]
        if by:
            options += ["--by", by, "--password-file", str(self.city.password_file)]
        done = await asyncio.to_thread(CliRunner().invoke, app, [*words, *options])
        assert done.exit_code == 0, done.output
        return done.stdout

    @contextmanager
    def stuck(self) -> Iterator[None]:
        """Let nobody else write, as a long transaction would."""
        with closing(sqlite3.connect(self.database_file, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")


async def make_office(folder: Path) -> City:
    """Make a centre with its officers, and two months of settlements."""
    city = City(folder / "centre", folder / "city", folder / "password")
    city.password_file.write_text(PASSWORD, encoding="utf-8")
    await command("cardserver", "init", str(city.directory))
    async with open_database(load_config(city.config_file)) as database:
        for code, role in OFFICERS.items():
            await administration.add_operator(
                database, institution=None, code=code, name=code, role=role,
                password_hash=hash_password(PASSWORD), actor=acting_user(),
            )  # fmt: skip
        async with open_fund(database, TERMS) as fund:
            await fill(fund)
    return city


async def fill(fund: Fund) -> None:
    fund.clock.be(BEFORE * 100 + 20)
    number = await fund.settle(HOSPITAL, 50_000)
    fund.clock.be(MONTH * 100 + 3)
    await fund.settle(HOSPITAL, 100_037)
    await fund.settle(HOSPITAL, 1_200_000, clearing_type=INPATIENT, insutype=390)
    await fund.undo(number, EntryKind.REFUND)
    await fund.review(HOSPITAL, 1_213, clearing_type=INPATIENT)
    await fund.settle(COMMUNITY, 9_900)
    await fund.settle(PHARMACY, 4_000, clearing_type=PHARMACY_TYPE)


@pytest.fixture(scope="module")
def made_office(tmp_path_factory: pytest.TempPathFactory) -> City:
    """A centre that no test changes; copy it."""
    return asyncio.run(make_office(tmp_path_factory.mktemp("office")))


@pytest.fixture
async def office(made_office: City, tmp_path: Path) -> AsyncIterator[Office]:
    city = copy_city(made_office, tmp_path)
    process = ConsoleProcess(city, [])
    try:
        yield Office(city, await process.ready())
    finally:
        assert await asyncio.to_thread(process.stop) == 0
    assert "Traceback" not in process.log_file.read_text(encoding="utf-8")


def field(page: Page, name: str) -> Locator:
    return page.locator(f"[data-field={name}] input, input[data-field={name}]")


def said(page: Page, name: str) -> Locator:
    return page.locator(f"[data-field={name}]")


def fault(page: Page) -> Locator:
    return page.locator("[role=alert]").first


async def rows(page: Page) -> list[list[str]]:
    """Read the table of clearings."""
    found = page.locator("[data-table=clearings] tbody tr")
    return [await row.locator("td").all_inner_texts() for row in await found.all()]


def written(found: list[dict[str, Any]], types: dict[int, str]) -> list[list[str]]:
    """Write what the command shows as the table should."""
    names = ("applied", "review", "cap", "withheld", "paid", "carried")
    return [
        [
            one["institution"],
            f"{one['clearing_type']} {types[one['clearing_type']]}",
            *(yuan(one[f"{name}_fen"]) for name in names),
        ]
        for one in found
    ]


def yuan(fen: int) -> str:
    sign = "-" if fen < 0 else ""
    return f"{sign}{abs(fen) // 100:,}.{abs(fen) % 100:02d}"


ZH = {11: "门诊", 21: "住院", 41: "药店购药"}
EN = {11: "outpatient", 21: "inpatient", 41: "pharmacy"}


async def go(page: Page, office: Office, operator: str, month: int) -> None:
    """Sign on, and choose a month."""
    await sign_on(page, office.console, operator)
    await page.click("[data-page=CLEARING]")
    await expect(field(page, "month")).to_have_value(str(MONTH))
    if month != MONTH:
        await field(page, "month").fill(str(month))


async def test_an_officer_clears_two_months_and_a_signatory_looks_on(
    office: Office, browser: Browser
) -> None:
    async with opened(browser, office.console) as page:
        await go(page, office, "c101", MONTH)
        run = page.locator("[data-act=run]")
        await expect(said(page, "turn")).to_contain_text(f"cardserver period close {MONTH}")
        await run.click()
        await expect(fault(page)).to_contain_text("尚未结账")
        await office.close_months()
        await run.click()
        await expect(fault(page)).to_have_text(f"请先清算 {BEFORE}：各月按顺序清算。")

        await field(page, "month").fill(str(BEFORE))
        await expect(said(page, "turn")).to_have_text(f"{BEFORE} 已结账。")
        await expect(said(page, "open")).to_contain_text("审核: 审核尚未启动")
        await run.click()
        await expect(fault(page)).to_contain_text("有未完事项，未执行清算")
        assert await office.shown(BEFORE) == []
        await field(page, "despite").fill("测试用的理由")
        await run.click()
        await expect(said(page, "state")).to_have_text(f"{BEFORE}：完成，本次 1 笔")
        await expect(fault(page)).to_have_text("")
        await expect(page.locator("[data-table=months]")).to_contain_text("测试用的理由")
        await office.command(
            "clearing", "hold", "begin", CODES[COMMUNITY], "--reason", "made up", by="c101"
        )

        await field(page, "month").fill(str(MONTH))
        await expect(said(page, "sum")).to_have_text("")
        async with opened(browser, office.console, locale="en-US") as other:
            await go(other, office, "g101", MONTH)
            assert await other.locator("[data-act]").count() == 0
            with office.stuck():
                await run.click()
                await expect(said(page, "state")).to_contain_text(f"{MONTH}：")
                await expect(page.get_by_role("progressbar")).to_be_visible()
                await expect(run).to_be_disabled()
                await expect(said(other, "state")).to_contain_text(f"{MONTH}: ")
            await expect(said(page, "state")).to_have_text(f"{MONTH}：完成，本次 3 笔")
            await expect(page.get_by_role("progressbar")).to_be_hidden()
            held = f"{CODES[COMMUNITY]} 11 门诊: 暂停清算"
            await expect(said(page, "left")).to_contain_text(held)
            await expect(said(other, "state")).to_have_text(f"{MONTH}: done, 3 cleared now")
            cleared = await office.shown(MONTH)
            await compare(page, other, cleared)
        await run_again(page, office, cleared)
    assert "equal" in await office.command("trial-balance")


async def compare(page: Page, other: Page, cleared: list[dict[str, Any]]) -> None:
    """Compare both pages with the command, to the fen."""
    assert [one["paid_fen"] for one in cleared] == [48_786, 1_168_817, 3_800]
    await expect(said(other, "sum")).to_contain_text("paid 12,214.03")
    await expect(page.locator("[data-table=clearings]")).to_contain_text("1–3 / 3")
    assert await rows(page) == written(cleared, ZH)
    assert await rows(other) == written(cleared, EN)
    await other.locator("[data-table=clearings] th").get_by_text("paid").click()
    await expect(other.locator("[data-table=clearings] tbody tr").first).to_contain_text("38.00")
    assert [row[6] for row in await rows(other)] == ["38.00", "487.86", "11,688.17"]


async def run_again(page: Page, office: Office, cleared: list[dict[str, Any]]) -> None:
    """Clear what was held and is released, and then nothing more."""
    await office.command(
        "clearing", "hold", "release", CODES[COMMUNITY], "--reason", "made up", by="c101"
    )
    for count in (1, 0):
        await page.click("[data-act=run]")
        await expect(said(page, "state")).to_have_text(f"{MONTH}：完成，本次 {count} 笔")
        await expect(said(page, "left")).to_have_text("")
        await expect(page.locator("[data-table=clearings]")).to_contain_text(CODES[COMMUNITY])
        again = await office.shown(MONTH)
        assert [one for one in again if one["institution"] != CODES[COMMUNITY]] == cleared
        assert len(again) == 4
        assert await rows(page) == written(again, ZH)


async def test_who_was_locked_since_may_clear_nothing(office: Office, browser: Browser) -> None:
    await office.close_months()
    async with opened(browser, office.console, locale="en-US") as page:
        await go(page, office, "c102", BEFORE)
        await field(page, "month").fill("2026")
        await expect(fault(page)).to_contain_text("A month is written")
        await field(page, "despite").fill("made up")
        await office.command("registry", "operator", "lock", "c102")
        await expect(page.locator("[name=password]")).to_be_visible()  # within seconds
        await page.goto(f"{office.console.url}/clearing")
        await expect(page.locator("[name=password]")).to_be_visible()
    assert await office.shown(BEFORE) == []


async def test_a_month_whose_totals_disagree_is_refused_with_the_rows(
    office: Office, browser: Browser
) -> None:
    await office.close_months()
    with closing(sqlite3.connect(office.database_file)) as connection, connection:
        connection.execute(
            "UPDATE period_total SET credit_fen = credit_fen + 1"
            " WHERE period = ? AND account = 2010",
            (BEFORE,),
        )
    async with opened(browser, office.console, locale="en-US") as page:
        await go(page, office, "c101", BEFORE)
        await field(page, "despite").fill("made up")
        await page.click("[data-act=run]")
        await expect(fault(page)).to_contain_text(f"Totals of {BEFORE} and its postings disagree")
        await expect(fault(page)).to_contain_text("period_total")
        await expect(said(page, "state")).to_have_text("")
    assert await office.shown(BEFORE) == []


def test_every_check_of_readiness_is_said_once() -> None:
    assert set(CHECKS) >= clearing_page._SAID_HERE
