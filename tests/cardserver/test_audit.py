"""The auditor finds nothing in a sound centre, and names each mistake that is planted."""

import asyncio
import datetime as dt
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from msgspec import structs

from benchmarks.load import enrol_many, institutions, terminal_config
from protocol.terminal.bodies import encode_body
from protocol.terminal.messages import MessageType, Refunded, Settled, Split
from simulators.account_order import Move, order_of
from simulators.audited_run import AuditedRun
from simulators.auditor import Auditor
from simulators.centre_process import CentreProcess, City
from simulators.counter import Desk, choose_patients, read_payers
from simulators.journal import Attempt, Journal
from simulators.made_up_bill import read_items
from simulators.network import BadNetwork
from tests.cities import copy_city

SEED = 3
WORK_S = 2.0
CUTS, CUTS_MAX = 5, 60
ENOUGH = {
    MessageType.SETTLE: 10,
    MessageType.CANCEL: 10,
    MessageType.REVERSE: 10,
    MessageType.LINES: 2,
}
CHINA = dt.timezone(dt.timedelta(hours=8))


@dataclass(frozen=True)
class Recorded:
    """A run that has ended, on a centre that still runs, and its database."""

    run: AuditedRun
    database: Path
    payers: dict[str, str]

    async def findings(self) -> str:
        return "\n".join(await self.run.findings())

    def journal_findings(self, change: Callable[[Attempt], Attempt | None]) -> str:
        """Audit the journal as it would be with some attempts changed."""
        journal = Journal()
        journal.previews = self.run.journal.previews
        for attempt in self.run.journal.attempts:
            changed = change(attempt)
            journal.attempts.append(attempt if changed is None else changed)
        return "\n".join(Auditor(journal, self.payers).check_journal())

    @contextmanager
    def planted(self, *statements: str) -> Iterator[None]:
        """Change the database by hand while the centre runs, and put it back."""
        with (
            closing(sqlite3.connect(":memory:")) as kept,
            closing(sqlite3.connect(self.database, timeout=10)) as live,
        ):
            live.backup(kept)
            try:
                for statement in statements:
                    assert live.execute(statement).rowcount > 0, statement
                live.commit()
                yield
            finally:
                kept.backup(live)

    def number(self, query: str) -> int:
        with closing(sqlite3.connect(self.database)) as connection:
            (found,) = connection.execute(query).fetchone()
            assert isinstance(found, int)
            return found


