"""All that changes the state of a connection.

Theory. A connection joins two sides, the terminal and the centre. Both run this same machine over
the same messages, each seeing its own at sending and the other's at arrival; a message that the
tables don't list is a violation of whoever sent it. Two kinds of state are kept:

1. A `Side` for each of the two. Both begin SPEAKING. A Goodbye is the last message of its sender,
   so it makes it DEPARTED. A side that broke the specification is FAULTY: nothing it sends is
   looked at any more, and the other may only say Goodbye. There is no sign-on state here: a
   sign-on belongs to the terminal, not to one of its connections.

2. An `Exchange` for each exchange number in use. The terminal chooses the number, its Request
   begins the exchange, the centre's Reply ends it. Exchanges don't wait for one another. Only
   within a CARD_OPEN may the centre push Relays, one at a time, numbered from 1, and the terminal
   answers each with one Relayed of the same number:

                       Request                    Request(CARD_OPEN)
            ASKED  <------------  FREE  ------------------------------>  CARD_ASKED
              |                   ^  ^                                   |    |  ^
              |       Reply       |  |               Reply               |    |  |
              +-------------------+  +-----------------------------------+    |  | Relayed
                                  |                                     Relay |  |
                                  | Relayed                                   v  |
                                OVERTAKEN <------------------------------- RELAYING
                                                      Reply

   The centre may give up while the card is busy: its Reply then overtakes the Relayed. The
   exchange has ended for both, its number may begin a new one, and the Relayed, which may already
   be on its way, is allowed once and means nothing. Both ends pass through the same states in
   this race, though not at the same time, which is why OVERTAKEN is a state and not an error.

The number N of exchanges in ASKED, CARD_ASKED and RELAYING is limited. Overtaken numbers are
forgotten oldest first: by the terminal beyond N, by the centre beyond 2 N. When a Relayed arrives,
the centre has seen only requests sent before it, so newer overtaken exchanges are at most the N
that the terminal remembered at sending and the N that it had in flight: what the terminal may
still answer the centre has not forgotten.

Nothing here knows bytes or clocks. A table lookup that finds nothing raises `Violation`, and
`connection.py` turns it into a local or a remote error, by whose message it was.
"""

from collections.abc import Mapping
from enum import Enum, auto, unique
from typing import Final

from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Goodbye, Message, MessageType, Relay, Relayed, Reply, Request


@unique
class Role(Enum):
    """Which end of the connection."""

    TERMINAL = auto()
    CENTRE = auto()


@unique
class Side(Enum):
    """What one end has said so far."""

    SPEAKING = auto()
    DEPARTED = auto()
    FAULTY = auto()


@unique
class Exchange(Enum):
    """Where one exchange stands."""

    FREE = auto()
    ASKED = auto()
    CARD_ASKED = auto()
    RELAYING = auto()
    OVERTAKEN = auto()


@unique
class Signal(Enum):
    """What a message means to its exchange."""

    REQUEST = auto()
    CARD_REQUEST = auto()
    RELAY = auto()
    RELAYED = auto()
    REPLY = auto()


SENDER: Final[Mapping[type, Role]] = {
    Request: Role.TERMINAL,
    Relayed: Role.TERMINAL,
    Reply: Role.CENTRE,
    Relay: Role.CENTRE,
}
"""Who may send what; a Goodbye is anybody's."""

TRANSITIONS: Final[Mapping[tuple[Exchange, Signal], Exchange]] = {
    (Exchange.FREE, Signal.REQUEST): Exchange.ASKED,
    (Exchange.FREE, Signal.CARD_REQUEST): Exchange.CARD_ASKED,
    (Exchange.ASKED, Signal.REPLY): Exchange.FREE,
    (Exchange.CARD_ASKED, Signal.RELAY): Exchange.RELAYING,
    (Exchange.CARD_ASKED, Signal.REPLY): Exchange.FREE,
    (Exchange.RELAYING, Signal.RELAYED): Exchange.CARD_ASKED,
    (Exchange.RELAYING, Signal.REPLY): Exchange.OVERTAKEN,
    (Exchange.OVERTAKEN, Signal.RELAYED): Exchange.FREE,
    (Exchange.OVERTAKEN, Signal.REQUEST): Exchange.ASKED,
    (Exchange.OVERTAKEN, Signal.CARD_REQUEST): Exchange.CARD_ASKED,
}

_BEGINNINGS: Final = frozenset({Signal.REQUEST, Signal.CARD_REQUEST})


class Violation(Exception):  # noqa: N818  a fact for connection.py, never seen outside this room
    """A message that the tables do not list.

    Attributes:
        code: The `ResponseCode` that tells its sender.
        detail: What was wrong.
    """

    def __init__(self, code: ResponseCode, detail: str) -> None:
        self.code: Final = code
        self.detail: Final = detail
        super().__init__(detail)


