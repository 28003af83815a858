"""Three reviewers take a case through at the console: accepted, calculated, audited, posted."""

import secrets
import time
from importlib import resources

from playwright.async_api import Browser, Page, expect

from cardserver.commands.database import open_database
from cardserver.registry.values import Actor
from cardserver.review.months_store import choose_settlement, open_month
from cardserver.review.rule_file import load_review_rules
from cardserver.review.rules_store import activate_review_rules
from cardserver.review.values import Reviewer
from ledger.bulk_store import plain
from ledger.calendar import business_date
from ledger.entries import EntryKind
from tests.cardserver.desk import Desk, open_card
from tests.web.conftest import OPERATORS, Console, opened, settle_with_fund, sign_on

_DEDUCTIONS_TEXT = (
    "SELECT p.account, p.amount_fen FROM posting p JOIN entry e ON e.entry_no = p.entry_no"
    f" WHERE e.kind = {EntryKind.REVIEW_DEDUCTION.value} ORDER BY p.amount_fen"
)
_DEDUCTIONS = plain("deductions", postgresql=_DEDUCTIONS_TEXT, sqlite=_DEDUCTIONS_TEXT)


async def open_case(desk: Desk, claim_no: int) -> int:
    """Open the month's review with the shipped rules, and a case for this settlement."""
    now_ms = time.time_ns() // 1_000_000
    month = business_date(now_ms, desk.config.timezone) // 100
    text = resources.files("cardserver.review").joinpath("rules/review.toml").read_text("utf-8")
    async with open_database(desk.config) as database:
        await activate_review_rules(database, load_review_rules(text), text, Actor("test", now_ms))
        who = Reviewer(1, 0, OPERATORS["s001"], "")
        await open_month(database, month, who, seed=secrets.token_bytes(32), now_ms=now_ms)
        return await choose_settlement(
            database, month, claim_no, who, reason="made up", now_ms=now_ms
        )


async def act(page: Page, name: str) -> None:
    """Press one of the case's buttons; the page is built anew when it is done."""
    async with page.expect_navigation():
        await page.click(f"[data-act={name}]")


async def test_three_reviewers_take_a_case_through(
    console: Console, browser: Browser, web_desk: Desk
) -> None:
    credentials = await web_desk.enrol("W02")
    async with web_desk.client(credentials) as client:
        token = await open_card(client, web_desk.card(1))
        settled = await settle_with_fund(web_desk, client, token)
    case_no = await open_case(web_desk, int(settled.body.setl_id))
    own = f"{console.url}/review?case={case_no}"

    async with opened(browser, console) as page:  # 受理
        await sign_on(page, console, "a001")
        await page.click("[data-page=REVIEW]")
        await page.locator("[data-table=cases]").get_by_text(str(case_no)).click()
        await expect(page.locator("[data-field=state]")).to_contain_text("待受理")
        assert await page.locator("[data-act=accept]").count() == 0
        await act(page, "take")
        await expect(page.locator("[data-field=holder]")).to_contain_text("a001")
        await page.fill("[data-field=note] input, input[data-field=note]", "材料齐全")
        await act(page, "accept")
        await expect(page.locator("[data-field=state]")).to_contain_text("待核算")
        assert await page.locator("[data-act]").count() == 0  # it is another's turn

    async with opened(browser, console, locale="en-US") as page:  # 核算
        await sign_on(page, console, "k001")
        await page.goto(own)
        await act(page, "take")
        amount = page.locator("[data-cut='0'] input, input[data-cut='0']")
        await amount.fill("twelve")
        await page.click("[data-act=reduce]")
        await expect(page.locator("[role=alert]:visible")).to_contain_text("12.34")
        await amount.fill("5.00")
        await page.click("[data-act=reduce]")
        await expect(page.locator("[role=alert]:visible")).to_contain_text("reason and article")
        await page.locator("[data-article='0']").first.click()
        await page.get_by_role("option").first.click()
        await page.fill("[data-reason='0'] input, input[data-reason='0']", "made up")
        await act(page, "reduce")
        await expect(page.locator("[data-field=state]")).to_contain_text("to be audited")

    async with opened(browser, console) as page:  # 稽查
        await sign_on(page, console, "s001")
        await page.goto(own)
        await expect(page.locator("[data-table=steps]")).to_contain_text("k001")
        await act(page, "take")
        await act(page, "audit")
        await expect(page.locator("[data-field=state]")).to_contain_text("已决定")

    async with open_database(web_desk.config) as database:
        postings = [tuple(row) for row in await database.fetch(_DEDUCTIONS())]
    assert postings == [(4030, -500), (2010, 500)]
