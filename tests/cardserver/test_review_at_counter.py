"""A settlement is reviewed by the fund's people at their keyboards and appealed at the counter."""

import asyncio
import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from typer.testing import CliRunner

from cardserver.cli import app
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    MessageType,
    ReviewAppeal,
    ReviewCases,
    ReviewCasesFound,
    Settled,
)
from simulators.raw_terminal import Credentials
from tests.cardserver.desk import OTHER_HOSPITAL, Desk, open_card
from tests.cardserver.test_settled import open_counter

STAFF = {
    "v001": ("acceptance", "受理科"),
    "v002": ("calculation", "核算科"),
    "v003": ("audit", "稽查科"),
    "v004": ("audit", "稽查科"),
}


class Keyboard:
    """`cardserver` at the fund, beside the running centre."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def run(self, *words: str, status: int = 0) -> str:
        config = ("--config", str(self._desk.city.config_file))
        done = await asyncio.to_thread(CliRunner().invoke, app, [*words, *config])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == status, done.output
        return done.output

    async def file(self, name: str, folder: Path) -> str:
        """Put the shipped rules into a file."""
        done = await asyncio.to_thread(CliRunner().invoke, app, ["review", "rules", "shipped"])
        path = folder / name
        path.write_text(done.output, encoding="utf-8")
        return str(path)

    async def review(self, verb: str, who: str, *words: str, status: int = 0) -> dict[str, Any]:
        password = ("--operator", who, "--password-file", str(self._desk.city.password_file))
        said = await self.run("review", verb, *words, *password, "--json", status=status)
        found: dict[str, Any] = json.loads(said)
        return found


async def settle_much(desk: Desk, credentials: Credentials, seed: int) -> tuple[str, int]:
    """Settle a bill of which the fund pays something; return its number and month."""
    small = desk.bill(seed, lines=4)
    lines = tuple(
        replace(
            line, quantity_e4=2_000_000, gross_fen=(line.price_microyuan * 200 + 5_000) // 10_000
        )
        for line in small.lines
    )
    bill = replace(small, lines=lines, total_fen=sum(line.gross_fen for line in lines))
    async with desk.client(credentials, operator="c001") as client:
        token = await open_card(client, desk.card(4))
        answer = await desk.settle(client, token, bill)
        assert isinstance(answer.body, Settled), answer.reply
        assert answer.body.split.fund_pay_fen > 1_000
        day = answer.reply.business_date
        return answer.body.setl_id, day.year * 100 + day.month


async def test_a_deduction_and_its_appeal(desk: Desk, tmp_path: Path) -> None:
    fund = Keyboard(desk)
    for code, (role, department) in STAFF.items():
        await fund.run(
            "registry", "operator", "add", code, "--name", "韩梅梅", "--role", role,
            "--department", department, "--password-file", str(desk.city.password_file),
        )  # fmt: skip
    credentials = await desk.enrol("REVIEW1")
    setl_id, month = await settle_much(desk, credentials, 77)
    await fund.run("review", "rules", "activate", await fund.file("rules.toml", tmp_path))
    at = ("--month", str(month))
    signed = ("--password-file", str(desk.city.password_file))
    await fund.run("review", "open", *at, "--operator", "v003", *signed)
    said = await fund.run(
        "review", "choose", setl_id, *at, "--operator", "v003", "--reason", "举报", *signed
    )
    case = said.split()[-1]

    assert (await fund.review("take", "v002", case, status=1))["refusal"] == "wrong_role"
    assert (await fund.review("take", "v001", *at))["case"]["case_no"] == int(case)
    assert (await fund.review("accept", "v001", case))["state"] == "accepted"
    shown = json.loads(await fund.run("review", "show", case, "--json"))
    assert shown["person"]["name"].endswith("*")
    assert sum(line["fund_share_fen"] for line in shown["lines"]) == shown["split"]["fund_pay_fen"]
    assert shown["explained"] == "explained"
    assert shown["explanation"]
    most = max(shown["lines"], key=lambda line: line["fund_share_fen"])["line"]
    await fund.review("take", "v002", case)
    await fund.review("calculate", "v002", case, "--cut", f"{most}:10.00:735-15-3:超标准收费")
    await fund.review("take", "v003", case)
    decided = await fund.review("audit", "v003", case, "--note", "同意")
    assert (decided["state"], decided["case"]["deduction_fen"]) == ("decided", 1_000)

    counter = await open_counter(desk, credentials, tmp_path)
    listed = await counter.json("review", "list", *at)
    assert [one["case_no"] for one in listed["result"]["cases"]] == [case]
    seen = (await counter.json("review", "show", case))["result"]["case"]
    assert (seen["deduction_fen"], seen["setl_id"]) == (1_000, setl_id)
    assert [(cut["line"], cut["amount_fen"], cut["reason"]) for cut in seen["cuts"]] == [
        (most, 1_000, "超标准收费")
    ]
    words = ("review", "appeal", case, "--reason", "收费依据见附件", "--yes")
    refused = await counter.json(*words, check=False)  # a cashier is signed on
    assert refused["code"] == ResponseCode.OPERATOR_NOT_PERMITTED
    password = str(desk.city.password_file)
    await counter.run("sign-on", "--operator", "s001", "--password-file", password)
    filed = await counter.json(*words)
    assert (filed["exit_status"], filed["result"]["case"]["appeal"]) == (0, 1)
    late = await counter.json(*words, check=False)
    assert late["code"] == ResponseCode.APPEAL_FILED_ALREADY

    await fund.review("take", "v004", case)
    ended = await fund.review("decide", "v004", case, "--grant", "--note", "依据充分")
    assert (ended["state"], ended["case"]["deduction_fen"]) == ("final", 0)
    assert "全部一致" in await fund.run("review", "check")
    seen = (await counter.json("review", "show", case))["result"]["case"]
    assert (seen["appeal"], seen["appeal_answer"], seen["deduction_fen"]) == (2, "依据充分", 0)

    work = json.loads(await fund.run("workload", *at, "--json"))
    assert [(one["operator"], one["department"], one["kind"]) for one in work if
            one["kind"] != "all"] == [
        ("v001", "受理科", "accept"), ("v002", "核算科", "calculate"), ("v003", "稽查科", "audit"),
        ("v004", "稽查科", "decide_appeal"),
    ]  # fmt: skip
    table = await fund.run("workload", *at, "--by", "department", "--csv")
    assert table.splitlines()[0].startswith("month,operator,department,kind,steps,cases")
    assert len([line for line in table.splitlines() if ",all," in line]) == 3


async def test_an_institution_sees_its_own_cases_only(desk: Desk) -> None:
    credentials = await desk.enrol("REVIEW2", institution=OTHER_HOSPITAL)
    async with desk.client(credentials, operator="s001") as client:
        answer = await client.request(MessageType.REVIEW_CASES, ReviewCases(0))
        assert answer.body == ReviewCasesFound(())
        for number in ("2026110000001", "0", "", "x" * 40):
            body = ReviewAppeal(number, "不服")
            answer = await client.request(MessageType.REVIEW_APPEAL, body)
            assert answer.code == ResponseCode.REVIEW_CASE_UNKNOWN
        answer = await client.request(MessageType.REVIEW_CASES, ReviewCases(0, "2026110000001"))
        assert answer.code == ResponseCode.REVIEW_CASE_UNKNOWN
        answer = await client.request(MessageType.REVIEW_APPEAL, ReviewAppeal("1", " "))
        assert answer.code == ResponseCode.INVALID_FIELD