class ConnectionState:
    """The sides and exchanges of one connection; `fire` alone changes them."""

    def __init__(self, role: Role, in_flight_max: int) -> None:
        assert in_flight_max >= 1
        self._role = role
        self._in_flight_max = in_flight_max
        self._sides = {Role.TERMINAL: Side.SPEAKING, Role.CENTRE: Side.SPEAKING}
        self._exchanges: dict[int, Exchange] = {}
        self._relays: dict[int, int] = {}
        self._overtaken: dict[int, int] = {}

    @property
    def in_flight_count(self) -> int:
        """Requests that are not replied to."""
        return len(self._exchanges)

    @property
    def _overtaken_max(self) -> int:
        return self._in_flight_max * (1 if self._role is Role.TERMINAL else 2)

    def side(self, role: Role) -> Side:
        """Give the state of one end."""
        return self._sides[role]

    def exchange(self, number: int) -> Exchange:
        """Give the state of one exchange."""
        if number in self._overtaken:
            return Exchange.OVERTAKEN
        return self._exchanges.get(number, Exchange.FREE)

    def set_in_flight_max(self, in_flight_max: int) -> None:
        """Change the limit; exchanges already under way stay."""
        assert in_flight_max >= 1
        self._in_flight_max = in_flight_max

    def mark_faulty(self, role: Role) -> None:
        """Note that this end broke the specification."""
        self._sides[role] = Side.FAULTY

    def fire(self, sender: Role, message: Message) -> Exchange:
        """Let a message change the state; give the state that its exchange was in before.

        Raises:
            Violation: The message is not allowed now; nothing has changed.
        """
        self._check_sides(sender, message)
        if isinstance(message, Goodbye):
            self._sides[sender] = Side.DEPARTED
            return Exchange.FREE
        number = message.exchange
        before = self.exchange(number)
        signal = _signal(message)
        after = TRANSITIONS.get((before, signal))
        if after is None:
            raise _refusal(before, signal)
        if signal in _BEGINNINGS and self.in_flight_count >= self._in_flight_max:
            raise Violation(
                ResponseCode.TOO_MANY_IN_FLIGHT,
                f"at most {self._in_flight_max} requests may be in flight",
            )
        self._check_sequence(before, message)
        self._move(number, after)
        return before

    def _check_sides(self, sender: Role, message: Message) -> None:
        other = Role.CENTRE if sender is Role.TERMINAL else Role.TERMINAL
        if self._sides[sender] is not Side.SPEAKING:
            raise Violation(
                ResponseCode.UNEXPECTED_MESSAGE, "nothing may follow a Goodbye or a violation"
            )
        if isinstance(message, Goodbye):
            return
        if SENDER[type(message)] is not sender:
            raise Violation(
                ResponseCode.UNEXPECTED_MESSAGE,
                f"a {type(message).__name__} is not for the {sender.name.lower()} to send",
            )
        if self._sides[other] is Side.FAULTY:
            raise Violation(
                ResponseCode.UNEXPECTED_MESSAGE, "only a Goodbye may follow the peer's violation"
            )

    def _check_sequence(self, before: Exchange, message: Message) -> None:
        if isinstance(message, Relay):
            expected = self._relays.get(message.exchange, 0) + 1
        elif isinstance(message, Relayed) and before is Exchange.RELAYING:
            expected = self._relays[message.exchange]
        elif isinstance(message, Relayed):
            expected = self._overtaken[message.exchange]
        else:
            return
        if message.sequence != expected:
            raise Violation(
                ResponseCode.UNEXPECTED_MESSAGE,
                f"sequence {message.sequence} where {expected} was next",
            )
        if isinstance(message, Relay):
            self._relays[message.exchange] = expected

    def _move(self, number: int, after: Exchange) -> None:
        self._overtaken.pop(number, None)
        if after is Exchange.OVERTAKEN:
            self._overtaken[number] = self._relays[number]
            if len(self._overtaken) > self._overtaken_max:
                del self._overtaken[next(iter(self._overtaken))]
        if after in {Exchange.FREE, Exchange.OVERTAKEN}:
            self._exchanges.pop(number, None)
            self._relays.pop(number, None)
        else:
            self._exchanges[number] = after


def _signal(message: Request | Reply | Relay | Relayed) -> Signal:
    match message:
        case Request(type=MessageType.CARD_OPEN.value):
            return Signal.CARD_REQUEST
        case Request():
            return Signal.REQUEST
        case Reply():
            return Signal.REPLY
        case Relay():
            return Signal.RELAY
        case Relayed():
            return Signal.RELAYED


def _refusal(before: Exchange, signal: Signal) -> Violation:
    if signal in _BEGINNINGS:
        return Violation(ResponseCode.EXCHANGE_IN_USE, "the exchange number is still in flight")
    return Violation(
        ResponseCode.UNEXPECTED_MESSAGE,
        f"{signal.name} in an exchange that is {before.name}",
    )
