"""What a run reads of persons: who is insured, what was paid for them, what their accounts held.

Not here: what is made of it (`allotment.py`, `interest.py`).
"""

# ruff: noqa: S608 - every name in a text is the schema's own, every value is a parameter

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from cardserver.funding.division import Insured
from ledger.accounts import Account
from ledger.bulk_store import Row, plain
from ledger.database_store import Database
from ledger.ledger_store import FIND_BALANCES
from ledger.scripts import Script

_PERSONAL = Account.PERSONAL_ACCOUNT.value

_PERSONS_TEXT = (
    "SELECT p.person_no, p.birth_date, i.insutype, i.person_type, i.region"
    " FROM person p JOIN insurance i ON i.person_no = p.person_no"
    " WHERE p.person_no BETWEEN {0} AND {1} AND i.begins <= {2} AND i.ends >= {3} AND i.state = 1"
    " AND (p.deceased_date IS NULL OR p.deceased_date >= {4})"
    " ORDER BY p.person_no, i.insutype, i.begins"
)
_PERSONS = plain(
    "persons of a month",
    postgresql=_PERSONS_TEXT.format("$1", "$2", "$3", "$4", "$5"),
    sqlite=_PERSONS_TEXT.format(*"?????"),
)
# The latest file's row holds, also of a number that was merged into another.
_LATEST = (
    " c.insutype, c.base_fen, c.employer_fen + c.personal_fen, c.file_no, c.employer_no"
    " FROM contribution c"
)
_CONTRIBUTED_TEXT = (
    "SELECT c.person_no,"
    f"{_LATEST} WHERE c.month = {{0}} AND c.person_no BETWEEN {{1}} AND {{2}}"
    " UNION ALL SELECT m.kept_person_no,"
    f"{_LATEST} JOIN merged_person m ON m.person_no = c.person_no"
    " WHERE c.month = {3} AND m.kept_person_no BETWEEN {4} AND {5}"
)
_CONTRIBUTED = plain(
    "contributions of a month",
    postgresql=_CONTRIBUTED_TEXT.format("$1", "$2", "$3", "$4", "$5", "$6"),
    sqlite=_CONTRIBUTED_TEXT.format(*"??????"),
)
# A cross join is SQLite's word for: in this order. From the runs' side, each step would read all
# that the month's runs gave.
_GIVEN_TEXT = (
    "SELECT DISTINCT p.owner FROM posting p CROSS JOIN funding_entry f CROSS JOIN funding_run r"
    f" WHERE p.account = {_PERSONAL} AND p.owner BETWEEN {{0}} AND {{1}}"
    " AND f.entry_no = p.entry_no AND r.run_no = f.run_no"
    " AND r.kind = {2} AND r.month = {3} AND r.attempt < {4}"
)
_GIVEN = plain(
    "who was given",
    postgresql=_GIVEN_TEXT.format("$1", "$2", "$3", "$4", "$5"),
    sqlite=_GIVEN_TEXT.format(*"?????"),
)
_MERGED_TEXT = (
    "SELECT person_no FROM merged_person WHERE kept_person_no BETWEEN {0} AND {1} LIMIT 1"
)
_MERGED = plain(
    "whether someone was merged into one of these",
    postgresql=_MERGED_TEXT.format("$1", "$2"), sqlite=_MERGED_TEXT.format(*"??"),
)  # fmt: skip
_GIVEN_MERGED_TEXT = (
    "SELECT DISTINCT m.kept_person_no, m.person_no FROM merged_person m CROSS JOIN posting p"
    " CROSS JOIN funding_entry f CROSS JOIN funding_run r"
    " WHERE m.kept_person_no BETWEEN {0} AND {1} AND p.owner = m.person_no"
    f" AND p.account = {_PERSONAL} AND f.entry_no = p.entry_no"
    " AND r.run_no = f.run_no AND r.kind = {2} AND r.month = {3}"
)
_GIVEN_MERGED = plain(
    "who was given under a number that was merged",
    postgresql=_GIVEN_MERGED_TEXT.format("$1", "$2", "$3", "$4"),
    sqlite=_GIVEN_MERGED_TEXT.format(*"????"),
)
_ACCOUNTS_TEXT = (
    f"SELECT owner FROM account_balance WHERE account = {_PERSONAL}"
    " AND owner BETWEEN {0} AND {1}"
    " UNION SELECT kept_person_no FROM merged_person WHERE kept_person_no BETWEEN {2} AND {3}"
    " ORDER BY 1"
)
_ACCOUNTS = plain(
    "accounts of persons",
    postgresql=_ACCOUNTS_TEXT.format("$1", "$2", "$3", "$4"),
    sqlite=_ACCOUNTS_TEXT.format(*"????"),
)
_MOVED = "e.business_date, CAST(-sum(p.amount_fen) AS BIGINT)"
_MOVES_TEXT = (
    f"SELECT p.owner, p.owner, {_MOVED}"
    " FROM posting p JOIN entry e ON e.entry_no = p.entry_no"
    f" WHERE p.account = {_PERSONAL} AND p.owner BETWEEN {{0}} AND {{1}}"
    " AND e.business_date >= {2} GROUP BY p.owner, e.business_date"
    f" UNION ALL SELECT m.kept_person_no, m.person_no, {_MOVED}"
    " FROM merged_person m CROSS JOIN posting p CROSS JOIN entry e"
    " WHERE m.kept_person_no BETWEEN {3} AND {4} AND p.owner = m.person_no"
    f" AND p.account = {_PERSONAL} AND e.entry_no = p.entry_no AND e.business_date >= {{5}}"
    " GROUP BY m.kept_person_no, m.person_no, e.business_date"
)
_MOVES = plain(
    "moves of a year",
    postgresql=_MOVES_TEXT.format("$1", "$2", "$3", "$4", "$5", "$6"),
    sqlite=_MOVES_TEXT.format(*"??????"),
)


