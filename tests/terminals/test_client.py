"""The client against a centre over real TLS: order, retries, renewal, challenges, faults."""

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import uvloop

from protocol.terminal import messages as m
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType
from terminals.answer import NoAnswerError, NotSentError
from terminals.client import TerminalClient
from terminals.config import TerminalConfig

OPERATOR, PASSWORD = "1001", "correct horse"


def with_limits(config: TerminalConfig, **limits: int) -> TerminalConfig:
    replace = msgspec.structs.replace
    return replace(config, limits=replace(config.limits, **limits))


async def test_signs_on_and_echoes(centre: Any, config: TerminalConfig) -> None:
    async with TerminalClient(config) as client:
        answer = await client.sign_on(OPERATOR, PASSWORD)
        assert answer.is_approved
        assert client.challenges_held == 4
        assert client.sign_on_state is not None
        assert client.sign_on_state.sign_no == "sign-1"
        echoed = await client.echo(b"are you there")
        assert echoed.body == m.Echoed(b"are you there")
        assert echoed.stages_us == {"decode": 12, "commit": 850}
    assert centre.connections == 1


@pytest.mark.usefixtures("centre")
async def test_runs_on_the_loop_that_it_is_given(config: TerminalConfig) -> None:
    async def echo() -> bool:
        async with TerminalClient(config) as client:
            return (await client.echo(b"x" * 4096)).is_approved

    assert await asyncio.to_thread(uvloop.run, echo())


async def test_wrong_password_is_an_answer_and_leaves_no_sign_on(
    centre: Any, config: TerminalConfig
) -> None:
    async with TerminalClient(config) as client:
        answer = await client.sign_on(OPERATOR, "wrong")
        assert answer.code == ResponseCode.OPERATOR_REFUSED
        assert client.sign_on_state is None
    assert centre.count(MessageType.SIGN_ON) == 1


async def test_many_requests_in_flight_get_their_own_replies(
    centre: Any, config: TerminalConfig
) -> None:
    async def slow_first(_peer: Any, _request: m.Request) -> Any:
        await asyncio.sleep(0.2)
        return 0, m.Echoed(b"first")

    centre.rule(MessageType.ECHO, slow_first)
    done: list[bytes] = []

    async def ask(payload: bytes) -> None:
        answer = await client.echo(payload)
        assert isinstance(answer.body, m.Echoed)
        done.append(answer.body.payload)

    async with TerminalClient(config) as client:
        await client.sign_on(OPERATOR, PASSWORD)
        async with asyncio.TaskGroup() as tasks:
            for payload in (b"first", b"second", b"third"):
                tasks.create_task(ask(payload))
    assert done == [b"second", b"third", b"first"]


@pytest.mark.usefixtures("centre")
async def test_opens_a_card_in_one_round_trip(config: TerminalConfig, fake_reader: Any) -> None:
    async with TerminalClient(config) as client:
        await client.sign_on(OPERATOR, PASSWORD)
        opening = await client.open_card(fake_reader)
        assert isinstance(opening.answer.body, m.CardOpened)
        assert opening.answer.body.round_trips == 1
        assert opening.relays == 0
        assert fake_reader.batches == 1
        assert client.challenges_held == 4


@pytest.mark.usefixtures("centre")
async def test_a_clone_is_refused(config: TerminalConfig, fake_reader: Any) -> None:
    fake_reader.is_genuine = False
    async with TerminalClient(config) as client:
        await client.sign_on(OPERATOR, PASSWORD)
        opening = await client.open_card(fake_reader)
    assert opening.answer.code == ResponseCode.CARD_NOT_GENUINE


@pytest.mark.usefixtures("centre")
async def test_a_reader_that_hangs_is_told_as_a_fault(
    config: TerminalConfig, fake_reader: Any
) -> None:
    async def hang(_steps: Any, _challenge: bytes) -> Any:
        await asyncio.sleep(30)

    fake_reader.run_batch = hang
    replace = msgspec.structs.replace
    impatient = replace(config, reader=replace(config.reader, batch_timeout_ms=50))
    async with TerminalClient(impatient) as client:
        await client.sign_on(OPERATOR, PASSWORD)
        opening = await client.open_card(fake_reader)
    assert opening.answer.code == ResponseCode.CARD_READER_FAULT


async def test_without_a_challenge_the_centre_relays(
    centre: Any, config: TerminalConfig, fake_reader: Any
) -> None:
    centre.renews_challenges = False
    async with TerminalClient(config) as first:
        await first.sign_on(OPERATOR, PASSWORD)
        state = first.sign_on_state
    assert state is not None
    async with TerminalClient(config) as client:
        client.resume(state)
        opening = await client.open_card(fake_reader)
    assert isinstance(opening.answer.body, m.CardOpened)
    assert opening.answer.body.round_trips == 2
    assert opening.relays == 1


