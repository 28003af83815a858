"""What is kept beside the entries, recomputed from them in one snapshot, each difference named.

Sums are made by the database, which needs no more memory for a hundred million postings than for
a thousand. Not here: the chain of seals (`verify_chain.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Integer, Table, text

from ledger.accounts import Account, Side
from ledger.entries import SEQUENCE_BITS
from ledger.verify_chain import SealedTable
from ledger.verify_findings import NAMED_MAX, Difference, Findings, blob, key_of

_NUMBER_MIN, _NUMBER_MAX = -(2**63), 2**63 - 1
_OF_SIDE = {side: [a.value for a in Account if a.is_limited and a.side is side] for side in Side}


@dataclass(frozen=True, slots=True)
class Head:
    """Where a slot's chain ends."""

    slot: int
    sequence: int
    digest: bytes


def read_heads(connection: Connection) -> list[Head]:
    """Return the chains' heads as the slots say, by slot."""
    rows = connection.execute(
        text("SELECT slot, sequence, chain_head FROM writer_slot ORDER BY slot")
    )
    return [Head(slot, sequence, blob(digest)) for slot, sequence, digest in rows]


def check_heads(connection: Connection, heads: Sequence[Head]) -> Findings:
    """Compare each slot with its last seal, and find seals of no slot."""
    findings = Findings()
    findings.read("writer_slot", len(heads))
    strange = connection.execute(
        text(
            "SELECT slot, last_sequence FROM seal WHERE last_sequence < 1"
            " ORDER BY slot, last_sequence"
        )
    )
    findings.add(
        Difference("seal", key_of(slot=slot, last_sequence=last), "last_sequence", str(last), "1..")
        for slot, last in strange
    )
    known = {head.slot: head for head in heads}
    slots = {row[0] for row in connection.execute(text("SELECT DISTINCT slot FROM seal"))}
    for slot in sorted(slots | known.keys()):
        head = known.get(slot, Head(slot, 0, bytes(32)))
        last = connection.execute(
            text(
                "SELECT last_sequence, digest FROM seal WHERE slot = :slot"
                " ORDER BY last_sequence DESC LIMIT 1"
            ),
            {"slot": slot},
        ).fetchone()
        sequence, digest = (0, bytes(32)) if last is None else (last[0], blob(last[1]))
        key = key_of(slot=slot)
        if slot not in known:
            findings.add([Difference("writer_slot", key, "row", "no such row", "a slot")])
        elif head.sequence != sequence:
            findings.add(
                [Difference("writer_slot", key, "sequence", str(head.sequence), str(sequence))]
            )
        elif head.digest != digest:
            findings.add(
                [Difference("writer_slot", key, "chain_head", head.digest.hex(), digest.hex())]
            )
    return findings


def _in_range(number: int) -> int:
    """Keep what a damaged slot or sequence gives within the numbers of a database."""
    return max(_NUMBER_MIN, min(number, _NUMBER_MAX))


def check_outside(
    connection: Connection, heads: Sequence[Head], tables: Sequence[SealedTable]
) -> Findings:
    """Find rows that no chain knows: beyond every slot's head, or of no slot at all."""
    findings = Findings()
    gaps: list[tuple[int, int | None]] = []
    begins = _NUMBER_MIN
    for head in heads:
        first = head.slot << SEQUENCE_BITS
        gaps.append((begins, _in_range(first)))
        begins = _in_range(first + head.sequence + 1)
    # The last one has no end: for SQLite, which keeps what it is given, texts and bytes are beyond
    # every number.
    gaps.append((begins, None))
    has_old = _has_old_seals(connection)
    for table in tables:
        names = ", ".join(f'"{column}"' for column in table.columns)
        for first, last in gaps:
            rows = connection.execute(
                text(
                    f'SELECT {names} FROM "{table.name}"'  # noqa: S608 - the schema's own names
                    f' WHERE "{table.by}" >= :first'
                    + ("" if last is None else f' AND "{table.by}" <= :last')
                    + f' ORDER BY "{table.by}" LIMIT {NAMED_MAX}'
                ),
                {"first": first} if last is None else {"first": first, "last": last},
            )
            for row in rows:
                values = dict(zip(table.columns, row, strict=True))
                if has_old and values[table.by] == 0:
                    continue  # stored before seals covered it
                difference = Difference(
                    table.name, table.name_row(tuple(row)), table.by,
                    str(values[table.by]), "a number that a seal covers",
                )  # fmt: skip
                findings.add([difference])
    return findings


