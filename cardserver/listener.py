"""The port that terminals connect to: TLS, frames, limits; one `TerminalLink` a connection.

Not here: what a request means (`dispatch.py`), what a connection remembers (`session.py`), and the
order in which messages may come (`protocol/terminal/connection.py`).
"""

import asyncio
import hashlib
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, cast

import structlog
from cryptography import x509

from cardserver.authority import AuthorityError, identity_of
from cardserver.config import Listener
from cardserver.observe.metrics import Metrics
from protocol.terminal.codes import ResponseCode
from protocol.terminal.connection import (
    NEED_DATA,
    CentreConnection,
    Limits,
)
from protocol.terminal.errors import RemoteProtocolError
from protocol.terminal.messages import Goodbye, Relay, Relayed, Reply, Request

ALPN = "cardserver/1"
_SWEEP_S = 0.5  # how often slow and idle connections are looked for
_POLL_S = 0.01  # how often a stopping worker looks whether it may go
_LAST_WORDS_S = 1.0  # for the goodbyes to go out

log = structlog.get_logger("cardserver.listener")


class Session(Protocol):
    """What serves one admitted connection."""

    def on_request(self, request: Request, received_ns: int) -> None:
        """Begin to work on a request; the answer goes out through `TerminalLink.send`."""

    def on_relayed(self, relayed: Relayed) -> None:
        """Take a reader's answers."""

    def on_closed(self) -> None:
        """Let go of what waits for this connection."""

    @property
    def in_flight(self) -> int:
        """Requests being worked on."""


Admit = Callable[["TerminalLink", str, str, bytes], Awaitable["Session | ResponseCode"]]


