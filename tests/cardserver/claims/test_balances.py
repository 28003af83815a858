"""`cardserver balances`: as of a moment or a period's end, with and without snapshots."""

import pytest
from msgspec import json

from ledger.accounts import ACCOUNTS
from tests.cardserver.claims.books import Books
from tests.cardserver.claims.fund import INSTITUTION, PERSON, RETIRED

Balances = dict[tuple[int, int], int]


def balances(books: Books, *more: str) -> Balances:
    status, printed = books.command("balances", "--json", "--owners", *more)
    assert status == 0, printed
    return {(one["account"], one["owner"]): one["balance_fen"] for one in json.decode(printed)}


def recomputed(books: Books, where: str = "") -> Balances:
    """All balances from all postings, without a snapshot."""
    rows = books.query(
        "SELECT p.account, p.owner, CAST(sum(p.amount_fen) AS BIGINT) FROM posting p"
        f" JOIN entry e ON e.entry_no = p.entry_no {where} GROUP BY p.account, p.owner"
        " HAVING sum(p.amount_fen) <> 0"
    )
    return {(account, owner): fen * ACCOUNTS[account].side for account, owner, fen in rows}


MOMENTS = [
    ("", ""),
    ("202611", "WHERE e.period <= 202611"),
    ("202612", ""),
    ("202610", "WHERE e.period <= 202610"),
    ("2026-11-21", "WHERE e.business_date <= 20261121"),
    ("2026-12-03", ""),
    ("2026-12-02T23:59:59", "WHERE e.period <= 202611"),
    ("2026-11-21T09:59", "WHERE e.recorded_time_ms < 0"),
    ("2030-01-01", ""),
]


@pytest.mark.parametrize(("as_of", "where"), MOMENTS)
def test_balances_of_a_moment_are_the_sums_of_postings(
    books: Books, as_of: str, where: str
) -> None:
    asked = ("--as-of", as_of) if as_of else ()
    wanted = recomputed(books, where)
    assert balances(books, *asked) == wanted
    # The same without a snapshot.
    for table in ("balance_snapshot", "balance_snapshot_slot", "balance_snapshot_period"):
        books.query(f"DELETE FROM {table}")
    assert balances(books, *asked) == wanted


def test_a_snapshot_is_what_is_read_of_a_closed_period(books: Books) -> None:
    """A wrong snapshot shows in what is asked after it, and `verify-ledger` finds it."""
    before = balances(books)[2030, PERSON]
    books.query(f"UPDATE balance_snapshot SET balance_fen = balance_fen - 7 WHERE owner = {PERSON}")
    assert balances(books)[2030, PERSON] == before + 7
    assert books.command("verify-ledger")[0] == 1


def test_snapshots_are_made_of_closed_periods_and_go_on_where_broken_off(books: Books) -> None:
    wanted = recomputed(books, "WHERE e.period <= 202611")
    books.query("DELETE FROM balance_snapshot_period")
    books.query("DELETE FROM balance_snapshot_slot")
    books.query("DELETE FROM balance_snapshot WHERE account = 2030")  # half of it is there
    status, printed = books.command("balances snapshot")
    assert status == 0
    assert "202611" in printed
    rows = books.query("SELECT account, owner, balance_fen FROM balance_snapshot")
    assert {
        (account, owner): fen * ACCOUNTS[account].side for account, owner, fen in rows
    } == wanted
    assert "none was missing" in books.command("balances snapshot")[1]
    books.query("INSERT INTO period VALUES (202612, 1, 1798800000000)")
    assert "202612" in books.command("balances snapshot")[1]
    assert balances(books, "--as-of", "202612") == recomputed(books)
    assert balances(books, "--as-of", "202611") == wanted
    assert books.command("verify-ledger")[0] == 0


def test_one_persons_and_one_institutions_balances_are_shown(books: Books) -> None:
    everything = recomputed(books)
    person = balances(books, "--person", str(RETIRED))
    assert person == {(2030, RETIRED): everything[2030, RETIRED]}
    institution = balances(books, "--institution", INSTITUTION)
    assert institution == {key: fen for key, fen in everything.items() if key == (2010, 1)}
    assert institution[2010, 1] > 0
    status, printed = books.command("balances", "--person", str(PERSON))
    assert status == 0
    assert "个人账户" in printed
    ((account, fen),) = [(key[0], fen) for key, fen in everything.items() if key == (2030, PERSON)]
    assert f"{account}" in printed
    assert f"{fen // 100}.{fen % 100:02d}" in printed


def test_sums_by_account_are_shown(books: Books) -> None:
    status, printed = books.command("balances", "--json")
    assert status == 0
    wanted: dict[int, int] = {}
    for (account, _), fen in recomputed(books).items():
        wanted[account] = wanted.get(account, 0) + fen
    assert {one["account"]: one["balance_fen"] for one in json.decode(printed)} == wanted
    status, printed = books.command("balances", "--account", "2010")
    assert status == 0
    assert "应付医药机构款" in printed
    assert "个人账户" not in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ("--as-of", "202613"),
        ("--as-of", "yesterday"),
        ("--account", "1"),
        ("--institution", "H99999999999"),
        ("--person", "1", "--institution", "H"),
    ],
)
def test_what_there_is_not_is_refused(books: Books, arguments: tuple[str, ...]) -> None:
    status, _ = books.command("balances", *arguments)
    assert status != 0