def check_kinds(connection: Connection, tables: Sequence[Table]) -> Findings:
    """Find what is no whole number in columns of numbers, which SQLite would keep there.

    Nothing else can be trusted, or even compared, until such rows are put right.
    """
    findings = Findings()
    if connection.dialect.name != "sqlite":
        return findings
    for table in tables:
        names = [str(one.name) for one in table.columns if isinstance(one.type, Integer)]
        strange = " OR ".join(
            f"""typeof("{name}") NOT IN ('integer'{", 'null'" if table.c[name].nullable else ""})"""
            for name in names
        )
        keys = [str(one.name) for one in table.primary_key.columns]
        rows = connection.execute(
            text(
                f'SELECT * FROM "{table.name}" WHERE {strange} LIMIT {NAMED_MAX}'  # noqa: S608 - ours
            )
        )
        for row in rows:
            values = row._asdict()
            findings.add(
                Difference(
                    str(table.name), key_of(**{key: values[key] for key in keys}), name,
                    repr(values[name]), "a whole number",
                )
                for name in names
                if not isinstance(values[name], int | None)
            )  # fmt: skip
    return findings


def check_balances(connection: Connection) -> Findings:
    """Compare every balance that is kept with the postings of its account and owner."""
    debit, credit = _OF_SIDE[Side.DEBIT], _OF_SIDE[Side.CREDIT]
    limited = ", ".join(map(str, [*debit, *credit]))
    sign = f"CASE WHEN account IN ({', '.join(map(str, credit))}) THEN -1 ELSE 1 END"
    # One sort of both, and no join: SQLite would make a full one row by row.
    return _named(
        connection,
        f"""
        SELECT owner, account, sum(stored), sum(recomputed), max(is_kept), count(*) OVER ()
        FROM (
            SELECT owner, account, balance_fen AS stored, 0 AS recomputed, 1 AS is_kept
            FROM account_balance
            UNION ALL
            SELECT owner, account, 0, amount_fen * {sign}, 0
            FROM posting WHERE account IN ({limited})
        ) b GROUP BY owner, account
        HAVING max(is_kept) = 0 OR sum(stored) <> sum(recomputed)
        ORDER BY owner, account LIMIT {NAMED_MAX}
        """,  # noqa: S608 - numbers of our own
        lambda owner, account, stored, recomputed, is_kept: Difference(
            "account_balance",
            key_of(owner=owner, account=account),
            "balance_fen",
            str(stored) if is_kept else "no such row",
            str(recomputed),
        ),
    )


def check_totals(connection: Connection, *, from_period: int = 0) -> Findings:
    """Compare the writers' totals with the postings that they sum up."""
    keys = ("slot", "business_date", "period", "account", "institution_no", "clearing_type", "kind")
    named = ", ".join(keys)
    sums = ("debit_fen", "credit_fen", "count")
    stored = ", ".join(f"sum(k_{one})" for one in sums)
    recomputed = ", ".join(f"sum(r_{one})" for one in sums)
    differ = " OR ".join(f"sum(k_{one}) <> sum(r_{one})" for one in sums)

    def difference(*row: object) -> Difference:
        key, kept, made = row[:7], row[7:10], row[10:13]
        is_kept, is_made = row[13:]
        return Difference(
            "period_total",
            key_of(**dict(zip(keys, key, strict=True))),
            "debit_fen, credit_fen, count",
            ", ".join(map(str, kept)) if is_kept else "no such row",
            ", ".join(map(str, made)) if is_made else "no such row",
        )

    return _named(
        connection,
        f"""
        SELECT {named}, {stored}, {recomputed}, max(is_kept), max(is_made), count(*) OVER ()
        FROM (
            SELECT {named}, debit_fen AS k_debit_fen, credit_fen AS k_credit_fen,
                   count AS k_count, 0 AS r_debit_fen, 0 AS r_credit_fen, 0 AS r_count,
                   1 AS is_kept, 0 AS is_made
            FROM period_total WHERE period >= {from_period}
            UNION ALL
            SELECT CAST(e.entry_no >> {SEQUENCE_BITS} AS INTEGER), e.business_date, e.period,
                   p.account, e.institution_no, e.clearing_type, e.kind, 0, 0, 0,
                   CASE WHEN p.amount_fen > 0 THEN p.amount_fen ELSE 0 END,
                   CASE WHEN p.amount_fen < 0 THEN -p.amount_fen ELSE 0 END, 1, 0, 1
            FROM entry e JOIN posting p ON p.entry_no = e.entry_no
            WHERE e.period >= {from_period}
        ) t GROUP BY {named}
        HAVING max(is_kept) = 0 OR max(is_made) = 0 OR {differ}
        ORDER BY {named} LIMIT {NAMED_MAX}
        """,  # noqa: S608 - the schema's own names, and numbers
        difference,
    )


