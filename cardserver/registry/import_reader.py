"""Read a file's rows in a process of its own, while the database takes the ones before.

Checking rows costs about as much as writing them, and there is more than one processor. Not here:
how a row is checked (`import_files.py`).

The process writes chunks to its standard output: four bytes of size, then MessagePack.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import chain, islice
from pathlib import Path

from msgspec import Struct, msgpack

from cardserver.registry import import_files
from cardserver.registry.import_files import (
    FileSpec,
    ImportFileError,
    NumberedRow,
    Rejection,
    read_rows,
)

# Below this a process takes longer to start than the file to read.
SIZE_MIN = 1_000_000
_SIZE_BYTES = 4
_SPECS = {spec.name: spec for spec in vars(import_files).values() if isinstance(spec, FileSpec)}


class Chunk(Struct, array_like=True):
    """Some rows of a file.

    Attributes:
        fault: Why the file can't be read on; or empty.
    """

    rows: list[NumberedRow]
    rejections: list[Rejection]
    fault: str = ""

    @property
    def count(self) -> int:
        """How many rows of the file these are."""
        return len(self.rows) + len(self.rejections)


_DECODER = msgpack.Decoder(Chunk)


@asynccontextmanager
async def chunks_of(
    path: Path, spec: FileSpec, rows_max: int
) -> AsyncIterator[AsyncIterator[Chunk]]:
    """Give a file's rows, checked, in chunks of at most so many.

    The iterator raises ImportFileError where the file can't be read on.
    """
    if not _is_large(path):
        yield _read_here(path, spec, rows_max)
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, str(path), spec.name, str(rows_max), stdout=PIPE
    )
    assert process.stdout is not None, "as asked for"
    try:
        yield _receive(process.stdout)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def cut(path: Path, spec: FileSpec, rows_max: int) -> Iterator[Chunk]:
    """Read a file in chunks, the last of which may tell a fault."""
    rows = read_rows(path, spec)
    try:
        while read := list(islice(rows, rows_max)):
            yield Chunk(
                [row for row in read if isinstance(row, NumberedRow)],
                [row for row in read if isinstance(row, Rejection)],
            )
    except ImportFileError as error:
        yield Chunk([], [], str(error))


def _is_large(path: Path) -> bool:
    return path.is_file() and path.stat().st_size >= SIZE_MIN


async def _read_here(path: Path, spec: FileSpec, rows_max: int) -> AsyncIterator[Chunk]:
    for chunk in cut(path, spec, rows_max):
        if chunk.fault:
            raise ImportFileError(chunk.fault)
        yield chunk


async def _receive(stream: asyncio.StreamReader) -> AsyncIterator[Chunk]:
    while True:
        try:
            size = int.from_bytes(await stream.readexactly(_SIZE_BYTES))
            chunk = _DECODER.decode(await stream.readexactly(size))
        except asyncio.IncompleteReadError:
            raise ImportFileError("the process that reads the file has ended early") from None
        if chunk.fault:
            raise ImportFileError(chunk.fault)
        if not chunk.count:
            return
        yield chunk


def main() -> None:
    """Write the chunks of the file that the arguments name, then an empty one."""
    path, name, rows_max = sys.argv[1:]
    encoder = msgpack.Encoder()
    out = sys.stdout.buffer
    try:
        for chunk in chain(cut(Path(path), _SPECS[name], int(rows_max)), (Chunk([], []),)):
            packed = encoder.encode(chunk)
            out.write(len(packed).to_bytes(_SIZE_BYTES))
            out.write(packed)
            out.flush()
    except BrokenPipeError:
        sys.stdout = None  # whoever asked has gone; nothing is to be said to nobody


if __name__ == "__main__":
    main()
