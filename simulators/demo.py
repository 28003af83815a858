"""The main job, shown from an empty folder: a card in a real reader, a settlement in the ledger.

Every step says what it did and how long it took, and is checked; the exit status is 0 only if
each was as it should be. What is set up here goes away at the end.
"""

import asyncio
import csv
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec
from rich.console import Console

from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    Bill,
    Cancel,
    CardOpened,
    MessageType,
    Preview,
    Previewed,
    ProofLevel,
    Reverse,
    Reversed,
    ReverseResult,
    Settle,
    Settled,
    Status,
    StatusFound,
    StatusState,
)
from simulators.card.population_cards import find_card, iterate_cards
from simulators.card.social_security_card import CardData, RootKeys, print_card, print_clone
from simulators.card.virtual_reader import VirtualReaderCard
from simulators.centre_process import CentreProcess, City, CommandError, command, enrol, make_city
from simulators.demo_news import hear_news
from simulators.made_up_bill import EMPLOYEES, make_bill, read_items
from simulators.mosquitto import MosquittoError, make_broker
from simulators.network import BadNetwork
from simulators.pcscd import PCSCDError, virtual_reader
from terminals.answer import Answer, NoAnswerError, words_of
from terminals.card_opening import CardOpening
from terminals.client import TerminalClient
from terminals.config import TerminalConfig, load_config
from terminals.readers.pcsc import PCSCReader

PERSONS = 10_000
SEED = 20260101
LINES = 15
OPERATOR = "c001"
IMPATIENT_MS = 500  # how long the terminal waits for a reply that the network loses

_LINE_RULES = ("bill", "catalogue/")  # beginnings of the rules that explain single lines

console = Console(highlight=False, soft_wrap=True)


class NotAsItShouldBeError(Exception):
    """A step ended otherwise than it should; says how."""


