"""Policies for the tests, and the command run as a person would."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cardserver.benefits.adjudication import adjudicate as adjudicate_bill
from cardserver.benefits.bill_file import load_bill
from cardserver.benefits.policy import Policy, load_policy
from cardserver.benefits.values import Adjudication
from cardserver.commands.adjudicate import adjudicate

_HEAD = """
name = "test-city"
title_zh = "试验市"
title_en = "Test city"
regions = ["130100"]
insutypes = ["310"]
person_types = ["11", "12"]
begins = 2020-01-01
sources = [{ title = "made up", supports = "all", standing = "verified" }]
"""

_ACCOUNT = """
account = { pays = ["pre_self_pay", "deductible", "own_share"], mutual_aid_pays = ["own_share"] }
"""


@dataclass
class Run:
    exit_code: int
    stdout: str
    stderr: str

    @property
    def answer(self) -> dict[str, Any]:
        return json.loads(self.stdout, parse_float=Decimal)


@pytest.fixture(scope="session")
def beijing_text() -> str:
    path = files("cardserver.benefits") / "policies" / "beijing_employees.toml"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def beijing(beijing_text: str) -> Policy:
    return load_policy(beijing_text)


@pytest.fixture
def outpatient_text() -> Callable[..., str]:
    """Write a policy with the outpatient rules given, after the usual head."""

    def write(rules: str, *, account: str = _ACCOUNT) -> str:
        return f"""{_HEAD}
[outpatient]
med_types = ["11"]
institution_kinds = ["hospital", "community"]
{account}
{rules}
"""

    return write


@pytest.fixture
def inpatient_text() -> Callable[..., str]:
    def write(rules: str, *, bands_per: str = "admission") -> str:
        return f"""{_HEAD}
[inpatient]
med_types = ["21"]
institution_kinds = ["hospital"]
bands_per = "{bands_per}"
{_ACCOUNT}
{rules}
"""

    return write


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., Run]:
    """Run `adjudicate` on the text of a policy and the content of a bill."""
    app = typer.Typer()
    app.command()(adjudicate)

    def run(policy: str, bill: dict[str, Any] | str, *options: str) -> Run:
        policy_file = tmp_path / "policy.toml"
        policy_file.write_text(policy, encoding="utf-8")
        bill_file = tmp_path / "bill.json"
        bill_file.write_text(bill if isinstance(bill, str) else json.dumps(bill), encoding="utf-8")
        result = CliRunner().invoke(
            app, ["--policy", str(policy_file), "--bill", str(bill_file), *options]
        )
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return Run(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def decide() -> Callable[..., Adjudication]:
    """Adjudicate the content of a bill without the command."""

    def run(policy: str, bill: dict[str, Any]) -> Adjudication:
        rules = load_policy(policy)
        given = load_bill(json.dumps(bill), "json", rules)
        result = adjudicate_bill(
            rules,
            given.case,
            given.lines,
            given.used,
            given.purses,
            explain=True,
            total_fen=given.total_fen,
            stay=given.stay,
        )
        assert isinstance(result, Adjudication)
        return result

    return run