@pytest.fixture(scope="module")
def recorded(made_city: City, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("audited")
    city = copy_city(made_city, folder)
    centre = CentreProcess(city.config_file)

    async def work() -> AuditedRun:
        hospitals = institutions(city.population)[:2]
        folders = await enrol_many(
            city, [(hospitals[n % 2], f"A{n:03}") for n in range(4)], folder=folder
        )
        await centre.start()
        today = int(dt.datetime.now(CHINA).strftime("%Y%m%d"))
        patients = choose_patients(city.population, count=8, today=today)
        async with BadNetwork("127.0.0.1", centre.port) as network:
            password = city.password_file.read_text(encoding="utf-8")
            items = read_items(city.population)
            desks = [
                Desk(
                    terminal_config(own, port=centre.port), "c001", password, patients, items,
                    city.keys,
                ).without_pauses()
                for own in folders
            ]  # fmt: skip
            desks[0] = desks[0].at_port(network.port)
            run = AuditedRun(city, desks, seed=SEED)
            async with run.cashiers():
                for cuts in range(1, CUTS_MAX):
                    await asyncio.sleep(WORK_S / CUTS)
                    network.cut()
                    if cuts >= CUTS and is_enough(run):
                        break
        return run.at_port(centre.port)

    try:
        run = asyncio.run(work())
        payers = dict(read_payers(city.population))
        yield Recorded(run, city.directory / "cardserver.db", payers)
    finally:
        asyncio.run(centre.stop())


def is_enough(run: AuditedRun) -> bool:
    """Tell whether enough was done, on a machine however busy, that a mistake would show."""
    return all(
        sum(attempt.outcome is not None for attempt in run.journal.of_type(type_)) > count
        for type_, count in ENOUGH.items()
    )


async def test_a_sound_centre_gives_no_finding(recorded: Recorded) -> None:
    assert await recorded.findings() == ""
    journal = recorded.run.journal
    assert is_enough(recorded.run)
    assert any(attempt.sends > 1 for attempt in journal.attempts)


# --- mistakes in the centre's books -------------------------------------------------------------


async def test_finds_a_posting_changed_by_hand(recorded: Recorded) -> None:
    entry = recorded.number("SELECT max(entry_no) FROM posting WHERE account = 2010")
    with recorded.planted(
        f"UPDATE posting SET amount_fen = amount_fen - 1 WHERE entry_no = {entry}"
        " AND account = 2010"
    ):
        found = await recorded.findings()
    assert f"entry {entry} adds up to -1" in found
    assert "account 2010 was" in found


async def test_finds_an_entry_moved_to_another_account(recorded: Recorded) -> None:
    """It still balances; the period's totals are made to agree."""
    entry = recorded.number("SELECT max(entry_no) FROM posting WHERE account = 5010")
    with recorded.planted(
        f"UPDATE posting SET account = 5070 WHERE entry_no = {entry} AND account = 5010",
        "DELETE FROM period_total",
        "INSERT INTO period_total SELECT 1, 20260101, 202601, account, 0, 0, 0,"
        " sum(CASE WHEN amount_fen > 0 THEN amount_fen ELSE 0 END),"
        " sum(CASE WHEN amount_fen < 0 THEN -amount_fen ELSE 0 END), count(*)"
        " FROM posting GROUP BY account",
    ):
        found = await recorded.findings()
    assert "the trial balance says" not in found
    assert "account 5010 was" in found
    assert "account 5070 was" in found


async def test_finds_a_settlement_deleted(recorded: Recorded) -> None:
    """Every trace of it but the balance that it left is gone."""
    entry = recorded.number(
        "SELECT max(entry_no) FROM claim c WHERE type = 21 AND account_pay_fen = 0"
        " AND fund_pay_fen > 0 AND NOT EXISTS (SELECT 1 FROM claim u WHERE u.undoes = c.entry_no)"
        " AND EXISTS (SELECT 1 FROM request r WHERE r.entry_no = c.entry_no)"
    )
    with recorded.planted(
        f"DELETE FROM posting WHERE entry_no = {entry}",
        f"DELETE FROM entry WHERE entry_no = {entry}",
        f"DELETE FROM claim WHERE entry_no = {entry}",
        f"DELETE FROM request WHERE entry_no = {entry}",
    ):
        found = await recorded.findings()
    assert "says NOT_SEEN, its answer SETTLED" in found
    assert "entries were posted" in found
    assert "account 5010 was" in found


async def test_finds_a_settlement_posted_twice(recorded: Recorded) -> None:
    entry = recorded.number("SELECT max(entry_no) FROM posting WHERE account = 2010")
    with recorded.planted(
        "INSERT INTO entry SELECT entry_no + 1000000, person_no, kind, period, business_date,"
        " institution_no, clearing_type, NULL, recorded_time_ms FROM entry"
        f" WHERE entry_no = {entry}",
        "INSERT INTO posting SELECT entry_no + 1000000, line, account, owner, amount_fen"
        f" FROM posting WHERE entry_no = {entry}",
    ):
        found = await recorded.findings()
    assert "entries were posted" in found
    assert "account 2010 was" in found


async def test_finds_a_balance_changed_by_hand(recorded: Recorded) -> None:
    person = next(iter(recorded.run.patients))
    with recorded.planted(
        f"UPDATE account_balance SET balance_fen = balance_fen + 1 WHERE owner = {person}"
    ):
        found = await recorded.findings()
    assert f"person {person} holds" in found


async def test_finds_an_accumulator_changed_by_hand(recorded: Recorded) -> None:
    person = recorded.number("SELECT max(person_no) FROM accumulator WHERE in_scope_fen > 0")
    with recorded.planted(
        f"UPDATE accumulator SET in_scope_fen = in_scope_fen - 1 WHERE person_no = {person}"
    ):
        found = await recorded.findings()
    assert f"person {person} has used" in found


async def test_finds_a_stored_reply_changed_by_hand(recorded: Recorded) -> None:
    with recorded.planted(
        "UPDATE request SET body = x'c0' WHERE type = 21 AND entry_no ="
        " (SELECT max(entry_no) FROM request WHERE type = 21)"
    ):
        found = await recorded.findings()
    assert "gives another body than its answer had" in found


# --- mistakes in what the centre answers --------------------------------------------------------


def with_body(attempt: Attempt, body: Settled | Refunded) -> Attempt:
    changed = copy(attempt)
    raw = bytes(encode_body(body))
    changed.answers = [structs.replace(answer, body=raw) for answer in attempt.answers]
    return changed


def changing(
    type_: MessageType, change: Callable[[Settled], Settled]
) -> Callable[[Attempt], Attempt | None]:
    """Change the first approved answer of a type that divides something."""
    is_done = False

    def apply(attempt: Attempt) -> Attempt | None:
        nonlocal is_done
        body = attempt.body_of_outcome
        if is_done or attempt.type is not type_ or not isinstance(body, Settled):
            return None
        is_done = True
        return with_body(attempt, change(body))

    return apply


def split_with(**amounts: int) -> Callable[[Settled], Settled]:
    """Add to some amounts of the split."""

    def change(settled: Settled) -> Settled:
        split: Split = settled.split
        moved = {name: getattr(split, name) + fen for name, fen in amounts.items()}
        return structs.replace(settled, split=structs.replace(split, **moved))

    return change


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (split_with(cash_fen=1), "person = account + mutual aid + cash"),
        (split_with(fund_pay_fen=1), "total = fund + person + hospital"),
        (split_with(fund_pay_fen=1, person_part_fen=-1, cash_fen=-1), "fund = sum of layers"),
        (split_with(in_scope_fen=1), "total = own + over limit + pre-self-pay + in scope"),
        (split_with(total_fen=1), "the bill's total"),
        (split_with(cash_fen=1, person_part_fen=1, total_fen=1, in_scope_fen=1), "was shown"),
        (lambda settled: structs.replace(settled, psn_no="1"), "is of person 1, the card of"),
        (lambda settled: structs.replace(settled, cancels="7"), "says that it cancels 7"),
        (lambda settled: structs.replace(settled, balance_after_fen=-1), "leaves -1 fen"),
        (lambda settled: structs.replace(settled, setl_id=""), "has no number"),
        (lambda settled: structs.replace(settled, settled_time_ms=0), "is of 1970-01-01"),
    ],
)
def test_finds_a_settlement_answered_wrongly(
    recorded: Recorded, change: Callable[[Settled], Settled], finding: str
) -> None:
    assert finding in recorded.journal_findings(changing(MessageType.SETTLE, change))


