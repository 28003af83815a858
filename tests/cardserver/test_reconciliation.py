"""A terminal and the fund reconcile at a real centre, on both databases, with losses planted."""

import asyncio
import csv
import datetime as dt
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from cardserver.commands.database import acting_user, open_database
from cardserver.registry import administration_store as administration
from cardserver.registry.passwords import hash_password
from protocol.terminal.bodies import encode_body
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    RECONCILE_ROWS_MAX,
    DayTotal,
    DifferenceKind,
    MessageType,
    Preview,
    Previewed,
    Reconcile,
    ReconcileAdvice,
    Reconciled,
    ReconcileDetail,
    ReconcileDetailed,
    ReconcileOutcome,
    ReconcileRow,
    ReconcileScope,
    Refund,
    Refunded,
    RefundLine,
    Reversed,
    ReverseResult,
    RowKey,
    RowState,
    Settled,
    StatusState,
)
from simulators import journal as simulated
from simulators.centre_process import CentreProcess, Commanded, command
from simulators.counter import Cashier, choose_patients
from simulators.counter import Desk as CounterDesk
from simulators.made_up_bill import read_items
from simulators.network import BadNetwork
from simulators.raw_terminal import Credentials
from terminals.attempts import AttemptRunner, Outcome
from terminals.client import TerminalClient
from terminals.config import TerminalConfig, decode_config
from terminals.journal import key_of
from terminals.outbox import Attempt, AttemptState, Outbox
from terminals.reconciling import DayReconciler
from tests import in_process
from tests.cardserver.desk import HOSPITAL, OTHER_HOSPITAL, Desk, open_card, settle_of
from tests.cities import ON_POSTGRESQL, ON_SQLITE, city_on

