"""An institution's file reconciled: its totals, then every row beside the centre's, in one pass."""

import asyncio
import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from msgspec import msgpack

from cardserver.reconciliation.comparison import CentreRow, Key, Unlike, key_of, unlike_rows
from cardserver.reconciliation.day_file import BadRow, Expected, SortedDay
from cardserver.reconciliation.day_store import Scope, with_day
from cardserver.reconciliation.reconciling import advise, reconcile
from cardserver.reconciliation.record_store import count_open, find_run, keep_differences
from cardserver.reconciliation.values import Origin
from ledger.database_store import Database
from protocol.terminal.messages import DifferenceKind, Reconciled, ReconcileRow

DIFFERENCES_A_STEP = 500
"""Of one transaction: SQLite's writer is held up for a few milliseconds."""
_ENCODER = msgpack.Encoder()
_SIDES = msgpack.Decoder(tuple[DifferenceKind, ReconcileRow | None, ReconcileRow | None])
_SIZE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file came to.

    Attributes:
        rows: Those that were compared.
        refused: Those that were not used.
        told: What was found of the totals.
        differences: How many rows differ, by kind.
        open_count: Differences of the day that are open now.
    """

    rows: int
    refused: int
    told: Reconciled
    differences: Mapping[DifferenceKind, int]
    open_count: int


async def import_day(
    database: Database,
    file: Path,
    scope: Scope,
    expected: Expected,
    origin: Origin,
    *,
    is_provisional: bool,
    on_refused: Callable[[BadRow], None],
) -> Imported:
    """Reconcile a day by a file.

    Args:
        database: Started.
        file: The institution's.
        scope: Whose day, as `expected` says it in words.
        expected: What every row must say.
        origin: Who brings it.
        is_provisional: Whether the day is not over: then nothing of it is kept but the outcome.
        on_refused: Told of each row that is not used; from another thread.

    Raises:
        DayFileError: It is no such file.
    """
    with (
        await asyncio.to_thread(SortedDay.read, file, expected, on_refused) as day,
        tempfile.TemporaryFile(prefix="cardserver-reconciliation-") as spool,
    ):
        told = await reconcile(database, scope, day.totals, origin, is_provisional=is_provisional)

        def compare(centre: Iterator[CentreRow]) -> Counter[DifferenceKind]:
            kinds: Counter[DifferenceKind] = Counter()
            for one in unlike_rows(centre, day, is_one_terminals=scope.is_one_terminals):
                kinds[one.kind] += 1
                data = _ENCODER.encode((one.kind, one.centre, one.institution))
                spool.write(len(data).to_bytes(_SIZE_BYTES, "big") + data)
            return kinds

        kinds = await with_day(database, scope, compare)
        spool.seek(0)

        def read() -> Iterator[Unlike]:
            while size := spool.read(_SIZE_BYTES):
                yield Unlike(*_SIDES.decode(spool.read(int.from_bytes(size, "big"))))

        if is_provisional:
            open_count = await count_open(database, scope)
        else:
            open_count = await _keep(database, scope, told, read(), origin.now_ms)
        return Imported(day.count, day.refused, told, kinds, open_count)


async def _keep(
    database: Database, scope: Scope, told: Reconciled, unlike: Iterator[Unlike], now_ms: int
) -> int:
    run = await find_run(database, int(told.reconcile_id))
    assert run is not None
    after: Key | None = None
    while True:
        step = list(itertools.islice(unlike, DIFFERENCES_A_STEP))
        is_last = len(step) < DIFFERENCES_A_STEP
        until = None if is_last else key_of(step[-1].row)
        advised = await advise(database, scope, step, is_provisional=False)
        found = list(zip(step, advised, strict=True))
        open_count = await keep_differences(
            database, run, found, now_ms=now_ms, after=after, until=until
        )
        if is_last:
            return open_count
        after = until
