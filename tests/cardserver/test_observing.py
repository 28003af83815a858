"""A live centre as those on duty see it: metrics of all of it, traces, what is watched."""

import asyncio
import json
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from cardserver.observe.catalogue import FAMILIES, Kind
from cardserver.observe.metrics import known
from protocol.terminal.messages import MessageType, PrintAck
from protocol.terminal.trace import trace_of
from simulators.centre_process import CentreProcess, City, command
from tests import in_process
from tests.cardserver.desk import Desk, Reader, open_card
from tests.cities import copy_city

Span = dict[str, object]


class Collector:
    """An OTLP/HTTP receiver of the test's own."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, object]] = []
        self.port = 0

    async def take(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        for resource in json.loads(await request.read())["resourceSpans"]:
            self.resources.append(resource["resource"])
            for scope in resource["scopeSpans"]:
                self.spans += scope["spans"]
        return web.json_response({})


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    found = Collector()
    application = web.Application()
    application.add_routes([web.post("/v1/traces", found.take)])
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.port = runner.addresses[0][1]
    yield found
    await runner.cleanup()


@pytest.fixture
def traced(made_city: City, tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Desk:
    """A centre of its own that sends its traces to the collector."""
    city = copy_city(made_city, tmp_path_factory.mktemp("traced"))
    with city.config_file.open("a", encoding="utf-8") as file:
        file.write(f'\n[observe.otlp]\nendpoint = "http://127.0.0.1:{collector.port}/v1/traces"\n')
    centre = CentreProcess(city.config_file)
    return Desk(city, centre)


def attributes(span: Span) -> dict[str, object]:
    listed = span["attributes"]
    assert isinstance(listed, list)
    return {one["key"]: next(iter(one["value"].values())) for one in listed}


async def test_a_request_is_followed_from_the_terminal_through_the_centre(
    traced: Desk, collector: Collector
) -> None:
    await traced.centre.start()
    try:
        credentials = await traced.enrol("FOLLOWED")
        async with traced.client(credentials) as client:
            token = await open_card(client, traced.card())
            settled = await traced.settle(client, token, traced.bill(5))
            assert settled.is_approved
            told = PrintAck(settled.body.setl_id, is_printed=True)
            assert (await client.request(MessageType.PRINT_ACK, told)).is_approved
        context = trace_of(terminal="FOLLOWED", msgid=settled.msgid)
        async with asyncio.timeout(20):
            await until(lambda: any(span["name"] == "terminal settle" for span in collector.spans))
            while True:
                shown = await in_process.command(
                    "cardserver", "claim", settled.msgid, "--config",
                    str(traced.city.config_file), "--json",
                )  # fmt: skip
                (found,) = json.loads(shown.output)
                if found["felt"] and found["times"]:
                    break
        printed = await command(
            "cardserver", "claim", settled.msgid, "--config", str(traced.city.config_file)
        )
    finally:
        assert await traced.centre.stop() == 0
    spans = [span for span in collector.spans if span["traceId"] == context.trace_id]
    (terminal,) = (span for span in spans if span["name"] == "terminal settle")
    (centre,) = (span for span in spans if span["name"] == "centre settle")
    assert terminal["spanId"] == context.span_id
    assert "parentSpanId" not in terminal
    assert centre["parentSpanId"] == context.span_id
    assert attributes(centre)["msgid"] == attributes(terminal)["msgid"] == settled.msgid
    stages = [span["name"] for span in spans if span.get("parentSpanId") == centre["spanId"]]
    assert {"queue", "decode", "commit_wait", "lookup", "commit", "encode", "write"} <= set(stages)
    of_terminal = [span["name"] for span in spans if span.get("parentSpanId") == context.span_id]
    assert "round_trip" in of_terminal
    ((felt,), (time,)) = found["felt"], found["times"]
    assert time["trace"] == context.trace_id
    assert felt["sends"] == 1
    assert felt["took_us"] >= sum(us for name, us in time["stages"] if name == "commit")
    assert dict(felt["stages"])["round_trip"] <= felt["took_us"]
    for word in (context.trace_id, "terminal 终端", "round_trip", "commit_wait"):
        assert word in printed.output
    assert context.trace_id in traced.log()
    private = traced.card_data()
    everything = json.dumps(collector.spans, ensure_ascii=False)
    for text in (private.holder_name, private.holder_number, private.card_number):
        assert text not in everything


async def test_a_collector_that_is_away_costs_nothing_but_its_spans(
    traced: Desk, collector: Collector
) -> None:
    text = traced.city.config_file.read_text(encoding="utf-8")
    nowhere = text.replace(f":{collector.port}/v1", ":9/v1").replace(
        "[observe.otlp]", "[observe.otlp]\nqueue_max = 8"
    )
    traced.city.config_file.write_text(nowhere, encoding="utf-8")
    await traced.centre.start()
    try:
        credentials = await traced.enrol("ALONE")
        async with traced.client(credentials) as client:
            for _ in range(20):
                assert (await client.echo(b"x")).is_approved
        await until_value(traced, "cardserver_spans_dropped_total", lambda count: count >= 20)
    finally:
        assert await traced.centre.stop() == 0
    assert "spans can't be sent" in traced.log()
    assert "Traceback" not in traced.log()


async def until(is_true: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    async with asyncio.timeout(20):
        while not is_true():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)


async def until_value(
    desk: Desk, name: str, is_right: Callable[[float], bool], **labels: str
) -> None:
    """Wait until a metric of the centre is right."""
    async with asyncio.timeout(20):
        while not is_right(await value(desk, name, **labels)):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)


async def value(desk: Desk, name: str, **labels: str) -> float:
    status, text = await desk.page("/metrics")
    assert status == 200
    found = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(found)


async def test_every_metric_of_the_catalogue_is_one_that_a_live_centre_shows(desk: Desk) -> None:
    credentials = await desk.enrol("COUNTED")
    async with desk.client(credentials) as client:
        token = await open_card(client, desk.card())
        assert (await desk.settle(client, token, desk.bill(6))).is_approved
        assert (await client.echo(b"felt")).is_approved
        await until_value(desk, "cardserver_watch_timestamp_seconds", lambda at: at > 0)
        checked_at = "cardserver_revocation_list_checked_timestamp_seconds"
        await until_value(desk, checked_at, lambda at: at > 0)
        _, text = await desk.page("/metrics")
    shown = {family.name for family in text_string_to_metric_families(text)}
    expected = {
        family.name.removesuffix("_total") if family.kind is Kind.COUNTER else family.name
        for family in FAMILIES
    }
    # What a centre on one SQLite file has none of: pools, and a month that waits to be cleared.
    assert expected - shown == {
        "cardserver_database_connections",
        "cardserver_clearing_oldest_uncleared_end_timestamp_seconds",
    }
    assert shown <= expected
    assert all(known(sample) for sample in ("cardserver_request_duration_seconds_bucket",))
    checked = await asyncio.to_thread(
        subprocess.run,
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stderr) == (0, "")


async def test_the_audit_is_searched_and_verified_beside_a_running_centre(desk: Desk) -> None:
    credentials = await desk.enrol("AUDITED")
    async with desk.client(credentials) as client:
        token = await open_card(client, desk.card())
        settled = await desk.settle(client, token, desk.bill(9))
    config = ("--config", str(desk.city.config_file))
    found = await command(
        "cardserver", "audit", "search", *config, "--subject", settled.body.setl_id, "--json"
    )
    (row,) = json.loads(found.output)
    assert (row["action"], row["subject"]) == ("settle", settled.body.setl_id)
    assert row["operator_no"] > 0
    by_operator = await command(
        "cardserver", "audit", "search", *config, "--operator", str(row["operator_no"]),
        "--from", "2026-01-01", "--action", "settle*",
    )  # fmt: skip
    assert "settle" in by_operator.output
    at_centre = await command("cardserver", "audit", "search", *config, "--subject", "terminal*")
    assert "terminal enrolled" in at_centre.output
    verified = await command("cardserver", "audit", "verify", *config, "--json")
    document = json.loads(verified.output)
    assert document["is_as_written"]
    assert document["rows"]["audit"] > 2
    everything = await command("cardserver", "verify-ledger", *config, "--json")
    assert json.loads(everything.output)["rows"]["audit"] >= document["rows"]["audit"]


async def test_a_runbook_is_served_by_the_centre(desk: Desk) -> None:
    status, text = await desk.page("/runbooks/database-down.md")
    assert status == 200
    assert "DatabaseDown" in text
    assert (await desk.page("/runbooks/..%2Frules%2Falerts.yml"))[0] == 404


async def test_a_slow_bucket_names_its_last_request(desk: Desk) -> None:
    credentials = await desk.enrol("EXEMPLAR")
    async with desk.client(credentials) as client:
        token = await open_card(client, desk.card())
        settled = await desk.settle(client, token, desk.bill(8))

    def fetch() -> str:
        request = urllib.request.Request(
            f"http://127.0.0.1:{desk.centre.observe_port}/metrics",
            headers={"Accept": "application/openmetrics-text; version=1.0.0"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.headers["Content-Type"].startswith("application/openmetrics-text")
            return str(response.read(), "utf-8")

    text = await asyncio.to_thread(fetch)
    exemplars = {
        sample.exemplar.labels["msgid"]
        for family in openmetrics_families(text)
        if family.name == "cardserver_request_duration_seconds"
        for sample in family.samples
        if sample.exemplar and sample.labels["type"] == "settle"
    }
    assert settled.msgid in exemplars


async def test_what_a_terminal_has_in_doubt_is_seen_while_it_is_connected(desk: Desk) -> None:
    credentials = await desk.enrol("DOUBTING")
    async with desk.client(credentials) as client:
        client.untold._outbox_doubts = lambda _msgid: (2, 90_000)
        assert (await client.echo(b"first")).is_approved
        assert (await client.echo(b"tells of the first")).is_approved
        assert await value(desk, "cardserver_terminals_in_doubt") == 1
        assert 90 <= await value(desk, "cardserver_terminal_outbox_age_seconds") < 150
        assert await value(desk, "cardserver_terminal_felt_duration_seconds_count", type="echo") > 0
        reader = Reader(desk.card())
        assert (await client.open_card(reader)).answer.is_approved
    await until_value(desk, "cardserver_terminals_in_doubt", lambda count: count == 0)
