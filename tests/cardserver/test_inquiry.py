"""`cardserver claim` and `cardserver resolve`, as people type them beside a running centre."""

import json
from pathlib import Path
from typing import Any

import pytest

from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Cancel, MessageType, Reverse
from simulators.centre_process import Commanded
from tests.cardserver.desk import HOSPITAL, Desk, open_card
from tests.in_process import command


@pytest.fixture
def people(desk: Desk) -> tuple[str, ...]:
    """The options that name the fund's two resolvers with their passwords."""
    options: list[str] = []
    lines = (desk.city.directory / "operators.txt").read_text(encoding="utf-8").splitlines()
    for line, names in zip(
        lines, (("--operator", "--password-file"), ("--second", "--second-password-file")),
        strict=True,
    ):  # fmt: skip
        code, password = line.split()
        file = desk.city.directory / f"password-of-{code}"
        file.write_text(password, encoding="utf-8")
        options += [names[0], code, names[1], str(file)]
    return tuple(options)


async def claim(desk: Desk, msgid: str) -> list[dict[str, Any]]:
    said = await command(
        "cardserver", "claim", msgid, "--config", str(desk.city.config_file), "--json"
    )
    found: list[dict[str, Any]] = json.loads(said.output)
    return found


async def resolve(
    desk: Desk, msgid: str, people: tuple[str, ...], decision: str, *, check: bool = True
) -> Commanded:
    return await command(
        "cardserver", "resolve", msgid, "--config", str(desk.city.config_file),
        "--terminal", "INQ1", "--reason", "terminal burnt", "--decision", decision, "--json",
        *people, check=check,
    )  # fmt: skip


async def test_a_claim_shows_all_that_is_known(desk: Desk) -> None:
    async with desk.client(await desk.enrol("INQ0")) as client:
        token = await open_card(client, desk.card(1))
        msgid = client.msgid()
        settled = await desk.settle(client, token, desk.bill(7, lines=12), msgid=msgid)
        cancelled = await client.request(MessageType.CANCEL, Cancel(settled.body.setl_id, "wrong"))
        assert cancelled.is_approved
    # Stage times go to the database with a later group, a second at the latest.
    for _ in range(50):
        (found,) = await claim(desk, msgid)
        if found["times"]:
            break
    assert (found["institution"], found["terminal"]) == (HOSPITAL, "INQ0")
    assert (found["type"], found["code"]) == (MessageType.SETTLE, ResponseCode.APPROVED)
    split = settled.body.split
    assert found["claim"]["setl_id"] == settled.body.setl_id
    assert found["claim"]["undone_by"] == cancelled.body.setl_id
    assert found["claim"]["split"]["fund_pay_fen"] == split.fund_pay_fen
    assert len(found["claim"]["lines"]) == 12
    assert sum(line["gross_fen"] for line in found["claim"]["lines"]) == split.total_fen
    assert sum(posting["amount_fen"] for posting in found["claim"]["postings"]) == 0
    stages = dict(found["times"][0]["stages"])
    assert stages["commit"] > 0
    assert {"queue", "decode", "adjudication", "encode", "write"} <= stages.keys()


async def test_a_claim_is_shown_to_a_person(desk: Desk) -> None:
    async with desk.client(await desk.enrol("INQ0")) as client:
        token = await open_card(client, desk.card(1))
        msgid = client.msgid()
        assert (await desk.settle(client, token, desk.bill(8), msgid=msgid)).is_approved
    said = await command("cardserver", "claim", msgid, "--config", str(desk.city.config_file))
    for words in ("SETTLE: 000", "成功 / approved", "结算号", "postings 分录", "2010"):
        assert words in said.output


@pytest.mark.parametrize(
    ("msgid", "says"),
    [
        (f"{HOSPITAL}202601010000000001", "nothing is known"),
        ("X63990000001202601010000000001", "nothing is known"),
        ("short", "a msgid is 12 letters or digits"),
    ],
)
async def test_an_unknown_msgid_is_a_sentence(desk: Desk, msgid: str, says: str) -> None:
    said = await command(
        "cardserver", "claim", msgid, "--config", str(desk.city.config_file), check=False
    )
    assert said.status == 1
    assert says in said.errors
    assert "Traceback" not in said.errors


async def test_two_people_reverse_what_a_dead_terminal_settled(
    desk: Desk, people: tuple[str, ...]
) -> None:
    async with desk.client(await desk.enrol("INQ1")) as client:
        token = await open_card(client, desk.card(2))
        msgid = client.msgid()
        settled = await desk.settle(client, token, desk.bill(9), msgid=msgid)
        shown = json.loads((await resolve(desk, msgid, people, "show")).output)
        assert (shown["state"], shown["settlement"]) == ("SETTLED", settled.body.setl_id)
        done = json.loads((await resolve(desk, msgid, people, "reverse")).output)
        assert (done["result"], done["afterwards"]) == ("REVERSED", "UNDONE")
        again = json.loads((await resolve(desk, msgid, people, "reverse")).output)
        assert again["result"] == "ALREADY_UNDONE"
        cancelled = await client.request(MessageType.CANCEL, Cancel(settled.body.setl_id, "late"))
        assert cancelled.code == ResponseCode.ALREADY_UNDONE


async def test_what_two_people_keep_is_no_longer_reversed(
    desk: Desk, people: tuple[str, ...]
) -> None:
    async with desk.client(await desk.enrol("INQ1")) as client:
        token = await open_card(client, desk.card(2))
        msgid = client.msgid()
        assert (await desk.settle(client, token, desk.bill(10), msgid=msgid)).is_approved
        kept = json.loads((await resolve(desk, msgid, people, "keep")).output)
        assert kept["afterwards"] == "SETTLED"
        reversed_ = await client.request(MessageType.REVERSE, Reverse("INQ1", msgid, "late"))
        assert reversed_.code == ResponseCode.ALREADY_PRINTED


async def test_what_never_came_is_refused_should_it_come(
    desk: Desk, people: tuple[str, ...]
) -> None:
    async with desk.client(await desk.enrol("INQ1")) as client:
        token = await open_card(client, desk.card(2))
        msgid = client.msgid()
        done = json.loads((await resolve(desk, msgid, people, "reverse")).output)
        assert (done["result"], done["afterwards"]) == ("NOT_FOUND", "TOMBSTONED")
        late = await desk.settle(client, token, desk.bill(11), msgid=msgid)
        assert late.code == ResponseCode.TOMBSTONED
        kept = await resolve(desk, msgid, people, "keep", check=False)
        assert kept.status == 1
        assert "only a settlement that stands can be kept" in kept.errors


async def test_one_person_alone_settles_no_doubt(
    desk: Desk, people: tuple[str, ...], tmp_path: Path
) -> None:
    msgid = f"{HOSPITAL}202601010000000001"
    await desk.enrol("INQ1")
    operator, password = people[1], people[3]
    wrong = tmp_path / "wrong"
    wrong.write_text("not-the-password", encoding="utf-8")
    for second, file, says in (
        (operator, password, "must be two people"),
        (people[5], str(wrong), "another password"),
        ("f999", password, "unknown"),
    ):
        said = await resolve(
            desk, msgid,
            (*people[:4], "--second", second, "--second-password-file", file),
            "reverse", check=False,
        )  # fmt: skip
        assert said.status == 1
        assert says in said.errors
