"""Card readers through PC/SC: the only file that knows `smartcard`.

Each reader is used from a thread of its own, because a chip may take seconds to answer; the event
loop waits for it. Not here: what is sent to a card (`protocol/card`), how a batch is run
(`channel.py`).
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TypeVar

from smartcard import scard

from protocol.card.errors import CardProtocolError
from terminals.readers.channel import (
    BatchAnswers,
    CardRemovedError,
    ReaderError,
    StepLike,
    run_batch,
)
from terminals.readers.paced_channel import PacedChannel

T = TypeVar("T")
V = TypeVar("V")

CONNECT_TIMEOUT_MS = 10_000
BATCH_TIMEOUT_MS = 60_000
_PLUG_AND_PLAY: Final = "\\\\?PnP?\\Notification"
# How long one wait for events lasts, so that a watcher that missed its cancellation still ends.
_WAIT_MS = 2_000
# How long a failed command waits to learn whether the card is gone; drivers poll every 400 ms.
_REMOVAL_WAIT_MS = 1_500
_REMOVAL_LOOKS_MAX = 4
_RETRY_PAUSE_MS = 1_000
_EVENTS_MAX = 256
_READERS_MAX = 64

_REMOVED = frozenset(
    {scard.SCARD_W_REMOVED_CARD, scard.SCARD_E_NO_SMARTCARD, scard.SCARD_W_UNPOWERED_CARD}
)
_NO_SERVICE = frozenset({scard.SCARD_E_NO_SERVICE, scard.SCARD_E_SERVICE_STOPPED})
_NOT_ALLOWED = frozenset({scard.SCARD_W_SECURITY_VIOLATION, scard.SCARD_E_NO_ACCESS})
_PCI = {
    scard.SCARD_PROTOCOL_T0: scard.SCARD_PCI_T0,
    scard.SCARD_PROTOCOL_T1: scard.SCARD_PCI_T1,
}


# libpcsclite walks its list of all contexts without its own lock when a card is disconnected
# (SCardRemoveHandle, 1.9.9), and crashes where another thread adds or removes one just then.
_contexts = threading.Lock()
_HANGING_S = 5.0


class PCSCServiceError(ReaderError):
    """The PC/SC service itself is absent, or will not serve this user."""


@dataclass(frozen=True, slots=True)
class ReaderEvent:
    """What became of one reader.

    Attributes:
        atr: Of the card that is in; empty without one, or where it does not answer a reset.
    """

    reader: str
    is_present: bool
    atr: bytes


class PCSCChannel:
    """A card in a reader, powered and held for us alone; to be used from one thread.

    Raises:
        CardRemovedError: There is no card in the reader.
        ReaderError: The reader is unknown, or another program holds the card.
    """

    def __init__(self, reader: str) -> None:
        self.reader = reader
        self._context = _establish()
        try:
            self._card, protocol = _connect(self._context, reader)
            self._pci: int = _PCI[protocol]
            self._atr = self._read_atr()
        except BaseException:
            _release(self._context)
            raise

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return self._atr

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU and wait for its answer."""
        code, answer = scard.SCardTransmit(self._card, self._pci, list(command))
        # Some drivers report a card that went away as success without any answer.
        if code == scard.SCARD_S_SUCCESS and answer:
            return bytes(answer)
        if code in _REMOVED or self._is_gone():
            raise CardRemovedError(f"{self.reader}: the card was removed")
        if code == scard.SCARD_S_SUCCESS:
            raise ReaderError(f"{self.reader}: a command was not answered")
        raise _error(code, f"{self.reader}: a command was not transmitted")

    def close(self) -> None:
        """Reset the card, so that nothing proven to it stays, and let it go."""
        with _alone_with_contexts():
            scard.SCardDisconnect(self._card, scard.SCARD_RESET_CARD)
        _release(self._context)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read_atr(self) -> bytes:
        code, _, _, _, atr = scard.SCardStatus(self._card)
        if code != scard.SCARD_S_SUCCESS:
            with _alone_with_contexts():
                scard.SCardDisconnect(self._card, scard.SCARD_LEAVE_CARD)
            raise _error(code, f"{self.reader}: the card's ATR can't be read")
        return bytes(atr)

    def _is_gone(self) -> bool:
        """Say whether the card leaves within a driver's polling time."""
        state = scard.SCARD_STATE_UNAWARE
        for _ in range(_REMOVAL_LOOKS_MAX):
            code, states = scard.SCardGetStatusChange(
                self._context, _REMOVAL_WAIT_MS, [(self.reader, state)]
            )
            if code == scard.SCARD_E_TIMEOUT:
                return False
            if code != scard.SCARD_S_SUCCESS or not states[0][1] & scard.SCARD_STATE_PRESENT:
                return True
            state = states[0][1] & ~scard.SCARD_STATE_CHANGED
        return False


