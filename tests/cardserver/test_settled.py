"""Refunds, explanations and accumulators, as a cashier and the fund type them, at a real centre."""

import json
from pathlib import Path
from typing import Any

import pytest

from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    Accumulators,
    AccumulatorsFound,
    Explain,
    Explained,
    ExplainResult,
    MessageType,
    Refund,
    Refunded,
    RefundLine,
    Settled,
)
from simulators.centre_process import Commanded, command
from simulators.raw_terminal import Credentials
from tests import in_process
from tests.cardserver.desk import OTHER_HOSPITAL, Desk, open_card

ONE_E4 = 10_000


class Counter:
    """`cardterminal` of one terminal, signed on: within the test's process but where it says so."""

    def __init__(self, config_file: Path) -> None:
        self._config_file = config_file

    async def run(self, *arguments: str, check: bool = True) -> Commanded:
        config = ("--config", str(self._config_file))
        return await in_process.command("cardterminal", *arguments, *config, check=check)

    async def process(self, *arguments: str) -> Commanded:
        return await command("cardterminal", *arguments, "--config", str(self._config_file))

    async def json(self, *arguments: str, check: bool = True) -> dict[str, Any]:
        said = await self.run(*arguments, "--json", check=check)
        found: dict[str, Any] = json.loads(said.output)
        return found


async def open_counter(desk: Desk, credentials: Credentials, folder: Path) -> Counter:
    file = folder / "terminal.toml"
    file.write_text(
        f"""
        [centre]
        host = "127.0.0.1"
        port = {desk.centre.port}
        ca_file = "{desk.city.authority_file}"
        [terminal]
        institution = "{credentials.institution}"
        code = "{credentials.terminal}"
        certificate_file = "{credentials.certificate_file}"
        key_file = "{credentials.key_file}"
        """,
        encoding="utf-8",
    )
    counter = Counter(file)
    password = str(desk.city.password_file)
    await counter.process("sign-on", "--operator", "c001", "--password-file", password)
    return counter


async def settled_by(desk: Desk, credentials: Credentials, seed: int) -> Settled:
    async with desk.client(credentials, operator="c002") as client:
        token = await open_card(client, desk.card(2))
        answer = await desk.settle(client, token, desk.bill(seed, lines=4))
        assert isinstance(answer.body, Settled)
        return answer.body


async def test_a_refund_at_the_counter_and_what_follows(desk: Desk, tmp_path: Path) -> None:
    credentials = await desk.enrol("SETL1")
    settled = await settled_by(desk, credentials, 31)
    counter = await open_counter(desk, credentials, tmp_path)
    used = await counter.json("accumulators", settled.psn_no)

    told = await counter.json("explain", settled.setl_id)
    assert told["result"]["result"] == "explained"
    steps = told["result"]["explanation"]
    fund = sum(one["amount_fen"] for one in steps if one["field"] == "fund_pay_fen")
    assert fund == settled.split.fund_pay_fen
    assert len(told["result"]["lines"]) == 4
    listed = await counter.process("refund", settled.setl_id)
    assert told["result"]["lines"][3]["name"] in listed.output
    assert "与结算一致" in (await counter.run("explain", settled.setl_id)).output

    line = told["result"]["lines"][1]
    done = await counter.json("refund", settled.setl_id, "--line", "2", "--yes")
    result = done["result"]
    assert result["given_back"]["total_fen"] == line["gross_fen"]
    assert result["remaining"]["total_fen"] == settled.split.total_fen - line["gross_fen"]
    assert result["refunds"] == settled.setl_id
    receipt = await counter.run("receipt")
    for words in ("退费结算单", "REFUND RECEIPT", "剩余结算", result["setl_id"], line["name"]):
        assert words in receipt.output

    again = await counter.json("refund", settled.setl_id, "--line", "1", "--yes", check=False)
    assert again["code"] == ResponseCode.ALREADY_UNDONE
    remaining = await counter.json("explain")
    assert remaining["result"]["setl_id"] == result["setl_id"]
    assert remaining["result"]["replaces"] == settled.setl_id
    assert (await counter.json("explain", settled.setl_id))["result"]["undone_by"] == (
        result["undo_setl_id"]
    )

    claims = await in_process.command(
        "cardserver", "claim", done["msgid"], "--explain",
        "--config", str(desk.city.config_file), "--json",
    )  # fmt: skip
    (found,) = json.loads(claims.output)
    assert found["claim"]["undoes"] == settled.setl_id
    assert found["remainder"]["replaces"] == settled.setl_id
    assert [one["result"] for one in found["told"]] == ["EXPLAINED"]
    assert found["told"][0]["setl_id"] == result["setl_id"]
    shown = await in_process.command(
        "cardserver", "claim", done["msgid"], "--explain", "--config", str(desk.city.config_file)
    )
    assert "what remained, settled anew" in shown.output

    # The last settlement is what remained; without it all is as it was before.
    assert (await counter.json("cancel", "--yes"))["result"]["cancels"] == result["setl_id"]
    await settled_by(desk, credentials, 32)
    after = await counter.json("accumulators", settled.psn_no)
    assert [one["visits"] for one in after["result"]["visits"]] == [
        one["visits"] for one in used["result"]["visits"]
    ]
    checked = await command(
        "cardserver", "accumulators", "check", "--config", str(desk.city.config_file)
    )
    assert "all agree" in checked.output


