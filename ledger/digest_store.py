"""Make the digest of a day, and compare one that was kept elsewhere with what is here now."""

from sqlalchemy import BigInteger, Connection, cast, func, select

from ledger.digest import FORMAT, AccountSum, Digest, SlotEnd
from ledger.entries import SEQUENCE_BITS
from ledger.tables import entry, period_total, seal, writer_slot
from ledger.verify_findings import Difference, Findings, blob, key_of


def read_digest(
    connection: Connection, *, fund: str, day: int, is_ended: bool, now_ms: int
) -> Digest:
    """Make a digest, in one snapshot.

    Args:
        connection: Of `Database.report`.
        fund: Whose ledger.
        day: At whose end it is to hold.
        is_ended: Whether that day is over.
        now_ms: The time.
    """
    slots: list[SlotEnd] = []
    rows = connection.execute(select(writer_slot.c.slot, writer_slot.c.sequence))
    for slot, sequence in sorted(tuple(row) for row in rows):
        wanted = _until_day(connection, slot, sequence, day) if is_ended else sequence
        end = _seal_until(connection, slot, wanted)
        if end is not None:
            slots.append(end)
    totals = _totals(connection, day) if is_ended else ()
    return Digest(FORMAT, fund, day, is_ended, now_ms, tuple(slots), totals)


def check_digest(connection: Connection, digest: Digest) -> Findings:
    """Compare a digest with the chains and totals as they are now."""
    findings = Findings()
    for slot in digest.slots:
        row = connection.execute(
            select(seal.c.digest).where(
                seal.c.slot == slot.slot, seal.c.last_sequence == slot.sequence
            )
        ).first()
        if row is None or blob(row[0]).hex() != slot.seal:
            findings.add(
                [
                    Difference(
                        "seal",
                        key_of(slot=slot.slot, last_sequence=slot.sequence),
                        f"digest of {digest.day}",
                        "no such row" if row is None else blob(row[0]).hex(),
                        slot.seal,
                    )
                ]
            )
    if digest.is_ended:
        now = {one.account: one for one in _totals(connection, digest.day)}
        then = {one.account: one for one in digest.totals}
        for account in sorted(now.keys() | then.keys()):
            if now.get(account) != then.get(account):
                findings.add(
                    [
                        Difference(
                            "period_total",
                            key_of(account=account),
                            f"totals until {digest.day}: debit, credit, count",
                            _words(now.get(account)),
                            _words(then.get(account)),
                        )
                    ]
                )
    findings.read("digest", 1)
    return findings


def _until_day(connection: Connection, slot: int, last: int, day: int) -> int:
    """Find the last number of a slot before its first entry of a later day.

    A slot's days only grow, so a few dozen look-ups by number find it. What was sealed without an
    entry since (outcomes, the audit) is held by the digest too: also of a slot without entries.
    """
    base = slot << SEQUENCE_BITS
    low, high = 1, last
    while low <= high:
        middle = (low + high) // 2
        row = connection.execute(
            select(entry.c.entry_no, entry.c.business_date)
            .where(entry.c.entry_no.between(base + middle, base + high))
            .order_by(entry.c.entry_no)
            .limit(1)
        ).first()
        if row is None or row[1] > day:
            high = middle - 1
        else:
            low = row[0] - base + 1
    later = connection.execute(
        select(func.min(entry.c.entry_no)).where(entry.c.entry_no.between(base + low, base + last))
    ).scalar()
    return last if later is None else int(later) - base - 1


def _seal_until(connection: Connection, slot: int, sequence: int) -> SlotEnd | None:
    row = connection.execute(
        select(seal.c.last_sequence, seal.c.digest)
        .where(seal.c.slot == slot, seal.c.last_sequence <= sequence)
        .order_by(seal.c.last_sequence.desc())
        .limit(1)
    ).first()
    return None if row is None else SlotEnd(slot, row[0], blob(row[1]).hex())


def _totals(connection: Connection, day: int) -> tuple[AccountSum, ...]:
    total = period_total.c
    rows = connection.execute(
        select(
            total.account,
            *(
                cast(func.sum(column), BigInteger)
                for column in (total.debit_fen, total.credit_fen, total.count)
            ),
        )
        .where(total.business_date <= day)
        .group_by(total.account)
        .order_by(total.account)
    )
    return tuple(AccountSum(*row) for row in rows)


def _words(one: AccountSum | None) -> str:
    return "none" if one is None else f"{one.debit_fen}, {one.credit_fen}, {one.count}"