class _ReaderThread:
    """A thread that calls one function after another for the event loop.

    It starts with the first, and costs a third of what an executor does for each.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._is_running = False

    async def run(self, function: Callable[[], T], loop: asyncio.AbstractEventLoop) -> T:
        """Call a function in the thread; who is cancelled waits for it no longer."""
        ended: asyncio.Future[T] = loop.create_future()

        def call() -> None:
            if ended.cancelled():
                return
            try:
                result = function()
            except Exception as error:  # noqa: BLE001 - it is raised where the call is awaited
                _tell(loop, _fail, ended, error)
            else:
                _tell(loop, _succeed, ended, result)

        if not self._is_running:
            self._is_running = True
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        self._calls.put(call)
        return await ended

    def stop(self) -> None:
        """End the thread after what it is about; nothing is called any more."""
        if self._is_running:
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


class PCSCReader:
    """One reader, used from the event loop while a thread of its own waits for the card.

    Args:
        name: As the operating system gives it.
        can: Access number of the card that lies on it; the card is then spoken to through PACE.
    """

    def __init__(self, name: str, can: str = "") -> None:
        self.name = name
        self._can = can
        self._thread = _ReaderThread(f"reader {name}")
        self._channel: PCSCChannel | None = None
        self._paced: PacedChannel | None = None

    async def connect(self, timeout_ms: int = CONNECT_TIMEOUT_MS) -> bytes:
        """Power the card that is in the reader, hold it, and return its ATR.

        Raises:
            CardRemovedError: There is no card in the reader.
            ReaderError: The reader is unknown, held by another program, or too slow.
        """
        return await self._call(self._connect, timeout_ms)

    async def run_batch(
        self, batch: Sequence[StepLike], challenge: bytes, timeout_ms: int = BATCH_TIMEOUT_MS
    ) -> BatchAnswers:
        """Run a batch on the card.

        Raises:
            ReaderError: There is no connection, or the reader did not come back in time.
        """
        return await self._call(lambda: self._run_batch(batch, challenge), timeout_ms)

    async def disconnect(self) -> None:
        """Let the card go; without one nothing happens."""
        await self._call(self._disconnect, CONNECT_TIMEOUT_MS)

    async def close(self) -> None:
        """Let card and thread go; a thread that hangs in a reader is left behind."""
        try:
            await self.disconnect()
        finally:
            self._thread.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _call(self, function: Callable[[], T], timeout_ms: int) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                return await self._thread.run(function, loop)
        except TimeoutError:
            raise ReaderError(f"{self.name}: no answer within {timeout_ms} ms") from None

    def _connect(self) -> bytes:
        self._disconnect()
        self._channel = PCSCChannel(self.name)
        if self._can:
            try:
                self._paced = PacedChannel.open(self._channel, self._can)
            except CardProtocolError as refused:
                self._disconnect()
                raise ReaderError(f"{self.name}: no secure channel to it: {refused}") from refused
        return self._channel.atr

    def _run_batch(self, batch: Sequence[StepLike], challenge: bytes) -> BatchAnswers:
        if self._channel is None:
            raise ReaderError(f"{self.name}: not connected to a card")
        return run_batch(self._paced or self._channel, batch, challenge)

    def _disconnect(self) -> None:
        channel, self._channel, self._paced = self._channel, None, None
        if channel is not None:
            channel.close()


def reader_names() -> tuple[str, ...]:
    """List the readers that the PC/SC service knows now.

    Raises:
        PCSCServiceError: The service is absent, or will not serve this user.
    """
    context = _establish()
    try:
        return _list(context)
    finally:
        _release(context)


async def list_readers(timeout_ms: int = CONNECT_TIMEOUT_MS) -> tuple[str, ...]:
    """List the readers that the PC/SC service knows now, without holding up the event loop.

    Raises:
        PCSCServiceError: The service is absent, will not serve this user, or does not come back.
    """
    thread = _ReaderThread("reader list")
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            return await thread.run(reader_names, asyncio.get_running_loop())
    except TimeoutError:
        raise PCSCServiceError(f"the PC/SC service does not answer in {timeout_ms} ms") from None
    finally:
        thread.stop()


async def watch() -> AsyncIterator[ReaderEvent]:
    """Tell each reader's state, then every card that comes or goes, until the caller stops.

    Readers may come and go too, and the service may be restarted: then each of its cards is told
    to have gone, and the watch goes on when it is back.
    """
    events: asyncio.Queue[ReaderEvent] = asyncio.Queue(_EVENTS_MAX)
    watcher = _Watcher(asyncio.get_running_loop(), events)
    thread = threading.Thread(target=watcher.run, name="reader watch", daemon=True)
    thread.start()
    try:
        while True:
            yield await events.get()
    finally:
        watcher.stop()


class _Watcher:
    """The thread behind `watch`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, events: asyncio.Queue[ReaderEvent]) -> None:
        self._loop = loop
        self._events = events
        self._stopped = threading.Event()
        # Held while the context is cancelled: the library frees one that is released meanwhile.
        self._in_use = threading.Lock()
        self._context: int | None = None
        # Reader to its state as last told by the service; its upper half counts the changes.
        self._states: dict[str, int] = {}

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._context = _establish()
            except ReaderError:
                self._stopped.wait(_RETRY_PAUSE_MS / 1000)
                continue
            try:
                self._watch(self._context)
            finally:
                with self._in_use:
                    context, self._context = self._context, None
                _release(context)
            self._forget(set(self._states))

    def stop(self) -> None:
        self._stopped.set()
        with self._in_use:
            if self._context is not None:
                scard.SCardCancel(self._context)

    def _watch(self, context: int) -> None:
        """Wait for changes until stopped or the service fails."""
        while not self._stopped.is_set():
            try:
                names = _list(context)[:_READERS_MAX]
            except ReaderError:
                return
            self._forget(set(self._states) - set(names))
            asked = [(name, self._states.get(name, scard.SCARD_STATE_UNAWARE)) for name in names]
            code, states = scard.SCardGetStatusChange(
                context, _WAIT_MS, [*asked, (_PLUG_AND_PLAY, scard.SCARD_STATE_UNAWARE)]
            )
            if code == scard.SCARD_S_SUCCESS:
                for name, state, atr in states[: len(names)]:
                    self._tell(name, state & ~scard.SCARD_STATE_CHANGED, bytes(atr))
            elif code not in {scard.SCARD_E_TIMEOUT, scard.SCARD_E_UNKNOWN_READER}:
                return

    def _tell(self, name: str, state: int, atr: bytes) -> None:
        before = self._states.get(name)
        self._states[name] = state
        is_present = bool(state & scard.SCARD_STATE_PRESENT)
        if before is None:
            self._put(ReaderEvent(name, is_present, atr if is_present else b""))
            return
        was_present = bool(before & scard.SCARD_STATE_PRESENT)
        has_changed = state >> 16 != before >> 16
        if was_present and (not is_present or has_changed):
            self._put(ReaderEvent(name, is_present=False, atr=b""))
        if is_present and (not was_present or has_changed):
            self._put(ReaderEvent(name, is_present=True, atr=atr))

    def _forget(self, names: set[str]) -> None:
        for name in sorted(names):
            if self._states.pop(name) & scard.SCARD_STATE_PRESENT:
                self._put(ReaderEvent(name, is_present=False, atr=b""))

    def _put(self, event: ReaderEvent) -> None:
        """Hand an event to the loop; where nobody takes it, wait rather than pile up."""
        if self._stopped.is_set() or self._loop.is_closed():
            return
        taken = asyncio.run_coroutine_threadsafe(self._events.put(event), self._loop)
        while not self._stopped.is_set():
            try:
                taken.result(timeout=_WAIT_MS / 1000)
            except TimeoutError:
                continue
            return
        taken.cancel()


