"""Clearings and payments compared with the entries that they name, each difference by row.

Not here: the entries themselves, which chains and totals hold (`ledger/verify_*.py`).
"""

from sqlalchemy import Connection, text

from ledger.accounts import Account
from ledger.verify_findings import NAMED_MAX, Difference, Findings, key_of

_UNDER_WAY = int(Account.PAYMENTS_UNDER_WAY)
_DEPOSIT = int(Account.INSTITUTION_DEPOSIT)
_DEDUCTIONS = int(Account.DEDUCTIONS)
_PAYABLE = int(Account.INSTITUTION_PAYABLE)

_CLEARINGS = f"""
    SELECT c.entry_no, c.institution_no, c.month, c.clearing_type,
           c.paid_fen, c.withheld_fen, c.cap_fen, c.applied_fen,
           coalesce(m.paid, 0), coalesce(m.withheld, 0), coalesce(m.cap, 0),
           c.paid_fen + c.withheld_fen + c.review_fen + c.cap_fen,
           c.settled_fen + c.undone_fen + c.other_fen + c.brought_fen - c.carried_fen,
           coalesce(f.paid, 0), coalesce(f.withheld, 0)
    FROM clearing c
    LEFT JOIN (
        SELECT p.entry_no,
               CAST(sum(CASE WHEN account = {_UNDER_WAY} THEN -amount_fen ELSE 0 END) AS BIGINT)
                   AS paid,
               CAST(sum(CASE WHEN account = {_DEPOSIT} THEN -amount_fen ELSE 0 END) AS BIGINT)
                   AS withheld,
               CAST(sum(CASE WHEN account = {_DEDUCTIONS} THEN -amount_fen ELSE 0 END) AS BIGINT)
                   AS cap
        FROM clearing d JOIN posting p ON p.entry_no = d.entry_no GROUP BY p.entry_no
    ) m ON m.entry_no = c.entry_no
    LEFT JOIN (
        SELECT clearing_no, CAST(sum(paid_fen) AS BIGINT) AS paid,
               CAST(sum(withheld_fen) AS BIGINT) AS withheld
        FROM clearing_fund GROUP BY clearing_no
    ) f ON f.clearing_no = c.entry_no
    ORDER BY c.month, c.institution_no, c.clearing_type
"""  # noqa: S608 - numbers of our own

_PAYMENTS = """
    SELECT p.payment_no, p.amount_fen, p.again_of, p.state,
           coalesce((SELECT CAST(sum(f.amount_fen) AS BIGINT) FROM payment_fund f
                     WHERE f.payment_no = p.payment_no), 0),
           coalesce((SELECT CAST(sum(t.amount_fen) AS BIGINT) FROM payment_part t
                     WHERE t.payment_no = p.payment_no), 0),
           coalesce((SELECT b.amount_fen FROM payment b WHERE b.payment_no = p.again_of), 0),
           coalesce((SELECT CAST(sum(q.amount_fen) AS BIGINT) FROM posting q
                     WHERE q.entry_no = p.entry_no AND q.amount_fen > 0), 0)
    FROM payment p ORDER BY p.payment_no
"""

_PARTS = f"""
    SELECT t.entry_no, t.payment_no, t.amount_fen, coalesce(c.paid_fen, r.amount_fen)
    FROM payment_part t
    LEFT JOIN clearing c ON c.entry_no = t.entry_no
    LEFT JOIN (
        SELECT entry_no, CAST(-sum(amount_fen) AS BIGINT) AS amount_fen FROM posting
        WHERE account = {_PAYABLE} AND entry_no IN (SELECT entry_no FROM deposit_release)
        GROUP BY entry_no
    ) r ON r.entry_no = t.entry_no
    WHERE coalesce(c.paid_fen, r.amount_fen) IS NULL
       OR coalesce(c.paid_fen, r.amount_fen) <> t.amount_fen
    ORDER BY t.entry_no LIMIT {NAMED_MAX}
"""  # noqa: S608 - as above

_INSTRUCTED = 1


def check_clearings(connection: Connection) -> Findings:
    """Compare clearings, payments and what they name; for `Database.report`."""
    findings = Findings()
    _clearings(connection, findings)
    _payments(connection, findings)
    for entry_no, payment_no, kept, made in connection.execute(text(_PARTS)):
        key = key_of(entry_no=entry_no, payment_no=payment_no)
        findings.add([Difference("payment_part", key, "amount_fen", str(kept), str(made))])
    return findings


def _clearings(connection: Connection, findings: Findings) -> None:
    rows = connection.execute(text(_CLEARINGS)).fetchall()
    findings.read("clearing", len(rows))
    for number, institution_no, month, clearing_type, *amounts in rows:
        paid, withheld, cap, applied, *recomputed = amounts
        key = key_of(
            institution_no=institution_no, month=month, clearing_type=clearing_type,
            entry_no=number,
        )  # fmt: skip
        moved_paid, moved_withheld, moved_cap, dealt_with, incoming, fund_paid, fund_withheld = (
            recomputed
        )
        pairs = (
            ("paid_fen", paid, moved_paid),
            ("withheld_fen", withheld, moved_withheld),
            ("cap_fen", cap, moved_cap),
            ("applied_fen", applied, dealt_with),
            ("applied_fen", applied, incoming),
            ("paid_fen, by insurance", paid, fund_paid),
            ("withheld_fen, by insurance", withheld, fund_withheld),
        )
        findings.add(
            Difference("clearing", key, what, str(kept), str(made))
            for what, kept, made in pairs
            if kept != made
        )


def _payments(connection: Connection, findings: Findings) -> None:
    rows = connection.execute(text(_PAYMENTS)).fetchall()
    findings.read("payment", len(rows))
    for number, amount, again_of, state, funds, parts, returned, moved in rows:
        pairs = [
            ("amount_fen, by insurance", funds),
            ("amount_fen", returned if again_of else parts),
        ]
        if state != _INSTRUCTED:
            pairs.append(("amount_fen, of its entry", moved))
        findings.add(
            Difference("payment", key_of(payment_no=number), what, str(amount), str(made))
            for what, made in pairs
            if amount != made
        )
