"""A record of a visit as it is stored: one MessagePack array, without names.

    [1, [[number, day, item, name, price_microyuan, quantity_e4, gross_fen, refunds], ...]]
    [2, [number, ...]]                                   no number: all that are not settled
    [3, claim_no, until, total_fen, admission, [[scheme, deductible_fen, in_scope_fen, pool_fen,
        large_amount_fen, admissions], ...]]
    [4, claim_no]
    [5, day, outcome, diagnosis]
    [6]
    [7]

LINES, LINES_CANCEL, SETTLE, its undoing, DISCHARGE, DISCHARGE_CANCEL, VISIT_CANCEL; days are
YYYYMMDD. A later version may append elements.
"""

from msgspec import msgpack

from cardserver.visits.values import VisitRecord

_ENCODER = msgpack.Encoder()
_DECODER: msgpack.Decoder[VisitRecord] = msgpack.Decoder(VisitRecord)


def encode_record(record: VisitRecord) -> bytes:
    """Return the value to store."""
    return _ENCODER.encode(record)


def decode_record(stored: bytes) -> VisitRecord:
    """Return what a stored value says.

    Raises:
        msgspec.ValidationError: If it is not one.
    """
    return _DECODER.decode(stored)
