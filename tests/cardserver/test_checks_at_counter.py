"""Checks at a running centre: pharmacies with `cardterminal`, the fund with `cardserver checks`."""

import asyncio
import csv
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from protocol.terminal.messages import MessageType, Preview
from simulators.centre_process import CentreProcess, City, Commanded, enrol
from tests.cardserver.desk import Desk, open_card, settle_of
from tests.in_process import command

ONE, OTHER = "P11019900006", "P11019900007"
EXCEPTION = """
[[exceptions]]
name = "reader-broken"
med_types = ["41"]
total_max_fen = 100000
"""
BILL = """
insutype = "310"
med_type = "41"
[[lines]]
med_list_codg = "{item}"
name = "阿莫西林胶囊"
pric = 12.5
cnt = {count}
"""
RULES = """
name = "two-pharmacies"
title_zh = "药店规则"
title_en = "Pharmacies"
begins = 2026-01-01
[[sources]]
title = "test"
supports = "all"
standing = "choice"
[[rules]]
name = "same-drug-other-pharmacy"
kind = "repeat"
action = "refuse"
override = "supervisor"
reason_zh = "已在其他药店购买同一药品"
reason_en = "the same medicine was bought at another pharmacy"
institution_kinds = ["pharmacy"]
days = 3
[[rules]]
name = "many-units"
kind = "quantity"
action = "warn"
reason_zh = "数量过多"
reason_en = "a large quantity"
most = 5
days = 1
"""


@dataclass
class Counter:
    """A pharmacy's terminal, driven by its commands."""

    config_file: Path
    person: tuple[str, str]
    folder: Path

    async def run(self, name: str, *arguments: str, is_json: bool = True) -> dict[str, Any]:
        done = await self.shown(name, *arguments, *(("--json",) if is_json else ()))
        said: dict[str, Any] = json.loads(done.output)
        return said

    async def shown(self, name: str, *arguments: str) -> Commanded:
        return await command(
            "cardterminal", name, *arguments, "--config", str(self.config_file), check=False
        )

    async def sign_on(self, operator: str, city: City) -> None:
        said = await self.run(
            "sign-on", "--operator", operator, "--password-file", str(city.password_file)
        )
        assert said["exit_status"] == 0, said

    def bill(self, count: int) -> tuple[str, ...]:
        file = self.folder / f"bill-{count}-{time.time_ns()}.toml"
        file.write_text(BILL.format(item="D0000001", count=count), encoding="utf-8")
        return (
            str(file), "--exception", "reader-broken", "--certificate-number", self.person[1],
        )  # fmt: skip

    async def settle(self, count: int = 1, *more: str) -> dict[str, Any]:
        return await self.run("settle", *self.bill(count), "--yes", *more)


def insured_person(city: City) -> tuple[str, str]:
    """A living employee in force, their number and their identity number."""
    with (city.population / "insurances.csv").open(encoding="utf-8", newline="") as file:
        insured = {
            row["person_no"]
            for row in csv.DictReader(file)
            if (row["insutype"], row["state"]) == ("310", "1")
        }
    with (city.population / "persons.csv").open(encoding="utf-8", newline="") as file:
        return next(
            (row["person_no"], row["id_number"])
            for row in csv.DictReader(file)
            if row["person_no"] in insured and not row["deceased_date"]
        )


async def checks(city: City, name: str, *arguments: str) -> str:
    done = await command(
        "cardserver", "checks", name, *arguments, "--config", str(city.config_file)
    )
    return done.output


@pytest.mark.timeout(480)
async def test_a_second_pharmacy_refuses_until_the_first_purchase_is_cancelled(
    city: City, tmp_path: Path
) -> None:
    with city.config_file.open("a", encoding="utf-8") as file:
        file.write(EXCEPTION)
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES, encoding="utf-8")
    process = CentreProcess(city.config_file)
    await process.start()
    try:
        person = insured_person(city)
        one, other = [
            Counter(
                await enrol(city, institution=code, terminal="T1", port=process.port),
                person,
                tmp_path,
            )
            for code in (ONE, OTHER)
        ]
        await one.sign_on("c001", city)
        await other.sign_on("c001", city)
        first = await one.settle(2)
        assert (first["code"], first["result"]["warnings"]) == (0, [])
        await is_taken_up(city, rules, other)
        await is_refused_with_its_reason(other)
        many = await only_warns(one)
        for settled in (first, many):
            undone = await one.run("cancel", settled["result"]["setl_id"], "--yes")
            assert undone["exit_status"] == 0, undone
        assert (await other.settle())["code"] == 0  # what was cancelled was not bought
        passed = await is_let_pass_by_a_supervisor(one, city)
    finally:
        assert await process.stop() == 0
    await is_seen_by_the_fund(city, rules, many=many, passed=passed)