SEED = 7203
CHINA = dt.timezone(dt.timedelta(hours=8))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def town(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    """A running centre on either database, which this file's tests share."""
    city = city_on(request.param, request, tmp_path_factory.mktemp("reconciled"), "reconciled")
    process = CentreProcess(city.config_file)
    asyncio.run(process.start())
    yield Desk(city, process)
    assert asyncio.run(process.stop()) == 0


@dataclass
class Till:
    """A terminal with its outbox, which can lose replies and its journal."""

    desk: Desk
    client: TerminalClient
    outbox: Outbox
    runner: AttemptRunner
    network: BadNetwork
    token: bytes
    folder: Path
    bills: int = 0

    async def settle(self) -> Outcome:
        """Settle another bill."""
        self.bills += 1
        bill = self.desk.bill(self.bills, lines=2)
        shown = await self.client.request(
            MessageType.PREVIEW, Preview(bill, None, wants_explanation=False),
            card_session=self.token,
        )  # fmt: skip
        assert isinstance(shown.body, Previewed)
        return await self.runner.settle(settle_of(bill, shown.body.split), card_session=self.token)

    async def settle_unheard(self) -> Attempt:
        """Settle another bill, and lose the reply for longer than anyone waits."""
        self.bills += 1
        bill = self.desk.bill(self.bills, lines=2)
        shown = await self.client.request(
            MessageType.PREVIEW, Preview(bill, None, wants_explanation=False),
            card_session=self.token,
        )  # fmt: skip
        assert isinstance(shown.body, Previewed)
        self.network.loses_replies = True
        lost = await self.runner.settle(settle_of(bill, shown.body.split), card_session=self.token)
        self.network.loses_replies = False
        self.network.cut()
        self.client.drop()
        assert lost.attempt.state is AttemptState.UNKNOWN
        return lost.attempt

    def reconciler(self, outbox: Outbox | None = None) -> DayReconciler:
        """What reconciles this terminal's days, or those of another journal."""
        return DayReconciler(self.client, outbox or self.outbox, self.runner)


def config_of(desk: Desk, credentials: Credentials, folder: Path, *, port: int) -> TerminalConfig:
    """Configure a terminal that has little patience."""
    return decode_config(
        f"""
        [centre]
        host = "127.0.0.1"
        port = {port}
        ca_file = "{desk.city.authority_file}"
        [terminal]
        institution = "{credentials.institution}"
        code = "{credentials.terminal}"
        certificate_file = "{credentials.certificate_file}"
        key_file = "{credentials.key_file}"
        [limits]
        request_timeout_ms = 1500
        [outbox]
        resolve_timeout_ms = 400
        """.encode(),
        directory=folder,
        source="till",
    )


@asynccontextmanager
async def till_of(desk: Desk, credentials: Credentials, folder: Path) -> AsyncIterator[Till]:
    """Sign a terminal on, over a network that can lose what comes back."""
    async with BadNetwork("127.0.0.1", desk.centre.port) as network:
        config = config_of(desk, credentials, folder, port=network.port)
        with Outbox(folder / "outbox.sqlite") as outbox:
            async with TerminalClient(config) as client:
                answer = await client.sign_on("c001", desk.password)
                assert answer.is_approved
                token = await open_card(client, desk.card(1))
                runner = AttemptRunner(client, outbox)
                yield Till(desk, client, outbox, runner, network, token, folder)


def today() -> dt.date:
    return dt.datetime.now(CHINA).date()


def settled(outcome: Outcome) -> Settled:
    assert isinstance(outcome.body, Settled)
    return outcome.body


@pytest.mark.timeout(300)
@pytest.mark.parametrize("town", ON_POSTGRESQL, indirect=True, scope="module")
async def test_what_a_terminal_did_is_what_the_centre_has(town: Desk, tmp_path: Path) -> None:
    async with till_of(town, await town.enrol("REC1"), tmp_path) as till:
        plain, cancelled, reversed_, refunded = [settled(await till.settle()) for _ in range(4)]
        await till.runner.cancel(cancelled.setl_id, "开错了")
        original = till.outbox.find(reversed_.setl_id)
        assert original is not None
        await till.runner.reverse(original.msgid, "开错了")
        asked = Refund(refunded.setl_id, (RefundLine(1, 5_000),), "退药", commits=False)
        shown = await till.client.request(MessageType.REFUND, asked)
        assert isinstance(shown.body, Refunded)
        back = shown.body.given_back
        paid = back.account_pay_fen + back.mutual_aid_fen
        done = await till.runner.refund(
            replace(asked, commits=True, fund_pay_fen=back.fund_pay_fen, account_pay_fen=paid,
                    cash_fen=back.cash_fen)
        )  # fmt: skip
        assert isinstance(done.body, Refunded)
        lost = await till.settle_unheard()
        unheard = await till.settle_unheard()
        assert (await till.runner.reverse(unheard.msgid, "不要了")).attempt.state.value == "settled"

        result = await till.reconciler().reconcile(today())
        told = result.told
        assert told is not None
        assert (told.outcome, told.is_provisional, told.wants_detail) == (0, True, False)
        assert result.open_count == 0
        assert till.outbox.get(lost.msgid).state is AttemptState.SETTLED
        # Four, one remainder, and two that were not heard; undone: four of them.
        assert [one.centre.count for one in told.compared] == [7, 4]
        assert {one.centre for one in told.compared} == {one.institution for one in told.compared}
        standing = {row.setl_id for row in result.rows if row.state is RowState.STANDS}
        assert {plain.setl_id, done.body.setl_id} < standing
        assert not {cancelled.setl_id, reversed_.setl_id, refunded.setl_id} & standing


@pytest.mark.timeout(300)
@pytest.mark.parametrize("town", ON_SQLITE, indirect=True, scope="module")
async def test_a_lost_journal_a_changed_amount_and_a_row_of_nobody(
    town: Desk, tmp_path: Path
) -> None:
    async with till_of(town, await town.enrol("REC2"), tmp_path) as till:
        outcomes = [await till.settle() for _ in range(3)]
        rows = (await till.reconciler().reconcile(today())).rows
        with Outbox(tmp_path / "new.sqlite") as empty:
            result = await till.reconciler(empty).reconcile(today())
        assert result.told is not None
        assert result.told.outcome is ReconcileOutcome.CENTRE_MORE
        assert {one.kind for one in result.differences} == {DifferenceKind.ONLY_CENTRE}
        assert tuple(one.centre for one in result.differences) == rows

        # By hand: one amount, and a settlement that was never sent.
        body = settled(outcomes[1])
        dearer = replace(body, split=replace(body.split, cash_fen=body.split.cash_fen + 1))
        change_reply(tmp_path, outcomes[1].attempt.msgid, bytes(encode_body(dearer)))
        invented = replace(outcomes[2].attempt, msgid=till.client.msgid(), setl_id="")
        till.outbox.add(invented)
        result = await till.reconciler().reconcile(today())
        assert result.told is not None
        assert result.told.outcome is ReconcileOutcome.INSTITUTION_MORE
        assert [(one.kind, one.advice) for one in result.differences] == [
            (DifferenceKind.AMOUNTS_DIFFER, ReconcileAdvice.STATUS),
            (DifferenceKind.ONLY_INSTITUTION, ReconcileAdvice.REPEAT),
        ]
        assert result.differences[1].known is StatusState.NOT_SEEN


def change_reply(folder: Path, msgid: str, body: bytes) -> None:
    with sqlite3.connect(folder / "outbox.sqlite") as database:
        database.execute("UPDATE attempt SET reply_body = ? WHERE msgid = ?", (body, msgid))
    database.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("town", ON_POSTGRESQL, indirect=True, scope="module")
async def test_all_that_made_up_cashiers_did_agrees(town: Desk, tmp_path: Path) -> None:
    """Refunds, reversals that overtake, copies, lost replies: to the row and its state."""
    population = town.city.population
    patients = choose_patients(population, count=8, today=int(f"{today():%Y%m%d}"))
    journal = simulated.Journal()
    async with BadNetwork("127.0.0.1", town.centre.port) as network, AsyncExitStack() as stack:
        configs = [
            config_of(town, await town.enrol(f"REC7{number}"), tmp_path, port=network.port)
            for number in range(2)
        ]
        cashiers = [
            await stack.enter_async_context(
                Cashier(
                    CounterDesk(config, "c001", town.password, patients, read_items(population),
                                town.city.keys).without_pauses(),
                    journal, Random(SEED + number),
                )
            )
            for number, config in enumerate(configs)
        ]  # fmt: skip
        closing = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for cashier in cashiers:
                tasks.create_task(cashier.work(closing))
            for _ in range(6):
                await asyncio.sleep(1)
                network.cut()
            closing.set()
    undone = {number for attempt in journal.attempts for number in undone_by(attempt)}
    assert undone
    for number, config in enumerate(configs):
        folder = tmp_path / f"outbox{number}"
        folder.mkdir()
        own = config_of(town, credentials_of(config), folder, port=town.centre.port)
        with Outbox(folder / "outbox.sqlite") as outbox:
            for attempt in journal.attempts:
                if attempt.terminal == own.terminal.code and attempt.outcome is not None:
                    outbox.add(as_kept(attempt, undone))
            async with TerminalClient(own) as client:
                assert (await client.sign_on("c001", town.password)).is_approved
                result = await DayReconciler(
                    client, outbox, AttemptRunner(client, outbox)
                ).reconcile(today())
                assert result.told is not None
                assert (result.told.outcome, result.differences) == (0, ())
                assert len(result.rows) > 4
                # Totals agree, so that nobody asked for rows: the rows and their states do too.
                await check_rows(client, result.told.reconcile_id, result.rows)


async def check_rows(
    client: TerminalClient, reconcile_id: str, rows: Sequence[ReconcileRow]
) -> None:
    """Have the centre compare all rows, in pages as large as one may be."""
    after: RowKey | None = None
    for start in range(0, len(rows), RECONCILE_ROWS_MAX):
        page = tuple(rows[start : start + RECONCILE_ROWS_MAX])
        is_last = start + len(page) == len(rows)
        asked = ReconcileDetail(reconcile_id, after, page, is_last)
        detail = await client.request(MessageType.RECONCILE_DETAIL, asked)
        assert isinstance(detail.body, ReconcileDetailed), (detail.code, detail.reply.detail_en)
        assert detail.body.differences == ()
        after = detail.body.next_after
        assert (None if after is None else key_of(after)) == (None if is_last else key_of(page[-1]))


def undone_by(attempt: simulated.Attempt) -> list[str]:
    """Name the settlements that an attempt undid."""
    body = attempt.body_of_outcome
    if isinstance(body, Settled) and body.cancels:
        return [body.cancels]
    if isinstance(body, Refunded) and body.undo_setl_id:
        return [body.refunds]
    if isinstance(body, Reversed) and body.result is ReverseResult.REVERSED:
        return [body.setl_id]
    return []


def as_kept(attempt: simulated.Attempt, undone: set[str]) -> Attempt:
    """Put a made-up cashier's attempt into the form in which a terminal keeps it."""
    outcome, body = attempt.outcome, attempt.body_of_outcome
    assert outcome is not None
    setl_id = body.setl_id if isinstance(body, Settled | Refunded) else ""
    if isinstance(body, Refunded):
        setl_id = body.setl_id or body.undo_setl_id
    state = AttemptState.REFUSED
    if outcome.code == ResponseCode.APPROVED:
        state = AttemptState.REVERSED if setl_id in undone else AttemptState.SETTLED
    return Attempt(
        msgid=attempt.msgid,
        type=attempt.type,
        body=bytes(encode_body(attempt.body)),
        created_ms=0,
        state=state,
        code=outcome.code,
        reply_body=outcome.body,
        setl_id=setl_id if outcome.code == ResponseCode.APPROVED else "",
        # A terminal has each of these from a reply of its own; cashiers may have it by STATUS.
        business_date=(outcome.business_date or today()).isoformat(),
    )


def credentials_of(config: TerminalConfig) -> Credentials:
    terminal = config.terminal
    return Credentials(
        terminal.institution, terminal.code, Path(terminal.certificate_file),
        Path(terminal.key_file),
    )  # fmt: skip


class Fund:
    """`cardserver` of this centre, with a reconciler."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._operator = ""

    async def hire(self, code: str = "d001") -> None:
        """Make an operator a reconciler, who acts from now on."""
        self._operator = code
        async with open_database(self._desk.config) as database:
            await administration.add_operator(
                database,
                institution=None,
                code=code,
                name="对账员",
                role="reconciler",
                password_hash=hash_password(self._desk.password),
                actor=acting_user(),
            )

    async def run(self, *arguments: str, check: bool = True, signed: bool = False) -> Commanded:
        config = ["--config", str(self._desk.city.config_file)]
        if signed:
            config += [
                "--by",
                self._operator,
                "--password-file",
                str(self._desk.city.password_file),
            ]
        return await in_process.command(
            "cardserver", "reconciliation", *arguments, *config, check=check
        )

    async def json(self, *arguments: str, check: bool = True, signed: bool = False) -> Any:
        said = await self.run(*arguments, "--json", check=check, signed=signed)
        return json.loads(said.output)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("town", ON_SQLITE, indirect=True, scope="module")
async def test_differences_of_a_day_that_is_over_are_kept_and_resolved(
    town: Desk, tmp_path: Path
) -> None:
    yesterday = today() - dt.timedelta(days=1)
    fund = Fund(town)
    await fund.hire()
    async with till_of(town, await town.enrol("REC3"), tmp_path) as till:
        attempt = (await till.settle()).attempt
        # The terminal puts one settlement to the wrong day, and has two that nobody else has.
        strays = [replace(attempt, msgid=till.client.msgid(), setl_id="") for _ in range(2)]
        for one in (attempt, *strays):
            if one is attempt:
                move(tmp_path, one.msgid, yesterday)
            else:
                till.outbox.add(replace(one, business_date=yesterday.isoformat()))
        reconciler = till.reconciler()
        assert reconciler.due(today()) == [yesterday]
        result = await reconciler.reconcile(yesterday)
        assert result.told is not None
        assert (result.told.outcome, result.told.is_provisional) == (2, False)
        assert [(one.advice, one.known_date) for one in result.differences] == [
            (ReconcileAdvice.CORRECT, today()),
            (ReconcileAdvice.REVERSE, None),
            (ReconcileAdvice.REVERSE, None),
        ]
        assert reconciler.due(today()) == [yesterday]

        listed = await fund.json("list", "--institution", HOSPITAL, "--day", str(yesterday))
        assert [one["msgid"] for one in listed] == [attempt.msgid, *(s.msgid for s in strays)]
        assert {one["kind"] for one in listed} == {"only_institution"}
        assert await fund.json("list", "--older-than", "1") == []
        (mine,) = [one for one in await fund.json("day", str(yesterday))
                   if one["institution"] == HOSPITAL]  # fmt: skip
        assert (mine["state"], mine["open_differences"]) == ("differs", 3)

        # One is mended, one forgotten by the terminal, one decided by the fund.
        move(tmp_path, attempt.msgid, today())
        forget(tmp_path, strays[0].msgid)
        number = str(listed[2]["difference"])
        said = await fund.run("resolve", number, "--reason", " ", signed=True, check=False)
        assert (said.status, "with a reason" in said.errors) == (1, True)
        await fund.run("resolve", number, "--reason", "机构误录，已核实", signed=True)
        again = await fund.run("resolve", number, "--reason", "再来", signed=True, check=False)
        assert (again.status, "not open: decided" in again.errors) == (1, True)
        result = await reconciler.reconcile(yesterday)
        assert [one.institution.msgid for one in result.differences if one.institution] == [
            strays[1].msgid
        ]
        assert reconciler.due(today()) == []
    assert await fund.json("list", "--institution", HOSPITAL) == []
    shown = await fund.json("show", number)
    assert (shown["resolution"], shown["reason"]) == ("decided", "机构误录，已核实")
    assert [one["outcome"] for one in shown["runs"] if one["terminal_no"]] == [2, 2]
    everything = await fund.json("list", "--institution", HOSPITAL, "--all")
    assert [one["resolution"] for one in everything] == ["agreed", "agreed", "decided"]
    for words in ("resolve", "9999"), ("show", "9999"):
        said = await fund.run(
            *words, *(["--reason", "x"] if words[0] == "resolve" else []),
            signed=words[0] == "resolve", check=False,
        )  # fmt: skip
        assert (said.status, "no difference 9999" in said.errors) == (1, True)


def move(folder: Path, msgid: str, day: dt.date) -> None:
    with sqlite3.connect(folder / "outbox.sqlite") as database:
        database.execute(
            "UPDATE attempt SET business_date = ? WHERE msgid = ?", (day.isoformat(), msgid)
        )
    database.close()


def forget(folder: Path, msgid: str) -> None:
    with sqlite3.connect(folder / "outbox.sqlite") as database:
        database.execute("DELETE FROM attempt WHERE msgid = ?", (msgid,))
    database.close()


# --- by file, by command, and by whoever sends nonsense ----------------------------------------


class Keyboard:
    """`cardterminal` of one terminal, signed on."""

    def __init__(self, desk: Desk, credentials: Credentials, folder: Path) -> None:
        self._file = folder / "terminal.toml"
        self._desk = desk
        self._file.write_text(
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

    async def run(self, *arguments: str, check: bool = True) -> Commanded:
        config = ("--config", str(self._file))
        return await command("cardterminal", *arguments, *config, check=check)

    async def json(self, *arguments: str, check: bool = True) -> Any:
        return json.loads((await self.run(*arguments, "--json", check=check)).output)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("town", ON_POSTGRESQL, indirect=True, scope="module")
async def test_a_day_at_the_keyboard_and_as_a_file(town: Desk, tmp_path: Path) -> None:
    credentials = await town.enrol("REC4")
    async with till_of(town, credentials, tmp_path) as till:
        for _ in range(3):
            await till.settle()
    cashier = Keyboard(town, credentials, tmp_path)
    password = ("--password-file", str(town.city.password_file))
    await cashier.run("sign-on", "--operator", "c001", *password)

    (day,) = (await cashier.json("reconcile"))["result"]["days"]
    assert (day["outcome"], day["rows"], day["is_provisional"]) == ("equal", 3, True)
    shown = (await cashier.run("reconcile")).output
    for words in ("对平 equal", "暂定 provisional", str(today())):
        assert words in shown
    assert (await cashier.json("reconcile", "--due"))["result"]["days"] == []
    ahead = str(today() + dt.timedelta(days=1))
    refused = await cashier.json("reconcile", "--day", ahead, check=False)
    assert (refused["code"], refused["exit_status"]) == (610, 1)
    assert (await cashier.run("reconcile", "--day", "x", check=False)).status == 3

    file = tmp_path / "day.csv"
    exported = await cashier.json("reconcile", "export", str(file))
    assert exported["result"]["rows"] == 3
    fund = Fund(town)
    await fund.hire("d002")
    options = ("--institution", HOSPITAL, "--day", str(today()), "--terminal", "REC4")
    found = await fund.json("import", str(file), *options, signed=True)
    assert (found["rows"], found["refused"], found["outcome"]) == (3, 0, 0)

    rows = list(csv.reader(file.read_text(encoding="utf-8").splitlines()))
    rows[1][7] = f"{int(rows[1][7].replace('.', '')) / 100 + 1:.2f}"  # dearer, whoever pays it
    rows[2][7] = "viel"
    rows.append(rows[3])
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows(rows)
    bad = tmp_path / "bad.csv"
    found = await fund.json(
        "import", str(file), *options, "--refused", str(bad), signed=True, check=False
    )
    assert (found["rows"], found["refused"], found["is_provisional"]) == (2, 2, True)
    assert found["differences"] == {"only_centre": 1, "amounts_differ": 1}
    assert found["open_differences"] == 0
    reasons = [row for _, row in csv.reader(bad.read_text(encoding="utf-8").splitlines())]
    assert reasons == ["reason", "total 'viel' is no amount in yuan", "the same row as line 4"]

    # The operator leaves: today is reconciled once more, and said.
    off = await cashier.json("sign-off")
    assert [one["outcome"] for one in off["result"]["reconciled"]] == ["equal"]
    await cashier.run("sign-on", "--operator", "c001", *password)
    assert (await cashier.json("sign-off", "--no-reconcile"))["result"]["reconciled"] == []


async def test_what_cannot_be_compared_is_refused_by_name(town: Desk) -> None:
    credentials = await town.enrol("REC5")
    day = today()
    nothing = DayTotal(11, False, 0, 0, 0, 0, 0)  # noqa: FBT003 - a row of figures
    mine = ReconcileScope.TERMINAL
    async with (
        town.client(credentials) as client,
        town.client(
            await town.enrol("REC6", institution=OTHER_HOSPITAL), operator="c003"
        ) as stranger,
    ):

        async def totals(body: Reconcile) -> tuple[int, str]:
            answer = await client.request(MessageType.RECONCILE, body)
            return answer.code, answer.reply.detail_en

        async def detail(body: ReconcileDetail) -> tuple[int, str]:
            answer = await client.request(MessageType.RECONCILE_DETAIL, body)
            return answer.code, answer.reply.detail_en

        assert (await totals(Reconcile(day, ReconcileScope.INSTITUTION, ())))[0] == 210
        ahead = day + dt.timedelta(days=1)
        assert (await totals(Reconcile(ahead, mine, ())))[0] == 610
        other = replace(nothing, clearing_type=12)
        assert await totals(Reconcile(day, mine, (nothing, other))) == (
            105, "totals, 2: no clearing type 12"
        )  # fmt: skip
        assert (await totals(Reconcile(day, mine, (nothing, nothing))))[0] == 105

        first = await client.request(MessageType.RECONCILE, Reconcile(day, mine, (nothing,)))
        assert isinstance(first.body, Reconciled)
        number = first.body.reconcile_id
        again = await client.request(MessageType.RECONCILE, Reconcile(day, mine, ()))
        assert isinstance(again.body, Reconciled)
        one = ReconcileRow(
            client.msgid(), "REC5", is_refund=False, setl_id="", clearing_type=11, total_fen=1,
            fund_pay_fen=1, account_pay_fen=0, cash_fen=0, state=RowState.STANDS,
        )  # fmt: skip
        assert (await detail(ReconcileDetail(number, None, (one,), is_last=True)))[0] == 611
        number = again.body.reconcile_id
        page = ReconcileDetail(number, None, (one,), is_last=True)
        assert (await detail(page))[0] == ResponseCode.APPROVED
        assert await detail(replace(page, rows=(one, one))) == (
            105, "rows, 2: not after the row before by msgid, terminal, is_refund"
        )  # fmt: skip
        assert await detail(replace(page, rows=(), is_last=False)) == (
            105, "rows: none, and more to come"
        )  # fmt: skip
        strange = replace(one, terminal="REC6")
        assert "another terminal" in (await detail(replace(page, rows=(strange,))))[1]
        strange = replace(one, msgid=stranger.msgid())
        assert (await detail(replace(page, rows=(strange,))))[0] == 106
        for asked in (number, "0", "x", "9" * 30):
            answer = await stranger.request(
                MessageType.RECONCILE_DETAIL, ReconcileDetail(asked, None, (), is_last=True)
            )
            assert answer.code == ResponseCode.RECONCILIATION_NOT_FOUND
