"""How many stored settlements are decided again in a second, and on each core?

Makes a database of settlements as real adjudication decided them, a year's ten for each person, ten
lines each, with accumulators; then decides all of them again under a draft, as `cardserver policy
replay` does, and once more beside the version that decided.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cardserver.benefits.adjudication import adjudicate
from cardserver.benefits.policy import Policy, load_policy
from cardserver.benefits.values import (
    NOTHING_USED,
    Accumulated,
    BillLine,
    BillRefusal,
    Case,
    Moved,
    Purses,
    added,
)
from cardserver.claims import tables as claims
from cardserver.claims.claim_detail import encode_detail
from cardserver.claims.replay import Months
from cardserver.claims.replay_report import Tally
from cardserver.claims.replay_store import PersonRange, person_ranges
from cardserver.claims.replay_work import CLAIMS_MAX, Job, replay_ranges
from cardserver.claims.values import ClaimDetail, Facts
from cardserver.migrations.schema import migrate
from ledger.bulk_store import Row, Statement, insert
from ledger.database_store import Database
from protocol.terminal.messages import Bill, Line, MessageType
from simulators.postgres import PostgreSQLCluster

YEAR = 2026
CLAIMS_EACH = 10  # of a person in the year
LINES = 10
INSTITUTIONS = 300
BILLS = 500  # different ones, which persons share
PERSONS_A_BATCH = 250
POLICY = (
    Path(__file__).parents[1] / "cardserver" / "benefits" / "policies" / "beijing_employees.toml"
)
# The draft: community care free of the class of 70, and another deductible.
CHANGES = (("amount = 1800", "amount = 1500"), ('ratio = "70%"', 'ratio = "75%"'))
MONTHS = Months(YEAR * 10_000 + 101, YEAR * 10_000 + 1231)
PURSES = Purses(200_000, 0, uses_account=True)
SLOT = 1 << 40


def main() -> None:
    """Make the settlements, replay them, print the rates."""
    parser = argparse.ArgumentParser(prog="benchmarks replay", description=__doc__)
    parser.add_argument("--claims", type=int, default=50_000)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    given = parser.parse_args()
    with _database(given.database) as url:
        asyncio.run(migrate(url))
        began = time.perf_counter()
        count = make_claims(url, given.claims // CLAIMS_EACH)
        print(f"{count:,} settlements made in {time.perf_counter() - began:.1f} s, {url}")
        text = POLICY.read_text(encoding="utf-8")
        draft = text
        for before, after in CHANGES:
            assert before in draft
            draft = draft.replace(before, after)
        for name, drafts, is_control, jobs in (
            ("draft", (draft,), False, given.jobs),
            ("draft, one process", (draft,), False, 1),
            ("control", (), True, given.jobs),
        ):
            if jobs == 1 and given.jobs == 1 and "one" in name:
                continue
            job = Job(url, "", (text,), drafts, is_control, MONTHS)
            _replay(name, job, jobs)


def make_claims(url: str, persons: int) -> int:
    """Fill a database with a year's settlements of so many persons, by all processors."""
    context = multiprocessing.get_context("spawn")
    starts = range(1, persons + 1, PERSONS_A_BATCH)
    asked = [(start, min(PERSONS_A_BATCH, persons + 1 - start)) for start in starts]
    with context.Pool(len(os.sched_getaffinity(0))) as pool:
        return asyncio.run(_write(url, pool.imap(_made, asked)))


@contextmanager
def _database(kind: str) -> Iterator[str]:
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/replay.db"
    else:
        with PostgreSQLCluster() as cluster:
            yield cluster.create_database("replay")


def _replay(name: str, job: Job, jobs: int) -> None:
    async def plan() -> list[PersonRange]:
        database = Database.open(job.url)
        try:
            return await person_ranges(database, CLAIMS_MAX)
        finally:
            await database.close()

    began = time.perf_counter()
    tally = Tally()
    for done in replay_ranges(job, asyncio.run(plan()), jobs=jobs):
        tally.add(done.tally)
    took = time.perf_counter() - began
    replayed = sum(cell.claim_count for cell in tally.cells.values())
    decided = replayed + tally.control_count
    print(
        f"{name:20} {decided:>10,} bills in {took:6.1f} s by {jobs}: {decided / took:>8,.0f} a "
        f"second, {decided / took / jobs:>8,.0f} a second and core; "
        f"{tally.difference_count} differ, {tally.unreplayed_count} not replayed"
    )


