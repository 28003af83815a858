"""A month's review as it is typed, on both databases: from the rules to a ledger that verifies."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cardserver.claims.claims_store import claims_participants
from cardserver.claims.values import ClaimsWriter, Rules
from cardserver.cli import app
from cardserver.commands.review_steps import cuts_of
from cardserver.registry.administration_store import AdministrationError
from cardserver.review.values import Cut
from ledger.database_store import Database
from ledger.writer import GroupWriter
from tests.cardserver.claims.books import config_for, run_sql
from tests.cardserver.claims.fund import SHANGHAI, Counter, TestClock, bill, fill
from tests.cardserver.review.office import RULES, day
from tests.cities import ON_POSTGRESQL, ON_SQLITE

MONTH = "202610"  # the present month has not ended
PASSWORD = "reviewers' own"
STAFF = {
    "r1": "acceptance", "k1": "calculation", "a1": "audit", "a2": "audit", "a3": "audit",
    "a4": "audit",
}  # fmt: skip
Run = Callable[..., Result]


async def settle(url: str, rules: Rules) -> list[int]:
    """Settle in October at two institutions; undo the last."""
    clock = TestClock(int(day(2026, 10, 20).timestamp() * 1000))
    database = Database.open(url)
    await database.start()
    await fill(database)
    writer: ClaimsWriter = GroupWriter(
        database, claims_participants(), clock=clock, timezone=SHANGHAI
    )
    await writer.start()
    counter = Counter(writer, database, rules, clock)
    numbers: list[int] = []
    for fen, person, place in ((300_000, 1, 1), (1_000_000, 1, 1), (330_000, 2, 2)):
        outcome = await counter.settle(bill(("A1", fen), uses_account=False), person, place=place)
        assert outcome.entry_no is not None
        numbers.append(outcome.entry_no)
    await writer.stop()
    await database.close()
    return numbers


@pytest.fixture
def centre(database_url: str, rules: Rules, tmp_path: Path) -> tuple[Run, list[int]]:
    """The fund's keyboard, and what was settled."""
    numbers = asyncio.run(settle(database_url, rules))
    config_file = config_for(database_url, tmp_path / "centre")
    password = tmp_path / "password"
    password.write_text(PASSWORD, encoding="utf-8")
    (tmp_path / "rules.toml").write_text(
        RULES.replace('share = "50%"', 'share = "100%"'), encoding="utf-8"
    )

    def run(*words: str, by: str = "", status: int = 0) -> Result:
        signed = ("--operator", by, "--password-file", str(password)) if by else ()
        arguments = [*words, *signed, "--config", str(config_file)]
        done = CliRunner().invoke(app, arguments)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == status, done.output
        return done

    for code, role in STAFF.items():
        run(
            "registry", "operator", "add", code, "--name", "韩梅梅", "--role", role,
            "--department", f"{role} section", "--password-file", str(password),
        )  # fmt: skip
    run("review", "rules", "activate", str(tmp_path / "rules.toml"))
    return run, numbers


