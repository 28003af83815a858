"""Bring a file's rows into a list: read and checked, merged, added, published as one version.

Not here: the columns (`columns.py`), which rows go together (`merging.py`), transactions
(`lists_store.py`).
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from cardserver.catalogue.catalogue_store import CATALOGUE, MAPPING
from cardserver.catalogue.columns import ITEMS, FileForm, Placed, Rejection
from cardserver.catalogue.lists_store import Claim, VersionedList
from cardserver.catalogue.merging import (
    Check,
    Merged,
    R,
    merge,
    refuse_jumps,
    refuse_nothing,
)
from cardserver.catalogue.sheets import SheetRow, read_sheet
from cardserver.catalogue.values import CatalogueRow, MappingRow
from cardserver.registry import import_files
from cardserver.registry.import_store import FileResult
from cardserver.registry.values import Actor
from ledger.calendar import Clock
from ledger.database_store import Database
from ledger.store_errors import StoreError

PROGRESS_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Source(Generic[R]):
    """A file to be imported.

    Attributes:
        name: For the list's history and for refusals.
        rows: The header first.
        form: What its columns mean.
    """

    name: str
    rows: Iterator[SheetRow]
    form: FileForm[R]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file.

    Attributes:
        version: The version that it made, or the present one where nothing changed.
        rejections: In the order of their lines.
    """

    version: int
    added: int
    changed: int
    unchanged: int
    rejections: tuple[Rejection, ...]


async def import_items(  # noqa: PLR0913 - choices of the command, by name
    database: Database,
    source: Source[CatalogueRow],
    actor: Actor,
    clock: Clock,
    *,
    corrects: bool = True,
    accepts_jumps: bool = False,
    is_dry: bool = False,
    on_progress: Callable[[int], None] = lambda _rows: None,
) -> Imported:
    """Bring a file into the catalogue.

    Args:
        database: Where it is.
        source: The file.
        actor: Who does it.
        clock: For how long this has been under way.
        corrects: Whether rows that are there with other values are changed.
        accepts_jumps: Whether limits may rise or fall a hundredfold.
        is_dry: Whether only to say what would become of it.
        on_progress: Told how many rows are read, from time to time.

    Raises:
        ImportFileError: The file can't be read; nothing was changed.
        ListBusyError: Another import is under way.
    """
    placed, rejections = _read(source, on_progress)
    check: Check[CatalogueRow] = refuse_nothing if accepts_jumps else refuse_jumps
    return await _bring(
        database, CATALOGUE, placed, rejections, check, (actor, clock, source.name),
        corrects=corrects, is_dry=is_dry,
    )  # fmt: skip


async def import_mapping(
    database: Database,
    source: Source[MappingRow],
    actor: Actor,
    clock: Clock,
    *,
    is_dry: bool = False,
    on_progress: Callable[[int], None] = lambda _rows: None,
) -> Imported:
    """Bring institutions' own codes in; the items that they stand for must be in the catalogue.

    Raises:
        ImportFileError: As in `import_items`.
        ListBusyError: As there.
    """
    placed, rejections = _read(source, on_progress)
    items = {row.item for rows in (await present_rows(database, CATALOGUE)).values()
             for row in rows.values() if not row.is_struck}  # fmt: skip
    known: list[Placed[MappingRow]] = []
    for one in placed:
        if one.row.item in items:
            known.append(one)
        else:
            reason = "the catalogue has no such item"
            rejections.append(Rejection(one.line, "item", reason))
    return await _bring(
        database, MAPPING, known, rejections, refuse_nothing, (actor, clock, source.name),
        corrects=True, is_dry=is_dry,
    )  # fmt: skip


async def present_rows(database: Database, of: VersionedList[R]) -> dict[Hashable, dict[int, R]]:
    """Read a list's newest rows, by name and first day, those struck out among them."""
    found: dict[Hashable, dict[int, R]] = {}
    async for rows in of.changes(database, 0, await of.newest(database)):
        for row in rows:
            found.setdefault(row.name_of_key, {})[row.begins] = row
    return found


def _read(
    source: Source[R], on_progress: Callable[[int], None]
) -> tuple[list[Placed[R]], list[Rejection]]:
    placed: list[Placed[R]] = []
    rejections: list[Rejection] = []
    for count, one in enumerate(source.form.read(source.rows, source.name), 1):
        if isinstance(one, Rejection):
            rejections.append(one)
        else:
            placed.append(one)
        if count % PROGRESS_ROWS == 0:
            on_progress(count)
    on_progress(len(placed) + len(rejections))
    return placed, rejections


async def _bring(  # noqa: PLR0913 - as above
    database: Database,
    to: VersionedList[R],
    placed: list[Placed[R]],
    rejections: list[Rejection],
    check: Check[R],
    by: tuple[Actor, Clock, str],
    *,
    corrects: bool,
    is_dry: bool,
) -> Imported:
    actor, clock, name = by
    if is_dry:
        version = await to.newest(database)
        merged = merge(await present_rows(database, to), placed, check, corrects=corrects)
        return _imported(version, merged, rejections)
    claim = await to.claim(database, clock)
    try:
        merged = merge(await present_rows(database, to), placed, check, corrects=corrects)
        version = await _publish(claim, merged, actor, name)
    except BaseException:  # what stands unpublished, the next claim removes
        with suppress(StoreError):
            await claim.release()
        raise
    return _imported(version, merged, rejections)


async def _publish(claim: Claim[R], merged: Merged[R], actor: Actor, name: str) -> int:
    if not merged.added and not merged.changed:
        await claim.release()
        return claim.version
    await claim.add(merged.added)
    await claim.add(merged.changed)
    return await claim.publish(actor, name, added=len(merged.added), changed=len(merged.changed))


def _imported(version: int, merged: Merged[R], rejections: list[Rejection]) -> Imported:
    every = sorted([*rejections, *merged.rejections], key=lambda one: one.line)
    return Imported(version, len(merged.added), len(merged.changed), merged.unchanged, tuple(every))


def item_source(name: str, rows: Iterator[SheetRow]) -> Source[CatalogueRow]:
    """Name a file of the catalogue."""
    return Source(name, rows, ITEMS)


async def load_catalogue(
    database: Database,
    path: Path,
    actor: Actor,
    clock: Clock,
    on_progress: Callable[[int], None],
) -> FileResult:
    """Load a folder's `catalogue.csv`, as `import_store.load_file` does the registry's own files.

    What is there with other values stands: `cardserver catalogue import` corrects.

    Raises:
        ImportFileError: As in `import_items`.
    """
    done = await import_items(
        database,
        item_source(path.name, read_sheet(path)),
        actor,
        clock,
        corrects=False,
        on_progress=on_progress,
    )
    result = FileResult(path.stem, added=done.added, unchanged=done.unchanged)
    for one in done.rejections:
        result.reject(import_files.Rejection(path.stem, one.line, one.column, one.reason))
    return result