async def is_taken_up(city: City, rules: Path, other: Counter) -> None:
    """Nothing was checked before the rules were activated; a running centre takes them up."""
    assert (await other.run("preview", *other.bill(1)))["code"] == 0
    assert "is activated" in await checks(city, "activate", str(rules))
    async with asyncio.timeout(120):
        while (await other.run("preview", *other.bill(1)))["code"] == 0:
            pass


async def is_refused_with_its_reason(other: Counter) -> None:
    said = await other.run("preview", *other.bill(1))
    assert (said["code"], said["exit_status"]) == (504, 1)
    assert said["detail_zh"].startswith("已在其他药店购买同一药品（阿莫西林胶囊")
    assert said["result"]["override"] == "supervisor"
    (refusal,) = said["result"]["refusals"]
    assert (refusal["rule"], refusal["line"]) == ("same-drug-other-pharmacy", 1)
    assert (await other.settle())["code"] == 504
    screen = (await other.shown("settle", *other.bill(1), "--yes")).output
    assert "拒绝 refusal 第1行 line 1: 已在其他药店购买同一药品（阿莫西林胶囊" in screen
    assert "[same-drug-other-pharmacy]" in screen
    assert "--override" in screen


async def only_warns(one: Counter) -> dict[str, Any]:
    """Where it was bought it may be bought again; too much of it only warns."""
    many = await one.settle(4)
    assert many["code"] == 0
    assert [found["rule"] for found in many["result"]["warnings"]] == ["many-units"]
    screen = (await one.shown("preview", *one.bill(1))).output
    assert "提醒 warning 第1行 line 1: 数量过多（阿莫西林胶囊 本次1，1天内此前6，限5）" in screen
    return many


async def is_let_pass_by_a_supervisor(one: Counter, city: City) -> dict[str, Any]:
    """A clerk can't help it, a supervisor can, and it is kept why."""
    assert (await one.settle())["code"] == 504
    assert (await one.settle(1, "--override", "原处方"))["code"] == 210
    await one.sign_on("s001", city)
    passed = await one.settle(1, "--override", "原药店缺货退回")
    assert passed["code"] == 0
    (warning,) = passed["result"]["warnings"]
    assert warning["rule"] == "same-drug-other-pharmacy"
    known = await command("cardserver", "claim", passed["msgid"], "--config", str(city.config_file))
    assert "same-drug-other-pharmacy:原药店缺货退回" in "".join(known.output.split())
    return passed


async def is_seen_by_the_fund(
    city: City, rules: Path, *, many: dict[str, Any], passed: dict[str, Any]
) -> None:
    listed = json.loads(await checks(city, "list", "--json"))
    assert [(one["name"], one["is_in_force"]) for one in listed] == [("two-pharmacies", True)]
    (shown,) = json.loads(await checks(city, "show", "--json"))
    assert [rule["name"] for rule in shown["rules"]] == ["same-drug-other-pharmacy", "many-units"]
    month = time.strftime("%Y-%m")
    csv_file = rules.with_name("found.csv")
    said = await checks(
        city, "replay", str(rules), "--from", month, "--to", month, "--json",
        "--csv", str(csv_file),
    )  # fmt: skip
    found = json.loads(said)
    assert (found["settlements"], found["refused"], found["warned"]) == (4, 1, 1)
    with csv_file.open(encoding="utf-8", newline="") as file:
        rows = [(row["setl_id"], row["rule"], row["institution"]) for row in csv.DictReader(file)]
    assert rows == [
        (many["result"]["setl_id"], "many-units", ONE),
        (passed["result"]["setl_id"], "same-drug-other-pharmacy", ONE),
    ]


async def test_two_terminals_at_once_and_one_is_refused(city: City, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES.replace('["pharmacy"]', '["hospital"]'), encoding="utf-8")
    await checks(city, "activate", str(rules))
    process = CentreProcess(city.config_file)
    await process.start()
    try:
        desk = Desk(city, process)
        terminals = [
            await desk.enrol("T1", institution=code) for code in ("H11019900001", "H11019900002")
        ]
        async with desk.client(terminals[0]) as one, desk.client(terminals[1]) as other:
            tokens = [await open_card(client, desk.card()) for client in (one, other)]
            # Below the deductible, and without the account, both are divided alike.
            bill = structs.replace(desk.bill(lines=1), uses_account=False)
            settles = []
            for client, token in zip((one, other), tokens, strict=True):
                shown = await client.request(MessageType.PREVIEW, Preview(bill), card_session=token)
                assert shown.is_approved
                settles.append(settle_of(bill, shown.body.split))
            answers = await asyncio.gather(
                *(
                    client.request(MessageType.SETTLE, body, card_session=token)
                    for client, body, token in zip((one, other), settles, tokens, strict=True)
                )
            )
        assert sorted(answer.code for answer in answers) == [0, 504]
    finally:
        assert await process.stop() == 0