def check_undoing(connection: Connection) -> Findings:
    """See that what undoes an entry is its exact negative, and that each is noted once."""
    findings = _named(
        connection,
        f"""
        SELECT e.entry_no, e.undoes, o.entry_no, count(*) OVER ()
        FROM entry e LEFT JOIN entry o ON o.entry_no = e.undoes
        WHERE e.undoes IS NOT NULL AND (
            o.entry_no IS NULL OR o.undoes IS NOT NULL OR o.person_no <> e.person_no
            OR o.institution_no <> e.institution_no OR o.clearing_type <> e.clearing_type
            OR (SELECT count(*) FROM posting p WHERE p.entry_no = e.entry_no)
               <> (SELECT count(*) FROM posting q WHERE q.entry_no = o.entry_no)
        ) ORDER BY e.entry_no LIMIT {NAMED_MAX}
        """,  # noqa: S608 - a number of our own
        lambda number, undoes, original: Difference(
            "entry", key_of(entry_no=number), "undoes", str(undoes),
            "no such entry" if original is None else "an entry whose exact negative it is",
        ),
    )  # fmt: skip
    findings.take(
        _named(
            connection,
            f"""
            SELECT p.entry_no, p.line, p.amount_fen, q.amount_fen, count(*) OVER ()
            FROM entry e JOIN posting p ON p.entry_no = e.entry_no
            LEFT JOIN posting q ON q.entry_no = e.undoes AND q.line = p.line
                 AND q.account = p.account AND q.owner = p.owner AND q.amount_fen = -p.amount_fen
            WHERE e.undoes IS NOT NULL AND q.entry_no IS NULL
            ORDER BY p.entry_no, p.line LIMIT {NAMED_MAX}
            """,  # noqa: S608 - a number of our own
            lambda number, line, amount_fen, _: Difference(
                "posting", key_of(entry_no=number, line=line), "amount_fen", str(amount_fen),
                "the exact negative of what its entry undoes",
            ),
        )
    )  # fmt: skip
    # `undoing` alone keeps an entry from being undone twice: a row too few lets it happen again.
    findings.take(
        _named(
            connection,
            f"""
            SELECT undoes, entry_no, max(is_kept), count(*) OVER ()
            FROM (
                SELECT undoes, entry_no, 1 AS is_kept, 0 AS is_made FROM undoing
                UNION ALL
                SELECT undoes, entry_no, 0, 1 FROM entry WHERE undoes IS NOT NULL
            ) u GROUP BY undoes, entry_no
            HAVING max(is_kept) = 0 OR max(is_made) = 0
            ORDER BY undoes, entry_no LIMIT {NAMED_MAX}
            """,  # noqa: S608 - a number of our own
            lambda undoes, number, is_kept: Difference(
                "undoing", key_of(undoes=undoes), "entry_no",
                str(number) if is_kept else "no such row",
                "no such entry" if is_kept else str(number),
            ),
        )
    )  # fmt: skip
    return findings


def _has_old_seals(connection: Connection) -> bool:
    """Tell whether there are seals of before stored outcomes were covered."""
    row = connection.execute(text("SELECT 1 FROM seal WHERE length(checks) = 0 LIMIT 1")).first()
    return row is not None


def _named(
    connection: Connection, statement: str, difference: Callable[..., Difference]
) -> Findings:
    """Name rows that differ; a row's last column says how many there are."""
    findings = Findings()
    rows = connection.execute(text(statement)).fetchall()
    findings.add(difference(*row[:-1]) for row in rows)
    if rows:
        findings.count = rows[0][-1]
    return findings