def cases(run: Run, *words: str) -> list[dict[str, object]]:
    said = run("review", "list", "--month", MONTH, "--json", *words).stdout
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.parametrize("database_url", ON_POSTGRESQL, indirect=True)
def test_a_month_from_the_rules_to_clearing(
    centre: tuple[Run, list[int]], database_url: str
) -> None:
    run, numbers = centre
    at = ("--month", MONTH)
    assert "not opened" in run("review", "month", *at, status=1).stdout
    refused = run("review", "open", *at, by="k1", status=1)
    assert "another role" in refused.stderr
    opened = run("review", "open", *at, by="a1").stdout
    seed = re.search(r"[0-9a-f]{64}", opened)
    assert seed is not None
    assert "opened before" in run("review", "open", *at, by="a1", status=1).stderr
    assert json.loads(run("review", "sample", *at, "--json", by="r1").stdout) == {
        "found": 3, "opened": 3,
    }  # fmt: skip
    assert "0 new cases" in run("review", "flag", *at, by="r1").stdout
    seen = json.loads(run("review", "month", *at, "--json", status=1).stdout)
    assert seen["seed"] == seed[0]
    assert [row[2:] for row in seen["strata"]] == [
        [2, 84_000 + 700_000, 2],
        [1, seen["strata"][1][3], 1],
    ]
    assert seen["states"][0][:2] == ["new", 3]

    found = {case["claim_no"]: str(case["case_no"]) for case in cases(run)}
    assert sorted(found) == sorted(numbers)
    small, large, other = (found[number] for number in numbers)
    taken = json.loads(run("review", "take", *at, "--json", by="r1").stdout)["case"]["case_no"]
    run("review", "give-back", str(taken), by="r1")
    for case, *findings in (
        (small, "--cut", "1:100:A-1:超价"),
        (large, "--reject", "A-1", "--note", "冒名"),
        (other, "--approve"),
    ):
        for verb, who, words in (
            ("accept", "r1", []), ("calculate", "k1", findings), ("audit", "a1", []),
        ):  # fmt: skip
            run("review", "take", case, by=who)
            run("review", verb, case, *words, by=who)
    shown = run("review", "show", large).stdout
    assert "signed" in shown
    assert "冒名" in shown
    assert "张*" in shown
    assert "张三" not in shown
    run("review", "take", large, by="a2")
    assert "decided" in run("review", "audit", large, by="a2").stdout
    assert "ready for clearing" in run("review", "month", *at).stdout
    assert [case["deduction_fen"] for case in cases(run, "--state", "decided")] == [10_000, 700_000]
    assert "all agree" in run("review", "check").stdout
    assert "0 cases followed" in run("review", "follow").stdout
    run("trial-balance")
    run("verify-ledger")
    hand = "UPDATE review_case SET deduction_fen = deduction_fen + 1 WHERE deduction_fen = 10000"
    asyncio.run(run_sql(database_url, hand))
    assert "review_case" in run("verify-ledger", status=1).stdout


def test_cuts_are_read_as_typed() -> None:
    assert cuts_of(["2:12.5:735-15-3:超价: 见发票", "0:30:B:c"]) == (
        Cut(2, 1_250, "735-15-3", "超价: 见发票"),
        Cut(0, 3_000, "B", "c"),
    )
    for text in ("", "1:2:3", "x:1:A:b", "1:1.234:A:b", "1:-1:A:b", "1:1:A:"):
        with pytest.raises(AdministrationError):
            cuts_of([text])


@pytest.mark.parametrize("database_url", ON_SQLITE, indirect=True)
def test_what_is_asked_wrongly_is_said(centre: tuple[Run, list[int]]) -> None:
    run, numbers = centre
    at = ("--month", MONTH)
    run("review", "open", *at, by="a1")
    for words, said in (
        (("take",), "name a case"),
        (("calculate", "1"), "say one of"),
        (("calculate", "1", "--approve", "--reject", "A-1"), "say one of"),
        (("decide", "1", "--note", "x"), "say one of"),
        (("accept", "1", "--note", "x" * 401), "at most 400"),
    ):
        assert said in run("review", *words, by="a1", status=1).stderr
    assert "no such case" in run("review", "take", "1", by="r1", status=1).stderr
    assert "no case" in run("review", "show", "1", status=1).stderr
    wrong = run("review", "choose", "17", *at, "--reason", "x", by="a1", status=1)
    assert "no settlement" in wrong.stderr
    unknown = run("review", "recuse", "--institution", "H0", "--reason", "x", by="r1", status=1)
    assert "no institution" in unknown.stderr
    case = run("review", "choose", str(numbers[0]), *at, "--reason", "x", by="a1").stdout.split()[
        -1
    ]
    run("review", "recuse", "--case", case, "--reason", "亲属", by="r1")
    barred = json.loads(run("review", "take", case, "--json", by="r1", status=1).stdout)
    assert barred["refusal"] == "conflict_declared"