def test_finds_a_cancel_that_is_not_the_exact_negative(recorded: Recorded) -> None:
    change = changing(MessageType.CANCEL, split_with(cash_fen=1))
    assert "is not the exact negative" in recorded.journal_findings(change)


def given_back(**amounts: int) -> Callable[[Refunded], Refunded]:
    """Add to some amounts of what a refund gave back."""

    def change(refunded: Refunded) -> Refunded:
        split: Split = refunded.given_back
        moved = {name: getattr(split, name) + fen for name, fen in amounts.items()}
        return structs.replace(refunded, given_back=structs.replace(split, **moved))

    return change


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (given_back(cash_fen=1), "the patient was shown"),
        (given_back(deductible_fen=1), "are not what was settled"),
        (given_back(total_fen=1), "fen for lines of"),
        (lambda refunded: structs.replace(refunded, lines=()), "it should be"),
        (lambda refunded: structs.replace(refunded, psn_no="1"), "is of person 1, its original"),
        (lambda refunded: structs.replace(refunded, refunds="7"), "refunded '7', asked was"),
        (lambda refunded: structs.replace(refunded, setl_id=""), "lines remain, and it settled"),
        (
            lambda refunded: structs.replace(
                refunded, remaining=structs.replace(refunded.remaining, cash_fen=-1)
            ),
            "what remains of refund",
        ),
    ],
)
def test_finds_a_refund_answered_wrongly(
    recorded: Recorded, change: Callable[[Refunded], Refunded], finding: str
) -> None:
    """Of the first refund of which something remained."""
    chosen = next(
        attempt
        for attempt in recorded.run.journal.of_type(MessageType.REFUND)
        if isinstance(body := attempt.body_of_outcome, Refunded) and body.setl_id
    )

    def apply(attempt: Attempt) -> Attempt | None:
        body = attempt.body_of_outcome
        if attempt is not chosen or not isinstance(body, Refunded):
            return None
        return with_body(attempt, change(body))

    assert finding in recorded.journal_findings(apply)


