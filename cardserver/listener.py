"""The port that terminals connect to: TLS, frames, limits; one `TerminalLink` a connection.

Connections are counted from the moment they are accepted. When too many are still at their TLS
handshake the oldest is broken off, for an honest handshake is short.

Not here: what a request means (`dispatch.py`), what a connection remembers (`session.py`), and the
order in which messages may come (`protocol/terminal/connection.py`).
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol, cast

import structlog

from cardserver.authority import AuthorityError, TerminalCertificate, terminal_certificate
from cardserver.config import ConfigError, Listener
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
_BACKLOG = 1024  # as many as connect again at once when a worker has gone
_ACCEPT_PAUSE_S = 0.1
_SWEEP_S = 0.5  # how often slow and idle connections are looked for
_POLL_S = 0.01  # how often a stopping worker looks whether it may go
_GOODBYES_MAX = 5  # of one look: terminals that connect again all at once would wait for each other
_QUIET_S = 0.1  # longer than a request is on its way, shorter than anyone notices
_CERTIFICATE_HAS_EXPIRED = 10  # of `verify_code`: X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL
_LAST_WORDS_S = 1.0  # for the goodbyes to go out, and for the peer's end of TLS

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


Admit = Callable[["TerminalLink", TerminalCertificate], Awaitable["Session | ResponseCode"]]


def terminal_tls_context(section: Listener, path: Callable[[str], Path]) -> ssl.SSLContext:
    """Make the listener's TLS: 1.3 only, a certificate from each side, no early data.

    Raises:
        ConfigError: A file can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    certificate, key = path(section.certificate_file), path(section.key_file)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one; it names no file
        raise ConfigError(f"{certificate} and {key} can't be used: {error}") from error
    authorities = path(section.terminal_ca_file)
    try:
        context.load_verify_locations(authorities)
    except OSError as error:
        raise ConfigError(f"{authorities} can't be used: {error}") from error
    context.set_alpn_protocols([ALPN])
    # Each connection shows its certificate anew: a session resumed would not be looked at again.
    context.num_tickets = 0
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
        self._is_ending = False
        self._early = b""  # what came before the registry admitted the terminal
        self.active_at = time.monotonic()
        self.frame_began_at = 0.0  # 0: between frames
        self.stalled_at = 0.0  # 0: the terminal reads its replies
        self.peer = ""
        self.ends_ms = 0  # of its certificate, in ms since 1970; 0: none seen yet

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
            certificate = terminal_certificate(der)
        except AuthorityError as error:
            self.close(ResponseCode.TERMINAL_UNKNOWN, f"certificate: {error}")
            return
        self.ends_ms = certificate.ends_ms
        self._listener.links.add(self)
        self._listener.metrics.connections.inc()
        self._pause()
        self._admission = self._listener.tasks.create_task(self._admit(certificate))

    def data_received(self, data: bytes) -> None:
        """Take bytes as they come."""
        self.active_at = time.monotonic()
        self._listener.log_traffic(self.peer, "<", data)
        if self._is_ending:
            return
        if self._session is not None:
            self._deliver(data)
            return
        self._early += data
        if len(self._early) > self._listener.section.frame_size_max:
            self.close(ResponseCode.FRAME_TOO_LARGE, "too much before the first reply")

    def eof_received(self) -> bool:
        """Close when the terminal does."""
        return False

    def pause_writing(self) -> None:
        """Stop reading from a terminal that doesn't read its replies."""
        self.stalled_at = time.monotonic()
        self._pause()

    def resume_writing(self) -> None:
        """Go on when it does."""
        self.stalled_at = 0.0
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
        return self._transport is not None and not self._is_ending

    @property
    def session(self) -> Session | None:
        """What serves it, once it is admitted."""
        return self._session

    @property
    def in_flight(self) -> int:
        """Requests being worked on."""
        return 0 if self._session is None else self._session.in_flight

    @property
    def is_admitted(self) -> bool:
        """Whether the registry has let the terminal in."""
        return self._session is not None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is being worked on, and nothing was heard for a moment."""
        return not self.in_flight and time.monotonic() - self.active_at > _QUIET_S

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
        if self._transport is None or self._is_ending:
            return
        self._listener.metrics.connection_refused(code.name.lower())
        log.warning("connection closed", peer=self.peer, code=code.name, detail=detail)
        if self._connection.may_say_goodbye:
            self._transport.write(self._connection.send(Goodbye(code, detail[:200])))
        self._end()

    def send_away(self) -> None:
        """Have the terminal connect again, which then comes to another worker."""
        if self._transport is None or self._is_ending:
            return
        if self._connection.may_say_goodbye:
            goodbye = Goodbye(ResponseCode.SHUTTING_DOWN, "please connect again")
            self._transport.write(self._connection.send(goodbye))
        self._end()

    def give_up(self, code: ResponseCode, detail: str) -> None:
        """Break off a connection that takes no more bytes, so that nothing can be said either."""
        self._listener.metrics.connection_refused(code.name.lower())
        log.warning("connection broken off", peer=self.peer, code=code.name, detail=detail)
        self._is_ending = True
        if self._transport is not None:
            self._transport.abort()

    # --- private -------------------------------------------------------------------------

    async def _admit(self, certificate: TerminalCertificate) -> None:
        try:
            admitted = await self._listener.admit(self, certificate)
        except Exception:  # the boundary: a fault of ours ends this connection and no other
            log.exception("fault at admission", peer=self.peer)
            admitted = ResponseCode.SYSTEM_ERROR
        if isinstance(admitted, ResponseCode):
            self.close(admitted, admitted.text_en)
            return
        if not self.is_open:
            return
        self._session = admitted
        early, self._early = self._early, b""
        self._deliver(early)
        self._resume()

    def _deliver(self, data: bytes) -> None:
        assert self._session is not None
        received_ns = time.perf_counter_ns()
        is_frame_complete = False
        try:
            self._connection.receive_data(data)
            while (event := self._connection.next_event()) is not NEED_DATA:
                is_frame_complete = True
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
        elif is_frame_complete or self.frame_began_at == 0.0:
            # What is unfinished now began in this read, also where others were completed by it.
            self.frame_began_at = self.active_at

    def _end(self) -> None:
        self._is_ending = True
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
        self._sockets: list[socket.socket] = []
        self._background: list[asyncio.Task[None]] = []
        self._handshakes: dict[asyncio.Task[None], None] = {}  # in the order of their coming
        self._logs_traffic = False

    @property
    def port(self) -> int:
        """The port bound."""
        return int(self._sockets[0].getsockname()[1])

    async def start(self, listening: Sequence[socket.socket], *, logs_traffic: bool) -> None:
        """Accept connections at these sockets, which are this listener's from now on."""
        self._logs_traffic = logs_traffic
        self._sockets = list(listening)
        for one in self._sockets:
            one.settimeout(0)
        accepting = [self.tasks.create_task(self._accept(one)) for one in self._sockets]
        self._background = [*accepting, self.tasks.create_task(self._sweep())]

    async def retire(self) -> None:
        """Accept no more connections, and send terminals away one by one, each between requests.

        Nothing is refused meanwhile. Whoever is never quiet is left for `drain`.
        """
        self._accept_no_more()
        give_up_at = time.monotonic() + self.section.retire_time_max_ms / 1000
        while (self.links or self._handshakes) and time.monotonic() < give_up_at:
            quiet = [link for link in self.links if link.is_admitted and link.is_quiet]
            for link in quiet[:_GOODBYES_MAX]:
                link.send_away()
            await asyncio.sleep(_POLL_S)

    async def drain(self) -> None:
        """Refuse what is new, wait for what is in flight within the limit, close."""
        self.is_draining = True
        self._accept_no_more()
        for task in tuple(self._handshakes):
            task.cancel()
        give_up_at = time.monotonic() + self.section.drain_time_max_ms / 1000
        # What is on its way still gets its SHUTTING_DOWN: a Goodbye would leave it unanswered.
        await _until(lambda: all(link.is_quiet for link in self.links), give_up_at)
        for link in tuple(self.links):
            link.close(ResponseCode.SHUTTING_DOWN, "this server is stopping")
        await _until(lambda: not self.links, time.monotonic() + _LAST_WORDS_S)
        self._background[-1].cancel()

    def log_traffic(self, peer: str, direction: str, data: bytes) -> None:
        """Log wire bytes, where the configuration asks for it."""
        if self._logs_traffic:
            log.debug("traffic", peer=peer, direction=direction, data=data.hex())

    def _accept_no_more(self) -> None:
        for task in self._background[:-1]:
            task.cancel()
        for listening in self._sockets:
            listening.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:  # out of descriptors, say: connections that end give them back
                log.warning("can't accept connections", error=str(error))
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            if len(self._handshakes) >= self.section.handshakes_max:
                self.metrics.connection_refused("handshakes_max")
                oldest = next(iter(self._handshakes))
                del self._handshakes[oldest]
                oldest.cancel()
            task = self.tasks.create_task(self._shake_hands(accepted, str(address)))
            self._handshakes[task] = None
            task.add_done_callback(lambda done: self._handshakes.pop(done, None))

    async def _shake_hands(self, accepted: socket.socket, peer: str) -> None:
        """Do the TLS handshake; what follows is for the link to do."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: TerminalLink(self),
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=self.section.handshake_time_max_ms / 1000,
                ssl_shutdown_timeout=_LAST_WORDS_S,
            )
        except OSError as error:  # ssl.SSLError and time-outs are such
            self.metrics.connection_refused(_why_no_handshake(error))
            log.info("handshake failed", peer=peer, error=str(error))
            accepted.close()
        except asyncio.CancelledError:  # broken off
            accepted.close()
            raise

    async def _sweep(self) -> None:
        frame_s = self.section.frame_time_max_ms / 1000
        idle_s = self.section.idle_time_max_ms / 1000
        while True:
            await asyncio.sleep(_SWEEP_S)
            now, now_ms = time.monotonic(), time.time() * 1000
            for link in tuple(self.links):
                if link.stalled_at and now - link.stalled_at > frame_s:
                    link.give_up(ResponseCode.TOO_SLOW, "the terminal does not read its replies")
                elif link.frame_began_at and now - link.frame_began_at > frame_s:
                    link.close(ResponseCode.TOO_SLOW, "the frame did not arrive in time")
                elif 0 < link.ends_ms < now_ms and not link.in_flight:
                    link.close(ResponseCode.TERMINAL_UNKNOWN, "its certificate has ended")
                elif now - link.active_at > idle_s and not link.in_flight:
                    link.close(ResponseCode.TOO_SLOW, "nothing was heard for too long")


def _why_no_handshake(error: OSError) -> str:
    """Tell a certificate that has ended from all else: that is for the fund to mend."""
    is_over = (
        isinstance(error, ssl.SSLCertVerificationError)
        and error.verify_code == _CERTIFICATE_HAS_EXPIRED
    )
    return "certificate_expired" if is_over else "handshake"


async def listening_sockets(host: str, port: int, *, shares_port: bool) -> list[socket.socket]:
    """Bind an address, each of its families with a socket, and listen.

    Raises:
        OSError: It can't be bound.
    """
    addresses = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listening: list[socket.socket] = []
    try:
        for family, _, _, _, address in addresses:
            listening.append(
                socket.create_server(
                    address[:2], family=family, backlog=_BACKLOG, reuse_port=shares_port
                )
            )
    except OSError:
        for one in listening:
            one.close()
        raise
    return listening


async def _until(is_true: Callable[[], bool], give_up_at: float) -> None:
    """Wait for a fact; polled, which costs nothing before the worker's last second."""
    while not is_true() and time.monotonic() < give_up_at:  # noqa: ASYNC110 - see above
        await asyncio.sleep(_POLL_S)
