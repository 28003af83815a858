"""Seals: the chain of hashes that binds each group's rows to all that came before them. Pure.

A group's seal is SHA-256 over

    the slot's previous seal (32 bytes; zeros before the first)
    the seal's `checks`
    each row, in MessagePack: tables by name, their rows in the order in which they were written

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

_ENCODER = msgpack.Encoder()
_DECODER = msgpack.Decoder(dict[str, bytes])


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