# --- making settlements --------------------------------------------------------------------------


def _made(asked: tuple[int, int]) -> tuple[list[Row], list[Row]]:
    """Make claims and accumulators of some persons."""
    start, count = asked
    if not _loaded:
        _loaded.append((load_policy(POLICY.read_text(encoding="utf-8")), _make_bills()))
    policy, bills = _loaded[0]
    claim_rows: list[Row] = []
    used_rows: list[Row] = []
    for person in range(start, start + count):
        _make_person(person, policy, bills, claim_rows, used_rows)
    return claim_rows, used_rows


_loaded: list[tuple[Policy, list[tuple[Bill, list[BillLine]]]]] = []  # once in each process


def _make_bills() -> list[tuple[Bill, list[BillLine]]]:
    chance = random.Random(20261121)
    made = []
    for _ in range(BILLS):
        lines, divided = [], []
        for number in range(LINES):
            item_class = chance.choice((1, 1, 1, 2, 2, 3))
            price_fen = chance.randrange(50, 30_000)
            item = f"XA{chance.randrange(10**6):06d}"
            lines.append(Line(item, f"药品{number}", price_fen * 10_000, 10_000, price_fen))
            ratio_e4 = 1000 if item_class == 2 else 0
            divided.append(
                BillLine(item, item_class, ratio_e4, None, price_fen * 10_000, 10_000, price_fen)
            )
        bill = Bill("310", "11", sum(line.gross_fen for line in lines), True, "I1", tuple(lines))  # noqa: FBT003 - as on the wire
        made.append((bill, divided))
    return made


def _make_person(
    person: int,
    policy: Policy,
    bills: list[tuple[Bill, list[BillLine]]],
    claim_rows: list[Row],
    used_rows: list[Row],
) -> None:
    """Settle a person's bills of the year, one after the other."""
    chance = random.Random(person)
    person_type = "12" if person % 4 == 0 else "11"
    age = chance.randrange(60, 95) if person_type == "12" else chance.randrange(20, 60)
    used: dict[str, Accumulated] = {}
    for number in range(CLAIMS_EACH):
        bill, lines = chance.choice(bills)
        place = chance.randrange(INSTITUTIONS)
        kind, level = ((1, 1 + place % 3), (2, 1), (3, 0))[place % 5 % 3]
        med_type = "41" if kind == 3 else "21" if kind == 1 and number == 5 else "11"
        day = YEAR * 10_000 + (1 + number) * 100 + 1 + person % 28
        case = Case("310", med_type, person_type, age, kind, level, "110105", day)
        scheme = policy.care_of(med_type)
        assert scheme is not None
        looked_at = tuple(Moved(row, used[row]) for row in policy.rows_of(scheme) if row in used)
        done = adjudicate(policy, case, lines, used, PURSES, explain=False)
        assert not isinstance(done, BillRefusal), done
        for one in done.moved:
            used[one.scheme] = added(used.get(one.scheme, NOTHING_USED), one.amounts)
        detail = ClaimDetail(
            bill, done.split, done.line_splits, done.moved, done.scheme, done.year,
            facts=Facts(case, looked_at, PURSES),
        )  # fmt: skip
        split = done.split
        claim_rows.append((
            SLOT + person * CLAIMS_EACH + number, person, place + 1, place + 1,
            f"H{place:011d}{day:08d}100000{number:04d}", 1, int(MessageType.SETTLE), "310",
            med_type, day, day, None, split.total_fen, split.fund_pay_fen, split.account_pay_fen,
            split.mutual_aid_fen, split.cash_fen, done.policy, person, 2, "", 0,
            encode_detail(detail),
        ))  # fmt: skip
    for row, amounts in used.items():
        used_rows.append(
            (person, YEAR, "310", row, amounts.deductible_fen, amounts.in_scope_fen,
             amounts.pool_fen, amounts.large_amount_fen, amounts.admissions)
        )  # fmt: skip


async def _write(url: str, batches: Iterator[tuple[list[Row], list[Row]]]) -> int:
    def whole(table_name: str) -> Statement:
        table = claims.metadata.tables[table_name]
        return insert(table, [column.name for column in table.columns])

    put_claims, put_used = whole("claim"), whole("accumulator")
    database = Database.open(url)
    await database.start()
    count = 0
    for claim_rows, used_rows in batches:
        await database.execute(put_claims(claim_rows), put_used(used_rows))
        count += len(claim_rows)
    await database.close()
    return count


if __name__ == "__main__":
    main()
