"""Stopping: what is in flight is answered, what is new is refused, and it ends in time."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    CardOpen,
    Echo,
    Goodbye,
    MessageType,
    Relay,
    Relayed,
    RelayOutcome,
    Reply,
    Settle,
    SignOn,
)
from simulators.raw_terminal import Closed, RawTerminal
from tests.cardserver.desk import Desk, Reader

DeskWith = Callable[..., Awaitable[Desk]]


async def until_draining(desk: Desk) -> None:
    async with asyncio.timeout(10):
        while (await desk.page("/readyz"))[0] != 503:  # noqa: ASYNC110 - another process' state
            await asyncio.sleep(0.02)


async def everything_until_goodbye(terminal: RawTerminal) -> tuple[list[Reply], Goodbye]:
    replies: list[Reply] = []
    while True:
        heard = await terminal.hear()
        if isinstance(heard, Goodbye):
            with pytest.raises(Closed):
                await terminal.hear()
            return replies, heard
        assert isinstance(heard, Reply)
        replies.append(heard)


async def ended(desk: Desk) -> int:
    """Wait for the centre to end by itself; give its exit status."""
    assert desk.centre._process is not None
    return await asyncio.to_thread(desk.centre._process.wait, 20)


async def begin_relay(desk: Desk, terminal: RawTerminal) -> Relay:
    """Put a request in flight that takes as long as we like: the centre waits for our reader."""
    atr = await Reader(desk.card()).connect()
    body = CardOpen("", atr, 0, 0, RelayOutcome.COMPLETED, (), wants_holder=False, card_time_us=0)
    await terminal.say(terminal.request(MessageType.CARD_OPEN, body, exchange=1000))
    relay = await terminal.hear()
    assert isinstance(relay, Relay), relay
    return relay


async def test_what_is_in_flight_is_answered_and_what_is_new_refused(desk_with: DeskWith) -> None:
    desk = await desk_with()
    busy_one, idle_one = await desk.enrol("BUSY"), await desk.enrol("IDLE")
    async with (
        desk.raw(busy_one, operator="c001") as busy,
        desk.raw(idle_one) as idle,
        desk.raw(busy_one, operator="c002") as asking,
    ):
        relay = await begin_relay(desk, busy)
        guess = SignOn("nobody", "x", 1, "", (1,))
        guesses = [busy.request(MessageType.SIGN_ON, guess, operator="nobody") for _ in range(3)]
        await busy.say(*guesses)
        await asyncio.sleep(0.02)
        os.kill(desk.centre.pid, signal.SIGTERM)
        await until_draining(desk)
        assert (await desk.page("/healthz"))[0] == 200
        reply = await asking.reply_to(asking.request(MessageType.ECHO, Echo(b"new")))
        assert reply.code == ResponseCode.SHUTTING_DOWN
        with pytest.raises(OSError):  # noqa: PT011 - nobody listens there any more
            async with desk.raw(idle_one):
                pass
        os.kill(desk.centre.pid, signal.SIGTERM)  # a second signal does no harm
        os.kill(desk.centre.pid, signal.SIGINT)
        reader = Reader(desk.card())
        await reader.connect()
        await busy.say(await relayed_by(reader, relay))
        replies, goodbye = await everything_until_goodbye(busy)
        assert {reply.exchange for reply in replies} == {1000} | {one.exchange for one in guesses}
        assert goodbye.code == ResponseCode.SHUTTING_DOWN
        for terminal in (idle, asking):
            replies, goodbye = await everything_until_goodbye(terminal)
            assert replies == []
            assert goodbye.code == ResponseCode.SHUTTING_DOWN
        assert await ended(desk) == 0


async def relayed_by(reader: Reader, relay: Relay) -> Relayed:
    answers = await reader.run_batch(relay.steps, b"")
    return Relayed(
        relay.exchange,
        relay.sequence,
        RelayOutcome(answers.outcome),
        answers.answers,
        answers.card_time_us,
    )


async def test_settlements_in_flight_are_posted_and_answered(desk_with: DeskWith) -> None:
    desk = await desk_with()
    credentials = await desk.enrol("SETTLER")
    async with desk.client(credentials) as client:
        opening = await client.open_card(Reader(desk.card()))
        token = opening.answer.body.card_session
        answered = 0

        async def work() -> None:
            nonlocal answered
            for seed in range(10_000):
                reply = await client.exchange(
                    MessageType.SETTLE, Settle(desk.bill(seed), 0, 0, 0), card_session=token
                )
                if reply.code == ResponseCode.SHUTTING_DOWN:
                    return
                assert reply.code in {ResponseCode.APPROVED, ResponseCode.SPLIT_CHANGED}
                answered += 1

        workers = [asyncio.create_task(work()) for _ in range(8)]
        await asyncio.sleep(0.3)
        assert answered > 0
        os.kill(desk.centre.pid, signal.SIGTERM)
        ends = await asyncio.gather(*workers, return_exceptions=True)
    # Each was answered: with its outcome, or that it was not taken; or it was never sent.
    assert all(end is None or type(end).__name__ == "NotSentError" for end in ends), ends
    assert await ended(desk) == 0


async def test_who_never_answers_or_reads_holds_up_the_end_no_longer_than_allowed(
    desk_with: DeskWith,
) -> None:
    desk = await desk_with(listener={"drain_time_max_ms": 700})
    credentials = await desk.enrol("STUCK")
    half_open = [await asyncio.open_connection("127.0.0.1", desk.centre.port) for _ in range(20)]
    async with desk.raw(credentials, operator="c001") as stuck, desk.raw(credentials) as deaf:
        deaf.writer.transport.pause_reading()
        for _ in range(50):
            await deaf.say(*[deaf.request(MessageType.ECHO, Echo(bytes(4096))) for _ in range(4)])
            await asyncio.sleep(0.002)
        await begin_relay(desk, stuck)
        began = time.monotonic()
        os.kill(desk.centre.pid, signal.SIGTERM)
        replies, goodbye = await everything_until_goodbye(stuck)
        assert goodbye.code == ResponseCode.SHUTTING_DOWN
        assert replies == []
        assert await ended(desk) == 0
        took_s = time.monotonic() - began
    for _, writer in half_open:
        writer.close()
    assert 0.7 <= took_s < 6


async def test_a_port_in_use_is_said_in_a_sentence(desk: Desk) -> None:
    text = desk.city.config_file.read_text(encoding="utf-8")
    config_file = desk.city.config_file.with_name("second.toml")
    for section in ("listener", "observe"):
        config_file.write_text(text, encoding="utf-8")
        port = desk.centre.port if section == "listener" else desk.centre.observe_port
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("cardserver")), "serve",
            "--config", str(config_file),
            *(("--port", str(port), "--observe-port", "0") if section == "listener"
              else ("--port", "0", "--observe-port", str(port))),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, errors = await process.communicate()
        assert process.returncode == 1, errors
        last = errors.decode().strip().splitlines()[-1]
        assert last.startswith("cardserver: can't listen at 127.0.0.1:")
        assert "Traceback" not in errors.decode()
