"""Random files, corrections, reversals and allotments beside a model: what stands is what adds up.

The model keeps what the latest file says of each contribution; everything else is a sum.
"""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cardserver.funding import contributions
from ledger.database_store import Database
from tests.cardserver.claims.fund import TestClock
from tests.cardserver.funding.fund import (
    Fund,
    fill,
    insurance_row,
    person_row,
    row,
    shipped,
    write,
)

PERSONS = (1, 2, 3)  # the third is retired
EMPLOYERS = ("A", "B")
MONTHS = (202610, 202611)
BASES = (4_000, 4_001, 10_000, 36_000, 36_001)  # the last is above the most


@dataclass(frozen=True)
class File:
    """Rows of (employer, month, person, base)."""

    rows: tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Reversal:
    """Of the file so many files ago, of one employer or all."""

    back: int
    employer: str


@dataclass(frozen=True)
class Allotment:
    """Of a month."""

    month: int


ROWS = st.tuples(
    st.sampled_from(EMPLOYERS), st.sampled_from(MONTHS), st.sampled_from(PERSONS),
    st.sampled_from(BASES),
)  # fmt: skip
ACTS = st.one_of(
    st.builds(File, st.lists(ROWS, min_size=1, max_size=5).map(tuple)),
    st.builds(Reversal, st.integers(0, 3), st.sampled_from(("", *EMPLOYERS))),
    st.builds(Allotment, st.sampled_from(MONTHS)),
)


@dataclass
class Model:
    """What should be: by contribution the base that stands and the file that says so."""

    standing: dict[tuple[str, int, int], tuple[int, int]] = field(default_factory=dict)
    rows_of: dict[int, set[tuple[str, int, int]]] = field(default_factory=dict)
    allotted: set[int] = field(default_factory=set)

    def take(self, file_no: int, file: File) -> None:
        seen: set[tuple[str, int, int]] = set()
        mine = self.rows_of.setdefault(file_no, set())
        for employer, month, person, base in file.rows:
            key = (employer, month, person)
            if key in seen:
                continue
            seen.add(key)
            if base > 36_000 and person != 3:
                continue
            if self.standing.get(key, (None, 0))[0] != base:
                self.standing[key] = (base, file_no)
                mine.add(key)

    def reverse(self, file_no: int, of_file: int, employer: str) -> None:
        for key in self.rows_of[of_file]:
            if employer in {"", key[0]} and self.standing[key][1] == of_file:
                self.standing[key] = (0, file_no)

    def held(self) -> dict[int, int]:
        accounts = dict.fromkeys(PERSONS, 0)
        for (_, _, person), (base, _) in self.standing.items():
            accounts[person] += base * 2 if person != 3 else 0
        accounts[3] += 10_000 * len(self.allotted)
        return accounts

    def paid_fen(self) -> int:
        return sum(base * 11 for base, _ in self.standing.values())


async def play(url: str, folder: Path, acts: list[File | Reversal | Allotment]) -> None:
    database = Database.open(url)
    await database.start()
    try:
        await fill(
            database,
            [person_row(1), person_row(2), person_row(3, 19620101)],
            [insurance_row(1), insurance_row(2), insurance_row(3, "12")],
        )
        fund = Fund(database, TestClock(), shipped())
        model = Model()
        files: list[int] = []
        reversed_: set[tuple[int, str]] = set()
        for number, act in enumerate(acts):
            match act:
                case File():
                    # The number keeps files apart that say the same.
                    rows = [
                        row(person, base, employer=employer, month=month)
                        for employer, month, person, base in act.rows
                    ]
                    path = write(folder / f"{number}.csv", [*rows, "#" * (number + 1)])
                    posted = await fund.post(path)
                    model.take(posted.file.file_no, act)
                    files.append(posted.file.file_no)
                    assert (await fund.post(path)).is_repeated
                case Reversal() if act.back < len(files):
                    of_file = files[-1 - act.back]
                    posted = await fund.reverse(of_file, act.employer)
                    is_again = (of_file, act.employer) in reversed_
                    assert posted.is_repeated == is_again
                    if not is_again:
                        model.reverse(posted.file.file_no, of_file, act.employer)
                    reversed_.add((of_file, act.employer))
                    assert (await fund.reverse(of_file, act.employer)).is_repeated
                case Reversal():
                    continue
                case Allotment():
                    await fund.allot(act.month)
                    assert (await fund.allot(act.month)).steps_done == 0
                    model.allotted.add(act.month)
            assert await fund.held(*PERSONS) == model.held()
            totals = await fund.totals()
            assert totals.get(1010, 0) == model.paid_fen()
            in_accounts = sum(model.held().values()) - 10_000 * len(model.allotted)
            assert -totals.get(4010, 0) == model.paid_fen() - in_accounts
        await fund.assert_sound()
    finally:
        await database.close()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows an act, so that files have several."""
    monkeypatch.setattr(contributions, "CHUNK_SIZE", {"postgresql": 2, "sqlite": 2})


QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=12, suppress_health_check=QUIET)
@example([
    File((("A", 202611, 1, 10_000), ("A", 202611, 2, 4_000))),
    File((("A", 202611, 1, 4_000),)),
    Reversal(1, ""), Reversal(0, "A"), Allotment(202611), Reversal(0, "A"),
])  # fmt: skip
@example([
    File((("A", 202611, 1, 10_000),)),
    # The first says the same as before, in a chunk of its own; the last says otherwise.
    File((("A", 202611, 1, 10_000), ("B", 202610, 2, 4_000), ("A", 202611, 1, 4_000))),
])  # fmt: skip
@given(acts=st.lists(ACTS, max_size=7))
def test_sqlite_is_as_the_model(
    copied_sqlite: Callable[[Path], str], acts: list[File | Reversal | Allotment]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(copied_sqlite(Path(folder)), Path(folder), acts))


@settings(max_examples=4, suppress_health_check=QUIET)
@given(acts=st.lists(ACTS, min_size=3, max_size=6))
def test_postgresql_is_as_the_model(
    emptied_postgresql: Callable[[], str], acts: list[File | Reversal | Allotment]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(emptied_postgresql(), Path(folder), acts))
