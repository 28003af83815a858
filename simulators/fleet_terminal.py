"""One simulated terminal: the real client, outbox, lists and broker connection, and its faults.

What goes wrong is drawn from the seed. Not here: how many there are and what comes of it
(`fleet.py`).
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum, unique
from pathlib import Path
from random import Random
from ssl import SSLContext
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import structs

from protocol.telemetry.messages import OutboxDepth, ReaderHealth, ReaderState
from protocol.telemetry.topics import TerminalName
from protocol.terminal.messages import (
    CardOpened,
    MessageType,
    Preview,
    Previewed,
    Settle,
)
from simulators.card.social_security_card import RootKeys, print_card
from simulators.counter import Patient, SimulatedReader
from simulators.made_up_bill import Item, make_bill
from simulators.network import BadNetwork
from terminals.answer import ClientError
from terminals.attempts import AttemptRunner
from terminals.broker_link import BrokerLink
from terminals.client import TerminalClient
from terminals.config import TerminalConfig
from terminals.link import terminal_tls_context, tls_connector
from terminals.list_updates import ListUpdates
from terminals.lists import ListName, Lists
from terminals.msgids import Msgids
from terminals.outbox import AttemptState, Outbox
from terminals.readers.channel import BatchAnswers, ReaderError, StepLike
from terminals.telemetry import FeltTimes, Telemetry

_LINES_MAX: Final = 6
_LOOPBACK: Final = "127.0.0.1"
_MS: Final = 1_000_000
_LEAVE_TIME_S: Final = 5.0
_CLOCK_OFF_MS_MAX: Final = 1_800_000
_DELAY_S: Final = (0.1, 0.6)  # added to what goes each way
_BETWEEN_FAULTS: Final = 4  # thinking times, on average
_AWAY_S: Final = 2.0  # of a terminal that died, until somebody starts it again


@unique
class Fault(StrEnum):
    """What is wrong with a terminal."""

    SLOW_NETWORK = "slow_network"
    DROPPED_CONNECTIONS = "dropped_connections"
    DYING = "dying"
    BROKEN_READER = "broken_reader"
    WRONG_CLOCK = "wrong_clock"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a simulated terminal stands.

    Attributes:
        config: The terminal's, with certificate, outbox and lists of its own.
        operator: Who signs on.
        password: Theirs.
        patients: Who comes.
        items: What can be billed.
        keys: Folder of the root keys with which the patients' cards were written.
        think_s: How long the cashier takes between two patients, on average.
        fault: What is wrong with it.
        random: Draws what it does.
    """

    config: TerminalConfig
    operator: str
    password: str
    patients: Sequence[Patient]
    items: Sequence[Item]
    keys: Path
    think_s: float
    fault: Fault | None
    random: Random

    @property
    def name(self) -> TerminalName:
        """Which terminal."""
        return TerminalName(self.config.terminal.institution, self.config.terminal.code)


@dataclass(slots=True)
class FleetFelt:
    """What the whole fleet felt.

    Attributes:
        took_ms: By message type.
        unanswered: Requests that came to no answer, by message type.
        codes: Refusals by code.
        settled: Settlements that stand.
        in_doubt: Attempts whose end a cashier could not be told in time.
        readers_failed: Cards that a reader could not read.
        deaths: How often terminals died.
        drops: How often connections were cut.
    """

    took_ms: dict[MessageType, list[float]] = field(default_factory=dict)
    unanswered: Counter[MessageType] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    settled: int = 0
    in_doubt: int = 0
    readers_failed: int = 0
    deaths: int = 0
    drops: int = 0


class _BrokenReader:
    """A reader that powers no card up, most of the time."""

    name = "broken"

    def __init__(self, reader: SimulatedReader, random: Random) -> None:
        self._reader = reader
        self._random = random

    async def connect(self) -> bytes:
        """Fail, or power the card up."""
        if self._random.random() < 0.8:  # noqa: PLR2004 - most of the time
            raise ReaderError("the card does not answer")
        return await self._reader.connect()

    async def run_batch(self, steps: Sequence[StepLike], challenge: bytes, /) -> BatchAnswers:
        """Run the commands."""
        return await self._reader.run_batch(steps, challenge)