def check(is_so: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Go on only if it is so."""
    if not is_so:
        raise NotAsItShouldBeError(otherwise)


@dataclass(slots=True)
class Stage:
    """What the steps share."""

    city: City
    centre: CentreProcess
    network: BadNetwork
    client: TerminalClient
    config: TerminalConfig
    reader: PCSCReader
    random: Random
    opened: CardOpened | None = None
    bill: Bill | None = None
    previewed: Previewed | None = None
    settle_msgid: str = ""
    settled: Answer | None = None

    @property
    def session(self) -> bytes:
        """The card session."""
        assert self.opened is not None
        return self.opened.card_session

    def settle_body(self) -> Settle:
        """SETTLE with the amounts that the patient was shown."""
        assert self.bill is not None
        assert self.previewed is not None
        split = self.previewed.split
        return Settle(
            self.bill,
            split.fund_pay_fen,
            split.account_pay_fen + split.mutual_aid_fen,
            split.cash_fen,
        )

    async def ask(
        self, type_: MessageType, body: msgspec.Struct, *, msgid: str | None = None
    ) -> Answer:
        """Send a request once; anything but approval is not as it should be."""
        answer = await self.client.exchange(type_, body, msgid=msgid, card_session=self.session)
        detail = f"{words_of(answer.code)[1]} {answer.reply.detail_en}"
        check(answer.is_approved, f"{type_.name} was refused: {detail}")
        return answer


Step = tuple[str, str, Callable[[Stage], Awaitable[str]]]


async def read_card_step(stage: Stage) -> str:
    """Read, verify and look up the card over real PC/SC."""
    opening = await stage.client.open_card(stage.reader)
    body = _opened(opening)
    stage.opened = body
    check(body.proof is ProofLevel.GENUINE_CARD, "the card was not proven genuine")
    check(body.round_trips == 1, f"it took {body.round_trips} round trips, not one")
    person = body.person
    own_ms = opening.total_ms - opening.connect_ms - opening.card_ms
    insurances = ", ".join(f"{one.insutype} {one.state.name.lower()}" for one in person.insurances)
    return (
        f"genuine, one round trip; {person.name[0]}*, insured: {insurances}, "
        f"account {yuan(person.account_balance_fen)}\n"
        f"      powering up {opening.connect_ms:.1f} ms, reader and card {opening.card_ms:.1f} ms, "
        f"network and centre {own_ms:.1f} ms\n      {stages(opening.answer)}"
    )


async def preview_step(stage: Stage) -> str:
    """Preview a bill with its explanation."""
    stage.bill = make_bill(read_items(stage.city.population), stage.random, line_count=LINES)
    answer = await stage.ask(MessageType.PREVIEW, Preview(stage.bill))
    assert isinstance(answer.body, Previewed)
    stage.previewed = answer.body
    split = answer.body.split
    check(
        split.total_fen == split.fund_pay_fen + split.hospital_part_fen + split.person_part_fen,
        "the split does not add up",
    )
    account = yuan(split.account_pay_fen + split.mutual_aid_fen)
    summary = (
        f"total {yuan(split.total_fen)} = fund {yuan(split.fund_pay_fen)} + account {account}"
        f" + cash {yuan(split.cash_fen)}"
    )
    explanation = answer.body.explanation
    of_bill = [step for step in explanation if not step.rule.startswith(_LINE_RULES)]
    steps = [
        f"      {LINES} lines: {len(explanation) - len(of_bill)} steps not shown here",
        *(f"      {step.text_zh}\n      [dim]{step.text_en}[/dim]" for step in of_bill),
    ]
    return "\n".join([summary, *steps, f"      {stages(answer)}"])


async def settle_step(stage: Stage) -> str:
    """Settle it."""
    stage.settle_msgid = stage.client.msgid()
    answer = await stage.ask(MessageType.SETTLE, stage.settle_body(), msgid=stage.settle_msgid)
    assert isinstance(answer.body, Settled)
    stage.settled = answer
    return (
        f"settlement {answer.body.setl_id}, account afterwards "
        f"{yuan(answer.body.balance_after_fen)}\n      {stages(answer)}"
    )


async def repeat_step(stage: Stage) -> str:
    """Send the very same request again."""
    before = await trial_balance(stage)
    answer = await stage.ask(MessageType.SETTLE, stage.settle_body(), msgid=stage.settle_msgid)
    assert stage.settled is not None
    check(answer.is_duplicate, "the answer does not say that it is a duplicate")
    check(
        bytes(answer.reply.body) == bytes(stage.settled.reply.body), "the body is not the first one"
    )
    check(await trial_balance(stage) == before, "something was posted for the repetition")
    return (
        f"the first reply, byte for byte, marked duplicate; nothing posted\n      {stages(answer)}"
    )


async def cancel_step(stage: Stage) -> str:
    """Undo it by its exact negative."""
    assert stage.settled is not None
    settled = stage.settled.body
    assert isinstance(settled, Settled)
    answer = await stage.ask(MessageType.CANCEL, Cancel(settled.setl_id, "demo"))
    cancelled = answer.body
    assert isinstance(cancelled, Settled)
    check(
        cancelled.split.fund_pay_fen == -settled.split.fund_pay_fen
        and cancelled.split.total_fen == -settled.split.total_fen
        and cancelled.split.cash_fen == -settled.split.cash_fen,
        "the cancel is not the exact negative",
    )
    assert stage.opened is not None
    check(
        cancelled.balance_after_fen == stage.opened.person.account_balance_fen,
        "the personal account is not what it was",
    )
    return (
        f"settlement {cancelled.setl_id}: fund {yuan(cancelled.split.fund_pay_fen)}, account "
        f"back to {yuan(cancelled.balance_after_fen)}\n      {stages(answer)}"
    )


async def lost_reply_step(stage: Stage) -> str:
    """Lose a settlement's reply on the network, and ask STATUS."""
    stage.network.loses_replies = True
    msgid = stage.client.msgid()
    started = time.perf_counter()
    answered = await _send_in_vain(stage, msgid)
    waited_ms = (time.perf_counter() - started) * 1000
    check(not answered, "the reply came although the network loses replies")
    stage.network.cut()
    stage.network.loses_replies = False
    answer = await stage.ask(MessageType.STATUS, Status(stage.config.terminal.code, msgid))
    found = answer.body
    assert isinstance(found, StatusFound)
    check(found.state is StatusState.SETTLED, f"STATUS says {found.state.name}")
    settled = msgspec.msgpack.decode(bytes(found.body), type=Settled)
    return (
        f"no reply within {waited_ms:.0f} ms; STATUS: settled, {settled.setl_id}, "
        f"with the original reply\n      {stages(answer)}"
    )


async def overtaking_step(stage: Stage) -> str:
    """Hold a settlement on the network while its reversal goes another way."""
    stage.network.hold_requests()
    msgid = stage.client.msgid()
    answered = await _send_in_vain(stage, msgid)
    check(not answered, "a reply came although the request was held")
    async with TerminalClient(_towards(stage.config, stage.centre.port)) as other_way:
        state = stage.client.sign_on_state
        assert state is not None
        other_way.resume(state)
        answer = await other_way.exchange(
            MessageType.REVERSE, Reverse(stage.config.terminal.code, msgid, "demo")
        )
        reversed_ = answer.body
        check(isinstance(reversed_, Reversed), "the reversal was refused")
        assert isinstance(reversed_, Reversed)
        check(reversed_.result is ReverseResult.NOT_FOUND, f"REVERSE says {reversed_.result.name}")
        before = await trial_balance(stage)
        stage.network.release()
        await asyncio.sleep(0.2)  # for the late original to arrive
        late = await other_way.exchange(
            MessageType.SETTLE, stage.settle_body(), msgid=msgid, card_session=stage.session
        )
    check(late.code == ResponseCode.TOMBSTONED, f"the late original: {late.code}")
    check(await trial_balance(stage) == before, "the late original was posted")
    return f"REVERSE: not seen, tombstone; the late original was refused\n      {stages(answer)}"


async def clone_step(stage: Stage) -> str:
    """Put a copy of the card's data, without its key, into the reader."""
    opening = await stage.client.open_card(stage.reader)
    check(
        opening.answer.code == ResponseCode.CARD_NOT_GENUINE,
        f"the clone was answered {opening.answer.code}",
    )
    zh, en = words_of(opening.answer.code)
    return f"refused: {zh} / {en}\n      {stages(opening.answer)}"


async def trial_balance_step(stage: Stage) -> str:
    """Compare debits with credits."""
    balance = json.loads(await trial_balance(stage))
    check(balance["is_equal"], "debits and credits differ")
    return f"debits {yuan(balance['debit_fen'])} = credits {yuan(balance['credit_fen'])}"


GENUINE_STEPS: tuple[Step, ...] = (
    ("读卡、验卡、查询", "card read, verified, looked up", read_card_step),
    ("预结算", "preview with explanation", preview_step),
    ("结算", "settlement", settle_step),
    ("同一请求再次发送", "the same request again", repeat_step),
    ("撤销", "cancel", cancel_step),
    ("应答丢失，状态查询", "reply lost on purpose, resolved by STATUS", lost_reply_step),
    ("冲正先于原交易到达", "a reversal overtakes its original", overtaking_step),
)
CLONE_STEPS: tuple[Step, ...] = (
    ("克隆卡", "a cloned card", clone_step),
    ("试算平衡", "trial balance", trial_balance_step),
)


async def trial_balance(stage: Stage) -> str:
    """The trial balance as JSON, from the console command."""
    config = str(stage.city.config_file)
    return (await command("cardserver", "trial-balance", "--config", config, "--json")).output


def stages(answer: Answer) -> str:
    """Where the time of an answer went."""
    parts = ", ".join(f"{stage} {value / 1000:.2f}" for stage, value in answer.stages_us.items())
    return f"[dim]{answer.wire_ms:.2f} ms at the counter; at the centre, ms: {parts}[/dim]"


def yuan(amount_fen: int) -> str:
    """An amount as people read it."""
    return f"{'-' if amount_fen < 0 else ''}{abs(amount_fen) // 100:,}.{abs(amount_fen) % 100:02d}"


def _opened(opening: CardOpening) -> CardOpened:
    detail = f"{words_of(opening.answer.code)[1]} {opening.answer.reply.detail_en}"
    check(isinstance(opening.answer.body, CardOpened), f"the card was refused: {detail}")
    assert isinstance(opening.answer.body, CardOpened)
    return opening.answer.body


async def _send_in_vain(stage: Stage, msgid: str) -> bool:
    """Send a settlement over a network that will not let the answer through."""
    try:
        await stage.client.exchange(
            MessageType.SETTLE,
            stage.settle_body(),
            msgid=msgid,
            card_session=stage.session,
            time_left_ms=IMPATIENT_MS,
        )
    except NoAnswerError:
        return False
    return True


def _towards(config: TerminalConfig, port: int) -> TerminalConfig:
    centre = msgspec.structs.replace(config.centre, port=port)
    return msgspec.structs.replace(config, centre=centre)


async def _show(stage: Stage, steps: tuple[Step, ...], shown: int) -> int:
    for number, (zh, en, step) in enumerate(steps, shown + 1):
        _say(number, f"{zh} {en}", await step(stage))
    return shown + len(steps)


def _say(number: int, title: str, said: str, seconds: float | None = None) -> None:
    took = "" if seconds is None else f"  {seconds:.1f} s"
    console.print(f"[green]✓[/green] {number:2} [bold]{title}[/bold]{took}\n      {said}")


async def run(directory: Path) -> None:
    """Show the whole in an empty folder."""
    async with AsyncExitStack() as stack:
        started = time.perf_counter()
        city = await make_city(directory, persons=PERSONS, seed=SEED)
        broker = await make_broker(city)
        await broker.start()
        stack.push_async_callback(broker.stop)
        centre = CentreProcess(city.config_file)
        await centre.start()
        stack.push_async_callback(centre.stop)
        _say(
            1,
            "中心启动 centre up on SQLite",
            f"a made-up city of {PERSONS:,}; port {centre.port}, TLS 1.3, certificates both ways",
            time.perf_counter() - started,
        )
        started = time.perf_counter()
        institution = _first_institution(city.population)
        terminal_file = await enrol(
            city, institution=institution, terminal="T0001", port=centre.port
        )
        network = await stack.enter_async_context(BadNetwork("127.0.0.1", centre.port))
        config = _towards(load_config(terminal_file), network.port)
        client = await stack.enter_async_context(TerminalClient(config))
        signed_on = await client.sign_on(OPERATOR, city.password_file.read_text(encoding="utf-8"))
        check(signed_on.is_approved, f"sign-on was refused: {signed_on.code}")
        _say(
            2,
            "终端登记、签到 terminal enrolled, operator signed on",
            f"{institution} T0001, operator {OPERATOR}; the key never left the terminal",
            time.perf_counter() - started,
        )
        started = time.perf_counter()
        virtual = stack.enter_context(virtual_reader())
        reader = await stack.enter_async_context(PCSCReader(virtual.slots[0]))
        card = _suitable_card(city.population)
        stage = Stage(city, centre, network, client, config, reader, Random(SEED))
        genuine = print_card(card, RootKeys.read(city.keys, card.algorithm))
        async with VirtualReaderCard(genuine):
            _say(
                3,
                "插卡 card into the virtual reader",
                f"{virtual.slots[0]}, pcscd {'started here' if virtual.is_ours else 'was running'}",
                time.perf_counter() - started,
            )
            number = await _show(stage, GENUINE_STEPS, 3)
            await reader.disconnect()
        async with VirtualReaderCard(print_clone(card)):
            number = await _show(stage, CLONE_STEPS, number)
        started = time.perf_counter()
        said = await hear_news(city, config, broker, card.card_number)
        _say(number + 1, "消息代理 on the message broker", said, time.perf_counter() - started)


def _suitable_card(population: Path) -> CardData:
    """The first valid 2.00 card of someone whose employees' insurance is in force."""
    with (population / "insurances.csv").open(encoding="utf-8", newline="") as file:
        insured = {
            row["person_no"]
            for row in csv.DictReader(file)
            if row["insutype"] == EMPLOYEES and row["state"] == "1"
        }
    for row in iterate_cards(population):
        is_valid = row["state"] == "1" and int(row["ends"]) > int(time.strftime("%Y%m%d"))
        if is_valid and row["version"] == "2.00" and row["person_no"] in insured:
            return find_card(population, row["card_no"])
    raise NotAsItShouldBeError("the made-up city has no suitable card")


def _first_institution(population: Path) -> str:
    with (population / "institutions.csv").open(encoding="utf-8", newline="") as file:
        return next(csv.DictReader(file))["code"]


def main() -> int:
    """Run the demo; the exit status says whether all was as it should be."""
    console.print("[bold]cardserver[/bold] 从读卡到记账 / from card to ledger\n")
    started = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(prefix="cardserver-demo-") as directory:
            asyncio.run(run(Path(directory)))
    except (NotAsItShouldBeError, CommandError, MosquittoError, PCSCDError) as error:
        console.print(f"[red]✗ {error}[/red]")
        return 1
    console.print(f"\n全部符合预期 / all as it should be, {time.perf_counter() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
