"""Both ends of a connection driven against each other, and every table of `_state.py`."""

import datetime as dt

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from msgspec import Raw
from msgspec.msgpack import Encoder
from msgspec.structs import replace

from protocol.terminal._state import TRANSITIONS, ConnectionState, Exchange, Role, Signal, Violation
from protocol.terminal.bodies import NIL
from protocol.terminal.codes import ResponseCode
from protocol.terminal.connection import (
    NEED_DATA,
    CentreConnection,
    Limits,
    TerminalConnection,
)
from protocol.terminal.errors import LocalProtocolError, RemoteProtocolError
from protocol.terminal.frame import encode_frame
from protocol.terminal.messages import (
    Goodbye,
    Message,
    MessageType,
    Relay,
    Relayed,
    RelayOutcome,
    Reply,
    Request,
)


def request(exchange: int, type_: int = MessageType.ECHO) -> Request:
    return Request(
        exchange=exchange, type=type_, msgid="", sign_no="", terminal="T1", operator="",
        card_session=b"", list_version=0, time_left_ms=5000, sent_time_ms=0, trace="",
        body=Raw(NIL),
    )  # fmt: skip


def card_request(exchange: int) -> Request:
    return request(exchange, MessageType.CARD_OPEN)


def reply(exchange: int) -> Reply:
    return Reply(
        exchange=exchange, code=0, duplicate=False, business_date=dt.date(2026, 11, 21),
        centre_time_ms=0, list_version=0, detail_zh="", detail_en="", body=Raw(NIL),
    )  # fmt: skip


def relay(exchange: int, sequence: int = 1) -> Relay:
    return Relay(exchange=exchange, sequence=sequence, steps=(), time_left_ms=1000)


def relayed(exchange: int, sequence: int = 1) -> Relayed:
    return Relayed(exchange, sequence, RelayOutcome.COMPLETED, (), 0)


GOODBYE = Goodbye(code=ResponseCode.SHUTTING_DOWN, detail="")


