"""PostgreSQL's binary form of one-dimensional arrays, made column by column at C speed. Pure.

A group's rows go to the server as one array a column. The driver asks of each element whether it is
itself an array, which took a third of all that this process did for a settlement; a column here is
packed by one call.

The form (PostgreSQL 15, src/backend/utils/adt/arrayfuncs.c, array_recv): dimensions, whether
there are NULLs (read again from the elements), the element's type, and for each dimension its size
and its first index, then for each element its size (-1: NULL) and its bytes; all big-endian.
"""

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

_HEAD = ">iiIii"
_EMPTY = struct.Struct(">iiI")
_SIZE = struct.Struct(">i")
_NULL = _SIZE.pack(-1)
# Most texts and values are short: their sizes are packed once.
_SIZES = [_SIZE.pack(size) for size in range(2048)]


class ArrayType(NamedTuple):
    """An array type of PostgreSQL and how its values are written and read.

    Attributes:
        oid: The array type's; like the names it never changes (pg_type.dat).
        name: The array type's.
        encode: From a column to the wire; a wrong element raises.
        decode: From the wire.
    """

    oid: int
    name: str
    encode: Callable[[Sequence[Any]], bytes]  # elements of whatever the type takes
    decode: Callable[[bytes], list[Any]]


def _integers(oid: int, name: str, element_oid: int, code: str) -> ArrayType:
    one = struct.Struct(f">{code}")
    size = one.size

    @lru_cache(maxsize=1024)
    def packer(count: int) -> Callable[..., bytes]:
        return struct.Struct(_HEAD + f"i{code}" * count).pack

    def encode(column: Sequence[Any]) -> bytes:
        count = len(column)
        if not count:
            return _EMPTY.pack(0, 0, element_oid)
        if None in column:
            return _joined(element_oid, [None if e is None else one.pack(e) for e in column])
        flat = [size] * (2 * count)
        flat[1::2] = column
        return packer(count)(1, 0, element_oid, count, 1, *flat)

    return ArrayType(oid, name, encode, lambda data: _decoded(data, lambda e: one.unpack(e)[0]))


def _texts(oid: int, name: str, element_oid: int) -> ArrayType:
    def encode(column: Sequence[Any]) -> bytes:
        return _joined(element_oid, [None if e is None else e.encode() for e in column])

    return ArrayType(oid, name, encode, lambda data: _decoded(data, bytes.decode))


def _bytes(oid: int, name: str, element_oid: int) -> ArrayType:
    return ArrayType(
        oid, name, lambda column: _joined(element_oid, column), lambda data: _decoded(data, bytes)
    )


def _joined(element_oid: int, elements: Sequence[bytes | None]) -> bytes:
    count = len(elements)
    if not count:
        return _EMPTY.pack(0, 0, element_oid)
    sizes = [
        _NULL
        if element is None
        else _SIZES[len(element)]
        if len(element) < len(_SIZES)
        else _SIZE.pack(len(element))
        for element in elements
    ]
    parts = chain.from_iterable(
        zip(sizes, [b"" if e is None else e for e in elements], strict=True)
    )
    head = struct.pack(_HEAD, 1, int(None in elements), element_oid, count, 1)
    return head + b"".join(parts)


def _decoded(data: bytes, element_of: Callable[[bytes], Any]) -> list[Any]:
    (dimensions,) = _SIZE.unpack_from(data)
    if not dimensions:
        return []
    if dimensions != 1:
        raise ValueError(f"an array of {dimensions} dimensions")
    _, _, _, count, _ = struct.unpack_from(_HEAD, data)
    at = struct.calcsize(_HEAD)
    elements: list[Any] = []
    for _ in range(count):
        (size,) = _SIZE.unpack_from(data, at)
        at += _SIZE.size
        elements.append(None if size < 0 else element_of(bytes(data[at : at + size])))
        at += max(size, 0)
    return elements


ARRAY_TYPES = (
    _integers(1005, "_int2", 21, "h"),
    _integers(1007, "_int4", 23, "i"),
    _integers(1016, "_int8", 20, "q"),
    _texts(1009, "_text", 25),
    _bytes(1001, "_bytea", 17),
)
