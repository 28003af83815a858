"""The day's digest: where each chain ended and what accounts came to, to be kept elsewhere. Pure.

Whoever can write to the database can change a row and compute the chain anew from there. Who keeps
a digest of each day somewhere else finds that: the seal that ended the day is another one. Not
here: reading and comparing (`digest_store.py`); signing, which is for whoever runs the ledger.
"""

from typing import Annotated

from msgspec import DecodeError, Meta, Struct, json

FORMAT = 1


class DigestError(Exception):
    """A digest can't be read, or is not of this ledger."""


class SlotEnd(Struct, frozen=True, forbid_unknown_fields=True):
    """Where one slot's chain ended.

    Attributes:
        slot: The slot.
        sequence: The last number that its seal covers: before the first entry of a later day, and
            where there is none the chain's last.
        seal: That seal, in hex.
    """

    slot: int
    sequence: int
    seal: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class AccountSum(Struct, frozen=True, forbid_unknown_fields=True):
    """What an account was debited and credited in all.

    Attributes:
        account: Its number.
        debit_fen: The sum of its debits.
        credit_fen: The sum of its credits.
        count: How many postings there were.
    """

    account: int
    debit_fen: int
    credit_fen: int
    count: int


class Digest(Struct, frozen=True, forbid_unknown_fields=True):
    """One day's digest.

    Attributes:
        format: Of this document.
        fund: Whose ledger.
        day: The business date at whose end it holds, YYYYMMDD; of the moment it was made where
            that day had not ended.
        is_ended: Whether the day had ended: then nothing can be added to it.
        made_time_ms: When it was made.
        slots: By number.
        totals: By account; only of a day that had ended.
    """

    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)]
    fund: str
    day: int
    is_ended: bool
    made_time_ms: int
    slots: tuple[SlotEnd, ...]
    totals: tuple[AccountSum, ...]

    @property
    def entries_count(self) -> int:
        """How many numbers the chains have given out."""
        return sum(slot.sequence for slot in self.slots)


def encode_digest(digest: Digest) -> bytes:
    """Return the JSON that is signed: one line."""
    return json.encode(digest)


def decode_digest(encoded: bytes) -> Digest:
    """Read a digest.

    Raises:
        DigestError: It is not one.
    """
    try:
        return json.decode(encoded, type=Digest)
    except DecodeError as error:
        raise DigestError(f"not a digest: {error}") from error