class Pair:
    """A terminal and a centre, and what is on the way between them."""

    def __init__(self, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        self.terminal = TerminalConnection(limits)
        self.centre = CentreConnection(limits)

    def to_centre(self, *messages: Request | Relayed | Goodbye) -> list[Message]:
        for message in messages:
            self.centre.receive_data(self.terminal.send(message))
        return events(self.centre)

    def to_terminal(self, *messages: Reply | Relay | Goodbye) -> list[Message]:
        for message in messages:
            self.terminal.receive_data(self.centre.send(message))
        return events(self.terminal)


def events(connection: CentreConnection | TerminalConnection) -> list[Message]:
    seen: list[Message] = []
    while (event := connection.next_event()) is not NEED_DATA:
        seen.append(event)
    return seen


def refused_by_centre(*messages: Message, limits: Limits | None = None) -> ResponseCode:
    """Let a terminal that keeps no rules send these; give the code of the first violation."""
    centre = CentreConnection(limits or Limits())
    for message in messages:
        centre.receive_data(encode_frame(Encoder().encode(message)))
    with pytest.raises(RemoteProtocolError) as caught:
        events(centre)
    assert not centre.may_send
    assert centre.may_say_goodbye
    return caught.value.code


def test_requests_are_answered_in_any_order() -> None:
    pair = Pair()
    sent = [request(7), request(3), request(5)]
    assert pair.to_centre(*sent) == sent
    assert pair.centre.in_flight_count == pair.terminal.in_flight_count == 3
    answers = [reply(5), reply(7), reply(3)]
    assert pair.to_terminal(*answers) == answers
    assert pair.centre.in_flight_count == pair.terminal.in_flight_count == 0


def test_a_card_is_opened_in_relayed_batches() -> None:
    pair = Pair()
    pair.to_centre(card_request(1), request(2))
    for sequence in (1, 2, 3):
        assert pair.to_terminal(relay(1, sequence)) == [relay(1, sequence)]
        assert pair.to_centre(relayed(1, sequence)) == [relayed(1, sequence)]
    assert pair.to_terminal(reply(1), reply(2)) == [reply(1), reply(2)]
    assert pair.to_centre(card_request(1)) == [card_request(1)]
    assert pair.to_terminal(relay(1, 1)) == [relay(1, 1)]


def test_a_reply_may_overtake_the_relayed_answers() -> None:
    pair = Pair()
    pair.to_centre(card_request(1))
    pair.to_terminal(relay(1))
    on_the_way = pair.terminal.send(relayed(1))
    late = pair.centre.send(reply(1))
    pair.centre.receive_data(on_the_way)
    assert events(pair.centre) == []
    pair.terminal.receive_data(late)
    assert events(pair.terminal) == [reply(1)]
    assert pair.to_centre(request(1)) == [request(1)]


def test_the_terminal_may_still_answer_an_overtaken_relay() -> None:
    pair = Pair()
    pair.to_centre(card_request(1))
    assert pair.to_terminal(relay(1), reply(1)) == [relay(1), reply(1)]
    assert pair.to_centre(relayed(1), request(1)) == [request(1)]


def test_an_overtaken_number_may_begin_anew() -> None:
    pair = Pair()
    pair.to_centre(card_request(1))
    pair.to_terminal(relay(1), reply(1))
    pair.to_centre(card_request(1))
    assert pair.to_terminal(relay(1, 1)) == [relay(1, 1)]
    assert pair.to_centre(relayed(1, 1)) == [relayed(1, 1)]


def test_goodbye_is_the_last_word_of_its_sender_only() -> None:
    pair = Pair()
    pair.to_centre(request(1))
    assert pair.to_centre(GOODBYE) == [GOODBYE]
    assert pair.centre.has_peer_departed
    assert not pair.terminal.may_send
    with pytest.raises(LocalProtocolError):
        pair.terminal.send(request(2))
    assert pair.to_terminal(reply(1), GOODBYE) == [reply(1), GOODBYE]
    assert not pair.centre.may_say_goodbye


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([request(1), request(1)], ResponseCode.EXCHANGE_IN_USE),
        ([card_request(1), card_request(1)], ResponseCode.EXCHANGE_IN_USE),
        ([request(1), request(2), request(3)], ResponseCode.TOO_MANY_IN_FLIGHT),
        ([relayed(1)], ResponseCode.UNEXPECTED_MESSAGE),
        ([request(1), relayed(1)], ResponseCode.UNEXPECTED_MESSAGE),
        ([card_request(1), relayed(1)], ResponseCode.UNEXPECTED_MESSAGE),
        ([GOODBYE, request(1)], ResponseCode.UNEXPECTED_MESSAGE),
        ([GOODBYE, GOODBYE], ResponseCode.UNEXPECTED_MESSAGE),
        ([reply(1)], ResponseCode.INVALID_FIELD),
        ([relay(1)], ResponseCode.INVALID_FIELD),
    ],
)
def test_a_terminal_out_of_order_is_told(messages: list[Message], code: ResponseCode) -> None:
    assert refused_by_centre(*messages, limits=Limits(in_flight_max=2)) is code


def test_an_answer_of_another_sequence_is_refused() -> None:
    centre = CentreConnection(Limits())
    centre.receive_data(encode_frame(Encoder().encode(card_request(1))))
    assert events(centre) == [card_request(1)]
    centre.send(relay(1, 1))
    centre.receive_data(encode_frame(Encoder().encode(relayed(1, 2))))
    with pytest.raises(RemoteProtocolError) as caught:
        events(centre)
    assert caught.value.code is ResponseCode.UNEXPECTED_MESSAGE


@pytest.mark.parametrize(
    "messages",
    [[reply(1)], [relay(1)], [request(1)], [relay(2)], [relay(3, 2)], [reply(3), reply(3)]],
)
def test_a_centre_out_of_order_is_told(messages: list[Message]) -> None:
    terminal = TerminalConnection(Limits())
    terminal.send(request(2))
    terminal.send(card_request(3))
    for message in messages:
        terminal.receive_data(encode_frame(Encoder().encode(message)))
    with pytest.raises(RemoteProtocolError):
        events(terminal)


