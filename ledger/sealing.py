"""Seals: the chain of hashes that binds each group's rows to all that came before them. Pure.

A group's seal is SHA-256 over

    the slot's previous seal (32 bytes; zeros before the first)
    the seal's `checks`
    each row, in MessagePack: tables by name, their rows in the order in which they were written

What a stored outcome's reply says is sealed as its SHA-256, so that the reply may expire and its
seal still be recomputed: rows of `request` are sealed under the name `outcome`, with that hash in
place of the body. Seals of before know them as `request`, whole; such replies are kept.

`checks` is a MessagePack map, by table's name, of the CRC-32 (big-endian) of each of its rows. It
guards nothing, as the hash does that; it lets a row that was changed be named. A row is an array of
all columns in the schema's order. That a statement's rows are sealed is said where it is made
(`insert(..., is_sealed=True)`).

Not here: who recomputes it all (`verify_chain.py`).
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from zlib import crc32

from msgspec import DecodeError, msgpack

_CHECK_SIZE = 4
_BODY_PLACE = 7  # of `request`'s columns

# What stands in place of a reply that has expired: a byte that begins no MessagePack value, then
# the reply's SHA-256.
EXPIRED = b"\xc1"
EXPIRED_SIZE = 33
_REQUEST = "request"
OUTCOME = "outcome"
"""As what rows of stored outcomes are sealed, their bodies hashed."""

_ENCODER = msgpack.Encoder()
_DECODER = msgpack.Decoder(dict[str, bytes])


def is_expired(body: bytes) -> bool:
    """Tell whether of a stored reply only the hash is left."""
    return len(body) == EXPIRED_SIZE and body[:1] == EXPIRED


def expired(body: bytes) -> bytes:
    """Return what is left of a stored reply once it has expired."""
    return EXPIRED + hashlib.sha256(body).digest()


def hashed_body(body: bytes) -> bytes:
    """Return a stored reply's hash, also of one that has expired."""
    return body[1:] if is_expired(body) else hashlib.sha256(body).digest()


def as_sealed(
    table: str, rows: Sequence[Sequence[object]]
) -> tuple[str, Sequence[Sequence[object]]]:
    """Return as what, and in which form, a table's rows are sealed."""
    if table != _REQUEST:
        return table, rows
    return OUTCOME, [
        (*row[:_BODY_PLACE], hashed_body(_body_of(row)), *row[_BODY_PLACE + 1 :]) for row in rows
    ]


def table_of(sealed_as: str) -> str:
    """Return which table's rows are sealed under a name."""
    return _REQUEST if sealed_as == OUTCOME else sealed_as


def _body_of(row: Sequence[object]) -> bytes:
    body = row[_BODY_PLACE]
    return body if isinstance(body, bytes) else b""


def seal(previous: bytes, rows: Mapping[str, Sequence[object]]) -> tuple[bytes, bytes]:
    """Return the digest and the checks of a group's rows.

    Args:
        previous: The slot's seal before this one.
        rows: By table; tables without rows are left out.
    """
    encode = _ENCODER.encode
    checks: dict[str, bytes] = {}
    parts: list[bytes] = []
    for table in sorted(rows):
        encoded = [encode(row) for row in rows[table]]
        checks[table] = struct.pack(f">{len(encoded)}I", *map(crc32, encoded))
        parts += encoded
    checks_encoded = encode(checks)
    hashed = hashlib.sha256(previous + checks_encoded)
    hashed.update(b"".join(parts))
    return hashed.digest(), checks_encoded


def seal_of_entries(
    previous: bytes, entries: Sequence[object], postings: Sequence[object]
) -> bytes:
    """Return a seal without checks: entries and postings only, as seals once were."""
    return hashlib.sha256(previous + _ENCODER.encode((entries, postings))).digest()


def decode_checks(checks: bytes) -> dict[str, list[int]]:
    """Return the checks of each table's rows; nothing where they are not to be read."""
    try:
        by_table = _DECODER.decode(checks)
    except (DecodeError, UnicodeDecodeError):
        return {}
    return {
        table: [
            int.from_bytes(joined[start : start + _CHECK_SIZE], "big")
            for start in range(0, len(joined), _CHECK_SIZE)
        ]
        for table, joined in by_table.items()
    }


def count_checks(checks: bytes) -> dict[str, int]:
    """Return how many rows of each table are checked; nothing where that is not to be read."""
    try:
        by_table = _DECODER.decode(checks)
    except (DecodeError, UnicodeDecodeError):
        return {}
    return {table: -(-len(joined) // _CHECK_SIZE) for table, joined in by_table.items()}
