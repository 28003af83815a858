"""A bad network between a terminal and the centre: a TCP relay that loses, holds and delays bytes.

TLS passes through unread, as through any network, so faults are told by direction and moment and
not by message.
"""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

_CHUNK = 65_536


class BadNetwork:
    """Relays connections from a local port to the centre, with faults on demand.

    Attributes:
        loses_replies: From now on nothing comes back from the centre.
        delay_s: Added to every chunk, each way.
    """

    def __init__(self, host: str, port: int) -> None:
        """Relay to `host`:`port`."""
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.loses_replies = False
        self.delay_s = 0.0

    @property
    def port(self) -> int:
        """Where terminals connect."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for pipe in tuple(self._pipes):
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        await self._server.wait_closed()

    def hold_requests(self) -> None:
        """Keep what terminals send, and deliver it on `release`."""
        self._open.clear()

    def release(self) -> None:
        """Deliver what was held."""
        self._open.set()

    def cut(self) -> None:
        """Break every connection now."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            centre_reader, centre_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, centre_writer}
        for source, sink, is_request in (
            (reader, centre_writer, True),
            (centre_reader, writer, False),
        ):
            pipe = asyncio.create_task(self._pipe(source, sink, is_request=is_request))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _pipe(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_request: bool
    ) -> None:
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            while data := await source.read(_CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if is_request:
                    await self._open.wait()
                elif self.loses_replies:
                    continue
                sink.write(data)
                await sink.drain()
        with contextlib.suppress(OSError):
            sink.close()
        self._writers.discard(sink)