@pytest.mark.usefixtures("centre")
async def test_a_resumed_sign_on_gets_challenges_before_the_card(
    config: TerminalConfig, fake_reader: Any
) -> None:
    async with TerminalClient(config) as first:
        await first.sign_on(OPERATOR, PASSWORD)
        state = first.sign_on_state
    assert state is not None
    async with TerminalClient(config) as client:
        client.resume(state)
        opening = await client.open_card(fake_reader)
    assert isinstance(opening.answer.body, m.CardOpened)
    assert opening.answer.body.round_trips == 1


async def test_a_dead_challenge_is_replaced(
    centre: Any, config: TerminalConfig, fake_reader: Any
) -> None:
    async with TerminalClient(config) as client:
        await client.sign_on(OPERATOR, PASSWORD)
        del centre.peers[0].challenges[1]
        opening = await client.open_card(fake_reader)
    assert opening.answer.is_approved
    assert fake_reader.batches == 2


async def test_a_relay_outside_an_open_card_ends_the_connection(
    centre: Any, config: TerminalConfig
) -> None:
    async def relay(peer: Any, request: m.Request) -> Any:
        frame = msgspec.msgpack.encode(m.Relay(request.exchange, 1, (), 1_000))
        peer.writer.write(len(frame).to_bytes(4, "big") + frame)
        await asyncio.sleep(0.2)
        raise ConnectionAbortedError

    centre.rule(MessageType.ECHO, relay)
    async with TerminalClient(config) as client:
        with pytest.raises(NoAnswerError, match="broke the protocol"):
            await client.exchange(MessageType.ECHO, m.Echo(b""))


async def test_busy_is_repeated_under_the_same_msgid(centre: Any, config: TerminalConfig) -> None:
    busy = centre.refusing(ResponseCode.BUSY)
    centre.rule(MessageType.ECHO, busy, busy)
    async with TerminalClient(config) as client:
        answer = await client.echo()
    assert answer.is_approved
    assert answer.sends == 3
    assert len({request.msgid for request in centre.requests}) == 1


async def test_busy_for_ever_is_given_back_after_a_limit(
    centre: Any, config: TerminalConfig
) -> None:
    centre.rule(MessageType.ECHO, *[centre.refusing(ResponseCode.BUSY)] * 50)
    async with TerminalClient(with_limits(config, retries_max=3)) as client:
        answer = await client.echo()
    assert answer.code == ResponseCode.BUSY
    assert centre.count(MessageType.ECHO) == 4


async def test_an_expired_sign_on_is_renewed_and_the_same_msgid_sent(
    centre: Any, config: TerminalConfig
) -> None:
    async with TerminalClient(config) as client:
        await client.sign_on(OPERATOR, PASSWORD)
        centre.sign_no = "ended at the centre"
        answers = await asyncio.gather(
            *(
                client.request(MessageType.MEMBER_QUERY, m.MemberQuery("02", "111111198101011110"))
                for _ in range(5)
            )
        )
    assert all(answer.is_approved for answer in answers)
    assert centre.sign_ons == 2
    queries = [one.msgid for one in centre.requests if one.type == MessageType.MEMBER_QUERY]
    assert len(queries) == 10
    assert len(set(queries)) == 5


async def test_without_a_password_an_expired_sign_on_is_told(
    centre: Any, config: TerminalConfig
) -> None:
    async with TerminalClient(config) as client:
        answer = await client.request(MessageType.MEMBER_QUERY, m.MemberQuery("02", "1"))
    assert answer.code == ResponseCode.NOT_SIGNED_ON
    assert centre.sign_ons == 0


async def test_a_query_whose_connection_broke_is_repeated(
    centre: Any, config: TerminalConfig
) -> None:
    centre.rule(MessageType.ECHO, centre.lose_request)
    async with TerminalClient(config) as client:
        answer = await client.echo(b"again")
    assert answer.is_approved
    assert answer.sends == 2
    assert centre.connections == 2


async def test_a_query_that_was_sent_and_never_answered_is_not_called_unsent(
    centre: Any, config: TerminalConfig
) -> None:
    centre.rule(MessageType.ECHO, *[centre.lose_request] * 1000)
    async with TerminalClient(with_limits(config, retries_max=1000)) as client:
        with pytest.raises(NoAnswerError):
            await client.request(MessageType.ECHO, m.Echo(b""), time_limit_ms=300)


