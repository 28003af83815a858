"""Puts a simulated card into the virtual reader of the real pcscd (`vsmartcard-vpcd`).

vpcd listens on a TCP port a slot; whoever connects is the card. Each message is a length of two
bytes and so many bytes: of length 1 they power off (00), power on (01), reset (02) or ask for
the ATR (04); anything else is a command. Only ATR and commands are answered.
"""

import asyncio
import socket
import threading
import time
from types import TracebackType
from typing import Self

from simulators.card.simulated_card import PoweredCard
from simulators.pcscd import PORT
from terminals.readers.channel import ReaderError

HOST = "127.0.0.1"
_POWER_OFF = b"\x00"
_POWER_ON = b"\x01"
_RESET = b"\x02"
_ATR = b"\x04"
_CONTROL_SIZE = 1
_LENGTH_SIZE = 2
_CONNECT_TIMEOUT_MS = 2_000
# vpcd looks for a card every 400 ms; a loaded machine may take some more.
INSERT_TIMEOUT_MS = 10_000
# A reader that finds a new card powers it at once; one that still has another card in mind never.
_POWER_ON_WAIT_MS = 1_000
# How long a slot stays empty between two cards, so that the reader sees that they are two.
_EMPTY_MS = 600
_emptied: dict[int, float] = {}
"""When this process took a card out of a port's slot, by the monotonic clock."""


class VirtualReaderCard:
    """A card that can be put into a slot of the virtual reader, and taken out.

    Use it as a context: the card is in as long as the context lasts, unless it is taken out or
    leaves by itself.

    Args:
        card: Which card.
        port: Of the slot.
        insert_timeout_ms: How long the reader may take to notice it.
    """

    def __init__(
        self, card: PoweredCard, port: int = PORT, insert_timeout_ms: int = INSERT_TIMEOUT_MS
    ) -> None:
        self._card = card
        self._port = port
        self._insert_timeout_ms = insert_timeout_ms
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        # Set when the reader asks whether a card is there.
        self._asked = threading.Event()
        # Set when the reader has powered the card and asks who it is, as it does on insertion.
        self._noticed = threading.Event()
        self._is_powered = False
        self.commands_count = 0
        self.fault: BaseException | None = None

    def insert(self) -> None:
        """Put the card in and wait until the reader has noticed.

        Raises:
            ReaderError: Nobody listens, or another card is in the slot.
        """
        _leave_empty_a_while(self._port)
        deadline = time.monotonic() + self._insert_timeout_ms / 1000
        while time.monotonic() < deadline:
            self._connect()
            if not self._asked.wait(deadline - time.monotonic()):
                break
            if self._noticed.wait(_POWER_ON_WAIT_MS / 1000):
                return
            # Put in so soon after another program's card that the reader takes it for that one.
            self.remove()
            _leave_empty_a_while(self._port)
        self.remove()
        raise ReaderError(f"the slot on port {self._port} holds another card")

    def _connect(self) -> None:
        assert self._socket is None
        try:
            self._socket = socket.create_connection(
                (HOST, self._port), timeout=_CONNECT_TIMEOUT_MS / 1000
            )
        except OSError as refused:
            raise ReaderError(
                f"no virtual reader listens on port {self._port}: is pcscd running, and"
                " vsmartcard-vpcd installed?"
            ) from refused
        self._socket.settimeout(None)
        self._asked.clear()
        self._noticed.clear()
        self._is_powered = False
        self.fault = None
        self._thread = threading.Thread(
            target=self._serve, args=(self._socket,), name=f"card {self._port}", daemon=True
        )
        self._thread.start()

    def remove(self) -> None:
        """Take the card out; where it is out already, nothing happens."""
        connection, self._socket = self._socket, None
        if connection is None:
            return
        _emptied[self._port] = time.monotonic()
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            connection.close()  # the reader has let go first
        if self._thread is not None:
            self._thread.join()
        connection.close()

    @property
    def is_inserted(self) -> bool:
        """Whether the card is in and answering."""
        return self._socket is not None and self._thread is not None and self._thread.is_alive()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.insert)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.remove)

    def __enter__(self) -> Self:
        self.insert()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def _serve(self, connection: socket.socket) -> None:
        """Answer the reader until one of the two ends it."""
        try:
            while (message := _receive(connection)) is not None:
                answer = self._answer(message)
                if answer is not None:
                    connection.sendall(len(answer).to_bytes(_LENGTH_SIZE, "big") + answer)
        except (OSError, ReaderError) as ended:
            self.fault = ended
        finally:
            connection.close()

    def _answer(self, message: bytes) -> bytes | None:
        if len(message) > _CONTROL_SIZE:
            self.commands_count += 1
            return self._card.transmit(message)
        if message == _ATR:
            self._asked.set()
            if self._is_powered:
                self._noticed.set()
            return self._card.atr
        if message in {_POWER_OFF, _POWER_ON, _RESET}:
            self._is_powered = message != _POWER_OFF
            self._card.reset()
        return None


def _leave_empty_a_while(port: int) -> None:
    empty_s = time.monotonic() - _emptied.get(port, -_EMPTY_MS / 1000)
    time.sleep(max(0, _EMPTY_MS / 1000 - empty_s))


def _receive(connection: socket.socket) -> bytes | None:
    """Read one message; None at the end of the connection."""
    length = _receive_exactly(connection, _LENGTH_SIZE)
    if length is None:
        return None
    return _receive_exactly(connection, int.from_bytes(length, "big"))


def _receive_exactly(connection: socket.socket, size: int) -> bytes | None:
    received = bytearray()
    while len(received) < size:
        # vpcd writes length and body apart, and waits for an acknowledgement in between unless
        # it is sent at once; the kernel forgets the option, so it is set before each read.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        part = connection.recv(size - len(received))
        if not part:
            return None
        received += part
    return bytes(received)
