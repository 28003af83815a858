"""The protocol in the hand, for both ends: bytes in, messages out; messages in, bytes out.

    connection.receive_data(data)            # whatever the transport gave
    while (event := connection.next_event()) is not NEED_DATA:
        ...                                  # a message of the peer
    transport.write(connection.send(message))

No I/O, no clock: the caller closes the transport, holds the deadlines, and reports a frame that
stays unfinished (`is_mid_frame`) by a Goodbye with TOO_SLOW. Not here: which message is allowed
when (`_state.py`), what bodies say (`bodies.py`).
"""

from enum import Enum, auto
from typing import Final, Generic, TypeVar

from msgspec import Struct
from msgspec.msgpack import Decoder

from protocol.terminal._state import ConnectionState, Exchange, Role, Side, Violation
from protocol.terminal.codes import ResponseCode
from protocol.terminal.decoding import ENCODER, decode
from protocol.terminal.errors import LocalProtocolError, RemoteProtocolError
from protocol.terminal.frame import FRAME_SIZE_MAX, FrameReader, encode_frame
from protocol.terminal.messages import Goodbye, Message, Relay, Relayed, Reply, Request

IN_FLIGHT_MAX: Final = 64
"""Requests in flight unless configured: ten counters' worth behind one connection."""


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What a connection holds at most.

    Attributes:
        frame_size_max: Largest frame payload in either direction, in bytes.
        in_flight_max: Requests not replied to.
    """

    frame_size_max: int = FRAME_SIZE_MAX
    in_flight_max: int = IN_FLIGHT_MAX


class NeedData(Enum):
    """What `next_event` gives while no message is complete."""

    NEED_DATA = auto()


NEED_DATA: Final = NeedData.NEED_DATA

FromTerminal = Request | Relayed | Goodbye
FromCentre = Reply | Relay | Goodbye

Incoming = TypeVar("Incoming", bound=Message)
Outgoing = TypeVar("Outgoing", bound=Message)

_FROM_TERMINAL: Final[Decoder[FromTerminal]] = Decoder(FromTerminal)
_FROM_CENTRE: Final[Decoder[FromCentre]] = Decoder(FromCentre)


class Connection(Generic[Incoming, Outgoing]):
    """One end of a connection; use `CentreConnection` or `TerminalConnection`.

    Attributes:
        limits: What it holds at most.
    """

    _role: Role
    _peer: Role

    def __init__(self, limits: Limits, decoder: Decoder[Incoming]) -> None:
        self.limits = limits
        self._decoder = decoder
        self._frames = FrameReader(limits.frame_size_max)
        self._state = ConnectionState(self._role, limits.in_flight_max)
        # Not the error itself: its traceback holds the payload, and is held by what holds it.
        self._violation: tuple[ResponseCode, str] | None = None

    @property
    def is_mid_frame(self) -> bool:
        """Whether the peer has begun a frame and not completed it."""
        return self._frames.is_mid_frame

    @property
    def in_flight_count(self) -> int:
        """Requests that are not replied to."""
        return self._state.in_flight_count

    @property
    def has_peer_departed(self) -> bool:
        """Whether the peer has said Goodbye: nothing more will come."""
        return self._state.side(self._peer) is Side.DEPARTED

    @property
    def may_send(self) -> bool:
        """Whether anything but a Goodbye may still be sent."""
        return (
            self._state.side(self._role) is Side.SPEAKING
            and self._state.side(self._peer) is not Side.FAULTY
        )

    @property
    def may_say_goodbye(self) -> bool:
        """Whether a Goodbye may still be sent."""
        return self._state.side(self._role) is Side.SPEAKING

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the transport; after a violation they are dropped.

        Raises:
            LocalProtocolError: The events that had arrived were not taken first.
        """
        if self._violation is None:
            self._frames.receive(data)

    def next_event(self) -> Incoming | NeedData:
        """Give the peer's next message, or NEED_DATA.

        Raises:
            RemoteProtocolError: The peer broke the specification. It is raised again at every
                later call; what remains is to send a Goodbye with its code and to close.
        """
        if self._violation is not None:
            raise RemoteProtocolError(*self._violation)
        try:
            return self._next_event()
        except RemoteProtocolError as error:
            self._violation = error.code, error.detail
            self._frames.clear()
            self._state.mark_faulty(self._peer)
            raise

    def send(self, message: Outgoing) -> bytes:
        """Encode a message and note that it was sent.

        Raises:
            LocalProtocolError: It is not allowed now, or too large; nothing has changed.
        """
        frame = encode_frame(ENCODER.encode(message), self.limits.frame_size_max)
        try:
            self._state.fire(self._role, message)
        except Violation as violation:
            raise LocalProtocolError(violation.detail) from violation
        return frame

    def _next_event(self) -> Incoming | NeedData:
        while (payload := self._frames.next_frame()) is not None:
            message = decode(self._decoder, payload)
            try:
                before = self._state.fire(self._peer, message)
            except Violation as violation:
                raise RemoteProtocolError(violation.code, violation.detail) from violation
            if before is Exchange.OVERTAKEN and isinstance(message, Relayed):
                continue
            return message
        return NEED_DATA


class CentreConnection(Connection[FromTerminal, FromCentre]):
    """The centre's end."""

    _role = Role.CENTRE
    _peer = Role.TERMINAL

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits, _FROM_TERMINAL)


class TerminalConnection(Connection[FromCentre, FromTerminal]):
    """The terminal's end."""

    _role = Role.TERMINAL
    _peer = Role.CENTRE

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits, _FROM_CENTRE)

    def adopt_limits(self, limits: Limits) -> None:
        """Take over what SIGN_ON's reply says that the centre allows."""
        self.limits = limits
        self._frames.set_size_max(limits.frame_size_max)
        self._state.set_in_flight_max(limits.in_flight_max)
