"""Snapshots of several workers' metrics in a folder that they share: the whole centre's, from any.

Each life of a worker has a file of its own, replaced every second. A worker that has ended keeps
its file: what it counted stays counted, so that no sum falls when a worker is replaced, and only
what is now (gauges) is of those that live. A new life takes what ended lives of its worker counted
into its own file, so that there are never many.
"""

import asyncio
import time
from pathlib import Path

import structlog
from msgspec import DecodeError, msgpack

from cardserver.observe.metrics import Metrics, Snapshot, exposition

log = structlog.get_logger("cardserver.observe")

_WRITE_S = 1.0
_ALIVE_MS = 5_000  # several times how often a worker writes
_FILES_MAX = 1024
_SUFFIX = ".metrics"

_ENCODER = msgpack.Encoder()
_DECODER = msgpack.Decoder(Snapshot)


class SharedMetrics:
    """The folder, as one worker sees it."""

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        """Share `metrics` in `folder`, which exists."""
        self._folder = folder
        self._metrics = metrics
        self._file = folder / f"{metrics.worker}-{metrics.life}{_SUFFIX}"
        # What earlier lives of this worker counted; gone with the folder, not with the life.
        self._earlier: list[Snapshot] = []

    def write(self) -> None:
        """Say what was counted until now.

        Raises:
            OSError: The folder is gone, or full.
        """
        self._take_over()
        draft = self._file.with_suffix(".draft")
        draft.write_bytes(_ENCODER.encode(self._own()))
        draft.replace(self._file)

    async def run(self) -> None:
        """Write every second, until cancelled; then once more, since that counts for good."""
        try:
            while True:
                self._try_to_write()
                await asyncio.sleep(_WRITE_S)
        finally:
            self._try_to_write()

    def _try_to_write(self) -> None:
        try:
            self.write()
        except OSError as error:
            log.warning("metrics can't be shared", folder=str(self._folder), error=str(error))

    def text(self, *, is_openmetrics: bool = False) -> bytes:
        """All workers' metrics in Prometheus' text format."""
        others = [one for path, one in self._read() if path != self._file]
        own = self._own()
        alive_ms = own.time_ms - _ALIVE_MS
        living = frozenset(one.life for one in (own, *others) if one.time_ms >= alive_ms)
        return exposition([*others, own], is_openmetrics=is_openmetrics, living=living)

    def _own(self) -> Snapshot:
        own = self._metrics.snapshot()
        for earlier in self._earlier:
            for name, histograms in earlier.histograms.items():
                own.histograms.setdefault(name, []).extend(histograms)
            for name, counters in earlier.counters.items():
                own.counters.setdefault(name, []).extend(counters)
        return own

    def _take_over(self) -> None:
        """Take what ended lives of this worker counted, and remove their files."""
        ended_ms = time.time_ns() // 1_000_000 - _ALIVE_MS
        for path, one in self._read():
            is_earlier = one.worker == self._metrics.worker and one.life != self._metrics.life
            if is_earlier and one.time_ms < ended_ms:
                self._earlier.append(one)
                path.unlink(missing_ok=True)

    def _read(self) -> list[tuple[Path, Snapshot]]:
        found: list[tuple[Path, Snapshot]] = []
        for path in sorted(self._folder.glob(f"*{_SUFFIX}"))[:_FILES_MAX]:
            try:
                found.append((path, _DECODER.decode(path.read_bytes())))
            except (OSError, DecodeError):  # taken over by its worker just now
                continue
        return found