async def test_what_cannot_be_refunded_is_said_in_words(desk: Desk, tmp_path: Path) -> None:
    credentials = await desk.enrol("SETL2")
    settled = await settled_by(desk, credentials, 33)
    counter = await open_counter(desk, credentials, tmp_path)
    for lines, words in ((("x",), "NUMBER"), (("9",), "4 lines"), (("1:0",), "nothing")):
        options = [option for line in lines for option in ("--line", line)]
        said = await counter.run("refund", settled.setl_id, *options, "--yes", check=False)
        assert said.status == 3
        assert words in said.output
    said = await counter.run("refund", settled.setl_id, "--line", "1", "--json", check=False)
    assert said.status == 3
    too_many = await counter.json("refund", settled.setl_id, "-l", "1:900", "--yes", check=False)
    assert (too_many["exit_status"], too_many["code"]) == (1, ResponseCode.LINE_NOT_REFUNDABLE)
    assert "line 1" in too_many["detail_en"]


async def test_only_the_institution_itself_is_told_and_given(desk: Desk) -> None:
    settled = await settled_by(desk, await desk.enrol("SETL3"), 34)
    elsewhere = await desk.enrol("SETL3", institution=OTHER_HOSPITAL)
    lines = (RefundLine(1, 1),)
    async with desk.client(elsewhere, operator="c003") as client:
        told = await client.request(MessageType.EXPLAIN, Explain(settled.setl_id))
        shown = await client.request(
            MessageType.REFUND, Refund(settled.setl_id, lines, "", commits=False)
        )
        done = await client.request(
            MessageType.REFUND, Refund(settled.setl_id, lines, "", commits=True)
        )
    assert {told.code, shown.code, done.code} == {ResponseCode.ORIGINAL_NOT_FOUND}


async def test_a_refund_that_only_asks_leaves_nothing(desk: Desk) -> None:
    credentials = await desk.enrol("SETL4")
    settled = await settled_by(desk, credentials, 35)
    body = Refund(settled.setl_id, (RefundLine(1, ONE_E4),), "", commits=False)
    async with desk.client(credentials) as client:
        msgid = client.msgid()
        shown = await client.request(MessageType.REFUND, body, msgid=msgid)
        assert isinstance(shown.body, Refunded)
        assert (shown.body.undo_setl_id, shown.body.setl_id) == ("", "")
        again = await client.request(MessageType.REFUND, body, msgid=msgid)
        assert not again.is_duplicate
        told = await client.request(MessageType.EXPLAIN, Explain(settled.setl_id))
        assert isinstance(told.body, Explained)
        assert (told.body.result, told.body.undone_by) == (ExplainResult.EXPLAINED, "")


async def test_pages_of_a_long_bill_put_together_are_the_bill(desk: Desk, tmp_path: Path) -> None:
    credentials = await desk.enrol("SETL5")
    bill = desk.bill(36, lines=700)
    async with desk.client(credentials, operator="c002") as client:
        token = await open_card(client, desk.card(3))
        settled = await desk.settle(client, token, bill)
        assert isinstance(settled.body, Settled), settled.reply
        first = await client.request(MessageType.EXPLAIN, Explain(settled.body.setl_id))
        assert isinstance(first.body, Explained)
        assert 0 < first.body.next_line < 700
    counter = await open_counter(desk, credentials, tmp_path)
    told = await counter.json("explain", settled.body.setl_id)
    assert [one["gross_fen"] for one in told["result"]["lines"]] == [
        line.gross_fen for line in bill.lines
    ]
    assert len(told["result"]["line_splits"]) == 700


async def test_accumulators_of_whose_card_it_is_and_of_other_years(desk: Desk) -> None:
    credentials = await desk.enrol("SETL6")
    async with desk.client(credentials, operator="c002") as client:
        token = await open_card(client, desk.card(2))
        own = await client.request(MessageType.ACCUMULATORS, Accumulators(""), card_session=token)
        assert isinstance(own.body, AccumulatorsFound)
        named = await client.request(MessageType.ACCUMULATORS, Accumulators(own.body.psn_no))
        assert named.body == own.body
        before = await client.request(MessageType.ACCUMULATORS, Accumulators(own.body.psn_no, 1999))
        assert before.body == AccumulatorsFound(own.body.psn_no, 1999, (), ())
        nobody = await client.request(MessageType.ACCUMULATORS, Accumulators("999999999999"))
        no_card = await client.request(MessageType.ACCUMULATORS, Accumulators(""))
    assert nobody.code == ResponseCode.PERSON_UNKNOWN
    assert no_card.code == ResponseCode.CARD_SESSION_REQUIRED


@pytest.mark.parametrize("setl_id", ["", "0", "-1", "x", "9" * 30])
async def test_what_is_no_number_is_not_found(desk: Desk, setl_id: str) -> None:
    async with desk.client(await desk.enrol("SETL7")) as client:
        told = await client.request(MessageType.EXPLAIN, Explain(setl_id))
        assert told.code == ResponseCode.ORIGINAL_NOT_FOUND
