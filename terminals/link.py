"""One connection to the centre: bytes to and from the sans-IO `TerminalConnection`.

Not here: which requests are sent (`client.py`), how often and on whose advice (`repeating.py`).
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from protocol.terminal.codes import ResponseCode
from protocol.terminal.connection import Limits, NeedData, TerminalConnection
from protocol.terminal.errors import ProtocolError, RemoteProtocolError
from protocol.terminal.messages import Goodbye, Relay, Relayed, Reply, Request
from terminals.config import ConfigError, TerminalConfig

ALPN: Final = "cardserver/1"
_EXCHANGE_MAX: Final = 2**32 - 1
_GROUP_AND_OTHERS: Final = 0o077


@dataclass(frozen=True, slots=True)
class LinkLost:
    """What an exchange gets in place of a reply when its connection ends.

    Attributes:
        reason: What ended it, for the log and the operator.
    """

    reason: str


class Exchange:
    """One request in flight.

    Attributes:
        number: Its number on the connection.
        event: What comes next for it; after a `Relay` a new future stands here. A reply that comes
            after its waiter has gone is still found in it.
    """

    __slots__ = ("event", "number")

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        self.event: asyncio.Future[Reply | Relay | LinkLost] = loop.create_future()


Connector = Callable[[asyncio.Protocol], Awaitable[None]]
"""Joins a protocol to a transport to the centre; raises OSError where that fails."""


class Link(asyncio.Protocol):
    """One connection, from `connection_made` to `connection_lost`; it is never used again.

    Attributes:
        is_open: Whether requests may be sent.
        lost: Why it ended; None while it lives.
        heard_at: When bytes last came, in the loop's seconds.
    """

    def __init__(self, connection: TerminalConnection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._exchanges: dict[int, Exchange] = {}
        self._exchange_last = 0
        self._outgoing: list[bytes] = []
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self.is_open = False
        self.lost: LinkLost | None = None
        self.heard_at = self._loop.time()

    def adopt_limits(self, limits: Limits) -> None:
        """Take over what the centre allows on this connection."""
        self._connection.adopt_limits(limits)

    def send(self, request: Request) -> Exchange:
        """Send a request under an exchange number of its own.

        Raises:
            LocalProtocolError: The request may not be sent now, or is too large.
        """
        assert self.is_open
        assert self._transport is not None
        number = self._exchange_free()
        data = self._connection.send(_numbered(request, number))
        exchange = Exchange(number, self._loop)
        self._exchanges[number] = exchange
        self._write(data)
        return exchange

    def answer(self, relayed: Relayed) -> None:
        """Send a card's answers; without effect once the exchange or the connection has ended."""
        if self.is_open and self._transport is not None and relayed.exchange in self._exchanges:
            self._write(self._connection.send(relayed))

    async def close(self, code: ResponseCode = ResponseCode.APPROVED, detail: str = "") -> None:
        """Say goodbye and wait until the transport is gone, at most a second."""
        self._leave(code, detail)
        if self._transport is None:
            return
        try:
            async with asyncio.timeout(1.0):
                await asyncio.shield(self._closed)
        except TimeoutError:
            self._transport.abort()

    # --- asyncio.Protocol --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; refuse a peer that did not agree to our protocol."""
        # uvloop's transports do not inherit from asyncio's, they only behave like them.
        self._transport = cast("asyncio.Transport", transport)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != ALPN:
            self._fail(f"the peer did not agree to ALPN {ALPN}")
            self._transport.abort()
            return
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Feed the connection and hand out what it makes of the bytes."""
        self.heard_at = self._loop.time()
        try:
            self._connection.receive_data(data)
            while not isinstance(event := self._connection.next_event(), NeedData):
                self._take(event)
        except RemoteProtocolError as error:
            self._fail(f"the centre broke the protocol: {error}")
            self._leave(error.code, error.detail)

    def connection_lost(self, error: Exception | None) -> None:
        """End every exchange that still waits."""
        self._fail("the connection was closed" if error is None else _words(error))
        if not self._closed.done():
            self._closed.set_result(None)

    # --- private -----------------------------------------------------------------------------

    def _take(self, event: Reply | Relay | Goodbye) -> None:
        match event:
            case Reply():
                exchange = self._exchanges.pop(event.exchange, None)
                if exchange is not None and not exchange.event.done():
                    exchange.event.set_result(event)
            case Relay():
                exchange = self._exchanges.get(event.exchange)
                if exchange is not None:
                    waited, exchange.event = exchange.event, self._loop.create_future()
                    if not waited.done():
                        waited.set_result(event)
            case Goodbye():
                self._fail(f"中心断开 the centre said goodbye, {_goodbye(event)}")
                self._leave(ResponseCode.APPROVED, "")

    def _fail(self, reason: str) -> None:
        if self.lost is None:
            self.lost = LinkLost(reason)
        self.is_open = False
        exchanges, self._exchanges = self._exchanges, {}
        for exchange in exchanges.values():
            if not exchange.event.done():
                exchange.event.set_result(self.lost)

    def _leave(self, code: ResponseCode, detail: str) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._flush()
        try:
            self._transport.write(self._connection.send(Goodbye(int(code), detail[:200])))
        except ProtocolError:
            self._transport.abort()  # past goodbyes: an abrupt end tells the peer the same
        else:
            self._transport.close()
        self.is_open = False

    def _write(self, data: bytes) -> None:
        """Send with whatever else this turn of the loop sends: one system call for all."""
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(data)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if outgoing and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(outgoing))

    def _exchange_free(self) -> int:
        number = self._exchange_last
        while True:
            number = number + 1 if number < _EXCHANGE_MAX else 1
            if number not in self._exchanges:
                self._exchange_last = number
                return number


def tls_connector(config: TerminalConfig, context: ssl.SSLContext | None = None) -> Connector:
    """Make the connector that a counter uses: TCP, TLS 1.3, certificates on both sides.

    Args:
        config: The terminal's.
        context: From `terminal_tls_context`, where the terminal has made one already.

    Raises:
        ConfigError: A certificate or key cannot be used, or others may read the key.
    """
    context = context or terminal_tls_context(config)
    centre = config.centre
    timeout_s = config.limits.connect_timeout_ms / 1000

    async def connect(protocol: asyncio.Protocol) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_s):
            await loop.create_connection(
                lambda: protocol,
                centre.host,
                centre.port,
                ssl=context,
                server_hostname=centre.server_name or centre.host,
            )

    return connect


def terminal_tls_context(config: TerminalConfig) -> ssl.SSLContext:
    """Make the TLS of everything that this terminal connects to: 1.3, its certificate, one trust.

    Raises:
        ConfigError: As in `tls_connector`.
    """
    key_file = Path(config.terminal.key_file)
    try:
        if key_file.stat().st_mode & _GROUP_AND_OTHERS:
            raise ConfigError(f"{key_file}: others may read the terminal's key; use mode 0600")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols([ALPN])
        context.load_verify_locations(config.centre.ca_file)
        context.load_cert_chain(config.terminal.certificate_file, config.terminal.key_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"certificate or key cannot be used ({config.terminal.certificate_file},"
            f" {config.terminal.key_file}, {config.centre.ca_file}): {error}"
        ) from error
    return context


def _numbered(request: Request, number: int) -> Request:
    return Request(
        number,
        request.type,
        request.msgid,
        request.sign_no,
        request.terminal,
        request.operator,
        request.card_session,
        request.list_version,
        request.time_left_ms,
        request.sent_time_ms,
        request.trace,
        request.body,
        request.felt_ms,
        request.felt,
    )


def _goodbye(event: Goodbye) -> str:
    """Say why the centre went, in the code's words for the cashier and in its own."""
    words = {code.value: f" {code.text_zh} / {code.text_en}" for code in ResponseCode}
    said = f"{event.code}{words.get(event.code, '')}"
    return f"{said}: {event.detail}" if event.detail else said


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
