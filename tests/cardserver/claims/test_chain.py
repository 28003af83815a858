"""The chain of seals can be recomputed from the rows, and a changed row breaks it."""

import asyncio
import hashlib
import zlib

from msgspec import msgpack

from ledger import tables
from ledger.bulk_store import plain, update
from ledger.database_store import Database
from tests.cardserver.claims.fund import RETIRED, Counter, bill

SEALS = (
    "SELECT slot, first_sequence, last_sequence, digest, checks FROM seal"
    " ORDER BY slot, last_sequence"
)
ENTRIES = (
    "SELECT entry_no, person_no, kind, period, business_date, institution_no, clearing_type,"
    " undoes, recorded_time_ms FROM entry ORDER BY entry_no"
)
POSTINGS = "SELECT entry_no, line, account, owner, amount_fen FROM posting ORDER BY entry_no, line"
CLAIMS = "SELECT * FROM claim ORDER BY entry_no"
REQUESTS = "SELECT * FROM request ORDER BY month, institution_no, terminal_no, msgid"
AUDIT = "SELECT * FROM audit ORDER BY seal_no, line"
HEADS = "SELECT slot, chain_head, sequence FROM writer_slot"


async def query(database: Database, sql: str) -> list[tuple[object, ...]]:
    return await database.fetch(plain("test", postgresql=sql, sqlite=sql)())


async def first_broken_seal(database: Database) -> tuple[object, object] | None:
    """Recompute every chain as the README describes it; name the first seal that differs."""
    entries = await query(database, ENTRIES)
    postings = await query(database, POSTINGS)
    claims = await query(database, CLAIMS)
    requests = [tuple(row) for row in await query(database, REQUESTS)]
    audit = await query(database, AUDIT)
    heads = {slot: (head, sequence) for slot, head, sequence in await query(database, HEADS)}
    chain: dict[object, tuple[bytes, int]] = {}
    for slot, first, last, sealed, checks in await query(database, SEALS):
        previous, before = chain.get(slot, (bytes(32), 0))
        assert isinstance(slot, int)
        assert isinstance(first, int)
        assert isinstance(last, int)
        assert isinstance(checks, bytes)
        assert first == before + 1
        numbers = {(slot << 40) + sequence for sequence in range(first, last + 1)}
        rows = {
            "claim": [row for row in claims if row[0] in numbers],
            "entry": [row for row in entries if row[0] in numbers],
            "posting": [row for row in postings if row[0] in numbers],
            # Of a stored reply its hash is sealed, so that the reply may expire.
            "outcome": [
                (*row[:7], hashlib.sha256(row[7]).digest(), *row[8:])
                for row in requests
                if row[-1] in numbers
            ],
            "audit": [row for row in audit if row[0] in numbers],
        }
        encoded = {table: [msgpack.encode(row) for row in found] for table, found in rows.items()}
        material = previous + checks + b"".join(b"".join(encoded[table]) for table in sorted(rows))
        digest = hashlib.sha256(material).digest()
        named = {
            table: b"".join(zlib.crc32(row).to_bytes(4, "big") for row in found)
            for table, found in encoded.items()
            if found
        }
        if digest != sealed or msgpack.decode(checks) != named:
            return slot, last
        chain[slot] = (digest, last)
    assert {slot: end for slot, end in heads.items() if end[1]} == chain
    return None


async def test_the_chain_can_be_recomputed(counter: Counter) -> None:
    settled = await counter.settle(bill(("A1", 300_000)))
    await asyncio.gather(*(counter.settle(bill(("X", 100)), RETIRED) for _ in range(5)))
    await counter.cancel(str(settled.entry_no))
    await counter.print_ack(str(settled.entry_no))  # stored, without an entry
    await counter.reverse(counter.msgid())  # leaves a tombstone
    assert await first_broken_seal(counter.database) is None

    change = update(tables.posting, set=("owner",), by=("entry_no", "account"))
    await counter.database.execute(change([(311, settled.entry_no, 5010)]))
    broken = await first_broken_seal(counter.database)
    assert settled.entry_no is not None
    assert broken == (settled.entry_no >> 40, settled.entry_no & (2**40 - 1))
