"""The whole ledger recomputed beside a running centre: chains, books, claims, accumulators.

First what is kept beside the entries, in one snapshot; then the chains up to their heads in that
snapshot, piece by piece, by one process or several. Not here: what each part compares
(`ledger/verify_*.py`, `claims/verify_*.py`).
"""

import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from cardserver.claims.verify_accumulators import Workbook
from cardserver.claims.verify_claims import (
    CLAIM,
    SEALED_TABLES,
    check_group,
    decode_kept,
    originals_of,
)
from cardserver.claims.verify_claims import ClaimRow as Claim
from cardserver.claims.verify_store import Books, check_books, check_numbers, read_claims
from cardserver.clearing.verify_store import check_clearings
from cardserver.funding.verify_funding import check_funding
from cardserver.migrations.revision_store import require_current
from cardserver.review.check_store import compare_review
from ledger.bulk_store import Row
from ledger.database_store import Database
from ledger.digest import Digest
from ledger.verify_chain import Piece, SealedGroup, begin_at, check_piece, cut
from ledger.verify_findings import BEFORE_ALL, Difference, Findings

_PIECE_SIZE = 10_000
_JANUARY = 1

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be verified, and how.

    Attributes:
        digests: Kept elsewhere, their signatures checked.
        from_period: Leave out chains and totals of before; 0 nothing.
        jobs: How many processes.
    """

    digests: tuple[Digest, ...] = ()
    from_period: int = 0
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of it.

    Attributes:
        findings: What differs, and how many rows were read.
        seconds: How long it took.
        sequence: How many numbers the chains have given out.
    """

    findings: Findings
    seconds: float
    sequence: int

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return sum(self.findings.rows.values())


async def verify(url: str, password: str, wish: Wish, on_progress: Progress) -> Verified:
    """Recompute a ledger.

    Args:
        url: Of the database, as `Database.open` takes it.
        password: As there.
        wish: What is to be verified.
        on_progress: Told how many numbers of the chains are done with, of how many.

    Raises:
        StoreError: It can't be read.
    """
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="cardserver-verify-") as folder:
        workbook = Workbook(Path(folder) / "workbook.db")
        database = Database.open(url, password)
        await database.start()
        try:
            await require_current(database)
            numbers = await database.report(check_numbers)
            if numbers.count:
                workbook.close()
                return Verified(numbers, time.perf_counter() - began, 0)
            books = await database.report(
                lambda connection: check_books(
                    connection, workbook, wish.digests, from_period=wish.from_period
                )
            )
            clearings = await database.report(check_clearings)
            reviews = await database.report(compare_review)
            pieces = await _cut(database, books, wish.from_period)
            done = _Done(on_progress, sum(piece.last - piece.after for piece in pieces))
            findings = Findings()
            if wish.jobs == 1:
                for piece in pieces:
                    findings.take(await _check(database, piece, workbook, done.add))
            else:
                in_processes = asyncio.to_thread(
                    _check_in_processes, url, password, pieces, wish.jobs, Path(folder), done.add
                )
                findings.take(await in_processes)
                for index in range(len(pieces)):
                    workbook.take(_part(Path(folder), index))
        finally:
            await database.close()
        findings.take(books.findings)
        findings.take(clearings)
        findings.add(reviews)
        findings.take(workbook.check(from_year=_from_year(wish.from_period)))
        workbook.close()
    sequence = sum(head.sequence for head in books.heads)
    return Verified(findings, time.perf_counter() - began, sequence)


class _Done:
    """Counts what is done with."""

    def __init__(self, on_progress: Progress, total: int) -> None:
        self._on_progress = on_progress
        self._total = total
        self._done = 0
        on_progress(0, total)

    def add(self, count: int) -> None:
        """Tell of more."""
        self._done += count
        self._on_progress(self._done, self._total)


def _from_year(from_period: int) -> int:
    """Return from which year on accumulators can be recomputed: all their claims are read."""
    if not from_period:
        return BEFORE_ALL
    year, month = divmod(from_period, 100)
    return year if month <= _JANUARY else year + 1


async def _cut(database: Database, books: Books, from_period: int) -> list[Piece]:
    pieces: list[Piece] = []
    for head in books.heads:
        after, previous = 0, bytes(32)
        if from_period:
            after, previous = await begin_at(
                database, head.slot, last=head.sequence, period=from_period
            )
        pieces += await cut(
            database, head.slot, after=after, previous=previous, last=head.sequence,
            size=_PIECE_SIZE,
        )  # fmt: skip
    return pieces


async def _check(
    database: Database, piece: Piece, workbook: Workbook, on_progress: Callable[[int], None]
) -> Findings:
    async def inspect(reader: Database, groups: Sequence[SealedGroup]) -> list[Difference]:
        kept = {
            row[0]: decode_kept(Claim(*row))
            for group in groups
            for row in group.rows.get(CLAIM.name, ())
        }
        originals = await read_claims(reader, originals_of(groups))
        moved: list[Row] = []
        differences: list[Difference] = []
        for group in groups:
            differences += check_group(group, kept, originals)
            differences += check_funding(group)
            for row in group.rows.get(CLAIM.name, ()):
                claim, detail = Claim(*row), kept[row[0]]
                if detail is not None:
                    moved += (
                        (claim.person_no, detail.year, claim.insutype, scheme, *amounts)
                        for scheme, amounts in detail.moved()
                    )
        workbook.move(moved)
        return differences

    return await check_piece(database, piece, SEALED_TABLES, inspect, on_progress)


def _check_in_processes(
    url: str,
    password: str,
    pieces: Sequence[Piece],
    jobs: int,
    folder: Path,
    on_progress: Callable[[int], None],
) -> Findings:
    by_piece: dict[int, Findings] = {}
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        under_way = {
            pool.submit(_check_alone, url, password, piece, _part(folder, index)): index
            for index, piece in enumerate(pieces)
        }
        for future in as_completed(under_way):
            index = under_way[future]
            by_piece[index] = future.result()
            on_progress(pieces[index].last - pieces[index].after)
    findings = Findings()
    for _, one in sorted(by_piece.items()):
        findings.take(one)
    return findings


def _part(folder: Path, index: int) -> Path:
    return folder / f"part-{index}.db"


def _check_alone(url: str, password: str, piece: Piece, path: Path) -> Findings:
    """Check a piece in a process of its own."""

    async def run() -> Findings:
        workbook = Workbook(path)
        database = Database.open(url, password, readers_max=1)
        await database.start()
        try:
            return await _check(database, piece, workbook, lambda _: None)
        finally:
            await database.close()
            workbook.close()

    return asyncio.run(run())