def terminal_tls_context(section: Listener, path: Callable[[str], Path]) -> ssl.SSLContext:
    """Make the listener's TLS: 1.3 only, a certificate from each side, no early data."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(path(section.certificate_file), path(section.key_file))
    context.load_verify_locations(path(section.terminal_ca_file))
    context.set_alpn_protocols([ALPN])
    return context


class TerminalLink(asyncio.Protocol):
    """One connection: bytes in, messages to its session, messages out."""

    def __init__(self, listener: "TerminalListener") -> None:
        """Belong to a listener."""
        self._listener = listener
        self._connection = CentreConnection(listener.limits)
        self._session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self._admission: asyncio.Task[None] | None = None
        self._is_reading = True
        self._early = b""  # what came before the registry admitted the terminal
        self.active_at = time.monotonic()
        self.frame_began_at = 0.0  # 0: between frames
        self.peer = ""

    # --- asyncio.Protocol ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read who this is from the certificate, and have the registry admit it."""
        transport = cast(asyncio.Transport, transport)  # uvloop's are so in all but name
        self._transport = transport
        self.peer = str(transport.get_extra_info("peername"))
        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
        if self._listener.is_draining:
            self.close(ResponseCode.SHUTTING_DOWN, "this server is stopping")
            return
        if len(self._listener.links) >= self._listener.section.connections_max:
            self.close(ResponseCode.BUSY, "this server has all the connections it may have")
            return
        if tls.selected_alpn_protocol() != ALPN:
            self.close(ResponseCode.UNSUPPORTED_VERSION, f"ALPN must offer {ALPN}")
            return
        der = tls.getpeercert(binary_form=True)
        assert der is not None  # CERT_REQUIRED
        try:
            institution, terminal = identity_of(x509.load_der_x509_certificate(der))
        except (AuthorityError, ValueError) as error:
            self.close(ResponseCode.TERMINAL_UNKNOWN, f"certificate: {error}")
            return
        self._listener.links.add(self)
        self._listener.metrics.connections.inc()
        self._pause()
        self._admission = self._listener.tasks.create_task(
            self._admit(institution, terminal, hashlib.sha256(der).digest())
        )

    def data_received(self, data: bytes) -> None:
        """Take bytes as they come."""
        self.active_at = time.monotonic()
        self._listener.log_traffic(self.peer, "<", data)
        if self._session is None:
            self._early += data
            if len(self._early) > self._listener.section.frame_size_max:
                self.close(ResponseCode.FRAME_TOO_LARGE, "too much before the first reply")
            return
        self._deliver(data)

    def eof_received(self) -> bool:
        """Close when the terminal does."""
        return False

    def pause_writing(self) -> None:
        """Stop reading from a terminal that doesn't read its replies."""
        self._pause()

    def resume_writing(self) -> None:
        """Go on when it does."""
        self._resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; what was accepted goes on without it."""
        if self in self._listener.links:
            self._listener.links.discard(self)
            self._listener.metrics.connections.dec()
        if self._admission is not None:
            self._admission.cancel()
        if self._session is not None:
            self._session.on_closed()
        self._transport = None
        if exc is not None:
            log.info("connection lost", peer=self.peer, error=str(exc))

    # --- for sessions --------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether a message can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def in_flight(self) -> int:
        """Requests being worked on."""
        return 0 if self._session is None else self._session.in_flight

    def send(self, message: Reply | Relay) -> None:
        """Send a message, or nothing where the terminal has gone."""
        if not self.is_open or not self._connection.may_send:
            return
        assert self._transport is not None
        data = self._connection.send(message)
        self._listener.log_traffic(self.peer, ">", data)
        self._transport.write(data)

    def close(self, code: ResponseCode, detail: str) -> None:
        """Say why, and close."""
        if self._transport is None or self._transport.is_closing():
            return
        self._listener.metrics.connection_refused(code.name.lower())
        log.warning("connection closed", peer=self.peer, code=code.name, detail=detail)
        if self._connection.may_say_goodbye:
            self._transport.write(self._connection.send(Goodbye(code, detail[:200])))
        self._end()

    # --- private -------------------------------------------------------------------------

    async def _admit(self, institution: str, terminal: str, digest: bytes) -> None:
        admitted = await self._listener.admit(self, institution, terminal, digest)
        if isinstance(admitted, ResponseCode):
            self.close(admitted, admitted.text_en)
            return
        self._session = admitted
        self._deliver(self._early)
        self._early = b""
        self._resume()

    def _deliver(self, data: bytes) -> None:
        assert self._session is not None
        received_ns = time.perf_counter_ns()
        try:
            self._connection.receive_data(data)
            while (event := self._connection.next_event()) is not NEED_DATA:
                match event:
                    case Request():
                        self._session.on_request(event, received_ns)
                    case Relayed():
                        self._session.on_relayed(event)
                    case Goodbye():
                        log.info("terminal left", peer=self.peer, code=event.code)
                        self._end()
                        return
        except RemoteProtocolError as error:
            self.close(error.code, error.detail)
            return
        if not self._connection.is_mid_frame:
            self.frame_began_at = 0.0
        elif self.frame_began_at == 0.0:
            self.frame_began_at = self.active_at

    def _end(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _pause(self) -> None:
        if self._is_reading and self._transport is not None:
            self._is_reading = False
            self._transport.pause_reading()

    def _resume(self) -> None:
        if not self._is_reading and self._transport is not None and self._session is not None:
            self._is_reading = True
            self._transport.resume_reading()


class TerminalListener:
    """The listening port of one worker."""

    def __init__(
        self,
        section: Listener,
        context: ssl.SSLContext,
        admit: Admit,
        metrics: Metrics,
        tasks: asyncio.TaskGroup,
    ) -> None:
        """Serve `section` with `context`; `admit` makes a session of a connection, or refuses."""
        self.section = section
        self.admit = admit
        self.metrics = metrics
        self.tasks = tasks
        self.links: set[TerminalLink] = set()
        self.is_draining = False
        self.limits = Limits(
            frame_size_max=section.frame_size_max, in_flight_max=section.in_flight_max
        )
        self._context = context
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._logs_traffic = False

    @property
    def port(self) -> int:
        """The port bound."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self, *, shares_port: bool, logs_traffic: bool) -> None:
        """Bind and listen."""
        self._logs_traffic = logs_traffic
        self._server = await asyncio.get_running_loop().create_server(
            lambda: TerminalLink(self),
            self.section.host,
            self.section.port,
            ssl=self._context,
            ssl_handshake_timeout=self.section.handshake_time_max_ms / 1000,
            ssl_shutdown_timeout=1.0,
            reuse_port=shares_port or None,
            backlog=1024,
        )
        self._sweeper = self.tasks.create_task(self._sweep())

    async def drain(self) -> None:
        """Refuse what is new, wait for what is in flight within the limit, close."""
        assert self._server is not None
        assert self._sweeper is not None
        self.is_draining = True
        self._server.close()
        self._sweeper.cancel()
        give_up_at = time.monotonic() + self.section.drain_time_max_ms / 1000
        await _until(lambda: not any(link.in_flight for link in self.links), give_up_at)
        for link in tuple(self.links):
            link.close(ResponseCode.SHUTTING_DOWN, "this server is stopping")
        await _until(lambda: not self.links, give_up_at + _LAST_WORDS_S)

    def log_traffic(self, peer: str, direction: str, data: bytes) -> None:
        """Log wire bytes, where the configuration asks for it."""
        if self._logs_traffic:
            log.debug("traffic", peer=peer, direction=direction, data=data.hex())

    async def _sweep(self) -> None:
        frame_s = self.section.frame_time_max_ms / 1000
        idle_s = self.section.idle_time_max_ms / 1000
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = time.monotonic()
            for link in tuple(self.links):
                if link.frame_began_at and now - link.frame_began_at > frame_s:
                    link.close(ResponseCode.TOO_SLOW, "the frame did not arrive in time")
                elif now - link.active_at > idle_s and not link.in_flight:
                    link.close(ResponseCode.TOO_SLOW, "nothing was heard for too long")


async def _until(is_true: Callable[[], bool], give_up_at: float) -> None:
    """Wait for a fact; polled, which costs nothing before the worker's last second."""
    while not is_true() and time.monotonic() < give_up_at:  # noqa: ASYNC110 - see above
        await asyncio.sleep(_POLL_S)
