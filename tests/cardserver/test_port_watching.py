"""What operations see of the port: metrics, health, and logs that say nothing of persons."""

import asyncio
import csv
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from cardserver.observe.recent import decode_page
from protocol.card.profiles import social_security_card
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    Cancel,
    CardException,
    Eligibility,
    MemberQuery,
    MessageType,
    Preview,
    PrintAck,
    Reverse,
    Status,
)
from tests.cardserver.desk import Desk, Reader, open_card


async def samples(desk: Desk) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    status, text = await desk.page("/metrics")
    assert status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def private_texts(desk: Desk) -> dict[str, set[str]]:
    """All that the log and the pages must never say, from the city's own files."""

    def column(file: str, name: str) -> set[str]:
        with (desk.city.population / file).open(encoding="utf-8", newline="") as lines:
            return {row[name] for row in csv.DictReader(lines)}

    return {
        "id number": column("persons.csv", "id_number"),
        "name": column("persons.csv", "name"),
        "operator's name": column("operators.csv", "name"),
        "card number": column("cards.csv", "card_number"),
        "card identity": column("cards.csv", "identity"),
        "password": {desk.password},
    }


def recent_requests(desk: Desk) -> str:
    """All that the worker keeps of its last requests, as text."""
    told: list[str] = []
    at, life = 0, ""
    while True:
        url = f"http://127.0.0.1:{desk.centre.observe_port}/recent?from={at}&life={life}"
        with urllib.request.urlopen(url, timeout=10) as response:
            page = decode_page(response.read())
        if not page.rows:
            return "\n".join(told)
        told += map(repr, page.rows)
        at, life = page.next, page.life


async def test_a_whole_session_moves_counters_and_says_nothing_of_persons(desk: Desk) -> None:
    before = await samples(desk)
    credentials = await desk.enrol("WATCHED")
    card = desk.card_data()
    async with desk.client(credentials) as client:
        token = await open_card(client, desk.card())
        bill = desk.bill(77)
        settled = await desk.settle(client, token, bill)
        assert settled.is_approved
        repeated = await desk.settle(client, token, bill)
        setl_id = repeated.body.setl_id
        for type_, body in (
            (MessageType.MEMBER_QUERY, MemberQuery("02", card.holder_number)),
            (MessageType.MEMBER_QUERY, MemberQuery("03", card.card_number)),
            (MessageType.MEMBER_QUERY, MemberQuery(card.holder_number[:3], card.holder_number)),
            (MessageType.ELIGIBILITY, Eligibility("", "310", "11")),
            (MessageType.STATUS, Status("WATCHED", settled.msgid)),
            (MessageType.STATUS, Status(card.holder_number, settled.msgid)),
            (MessageType.PRINT_ACK, PrintAck(setl_id, is_printed=False)),
            (MessageType.CANCEL, Cancel(setl_id, f"{card.holder_name} {card.holder_number}")),
            (MessageType.REVERSE, Reverse("WATCHED", settled.msgid, card.holder_name)),
            (
                MessageType.PREVIEW,
                Preview(bill, CardException("reader-broken", "02", card.holder_number)),
            ),
        ):
            await client.exchange(type_, body, card_session=token)
        await client.exchange(MessageType.PREVIEW, Preview(bill), card_session=token[:-1])
        assert (await client.open_card(Reader(desk.card(1)))).answer.is_approved
        assert (await client.sign_on("c001", "a wrong password of theirs")).code == (
            ResponseCode.OPERATOR_REFUSED
        )
        assert (await client.sign_on("c001", desk.password)).is_approved
        await client.sign_off()
    after = await samples(desk)
    for type_, code, least in (
        ("sign_on", 0, 2), ("sign_on", 207, 1), ("card_open", 0, 2), ("settle", 0, 2),
        ("member_query", 0, 2), ("member_query", 105, 1), ("cancel", 0, 1), ("preview", 321, 1),
    ):  # fmt: skip
        key = (
            "cardserver_requests_total",
            frozenset({("type", type_), ("code", str(code)), ("duplicate", "false")}),
        )
        assert after.get(key, 0) - before.get(key, 0) >= least, (type_, code)
    for stage in ("decode", "lookup", "adjudication", "commit_wait", "commit", "encode"):
        key = (
            "cardserver_stage_duration_seconds_count",
            frozenset({("type", "settle"), ("stage", stage)}),
        )
        assert after.get(key, 0) > before.get(key, 0), stage
    _, page = await desk.page("/metrics")
    recent = await asyncio.to_thread(recent_requests, desk)
    log = desk.log()
    assert settled.msgid in log
    assert settled.msgid in recent
    assert social_security_card.PROFILE in recent
    for what, texts in private_texts(desk).items():
        for text in texts:
            assert text not in page, what
            assert text not in recent, what
            assert text not in log, what
    for secret in ("a wrong password of theirs", repr(token), token.hex(), card.holder_number[6:]):
        assert secret not in log
        assert secret not in recent
    assert "Traceback" not in log


async def test_health_and_readiness(desk: Desk) -> None:
    assert await desk.page("/healthz") == (200, "ok\n")
    assert await desk.page("/readyz") == (200, "ready\n")
    assert (await desk.page("/other"))[0] == 404
