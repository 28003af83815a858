"""The console in a real browser, as a person on duty and a registrar use it."""

import asyncio
import datetime as dt
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from cardserver.commands.database import open_database
from cardserver.console import words
from cardserver.console.access import Page as ConsolePage
from cardserver.registry.administration_store import CardChange, change_card
from cardserver.registry.values import Actor
from ledger.bulk_store import plain
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Cancel, MessageType
from tests.cardserver.desk import OTHER_HOSPITAL, Desk, open_card
from tests.web.conftest import Console, launched, opened, settle_with_fund, sign_on

together = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests of this file, each of which opens a context of its own."""
    async with launched() as chromium:
        yield chromium


@together
async def test_whoever_is_not_signed_on_sees_the_form_and_nothing_else(
    console: Console, browser: Browser
) -> None:
    async with opened(browser, console) as page:
        for path in ConsolePage:
            await page.goto(f"{console.url}{path}")
            await expect(page.locator("[name=password]")).to_be_visible()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for path in ("/_nicegui/client", "/socket.io/?EIO=4&transport=polling", "/openapi.json"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            await asyncio.to_thread(
                urllib.request.urlopen, f"{console.url}{path}", context=context, timeout=10
            )
        refused.value.close()
        assert refused.value.code == 401


@together
async def test_a_wrong_password_is_refused_in_the_browsers_language_and_said(
    console: Console, browser: Browser
) -> None:
    for locale, refusal in (("zh-CN", "工号或密码不对"), ("en-US", "another password")):
        async with opened(browser, console, locale=locale) as page:
            await sign_on(page, console, "d001", "some other password")
            await expect(page.locator("[role=alert]")).to_contain_text(refusal)
            await page.goto(f"{console.url}/")
            await expect(page.locator("[name=password]")).to_be_visible()


@together
async def test_an_institutions_operator_is_none_of_the_funds(
    console: Console, browser: Browser, web_desk: Desk
) -> None:
    async with opened(browser, console) as page:
        await sign_on(page, console, "c001", web_desk.password)
        await expect(page.locator("[role=alert]")).to_be_visible()


@together
async def test_who_is_on_duty_sees_traffic_finds_a_refusal_and_follows_the_request(
    console: Console, browser: Browser, web_desk: Desk
) -> None:
    credentials = await web_desk.enrol("W01", institution=OTHER_HOSPITAL)
    async with (
        web_desk.client(credentials) as client,
        opened(browser, console) as page,
    ):
        token = await open_card(client, web_desk.card())
        settled = await settle_with_fund(web_desk, client, token)
        await client.request(MessageType.CANCEL, Cancel(settled.body.setl_id, "made up"))
        again = await client.request(MessageType.CANCEL, Cancel(settled.body.setl_id, "made up"))
        assert not again.is_approved

        await sign_on(page, console, "d001")
        stages = page.locator("[data-table=durations] tbody")
        await expect(stages).to_contain_text("commit_wait")
        await expect(page.locator("[data-tile=connected]")).not_to_have_text("0")
        await expect(page.locator("[data-tile=settle]")).to_contain_text("ms")

        await page.click("[data-page=REFUSALS]")
        institutions = page.locator("[data-table=institutions]")
        await institutions.get_by_text(OTHER_HOSPITAL).click()
        await expect(
            page.locator("[data-field=institution] input, input[data-field=institution]")
        ).to_have_value(OTHER_HOSPITAL)
        refusals = page.locator("[data-table=refusals] tbody")
        await expect(refusals).to_contain_text(ResponseCode(again.code).text_zh)
        await page.locator("[data-table=examples]").get_by_text(again.msgid).click()

        await expect(page.locator("[data-card=request]")).to_contain_text(again.msgid)
        await expect(page.locator("[data-chart=stages] canvas").first).to_be_visible()
        await page.goto(f"{console.url}/request?msgid={settled.msgid}")
        await expect(page.locator("[data-table=postings]")).to_contain_text("2010")


@together
async def test_a_registrar_looks_someone_up_masked_and_the_audit_knows(
    console: Console, browser: Browser, web_desk: Desk
) -> None:
    card = web_desk.card_data()
    async with opened(browser, console) as page:
        await sign_on(page, console, "r001")
        await page.click("[data-page=REGISTRY]")
        await page.fill("[data-field=q] input, input[data-field=q]", card.holder_number)
        await page.keyboard.press("Enter")
        await expect(page.locator("[data-table=insurances]")).to_contain_text("310")
        shown = await page.content()
        assert card.holder_name not in shown
        assert card.card_number not in shown
        text = (
            "SELECT subject FROM audit WHERE action = 'registry_show'"
            " ORDER BY recorded_time_ms DESC"
        )
        async with open_database(web_desk.config) as database:
            rows = await database.fetch(plain(text, postgresql=text, sqlite=text)())
        assert rows[0][0].startswith("person ")
        assert rows[0][0].removeprefix("person ") in shown


@together
async def test_an_auditor_finds_who_did_what(console: Console, browser: Browser) -> None:
    async with opened(browser, console) as page:
        await sign_on(page, console, "s001")
        await page.click("[data-page=AUDIT]")
        rows = page.locator("[data-table=audit] tbody")
        await expect(rows).to_contain_text("console_sign_on")
        await page.fill("[data-field=operator] input, input[data-field=operator]", "s001")
        await page.fill("[data-field=action] input, input[data-field=action]", "console_sign*")
        await expect(rows).not_to_contain_text("audit_search")
        await expect(rows).to_contain_text("s001")
        await page.fill("[data-field=from] input, input[data-field=from]", "yesterday")
        await expect(page.locator("[role=alert]:visible").first).to_contain_text("YYYYMMDD")


@together
async def test_a_page_of_others_work_is_not_shown(console: Console, browser: Browser) -> None:
    async with opened(browser, console) as page:
        await sign_on(page, console, "a001")
        await expect(page.locator("[data-page=LIVE]")).to_be_visible()
        assert await page.locator("[data-page=REGISTRY]").count() == 0
        await page.goto(f"{console.url}/registry?q=1")
        await expect(page.locator("[role=alert]")).to_contain_text("岗位")


@together
async def test_language_theme_and_keys(console: Console, browser: Browser) -> None:
    async with opened(browser, console) as page:
        await sign_on(page, console, "d001")
        await expect(page.locator("[data-page=LIVE]")).to_have_text("实时")
        await page.click("[data-preference=language]")
        await expect(page.locator("[data-page=LIVE]")).to_have_text("Live")
        await page.click("[data-preference=theme]")
        await expect(page.locator("body.body--dark")).to_be_visible()
        await page.keyboard.press("?")
        await expect(page.get_by_text("change the language")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_text("change the language")).to_be_hidden()
        await page.keyboard.press("2")
        await expect(page.locator("[data-page=REFUSALS][aria-current=page]")).to_be_visible()
        await expect(page.locator("body.body--dark")).to_be_visible()
        await page.get_by_text("Sign off").click()
        await expect(page.locator("[name=password]")).to_be_visible()
        await page.goto(f"{console.url}/")
        await expect(page.locator("[name=password]")).to_be_visible()


@together
async def test_the_revocation_list_shows_a_lost_card(
    console: Console, browser: Browser, web_desk: Desk
) -> None:
    number = str(web_desk.card_data(3).card_number)
    now_ms = int(dt.datetime.now(dt.UTC).timestamp() * 1000)
    async with opened(browser, console) as page:
        await sign_on(page, console, "d001")
        await page.click("[data-page=REVOCATIONS]")
        await expect(page.locator("[data-tile=cards]")).not_to_have_text("–")
        before = int(await page.locator("[data-tile=cards]").inner_text())
        async with open_database(web_desk.config) as database:
            await change_card(database, number, CardChange.LOST, Actor("test", now_ms))
        await expect(page.locator("[data-tile=cards]")).to_have_text(str(before + 1))
        await expect(page.locator("[data-table=changes]")).to_contain_text("lost")


def test_every_text_is_there_in_both_languages() -> None:
    for key in words.names():
        zh, en = (words.word(key, language) for language in words.Language)
        assert zh
        assert en
        assert set(re.findall(r"{\d}", zh)) == set(re.findall(r"{\d}", en))
    for page in ConsolePage:
        assert f"page.{page.name}" in words.names()
