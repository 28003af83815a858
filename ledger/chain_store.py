"""Rows that are named by the seal that covers them: numbered in a group, or chained without one.

The audit is such a table. What a commit group leaves of it is sealed with the group. Any other
transaction may add rows too (`Statement.numbered`): they are held back until its script has ended,
then put at the end of the chain of a slot that no writer holds, locked until the commit. So there
is nothing in the table that no seal covers, and transactions side by side take slots side by side.
Not here: what a seal is (`sealing.py`), and how chains are verified (`verify_chain.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger import tables
from ledger.bulk_store import Query, Row, insert, plain, together, update
from ledger.entries import entry_number
from ledger.scripts import Script, T
from ledger.sealing import seal
from ledger.store_errors import StoreError

NOBODY = ""
"""The owner of a slot that no writer holds."""

_GENESIS = bytes(32)
_NEW_SLOT_ATTEMPTS_MAX = 100

# Whose lease has merely run out keeps its slot: its writer may be idle, and go on with it.
_FREE_SLOT = plain(
    "find a slot of nobody's",
    postgresql=(
        "SELECT slot, sequence, chain_head FROM writer_slot WHERE owner = ''"
        " ORDER BY slot LIMIT 1 FOR UPDATE SKIP LOCKED"
    ),
    sqlite=(
        "SELECT slot, sequence, chain_head FROM writer_slot WHERE owner = '' ORDER BY slot LIMIT 1"
    ),
)
_LAST_SLOT = plain(
    "last slot of all",
    postgresql="SELECT max(slot) FROM writer_slot",
    sqlite="SELECT max(slot) FROM writer_slot",
)
_INSERT_SLOT = insert(
    tables.writer_slot,
    ("slot", "owner", "lease_until_ms", "sequence", "chain_head"),
    ignore_existing=True,
)
_INSERT_SEAL = insert(tables.seal, ("slot", "last_sequence", "first_sequence", "digest", "checks"))
_ADVANCE_SLOT = update(
    tables.writer_slot, set=("sequence", "chain_head"), by=("slot", "owner", "sequence")
)


def numbered(queries: Sequence[Query], seal_no: int) -> list[Query]:
    """Name rows by the seal that is to cover them; those of one table become one query.

    Args:
        queries: Of a group; the others are left as they are.
        seal_no: `Slot.seal_no` of the group.
    """
    if not any(query.statement.numbered for query in queries):
        return list(queries)
    others: list[Query] = []
    rows_of: dict[str, _Rows] = {}
    for query in queries:
        statement = query.statement.numbered
        if statement is None:
            others.append(query)
            continue
        found = rows_of.setdefault(statement.sealed_table, _Rows(query, []))
        found.rows.extend(query.rows)
    for one in rows_of.values():
        statement = one.first.statement.numbered
        assert statement is not None
        others.append(statement([(seal_no, line, *row) for line, row in enumerate(one.rows, 1)]))
    return others


@dataclass(frozen=True, slots=True)
class _Rows:
    first: Query
    rows: list[Row]


def chained(script: Script[T]) -> Script[T]:
    """Run a transaction's script, and chain the rows that it left to be numbered."""
    kept: list[Query] = []
    result = yield from _without_numbered(script, kept)
    if any(query.rows for query in kept):
        yield from _seal(kept)
    return result


def _without_numbered(script: Script[T], kept: list[Query]) -> Script[T]:
    """Run a script, and keep what is to be numbered from the database."""
    try:
        query = next(script)
        while True:
            if query.statement.numbered is not None:
                kept.append(query)
                rows: list[Row] = []
            else:
                rows = yield query
            query = script.send(rows)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        script.close()


def _seal(queries: Sequence[Query]) -> Script[None]:
    slot, sequence, head = yield from _take_slot()
    last = sequence + 1
    sealed = numbered(queries, entry_number(slot=slot, sequence=last))
    digest, checks = seal(head, {query.statement.sealed_table: query.rows for query in sealed})
    advanced = yield together(
        [
            *sealed,
            _INSERT_SEAL([(slot, last, last, digest, checks)]),
            _ADVANCE_SLOT([(last, digest, slot, NOBODY, sequence)]),
        ]
    )
    if not advanced:
        raise StoreError(f"slot {slot} was taken while it was locked")


def _take_slot() -> Script[tuple[int, int, bytes]]:
    """Lock a slot of nobody's until the transaction ends, or make one: slot, sequence, head."""
    free = yield _FREE_SLOT()
    if free:
        ((number, sequence, head),) = free
        return number, sequence, head
    for _ in range(_NEW_SLOT_ATTEMPTS_MAX):
        ((last,),) = yield _LAST_SLOT()
        number = (last or 0) + 1
        if (yield _INSERT_SLOT([(number, NOBODY, 0, 0, _GENESIS)])):
            return number, 0, _GENESIS
        # Another transaction took this number at the same moment; its row is visible by now.
    raise StoreError("no free slot was found: too many transactions begin at once")