def test_an_end_is_kept_from_breaking_the_rules_itself() -> None:
    pair = Pair(Limits(frame_size_max=200, in_flight_max=1))
    with pytest.raises(LocalProtocolError):
        pair.centre.send(reply(1))
    with pytest.raises(LocalProtocolError):
        pair.terminal.send(relayed(1))
    large = request(1)
    large = replace(large, body=Raw(Encoder().encode(bytes(300))))
    with pytest.raises(LocalProtocolError):
        pair.terminal.send(large)
    pair.terminal.send(request(1))
    with pytest.raises(LocalProtocolError):
        pair.terminal.send(request(1))
    with pytest.raises(LocalProtocolError):
        pair.terminal.send(request(2))
    with pytest.raises(LocalProtocolError):
        pair.terminal.send(reply(1))  # type: ignore[arg-type]
    assert pair.terminal.in_flight_count == 1


def test_after_a_violation_only_goodbye_is_left() -> None:
    pair = Pair()
    pair.to_centre(request(1))
    pair.centre.receive_data(encode_frame(b"\xc1"))
    for _ in range(2):
        with pytest.raises(RemoteProtocolError) as caught:
            pair.centre.next_event()
        assert caught.value.code is ResponseCode.MALFORMED_MESSAGE
    for _ in range(100):
        pair.centre.receive_data(bytes(100_000))
    assert not pair.centre.is_mid_frame
    with pytest.raises(LocalProtocolError):
        pair.centre.send(reply(1))
    assert pair.to_terminal(GOODBYE) == [GOODBYE]
    with pytest.raises(LocalProtocolError):
        pair.centre.send(GOODBYE)


def test_what_came_before_a_violation_is_delivered() -> None:
    centre = CentreConnection(Limits())
    centre.receive_data(encode_frame(Encoder().encode(request(1))) + bytes(4))
    assert centre.next_event() == request(1)
    with pytest.raises(RemoteProtocolError):
        centre.next_event()


def test_a_terminal_adopts_the_limits_it_is_told() -> None:
    pair = Pair(Limits(in_flight_max=1))
    pair.terminal.send(request(1))
    pair.terminal.adopt_limits(Limits(frame_size_max=100_000, in_flight_max=2))
    pair.terminal.send(request(2))
    with pytest.raises(LocalProtocolError):
        pair.terminal.send(request(3))
    pair.terminal.receive_data((100_001).to_bytes(4, "big"))
    with pytest.raises(RemoteProtocolError):
        pair.terminal.next_event()


@pytest.mark.parametrize("before", Exchange)
@pytest.mark.parametrize("signal", Signal)
def test_the_table_is_the_whole_truth(before: Exchange, signal: Signal) -> None:
    ways = {
        Exchange.FREE: [],
        Exchange.ASKED: [request(1)],
        Exchange.CARD_ASKED: [card_request(1)],
        Exchange.RELAYING: [card_request(1), relay(1)],
        Exchange.OVERTAKEN: [card_request(1), relay(1), reply(1)],
    }
    message_of = {
        Signal.REQUEST: request(1),
        Signal.CARD_REQUEST: card_request(1),
        Signal.RELAY: relay(1),
        Signal.RELAYED: relayed(1),
        Signal.REPLY: reply(1),
    }

    def sender(message: Message) -> Role:
        return Role.TERMINAL if isinstance(message, Request | Relayed) else Role.CENTRE

    state = ConnectionState(Role.CENTRE, 4)
    for message in ways[before]:
        state.fire(sender(message), message)
    assert state.exchange(1) is before
    message = message_of[signal]
    after = TRANSITIONS.get((before, signal))
    if after is None:
        with pytest.raises(Violation):
            state.fire(sender(message), message)
        assert state.exchange(1) is before
    else:
        assert state.fire(sender(message), message) is before
        assert state.exchange(1) is after