def _tell(
    loop: asyncio.AbstractEventLoop,
    how: Callable[[asyncio.Future[T], V], None],
    ended: asyncio.Future[T],
    what: V,
) -> None:
    """Have the loop learn how a call ended; a loop that is closed wants to know no more."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(how, ended, what)


def _succeed(ended: asyncio.Future[T], result: T) -> None:
    if not ended.done():
        ended.set_result(result)


def _fail(ended: asyncio.Future[T], error: Exception) -> None:
    if not ended.done():
        ended.set_exception(error)


@contextlib.contextmanager
def _alone_with_contexts() -> Iterator[None]:
    """Keep other threads from the library's contexts; one that hangs in a reader only a while."""
    is_alone = _contexts.acquire(timeout=_HANGING_S)
    try:
        yield
    finally:
        if is_alone:
            _contexts.release()


def _establish() -> int:
    with _alone_with_contexts():
        code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    if code != scard.SCARD_S_SUCCESS:
        raise _error(code, "the PC/SC service does not answer")
    handle: int = context
    return handle


def _release(context: int) -> None:
    with _alone_with_contexts():
        scard.SCardReleaseContext(context)


def _list(context: int) -> tuple[str, ...]:
    code, names = scard.SCardListReaders(context, [])
    if code == scard.SCARD_E_NO_READERS_AVAILABLE:
        return ()
    if code != scard.SCARD_S_SUCCESS:
        raise _error(code, "the readers can't be listed")
    return tuple(names)


def _connect(context: int, reader: str) -> tuple[int, int]:
    code, card, protocol = scard.SCardConnect(
        context,
        reader,
        scard.SCARD_SHARE_EXCLUSIVE,
        scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1,
    )
    if code in _REMOVED:
        raise CardRemovedError(f"{reader}: there is no card")
    if code == scard.SCARD_E_SHARING_VIOLATION:
        raise ReaderError(f"{reader}: another program holds the card")
    if code != scard.SCARD_S_SUCCESS:
        raise _error(code, f"{reader}: the card can't be powered")
    return card, protocol


def _error(code: int, what: str) -> ReaderError:
    reason = f"{what}: {scard.SCardGetErrorMessage(code)}"
    if code in _NO_SERVICE:
        return PCSCServiceError(f"{reason} Is pcscd running?")
    if code in _NOT_ALLOWED:
        return PCSCServiceError(
            f"{reason} polkit keeps this user from pcscd: run as root, or add a rule that allows"
            " org.debian.pcsc-lite.access_pcsc and access_card."
        )
    return ReaderError(reason)
