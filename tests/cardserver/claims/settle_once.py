"""A process that settles once on SQLite and says so: what `test_durable.py` watches.

Arguments: the database's URL, migrated and empty.
"""

import asyncio
import os
import sys
from pathlib import Path

from cardserver.benefits.policy import PolicyBook, load_policy
from cardserver.claims.claims_store import claims_participants
from cardserver.claims.values import ClaimsWriter, Rules
from ledger.database_store import Database
from ledger.writer import GroupWriter
from tests.cardserver.claims.fund import CATALOGUE, SHANGHAI, Counter, TestClock, bill, fill

POLICIES = Path(__file__).parents[3] / "cardserver" / "benefits" / "policies"


async def settle_once(url: str) -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(POLICIES.glob("*.toml"))]
    database = Database.open(url)
    await database.start()
    await fill(database)
    clock = TestClock()
    writer: ClaimsWriter = GroupWriter(
        database, claims_participants(), clock=clock, timezone=SHANGHAI
    )
    await writer.start()
    rules = Rules(PolicyBook([load_policy(text) for text in texts]), CATALOGUE)
    counter = Counter(writer, database, rules, clock)
    os.write(1, b"ASKING\n")
    outcome = await counter.settle(bill(("X", 500)), shown=(0, 0, 500))
    os.write(1, b"ANSWERED %d\n" % outcome.code)
    await writer.stop()
    await database.close()


if __name__ == "__main__":
    asyncio.run(settle_once(sys.argv[1]))