class FleetTerminal:
    """A terminal from its first sign-on to the end of the run.

    Attributes:
        telemetry: What it says of itself, while it lives.
        lists_version: Of the revocation list, when its last life ended.
        has_signed_on: Whether it ever was.
        is_dead: Whether it died and nobody has started it again yet.
    """

    def __init__(self, place: Place, felt: FleetFelt, signing_on: asyncio.Semaphore) -> None:
        """Stand at a place; as many sign on at once as `signing_on` lets."""
        self.place = place
        self.telemetry: Telemetry | None = None
        self._felt = felt
        self._signing_on = signing_on
        self._reader = ReaderHealth(ReaderState.EMPTY, "simulated")
        self._clock_off_ms = 0
        if place.fault is Fault.WRONG_CLOCK:
            off_ms = place.random.randint(60_000, _CLOCK_OFF_MS_MAX)
            self._clock_off_ms = off_ms if place.random.random() < 0.5 else -off_ms  # noqa: PLR2004
        self._context: SSLContext = terminal_tls_context(place.config)
        self.lists_version = 0
        self.has_signed_on = False
        self.is_dead = False

    @property
    def is_connected(self) -> bool:
        """Whether the broker has it now."""
        return self.telemetry is not None and self.telemetry.is_connected

    async def work(self, until: asyncio.Event) -> None:
        """Serve patients until the event; die and come back in between, where that is its fault."""
        async with self._networks() as (centre, broker):
            while not until.is_set():
                self.is_dead = await self._live(until, centre, broker)
                if self.is_dead:
                    await _wait(until, _AWAY_S)

    # --- one life -------------------------------------------------------------------------------

    async def _live(
        self, until: asyncio.Event, centre: BadNetwork | None, broker: BadNetwork | None
    ) -> bool:
        """Sign on and serve; say whether it died."""
        random, config = self.place.random, self._config(centre, broker)
        async with AsyncExitStack() as stack:
            outbox = stack.enter_context(Outbox(Path(config.outbox.file)))
            lists = stack.enter_context(Lists(Path(config.lists.file)))
            updates = ListUpdates(
                lists,
                frame_size_max=config.limits.frame_size_max,
                now_ms=self._now_ms,
                names=(ListName.REVOCATIONS,),
            )
            stack.push_async_callback(updates.stop)
            felt = FeltTimes()
            client = TerminalClient(
                config,
                msgids=Msgids(
                    institution=config.terminal.institution,
                    zone=ZoneInfo(config.terminal.time_zone),
                    now_ms=self._now_ms,
                    reserve=outbox.reserve_msgids,
                ),
                connector=tls_connector(config, self._context),
                now_ms=self._now_ms,
                jitter=random.random,
                lists=updates,
                on_felt=lambda type_, ms, is_answered: self._hear(felt, type_, ms, is_answered),
            )
            stack.push_async_callback(client.close)
            if not await self._sign_on(client, until):
                return self.is_dead  # one that died is missed until it is signed on again
            self.has_signed_on = True
            updates.start(client)
            self.telemetry = self._make_telemetry(client, outbox, lists, updates, felt)
            felt.on_slow = self.telemetry.touch
            talking = None
            if config.mqtt.host:
                link = BrokerLink(
                    config.mqtt, self._context, self.place.name, self.telemetry,
                    jitter=random.random,
                )  # fmt: skip
                talking = asyncio.create_task(link.run())
            runner = AttemptRunner(client, outbox, now_ms=self._now_ms, jitter=random.random)
            is_dead = False
            try:
                is_dead = await self._serve(client, runner, until, centre)
            finally:
                self.lists_version = updates.list_version
                if is_dead:
                    self._felt.deaths += 1
                    for network in (centre, broker):
                        if network is not None:
                            network.cut()
                if talking is not None:
                    await self._hang_up(talking, is_dead=is_dead)
            return is_dead

    async def _serve(
        self,
        client: TerminalClient,
        runner: AttemptRunner,
        until: asyncio.Event,
        centre: BadNetwork | None,
    ) -> bool:
        """Serve one patient after the other; say whether the terminal died."""
        random, fault = self.place.random, self.place.fault
        await _wait(until, random.random() * self.place.think_s)
        while not until.is_set():
            has_fault = random.random() < 1 / _BETWEEN_FAULTS
            if has_fault and fault is Fault.DYING:
                return True
            if has_fault and fault is Fault.DROPPED_CONNECTIONS and centre is not None:
                self._felt.drops += 1
                centre.cut()
            with contextlib.suppress(ClientError):  # felt, and counted where it was felt
                await self._serve_one(client, runner)
            await _wait(until, random.expovariate(1 / self.place.think_s))
        return False

    async def _serve_one(self, client: TerminalClient, runner: AttemptRunner) -> None:
        place, random = self.place, self.place.random
        patient = random.choice(place.patients)
        printed = print_card(patient.card, RootKeys.read(place.keys, patient.card.algorithm))
        sound = SimulatedReader(printed)
        is_broken = place.fault is Fault.BROKEN_READER
        reader = _BrokenReader(sound, random) if is_broken else sound
        try:
            self._say_reader(ReaderState.CARD)
            opening = await client.open_card(reader)
        except ReaderError:
            self._felt.readers_failed += 1
            self._say_reader(ReaderState.FAULTY)
            return
        self._say_reader(ReaderState.EMPTY)
        opened = opening.answer.body
        if not isinstance(opened, CardOpened):
            self._felt.codes[opening.answer.code] += 1
            return
        bill = make_bill(place.items, random, line_count=random.randint(1, _LINES_MAX))
        shown = await client.request(
            MessageType.PREVIEW,
            Preview(bill, wants_explanation=False),
            card_session=opened.card_session,
        )
        if not isinstance(shown.body, Previewed):
            self._felt.codes[shown.code] += 1
            return
        split = shown.body.split
        accounts_fen = split.account_pay_fen + split.mutual_aid_fen
        body = Settle(bill, split.fund_pay_fen, accounts_fen, split.cash_fen)
        outcome = await runner.settle(
            body, card_session=opened.card_session, psn_no=patient.psn_no
        )  # fmt: skip
        if outcome.attempt.state.is_open:
            self._felt.in_doubt += 1
        elif outcome.attempt.state is AttemptState.SETTLED:
            self._felt.settled += 1
        else:
            self._felt.codes[outcome.attempt.code] += 1

    async def _sign_on(self, client: TerminalClient, until: asyncio.Event) -> bool:
        while not until.is_set():
            async with self._signing_on:
                with contextlib.suppress(ClientError):
                    answer = await client.sign_on(self.place.operator, self.place.password)
                    if answer.is_approved:
                        return True
                    self._felt.codes[answer.code] += 1
            await _wait(until, self.place.random.random() * self.place.think_s)
        return False

    async def _hang_up(self, talking: asyncio.Task[None], *, is_dead: bool) -> None:
        assert self.telemetry is not None
        if not is_dead:
            self.telemetry.leave()
            await asyncio.wait([talking], timeout=_LEAVE_TIME_S)
        talking.cancel()
        await asyncio.wait([talking])
        if not talking.cancelled():
            talking.result()
        self.telemetry = None

    # --- its parts ------------------------------------------------------------------------------

    @asynccontextmanager
    async def _networks(self) -> AsyncIterator[tuple[BadNetwork | None, BadNetwork | None]]:
        """Put a network of its own before centre and broker, where its fault is there."""
        config, fault = self.place.config, self.place.fault
        async with AsyncExitStack() as stack:
            if fault not in {Fault.SLOW_NETWORK, Fault.DROPPED_CONNECTIONS, Fault.DYING}:
                yield None, None
                return
            centre = await stack.enter_async_context(
                BadNetwork(config.centre.host, config.centre.port)
            )
            broker = None
            if config.mqtt.host:
                broker = await stack.enter_async_context(
                    BadNetwork(config.mqtt.host, config.mqtt.port)
                )
            if fault is Fault.SLOW_NETWORK:
                centre.delay_s = self.place.random.uniform(*_DELAY_S)
            yield centre, broker

    def _config(self, centre: BadNetwork | None, broker: BadNetwork | None) -> TerminalConfig:
        config = self.place.config
        if centre is not None:
            to_centre = structs.replace(
                config.centre,
                host=_LOOPBACK,
                port=centre.port,
                server_name=config.centre.server_name or config.centre.host,
            )
            config = structs.replace(config, centre=to_centre)
        if broker is not None:
            to_broker = structs.replace(config.mqtt, host=_LOOPBACK, port=broker.port)
            config = structs.replace(config, mqtt=to_broker)
        return config

    def _make_telemetry(
        self,
        client: TerminalClient,
        outbox: Outbox,
        lists: Lists,
        updates: ListUpdates,
        felt: FeltTimes,
    ) -> Telemetry:
        config, random = self.place.config, self.place.random

        def depth() -> OutboxDepth:
            count, oldest_ms = outbox.depth()
            return OutboxDepth(count, max(0, self._now_ms() - oldest_ms) if count else 0)

        return Telemetry(
            session=f"{random.getrandbits(64):016x}",
            interval_ms=config.mqtt.interval_ms,
            news_spread_ms=config.mqtt.news_spread_ms,
            operator=lambda: self.place.operator,
            clock_offset_ms=lambda: client.clock_offset_ms,
            reader=lambda: self._reader,
            outbox=depth,
            felt=felt,
            now_ms=self._now_ms,
            jitter=random.random,
            lists=lists,
            updates=updates,
        )

    def _say_reader(self, state: ReaderState) -> None:
        """Note what the reader does; that it fails, or works again, is said at once."""
        before, self._reader = self._reader, ReaderHealth(state, "simulated")
        has_news = ReaderState.FAULTY in {before.state, state} and before.state is not state
        if has_news and self.telemetry is not None:
            self.telemetry.touch()

    def _hear(self, felt: FeltTimes, type_: MessageType, ms: float, is_answered: bool) -> None:  # noqa: FBT001 - as the client says it
        felt.hear(type_, ms, is_answered)
        if is_answered:
            self._felt.took_ms.setdefault(type_, []).append(ms)
        else:
            self._felt.unanswered[type_] += 1

    def _now_ms(self) -> int:
        return time.time_ns() // _MS + self._clock_off_ms


async def _wait(until: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until the event."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await until.wait()
