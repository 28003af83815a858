"""The commands of funding, as an officer calls them."""

import asyncio
import csv
import io
from pathlib import Path

import pytest
from msgspec import json
from typer.testing import CliRunner

from cardserver.cli import app
from cardserver.funding.rules import shipped_rules
from ledger.database_store import Database
from tests.cardserver.claims.books import config_for
from tests.cardserver.funding.conftest import ACTIVE, OLD, OTHER, RETIRED
from tests.cardserver.funding.fund import fill, insurance_row, person_row, row, write
from tests.cardserver.funding.office import CLERK, OFFICER, PASSWORD, add_officer


class Office:
    """The command line at a fund."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self.config_file = config_for(url, folder / "centre")
        self.password = folder / "password"
        self.password.write_text(f"{PASSWORD}\n", encoding="utf-8")

    def run(self, *words: str, status: int = 0) -> str:
        """Run a command; return its output and errors."""
        done = CliRunner().invoke(app, [*words, "--config", str(self.config_file)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == status, done.output
        return done.output

    def act(self, *words: str, status: int = 0, by: str = OFFICER) -> str:
        """Run one that an officer signs."""
        return self.run(*words, "--by", by, "--password-file", str(self.password), status=status)

    def statement(self, person: int, *words: str) -> dict[str, object]:
        found: dict[str, object] = json.decode(
            self.run("account", "statement", str(person), "--json", *words)
        )
        return found


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Office:
    async def make() -> None:
        database = Database.open(database_url)
        await database.start()
        await fill(
            database,
            [person_row(ACTIVE), person_row(OTHER), person_row(RETIRED, 19620101),
             person_row(OLD, 19500101)],
            [insurance_row(ACTIVE), insurance_row(OTHER), insurance_row(RETIRED, "12"),
             insurance_row(OLD, "12")],
        )  # fmt: skip
        await add_officer(database)
        await database.close()

    asyncio.run(make())
    office = Office(database_url, tmp_path)
    rules = tmp_path / "rules.toml"
    rules.write_text(shipped_rules(), encoding="utf-8")
    office.run("funding", "activate", str(rules), "--by", OFFICER)
    return office


def test_rules_are_shipped_checked_and_listed(office: Office, tmp_path: Path) -> None:
    text = CliRunner().invoke(app, ["funding", "shipped"]).output
    assert text == shipped_rules()
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace('"9%"', '"109%"'), encoding="utf-8")
    done = CliRunner().invoke(app, ["funding", "check", str(path)])
    assert (done.exit_code, "$.contributions[0].employer_ratio" in done.output) == (1, True)
    (listed,) = json.decode(office.run("funding", "list", "--json"))
    assert (listed["name"], listed["begins"], listed["is_in_force"]) == (
        "employees",
        20250101,
        True,
    )
    path.write_text(text.replace('name = "employees"', 'name = "others"'), encoding="utf-8")
    said = office.run("funding", "activate", str(path), "--by", OFFICER, status=1)
    assert "employees" in said


def test_only_an_officer_with_the_password_posts(office: Office, tmp_path: Path) -> None:
    words = ("allotment", "run", "202611")
    assert "not a funding_officer" in office.act(*words, by=CLERK, status=1)
    office.password.write_text("another", encoding="utf-8")
    assert "another password" in office.act(*words, status=1)
    path = write(tmp_path / "a.csv", [row(ACTIVE)])
    assert "another password" in office.act("contributions", "post", str(path), status=1)
    assert office.statement(RETIRED, "--from", "2026-01-01")["closing_fen"] == 0


def test_a_month_from_the_file_to_the_statement(office: Office, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [row(ACTIVE), row(OTHER, 5_000), row(99)])
    posted = json.decode(office.act("contributions", "post", str(path), "--json", status=1))
    assert posted["counts"]["posted"] == 2
    assert "had been posted" in office.act("contributions", "post", str(path), status=1)
    rejected = list(csv.DictReader(io.StringIO(office.run("contributions", "rejected", "1"))))
    assert rejected == [
        {"line": "4", "column": "psn_no", "fault": "person", "reason_zh": "没有该人员",
         "reason_en": "there is no such person"}
    ]  # fmt: skip
    dry = json.decode(office.run("allotment", "run", "202611", "--dry-run", "--json"))
    assert (dry["run_no"], dry["amount_fen"]) == (0, 21_000)
    ran = json.decode(office.act("allotment", "run", "202611", "--json"))
    assert (ran["run_no"], ran["sums"]) == (1, dry["sums"])
    assert "nothing was posted" in office.act("allotment", "run", "202611")
    assert "210.00" in office.run("allotment", "show", "202611")
    office.act("contributions", "reverse", "1", "--reason", "退票", "--employer", "A")
    files = json.decode(office.run("contributions", "list", "--json"))
    assert [(one["file_no"], one["reverses"], one["reason"]) for one in files] == [
        (1, 0, ""), (2, 1, "退票"),
    ]  # fmt: skip
    statement = office.statement(ACTIVE, "--from", "2026-01-01")
    lines = statement["lines"]
    assert isinstance(lines, list)
    assert [(line["amount_fen"], line["balance_fen"], line["reason_zh"]) for line in lines] == [
        (20_000, 20_000, "202611 清河机械厂 缴费划入"),
        (-20_000, 0, "202611 清河机械厂 缴费冲销"),
    ]
    assert "202611 退休人员月划入" in office.run(
        "account", "statement", str(RETIRED), "--from", "2026-01-01", "--language", "zh"
    )
    office.run("verify-ledger")


def test_a_statement_as_csv_adds_up(office: Office, tmp_path: Path) -> None:
    office.act("allotment", "run", "202610")
    office.act("allotment", "run", "202611")
    target = tmp_path / "statement.csv"
    office.run("account", "statement", str(OLD), "--from", "2026-01-01", "--csv", str(target))
    rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8-sig"))))
    assert [one["reason_en"] for one in rows] == [
        "opening balance",
        "202610 monthly allotment, retired, 70 and older",
        "202611 monthly allotment, retired, 70 and older",
        "closing balance",
    ]
    assert [one["amount"] for one in rows] == ["", "110.00", "110.00", ""]
    assert [one["balance"] for one in rows] == ["0.00", "110.00", "220.00", "220.00"]
    said = office.run(
        "account", "statement", str(OLD), "--from", "2026-12-01", "--to", "2026-01-01", status=1
    )
    assert "before the first one" in said


def test_interest_of_a_year_is_shown_and_refused(office: Office) -> None:
    assert "has not ended" in office.act("interest", "run", "2099", status=1)
    ran = json.decode(office.act("interest", "run", "2025", "--json"))
    assert (ran["month"], ran["sums"]) == (202512, [])
    assert "0.00" in office.run("interest", "show", "2025")


@pytest.mark.parametrize("month", ["202613", "199912"])
def test_what_is_no_month_is_refused(office: Office, month: str) -> None:
    done = CliRunner().invoke(app, ["allotment", "run", month, "--config", str(office.config_file)])
    assert done.exit_code == 2


def test_a_month_that_has_not_begun_is_rehearsed_and_not_posted(office: Office) -> None:
    dry = json.decode(office.run("allotment", "run", "209911", "--dry-run", "--json"))
    assert dry["amount_fen"] > 0
    assert "209911 has not begun" in office.act("allotment", "run", "209911", status=1)
    assert office.statement(RETIRED, "--from", "2026-01-01")["closing_fen"] == 0
