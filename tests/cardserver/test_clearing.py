"""A hospital applies for its month at a running centre, is cleared and paid, on both databases."""

import asyncio
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cardserver.commands.database import acting_user, open_database
from cardserver.registry import administration_store as administration
from cardserver.registry.passwords import hash_password
from cardserver.registry.registry_store import Registry
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    Cancel,
    ClearingApplied,
    ClearingApply,
    ClearingCancel,
    ClearingQuery,
    ClearingTotal,
    MessageType,
    Settled,
)
from simulators.centre_process import CentreProcess
from tests.cardserver.clearing.bank import answer
from tests.cardserver.desk import HOSPITAL, OTHER_HOSPITAL, Desk, open_card
from tests.cities import ON_POSTGRESQL, ON_SQLITE, city_on
from tests.in_process import command

CHINA = dt.timezone(dt.timedelta(hours=8))
TERMS = """
begins = 2020-01-01
sources = ["made up"]
deposit_percent = 5
two_signatures_above = 1000000
applications_required = true
payer = { name = "医疗保障基金", account = "1", bank = "102100099996" }
[[institutions]]
code = "H11019900001"
account = { name = "第一医院", account = "2", bank = "103100000026" }
"""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def town(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    """A running centre on either database, which this file's tests share."""
    city = city_on(request.param, request, tmp_path_factory.mktemp("cleared"), "cleared")
    process = CentreProcess(city.config_file)
    asyncio.run(process.start())
    yield Desk(city, process)
    assert asyncio.run(process.stop()) == 0


class Town:
    """`cardserver` and `cardterminal` of this centre."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        self.desk = desk
        self.folder = folder
        self.terminal = folder / "terminal.toml"
        self.today = dt.datetime.now(CHINA).date()
        self.month = f"{self.today:%Y%m}"

    async def hire(self, code: str, role: str, institution: str = "") -> None:
        async with open_database(self.desk.config) as database:
            found = await Registry(database).institution_by_code(institution)
            await administration.add_operator(
                database,
                institution=found,
                code=code,
                name="李雷",
                role=role,
                password_hash=hash_password(self.desk.password),
                actor=acting_user(),
            )

    async def enrol(self, code: str) -> None:
        credentials = await self.desk.enrol(code)
        self.terminal.write_text(
            f"""
            [centre]
            host = "127.0.0.1"
            port = {self.desk.centre.port}
            ca_file = "{self.desk.city.authority_file}"
            [terminal]
            institution = "{credentials.institution}"
            code = "{credentials.terminal}"
            certificate_file = "{credentials.certificate_file}"
            key_file = "{credentials.key_file}"
            """,
            encoding="utf-8",
        )
        password = ("--password-file", str(self.desk.city.password_file))
        config = ("--config", str(self.terminal))
        await command("cardterminal", "sign-on", "--operator", "cv01", *password, *config)

    async def at_counter(self, *words: str, status: int = 0) -> Any:
        options = ("--config", str(self.terminal), "--json")
        done = await command("cardterminal", "clearing", *words, *options, check=False)
        assert done.status == status, done
        return json.loads(done.output)

    async def at_fund(self, *words: str, by: str = "") -> str:
        options = ["--config", str(self.desk.city.config_file)]
        if by:
            options += ["--by", by, "--password-file", str(self.desk.city.password_file)]
        return (await command("cardserver", *words, *options)).output


@pytest.mark.timeout(600)
@pytest.mark.parametrize("town", ON_POSTGRESQL, indirect=True, scope="module")
async def test_a_hospital_applies_is_cleared_and_paid(town: Desk, tmp_path: Path) -> None:
    at = Town(town, tmp_path)
    await at.hire("cv01", "supervisor", HOSPITAL)
    await at.hire("cf01", "clearing_officer")
    await at.hire("cs01", "signatory")
    count, owed_fen, undone_fen = await settle_some(town)
    await at.enrol("CLR1")
    totals = (
        at.month, "--type", "11", "--settled-count", str(count), "--settled",
        f"{owed_fen // 100}.{owed_fen % 100:02d}", "--undone-count", "1",
    )  # fmt: skip
    right = ("--undone", f"{undone_fen // 100}.{undone_fen % 100:02d}")
    early = await at.at_counter("apply", *totals, *right, status=1)
    assert early["code"] == ResponseCode.CLEARING_MONTH_NOT_OVER
    despite = ("--early", "--despite", "a test")
    await at.at_fund("period", "close", at.month, *despite, by="cf01")

    wrong = await at.at_counter("apply", *totals, "--undone", "0.01", status=1)
    assert wrong["result"]["application_id"] == ""
    assert wrong["result"]["centre"]["undone_fen"] == -undone_fen
    applied = await at.at_counter("apply", *totals, *right)
    number = applied["result"]["application_id"]
    assert (await at.at_counter("apply", *totals, *right))["result"]["application_id"] == number
    await at.at_counter("cancel", number)
    terms = tmp_path / "terms.toml"
    terms.write_text(TERMS, encoding="utf-8")
    await at.at_fund("clearing", "terms", "activate", str(terms), by="cf01")
    words = ("clearing", "run", at.month, "--despite", "a test", "--json")
    (left,) = json.loads(await at.at_fund(*words, by="cf01"))["left"]
    assert left["reason"] == "no_application"
    again = await at.at_counter("apply", *totals, *right)
    assert again["result"]["application_id"] != number
    await at.at_fund("clearing", "run", at.month, "--despite", "a test", by="cf01")
    refused = await at.at_counter("cancel", again["result"]["application_id"], status=1)
    assert refused["code"] == ResponseCode.CLEARED_ALREADY

    (found,) = (await at.at_counter("query", at.month))["result"]["clearings"]
    assert found["state"] == "cleared"
    assert found["applied_fen"] == owed_fen - undone_fen
    assert found["applied_fen"] == found["paid_fen"] + found["withheld_fen"]
    await pay(at)
    (found,) = (await at.at_counter("query", at.month))["result"]["clearings"]
    assert found["state"] == "paid"
    assert "equal" in await at.at_fund("trial-balance")
    assert "as written" in await at.at_fund("verify-ledger")


async def settle_some(town: Desk) -> tuple[int, int, int]:
    """Settle some bills and cancel one; return how many owe something, how much, what is back."""
    owed: list[tuple[str, int]] = []
    async with town.client(await town.enrol("TILL")) as client:
        token = await open_card(client, town.card(1))
        for seed in range(8):
            done = await town.settle(client, token, town.bill(seed, lines=12))
            assert isinstance(done.body, Settled)
            split = done.body.split
            owed_fen = split.fund_pay_fen + split.account_pay_fen + split.mutual_aid_fen
            if owed_fen:  # else cash pays it alone, and the fund owes nothing for it
                owed.append((done.body.setl_id, owed_fen))
        assert len(owed) > 1
        number, undone_fen = owed[-1]
        assert (await client.request(MessageType.CANCEL, Cancel(number, "开错了"))).is_approved
    return len(owed), sum(fen for _, fen in owed), undone_fen


async def pay(at: Town) -> None:
    summary, file, report = at.folder / "summary.pdf", at.folder / "p.xml", at.folder / "r.xml"
    made = await at.at_fund("clearing", "payments", "make", "--summary", str(summary), by="cf01")
    digits = made.split("sha256 ")[1].strip()
    await at.at_fund("clearing", "payments", "sign", "1", "--hash", digits, by="cs01")
    await at.at_fund("clearing", "payments", "file", "1", "--out", str(file))
    report.write_bytes(answer(1, at.desk.config.fund.region, {}, group="ACSC"))
    await at.at_fund("clearing", "payments", "confirm", str(report), by="cf01")


@pytest.mark.parametrize("town", ON_SQLITE, indirect=True, scope="module")
async def test_only_a_supervisor_asks_and_only_of_their_own(town: Desk) -> None:
    month = int(f"{dt.datetime.now(CHINA):%Y%m}")
    total = ClearingTotal(11, 1, 1, 0, 0)
    async with town.client(await town.enrol("CLR2")) as client:
        for type_, body in (
            (MessageType.CLEARING_APPLY, ClearingApply(month, total)),
            (MessageType.CLEARING_CANCEL, ClearingCancel("1")),
            (MessageType.CLEARING_QUERY, ClearingQuery(month)),
        ):
            refused = await client.request(type_, body)
            assert refused.code == ResponseCode.OPERATOR_NOT_PERMITTED
    at = Town(town, Path())
    await at.hire("cv02", "supervisor", OTHER_HOSPITAL)
    credentials = await town.enrol("CLR3", institution=OTHER_HOSPITAL)
    async with town.client(credentials, operator="cv02") as client:

        async def code_of(type_: MessageType, body: Any) -> int:
            return (await client.request(type_, body)).code

        stranger = await code_of(MessageType.CLEARING_CANCEL, ClearingCancel("1"))
        assert stranger == ResponseCode.CLEARING_APPLICATION_UNKNOWN
        for name in ("", "x", "0", "99999999999"):
            answered = await code_of(MessageType.CLEARING_CANCEL, ClearingCancel(name))
            assert answered == ResponseCode.CLEARING_APPLICATION_UNKNOWN
        for wrong in (0, 13, 202613, 199912):
            assert await code_of(MessageType.CLEARING_QUERY, ClearingQuery(wrong)) == 105
        assert await code_of(
            MessageType.CLEARING_APPLY, ClearingApply(month, ClearingTotal(12, 1, 1, 0, 0))
        ) == 105  # fmt: skip
        told = await client.request(MessageType.CLEARING_APPLY, ClearingApply(200_001, total))
        assert isinstance(told.body, ClearingApplied)
        assert told.body.application_id == ""
        assert told.body.centre == ClearingTotal(11, 0, 0, 0, 0)
