"""Payments: what is to be paid to whom, gathered into transfers: pure.

A transfer pays an institution the clearings and released deposits that no transfer pays yet; or it
pays once more what the bank returned. Not here: the rows (`payments_store.py`), what is posted
(`payment_acts.py`), the file (`pain001.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, unique

from cardserver.clearing.terms_document import Holder


@unique
class PaymentState(IntEnum):
    """What became of a transfer. A number is never changed or used again."""

    INSTRUCTED = 1
    """In a file; the bank has not said anything yet."""
    CONFIRMED = 2
    RETURNED = 3


@dataclass(frozen=True, slots=True)
class Due:
    """Something that is to be paid, and that no transfer pays yet.

    Attributes:
        entry_no: The clearing's, or the entry that released deposits.
        is_owed: Whether it is on the payable, not under way: a released deposit.
        funds_fen: By insurance; adds up to the amount.
    """

    institution_no: int
    entry_no: int
    amount_fen: int
    is_owed: bool
    funds_fen: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Returned:
    """A transfer that the bank returned, and that was not paid again yet."""

    institution_no: int
    payment_no: int
    amount_fen: int
    funds_fen: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Transfer:
    """One transfer to one institution.

    Attributes:
        amount_fen: More than 0.
        owed_fen: Of it, what is on the payable and has yet to be posted as under way.
        again_of: A transfer that was returned; 0: none.
        parts: What it pays: entry numbers and amounts; none where it pays again.
        funds_fen: By insurance.
        holder: Where it goes.
    """

    institution_no: int
    amount_fen: int
    owed_fen: int
    again_of: int
    parts: tuple[tuple[int, int], ...]
    funds_fen: Mapping[int, int]
    holder: Holder


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a run pays.

    Attributes:
        transfers: By institution, those that pay again last.
        without_account: Institutions for whom the terms name no account, and what waits for them.
    """

    transfers: tuple[Transfer, ...]
    without_account: Mapping[int, int] = field(default_factory=dict)

    @property
    def total_fen(self) -> int:
        """What all come to."""
        return sum(one.amount_fen for one in self.transfers)


def gather(
    due: Sequence[Due],
    returned: Sequence[Returned],
    accounts: Mapping[int, Holder],
) -> Gathered:
    """Make transfers of what is to be paid: one an institution, and one a return.

    Args:
        due: Each more than 0.
        returned: Each more than 0.
        accounts: Where institutions are paid.
    """
    transfers: list[Transfer] = []
    without: dict[int, int] = {}
    by_institution: dict[int, list[Due]] = {}
    for one in due:
        assert one.amount_fen > 0
        by_institution.setdefault(one.institution_no, []).append(one)
    for number, some in sorted(by_institution.items()):
        amount_fen = sum(one.amount_fen for one in some)
        holder = accounts.get(number)
        if holder is None:
            without[number] = amount_fen
            continue
        transfers.append(
            Transfer(
                institution_no=number,
                amount_fen=amount_fen,
                owed_fen=sum(one.amount_fen for one in some if one.is_owed),
                again_of=0,
                parts=tuple(sorted((one.entry_no, one.amount_fen) for one in some)),
                funds_fen=_summed([one.funds_fen for one in some]),
                holder=holder,
            )
        )
    for back in sorted(returned, key=lambda one: (one.institution_no, one.payment_no)):
        holder = accounts.get(back.institution_no)
        if holder is None:
            number = back.institution_no
            without[number] = without.get(number, 0) + back.amount_fen
            continue
        transfers.append(
            Transfer(
                institution_no=back.institution_no,
                amount_fen=back.amount_fen,
                owed_fen=back.amount_fen,
                again_of=back.payment_no,
                parts=(),
                funds_fen=back.funds_fen,
                holder=holder,
            )
        )
    return Gathered(tuple(transfers), without)


def _summed(parts: Sequence[Mapping[int, int]]) -> dict[int, int]:
    sums: dict[int, int] = {}
    for part in parts:
        for insutype, fen in part.items():
            sums[insutype] = sums.get(insutype, 0) + fen
    return dict(sorted(sums.items()))


PAYMENTS_MAX = 100_000
"""Transfers in one file; a payment's number is its run's times this, and its place in it."""


def payment_number(*, run_no: int, index: int) -> int:
    """Return a payment's number: its run and its place in it, from 1."""
    assert 0 < index < PAYMENTS_MAX
    return run_no * PAYMENTS_MAX + index


def end_to_end_id(payment_no: int) -> str:
    """Return the reference that a bank carries through to the payee, and names in its reports."""
    run_no, index = divmod(payment_no, PAYMENTS_MAX)
    return f"CLR-{run_no}-{index}"


def payment_of(end_to_end: str) -> int | None:
    """Return the number of the payment that a reference names; None where it is none of ours."""
    parts = end_to_end.split("-")
    if len(parts) != 3 or parts[0] != "CLR":  # noqa: PLR2004 - as written above
        return None
    run_no, index = parts[1:]
    if not (run_no.isascii() and run_no.isdigit() and index.isascii() and index.isdigit()):
        return None
    if len(run_no) > 9 or not 0 < int(index) < PAYMENTS_MAX:  # noqa: PLR2004 - digits of an int32
        return None
    number = payment_number(run_no=int(run_no), index=int(index))
    return number if end_to_end_id(number) == end_to_end else None


def message_id(run_no: int, region: str) -> str:
    """Return what names a run's file at the bank."""
    return f"CLR{region}-{run_no}"


def run_of(message: str, region: str) -> int | None:
    """Return the run whose file a message id names; None where it is none of ours."""
    head = f"CLR{region}-"
    number = message.removeprefix(head)
    if not message.startswith(head) or not (number.isascii() and number.isdigit()):
        return None
    return int(number) if len(number) <= 9 and message == message_id(int(number), region) else None  # noqa: PLR2004 - as above