async def test_never_more_in_flight_than_the_centre_allows(
    centre: Any, config: TerminalConfig
) -> None:
    open_now = most = 0

    async def count(_peer: Any, _request: m.Request) -> Any:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.01)
        open_now -= 1
        return 0, m.Echoed(b"")

    async def burst(client: TerminalClient) -> int:
        nonlocal most
        most = 0
        centre.rule(MessageType.ECHO, *[count] * 100)
        answers = await asyncio.gather(*(client.echo() for _ in range(100)))
        assert all(answer.is_approved and answer.sends == 1 for answer in answers)
        return most

    async with TerminalClient(config) as client:
        assert await burst(client) == 1, "before sign-on"
        await client.sign_on(OPERATOR, PASSWORD)
        assert await burst(client) == 32
        state = client.sign_on_state
    assert state is not None
    async with TerminalClient(config) as client:
        client.resume(state)
        assert await burst(client) == 32


@dataclass
class Watcher:
    sent: int = 0
    replies: int = 0

    def before_send(self) -> None:
        self.sent += 1

    def not_sent(self) -> None:
        self.sent -= 1

    def after_reply(self, _: m.Reply) -> None:
        self.replies += 1


async def test_a_watched_request_whose_reply_is_lost_is_not_repeated(
    centre: Any, config: TerminalConfig
) -> None:
    centre.rule(MessageType.ECHO, centre.lose_reply)
    watcher = Watcher()
    async with TerminalClient(config) as client:
        with pytest.raises(NoAnswerError):
            await client.request(MessageType.ECHO, m.Echo(b""), watcher=watcher)
    assert (watcher.sent, watcher.replies) == (1, 0)
    assert centre.count(MessageType.ECHO) == 1


@pytest.mark.parametrize("fault", ["garbage", "bad_body"])
async def test_garbage_from_the_centre_is_no_answer(
    centre: Any, config: TerminalConfig, fault: str
) -> None:
    centre.rule(MessageType.ECHO, getattr(centre, fault))
    async with TerminalClient(config) as client:
        with pytest.raises(NoAnswerError):
            await client.exchange(MessageType.ECHO, m.Echo(b""))
        assert not client.is_connected
        assert (await client.echo()).is_approved


async def test_a_late_reply_is_found_by_whoever_still_wants_it(
    centre: Any, config: TerminalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terminals.client.REPLY_GRACE_MS", 50)

    async def late(_peer: Any, _request: m.Request) -> Any:
        await asyncio.sleep(0.4)
        return 0, m.Echoed(b"late")

    centre.rule(MessageType.ECHO, late)
    async with TerminalClient(config) as client:
        with pytest.raises(NoAnswerError) as caught:
            await client.exchange(MessageType.ECHO, m.Echo(b""), time_left_ms=100)
        assert caught.value.exchange is not None
        event = await asyncio.wait_for(caught.value.exchange.event, 2)
        assert isinstance(event, m.Reply)
        assert event.code == 0


async def test_the_deadline_is_sent_and_the_wait_is_two_seconds_longer(
    centre: Any, config: TerminalConfig
) -> None:
    centre.rule(MessageType.ECHO, centre.late(30))
    async with TerminalClient(config) as client:
        started = asyncio.get_running_loop().time()
        with pytest.raises(NoAnswerError):
            await client.exchange(MessageType.ECHO, m.Echo(b""), time_left_ms=100)
        waited = asyncio.get_running_loop().time() - started
    assert centre.requests[0].time_left_ms == 100
    assert 2.05 < waited < 3


async def test_a_stopping_centre_is_left_for_a_new_connection(
    centre: Any, config: TerminalConfig
) -> None:
    centre.rule(MessageType.ECHO, centre.refusing(ResponseCode.SHUTTING_DOWN))
    async with TerminalClient(config) as client:
        answer = await client.echo()
    assert answer.is_approved
    assert centre.connections == 2


async def test_no_centre_is_told_after_the_retries(config: TerminalConfig) -> None:
    replace = msgspec.structs.replace
    nowhere = replace(with_limits(config, retries_max=2), centre=replace(config.centre, port=1))
    with pytest.raises(NotSentError, match="cannot connect"):
        await TerminalClient(nowhere).echo()


async def test_a_centre_of_another_authority_is_refused(
    config: TerminalConfig, certificates: Any
) -> None:
    replace = msgspec.structs.replace
    stranger = replace(
        with_limits(config, retries_max=1),
        centre=replace(config.centre, ca_file=str(certificates / "server.pem")),
    )
    with pytest.raises(NotSentError, match="certificate verify failed"):
        await TerminalClient(stranger).echo()
