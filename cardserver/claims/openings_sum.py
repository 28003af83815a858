"""What was taken over of accumulators, summed up so that a row changed by hand shows. Pure.

Openings come from before this centre: nothing here can recompute them. So whoever adds or changes
some leaves a row of the audit, which is sealed, with the sum of the rows' hashes that came less
that of those that went (modulo 2**256). All these sums together are the sum over the table.
"""

import hashlib
from collections.abc import Iterable, Sequence

from msgspec import msgpack

ACTION = "openings"
"""The action of such audit rows; their detail is the sum in hex."""

_MODULUS = 1 << 256
_ENCODER = msgpack.Encoder()


def sum_of(rows: Iterable[Sequence[object]]) -> int:
    """Add the hashes of rows up: key, then amounts, in the schema's order."""
    total = 0
    for row in rows:
        total += int.from_bytes(hashlib.sha256(_ENCODER.encode(tuple(row))).digest(), "big")
    return total % _MODULUS


def change_of(added: Iterable[Sequence[object]], removed: Iterable[Sequence[object]] = ()) -> str:
    """Return what an audit row says of a change."""
    return f"{(sum_of(added) - sum_of(removed)) % _MODULUS:064x}"


def together(changes: Iterable[str]) -> int:
    """Add up what audit rows say; a row that says no sum counts as nothing."""
    total = 0
    for change in changes:
        try:
            total += int(change, 16)
        except ValueError:
            continue
    return total % _MODULUS
