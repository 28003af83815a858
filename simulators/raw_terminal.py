"""A terminal's end of the wire with nothing in between: it says what it is told, right or wrong.

Frames are made with the protocol's own encoders, or are no frames at all. Not here: a terminal
that follows the specification (`terminals/client.py`).
"""

import asyncio
import contextlib
import datetime as dt
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from msgspec import Raw, Struct
from msgspec.msgpack import Decoder

from protocol.terminal import msgid
from protocol.terminal.bodies import decode_reply_body, encode_body
from protocol.terminal.decoding import ENCODER
from protocol.terminal.frame import HEADER_SIZE, encode_frame
from protocol.terminal.messages import (
    Goodbye,
    Message,
    MessageType,
    Relay,
    Reply,
    Request,
    SignedOn,
    SignOn,
)
from terminals.link import ALPN

FRAME_SIZE_MAX = 16_777_216  # above any centre's limit, so that it is the centre that refuses
HEAR_TIMEOUT_S = 20.0
_TIME_LEFT_MS = 20_000
_CENTRE_MESSAGES: Decoder[Reply | Relay | Goodbye] = Decoder(Reply | Relay | Goodbye)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a terminal is, and the files that prove it."""

    institution: str
    terminal: str
    certificate_file: Path
    key_file: Path


class Closed(Exception):  # noqa: N818 - an end, not a fault
    """The centre closed the connection without a word more."""


def tls_context(
    authority_file: Path,
    credentials: Credentials | None,
    *,
    alpn: Sequence[str] = (ALPN,),
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> ssl.SSLContext:
    """Make a terminal's side of TLS, with what a terminal may get wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    context.load_verify_locations(authority_file)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if credentials is not None:
        context.load_cert_chain(credentials.certificate_file, credentials.key_file)
    return context


class RawTerminal:
    """One connection.

    Attributes:
        sign_no: Carried by requests; `sign_on` sets it.
        operator: Carried by requests.
    """

    _sequence = count(1)  # of this process, so that no two connections name one attempt

    def __init__(
        self, credentials: Credentials, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Speak as the terminal of `credentials` over an open connection."""
        self.credentials = credentials
        self.reader = reader
        self.writer = writer
        self.sign_no = ""
        self.operator = ""
        self._exchanges = count(1)

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls, port: int, context: ssl.SSLContext, credentials: Credentials
    ) -> AsyncIterator["RawTerminal"]:
        """Connect, and break the connection off at the end.

        Raises:
            OSError: The centre refused the connection or the handshake.
        """
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="127.0.0.1"
        )
        try:
            yield cls(credentials, reader, writer)
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def msgid(self) -> str:
        """Take a new msgid."""
        return msgid.make(
            institution=self.credentials.institution,
            time=dt.datetime.now(dt.UTC) + dt.timedelta(hours=8),
            sequence=next(self._sequence) % (msgid.SEQUENCE_MAX + 1),
        )

    def request(  # noqa: PLR0913 - the envelope's fields
        self,
        type_: int,
        body: Struct | Raw,
        *,
        exchange: int | None = None,
        msgid: str | None = None,
        sign_no: str | None = None,
        operator: str | None = None,
        terminal: str | None = None,
        card_session: bytes = b"",
        time_left_ms: int = _TIME_LEFT_MS,
    ) -> Request:
        """Make a request; what is left out is as it should be."""
        return Request(
            exchange=next(self._exchanges) if exchange is None else exchange,
            type=type_,
            msgid=self.msgid() if msgid is None else msgid,
            sign_no=self.sign_no if sign_no is None else sign_no,
            terminal=self.credentials.terminal if terminal is None else terminal,
            operator=self.operator if operator is None else operator,
            card_session=card_session,
            list_version=0,
            time_left_ms=time_left_ms,
            sent_time_ms=time.time_ns() // 1_000_000,
            trace="",
            body=body if isinstance(body, Raw) else encode_body(body),
        )

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def say(self, *messages: Message) -> None:
        """Send messages, well-formed and all at once."""
        await self.send_bytes(b"".join(frame(message) for message in messages))

    async def hear(self) -> Reply | Relay | Goodbye:
        """Wait for the centre's next message.

        Raises:
            Closed: There is none; the connection has ended.
        """
        try:
            async with asyncio.timeout(HEAR_TIMEOUT_S):
                size = int.from_bytes(await self.reader.readexactly(HEADER_SIZE), "big")
                return _CENTRE_MESSAGES.decode(await self.reader.readexactly(size))
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Closed from error

    async def reply_to(self, request: Request) -> Reply:
        """Send a request and wait for its reply; others' are passed over.

        Raises:
            Closed: The connection ended first.
        """
        await self.say(request)
        while True:
            heard = await self.hear()
            if isinstance(heard, Reply) and heard.exchange == request.exchange:
                return heard
            if isinstance(heard, Goodbye):
                raise Closed(f"{heard.code} {heard.detail}")

    async def goodbye(self) -> Goodbye:
        """Wait for the Goodbye and the end after it; replies before it are passed over.

        Raises:
            Closed: The connection ended without one.
        """
        while not isinstance(heard := await self.hear(), Goodbye):
            pass
        try:
            more = await self.hear()
        except Closed:
            return heard
        raise AssertionError(f"after the Goodbye came {more}")

    async def sign_on(self, operator: str, password: str) -> Reply:
        """Sign on, and carry the sign_no from then on where that went well."""
        body = SignOn(operator, password, 1, "raw terminal", (1,))
        request = self.request(MessageType.SIGN_ON, body, operator=operator, sign_no="")
        reply = await self.reply_to(request)
        signed_on = decode_reply_body(MessageType.SIGN_ON, reply.code, reply.body)
        if isinstance(signed_on, SignedOn):
            self.sign_no, self.operator = signed_on.sign_no, operator
        return reply


def frame(message: Message) -> bytes:
    """Put a message into a frame, also one that the centre thinks too large."""
    return encode_frame(ENCODER.encode(message), FRAME_SIZE_MAX)