def test_what_is_remembered_is_bounded() -> None:
    pair = Pair(Limits(in_flight_max=3))
    for number in range(1000):
        pair.to_centre(card_request(number))
        pair.to_terminal(relay(number), reply(number))
    for connection, most in ((pair.terminal, 3), (pair.centre, 6)):
        state = connection._state
        held = [number for number in range(1000) if state.exchange(number) is not Exchange.FREE]
        assert held == list(range(1000 - most, 1000))
        assert connection.in_flight_count == 0


def test_the_centre_remembers_whatever_the_terminal_may_still_answer() -> None:
    pair = Pair(Limits(in_flight_max=2))
    pair.to_centre(card_request(0), card_request(1))
    pair.to_terminal(relay(0), relay(1), reply(0), reply(1))
    pair.to_centre(card_request(2), card_request(3))
    for number in (2, 3):
        pair.centre.send(relay(number))
        pair.centre.send(reply(number))
    assert pair.to_centre(relayed(0), relayed(1)) == []


class HonestEnds(RuleBasedStateMachine):
    """Two ends that send whatever they may, over a network that delivers when it likes.

    Neither must ever find the other in violation, and once all is delivered both agree.
    """

    numbers = st.integers(0, 5)

    def __init__(self) -> None:
        super().__init__()
        limits = Limits(in_flight_max=2)
        self.terminal = TerminalConnection(limits)
        self.centre = CentreConnection(limits)
        self.towards_centre = b""
        self.towards_terminal = b""
        self.relays: dict[int, int] = {}
        self.pending: dict[int, int] = {}

    @rule(number=numbers, is_card=st.booleans())
    def ask(self, number: int, is_card: bool) -> None:  # noqa: FBT001  drawn
        state = self.terminal._state.exchange(number)
        if state in {Exchange.FREE, Exchange.OVERTAKEN} and self.terminal.in_flight_count < 2:
            message = card_request(number) if is_card else request(number)
            self.towards_centre += self.terminal.send(message)

    @rule(number=numbers)
    def push(self, number: int) -> None:
        if self.centre._state.exchange(number) is Exchange.CARD_ASKED:
            self.relays[number] = self.relays.get(number, 0) + 1
            self.towards_terminal += self.centre.send(relay(number, self.relays[number]))

    @rule(number=numbers)
    def answer(self, number: int) -> None:
        if self.centre._state.exchange(number) not in {Exchange.FREE, Exchange.OVERTAKEN}:
            self.relays.pop(number, None)
            self.towards_terminal += self.centre.send(reply(number))

    @rule(number=numbers)
    def answer_relay(self, number: int) -> None:
        if self.terminal._state.exchange(number) in {Exchange.RELAYING, Exchange.OVERTAKEN}:
            self.towards_centre += self.terminal.send(relayed(number, self.pending[number]))

    @rule(size=st.integers(1, 200))
    @precondition(lambda self: self.towards_centre)
    def deliver_to_centre(self, size: int) -> None:
        self.centre.receive_data(self.towards_centre[:size])
        self.towards_centre = self.towards_centre[size:]
        events(self.centre)

    @rule(size=st.integers(1, 200))
    @precondition(lambda self: self.towards_terminal)
    def deliver_to_terminal(self, size: int) -> None:
        self.terminal.receive_data(self.towards_terminal[:size])
        self.towards_terminal = self.towards_terminal[size:]
        for event in events(self.terminal):
            if isinstance(event, Relay):
                self.pending[event.exchange] = event.sequence

    @rule()
    def settle(self) -> None:
        while self.towards_centre or self.towards_terminal:
            if self.towards_centre:
                self.deliver_to_centre(1000)
            if self.towards_terminal:
                self.deliver_to_terminal(1000)
        for number in range(6):
            at_terminal = self.terminal._state.exchange(number)
            at_centre = self.centre._state.exchange(number)
            if at_centre is Exchange.OVERTAKEN:
                # The terminal forgets sooner, so that the centre never forgets too soon.
                assert at_terminal in {Exchange.OVERTAKEN, Exchange.FREE}
            else:
                assert at_terminal is at_centre


TestHonestEnds = HonestEnds.TestCase
TestHonestEnds.settings = settings(max_examples=200, stateful_step_count=60)
