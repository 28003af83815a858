"""`cardserver trial-balance`: equal books are called equal, and what a hand changed is named."""

import sqlite3

import pytest
from msgspec import json
from sqlalchemy import make_url
from typer.testing import CliRunner

from cardserver.cli import app
from cardserver.config import load_config
from ledger.accounts import Account
from simulators.centre_process import City


def trial_balance(city: City, *more: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["trial-balance", "--config", str(city.config_file), *more])
    return done.exit_code, done.stdout


def change(city: City, sql: str) -> None:
    path = make_url(load_config(city.config_file).database_url).database
    assert path is not None
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(sql).rowcount > 0
    connection.close()


def test_the_books_of_a_new_city_are_equal(city: City) -> None:
    status, printed = trial_balance(city, "--json")
    document = json.decode(printed)
    assert status == 0
    assert document["is_equal"] is True
    assert document["debit_fen"] == document["credit_fen"] > 0
    numbers = [account["account"] for account in document["accounts"]]
    assert numbers == [Account.PERSONAL_ACCOUNT, Account.OPENING]
    status, printed = trial_balance(city)
    assert status == 0
    assert "平衡" in printed


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("UPDATE posting SET amount_fen = amount_fen - 1 WHERE line = 1", "adds up to"),
        (
            "UPDATE account_balance SET balance_fen = balance_fen + 1 WHERE balance_fen > 0",
            "its postings",
        ),
        (
            "DELETE FROM account_balance WHERE balance_fen > 0",
            "has no balance",
        ),
        ("UPDATE period_total SET debit_fen = debit_fen + 1", "period totals"),
        ("DELETE FROM posting", "have no postings"),
    ],
)
def test_what_a_hand_changed_is_named(city: City, sql: str, named: str) -> None:
    change(city, sql)
    status, printed = trial_balance(city, "--json")
    document = json.decode(printed)
    assert status == 1
    assert document["is_equal"] is False
    assert any(named in difference for difference in document["differences"])