class PersonOfMonth(NamedTuple):
    """A person who is insured on a month's first day."""

    person_no: int
    birth_date: int
    insurances: tuple[Insured, ...]


class Contributed(NamedTuple):
    """What was paid for a person in a month, by all employers."""

    base_fen: int
    paid_fen: int


async def persons_of_month(
    database: Database, month: int, first: int, last: int, *, reads_contributions: bool
) -> tuple[list[PersonOfMonth], dict[tuple[int, str], Contributed]]:
    """Return who of these numbers is insured and alive, ascending, and what was paid for them.

    Args:
        database: Started.
        month: Whose first day counts, and whose contributions.
        first: Number of a person.
        last: The same.
        reads_contributions: Whether the rules ask for them; by person and insurance.
    """
    day = month * 100 + 1
    persons: list[PersonOfMonth] = []
    for person_no, birth_date, *insurance in await database.fetch(
        _PERSONS([(first, last, day, day, day)])
    ):
        insured = _insured(*insurance)
        if persons and persons[-1].person_no == person_no:
            before = persons.pop().insurances
            persons.append(PersonOfMonth(person_no, birth_date, (*before, insured)))
        else:
            persons.append(PersonOfMonth(person_no, birth_date, (insured,)))
    if not reads_contributions:
        return persons, {}
    rows = await database.fetch(_CONTRIBUTED([(month, first, last, month, first, last)]))
    return persons, _latest(rows)


# Half a million persons have a few dozen kinds of insurance.
_insured = lru_cache(maxsize=10_000)(Insured)


def _latest(rows: Iterable[Row]) -> dict[tuple[int, str], Contributed]:
    """Sum up by person and insurance what the latest file says of each employer."""
    latest: dict[tuple[int, str, int], tuple[int, int, int]] = {}
    for person_no, insutype, base_fen, paid_fen, file_no, employer_no in rows:
        key, one = (person_no, insutype, employer_no), (file_no, base_fen, paid_fen)
        latest[key] = max(latest.get(key, one), one)
    sums: dict[tuple[int, str], Contributed] = {}
    for (person_no, insutype, _), (_, base_fen, paid_fen) in latest.items():
        before = sums.get((person_no, insutype), Contributed(0, 0))
        sums[person_no, insutype] = Contributed(
            before.base_fen + base_fen, before.paid_fen + paid_fen
        )
    return sums


def read_given(
    kind: int, month: int, attempt: int, first: int, last: int
) -> Script[frozenset[int]]:
    """Return who of these numbers was given something by the month's runs before an attempt."""
    rows = yield _GIVEN([(first, last, kind, month, attempt)])
    return frozenset(row[0] for row in rows)


def read_given_merged(
    kind: int, month: int, first: int, last: int
) -> Script[frozenset[tuple[int, int]]]:
    """Return for whom of these something was given in a month under a number merged into theirs.

    Returns:
        The number that is kept, and the one that was given.
    """
    if not (yield _MERGED([(first, last)])):
        return frozenset()
    rows = yield _GIVEN_MERGED([(first, last, kind, month)])
    return frozenset((row[0], row[1]) for row in rows)


async def accounts_between(database: Database, first: int, last: int) -> tuple[int, ...]:
    """Return who of these numbers has or took over an account, ascending."""
    rows = await database.fetch(_ACCOUNTS([(first, last, first, last)]))
    return tuple([row[0] for row in rows])


def read_year(
    year: int, persons: Sequence[int], apart: Collection[tuple[int, int]] = ()
) -> Script[dict[int, tuple[int, dict[int, int]]]]:
    """Return what accounts held when a year began, and by day what they gained in it.

    An account that was merged into another one counts as that one's from the beginning.

    Args:
        year: Which has ended.
        persons: Ascending, and locked where what is read must hold.
        apart: Numbers that are kept, and ones merged into them that do not count.
    """
    if not persons:
        return {}
    first_day, last_day = year * 10_000 + 101, year * 10_000 + 1231
    balances = yield FIND_BALANCES([(person,) for person in persons])
    held = {row[0]: row[2] for row in balances if row[1] == _PERSONAL}
    accounts: dict[int, tuple[int, dict[int, int]]] = {
        person: (held.get(person, 0), {}) for person in persons
    }
    span = (persons[0], persons[-1], first_day)
    for owner, number, day, moved_fen in (yield _MOVES([(*span, *span)])):
        if owner in accounts and (owner, number) not in apart:
            opening_fen, moves = accounts[owner]
            if day <= last_day:
                moves[day] = moves.get(day, 0) + moved_fen
            accounts[owner] = (opening_fen - moved_fen, moves)
    return accounts