def test_finds_a_number_given_out_twice(recorded: Recorded) -> None:
    numbers = [
        body.setl_id
        for attempt in recorded.run.journal.of_type(MessageType.SETTLE)
        if isinstance(body := attempt.body_of_outcome, Settled)
    ]
    change = changing(
        MessageType.SETTLE, lambda settled: structs.replace(settled, setl_id=numbers[-1])
    )
    assert f"number {numbers[-1]} was given out 2 times" in recorded.journal_findings(change)


def test_finds_an_answer_that_changes(recorded: Recorded) -> None:
    def change(attempt: Attempt) -> Attempt | None:
        if attempt is not recorded.run.journal.attempts[0]:
            return None
        changed = copy(attempt)
        changed.answers = [*attempt.answers, structs.replace(attempt.answers[0], code=503)]
        return changed

    assert "later 503" in recorded.journal_findings(change)


def test_finds_an_attempt_left_in_doubt(recorded: Recorded) -> None:
    def change(attempt: Attempt) -> Attempt | None:
        return replace(attempt, answers=[]) if attempt is recorded.run.journal.attempts[0] else None

    assert "is still in doubt" in recorded.journal_findings(change)


# --- the order of an account --------------------------------------------------------------------


def test_orders_what_overlaps() -> None:
    """The answers came in the other order than the moves were made."""
    moves = [
        Move("a", -10, 60, began=1, ended=9, needs=""),
        Move("b", -30, 70, began=2, ended=5, needs=""),
        Move("c", 10, 70, began=6, ended=8, needs="a"),
        Move("look", 0, 70, began=10, ended=11, needs=""),
    ]
    assert list(order_of(moves, opening_fen=100)) == []


@pytest.mark.parametrize(
    "moves",
    [
        [Move("a", -10, 91, 1, 2, "")],
        [Move("a", -110, None, 1, 2, "")],
        # b had ended before a began, and a's answer doesn't know of it.
        [Move("b", -30, 60, 1, 2, ""), Move("a", -10, 90, 3, 4, "")],
        # A look after the end shows what was before.
        [Move("a", -10, 90, 1, 2, ""), Move("look", 0, 100, 3, 4, "")],
        # Undone before it was made.
        [Move("undo", 10, 110, 1, 9, "a"), Move("a", -10, 100, 2, 8, "")],
    ],
)
def test_finds_accounts_that_no_order_explains(moves: list[Move]) -> None:
    (finding,) = order_of(moves, opening_fen=100)
    assert "no order explains" in finding
