"""Who reviews from a keyboard: their number and password, their desk, and what a step came to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct, json

from cardserver.commands.database import open_database
from cardserver.commands.fund_operator import password_of, prove_operator
from cardserver.config import Config, load_config
from cardserver.funding.acts import open_fund_acts
from cardserver.registry.administration_store import FUND
from cardserver.registry.registry_store import Registry
from cardserver.registry.roles import Role
from cardserver.review.desk_store import ReviewDesk
from cardserver.review.values import Case, Refusal, Reviewer
from ledger.calendar import SystemClock
from ledger.database_store import Database

OperatorCode = Annotated[
    str, typer.Option("--operator", help="操作员 The fund's operator who acts, with a password.")
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Holds the password; else it is asked for."),
]
Month = Annotated[int, typer.Option("--month", metavar="YYYYMM", help="月份 The month reviewed.")]
CaseNumber = Annotated[int, typer.Argument(metavar="CASE", help="案件号 The case's number.")]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON, amounts in fen.")]
REVIEW_ROLES = (Role.ACCEPTANCE, Role.CALCULATION, Role.AUDIT)


class StepResult(Struct, frozen=True):
    """What a step came to, as JSON names it; without a refusal it was done."""

    case: Case | None
    state: str
    refusal: str
    text_zh: str
    text_en: str


async def prove_reviewer(registry: Registry, code: str, password: str) -> Reviewer:
    """Find one of the fund's reviewers by number and password.

    Raises:
        AdministrationError: There is none.
    """
    known = await registry.operator(FUND, code)
    is_reviewer = known is not None and known.role in REVIEW_ROLES
    role = known.role if known is not None and is_reviewer else Role.AUDIT
    operator = await prove_operator(registry, code, password, role=role)
    return Reviewer(
        operator.operator_no, operator.institution_no, operator.role, operator.department
    )


@asynccontextmanager
async def desk_of(config: Config, database: Database) -> AsyncIterator[ReviewDesk]:
    """Open a desk at which cases are signed."""
    async with open_fund_acts(database, config.timezone) as acts:
        yield ReviewDesk(database, acts, clock=SystemClock(), timezone=config.timezone)


def step(
    config_file: Path,
    code: str,
    password_file: Path | None,
    act: Callable[[ReviewDesk, Reviewer], Awaitable[Case | Refusal]],
    *,
    as_json: bool,
) -> None:
    """Do a step as an operator of the fund, and say what it came to; a refusal is status 1."""
    config = load_config(config_file)
    password = password_of(code, password_file)

    async def run() -> Case | Refusal:
        async with open_database(config) as database:
            who = await prove_reviewer(Registry(database), code, password)
            async with desk_of(config, database) as desk:
                return await act(desk, who)

    done = asyncio.run(run())
    if as_json:
        typer.echo(json.encode(_result(done)).decode())
    elif isinstance(done, Refusal):
        typer.echo(f"拒绝 refused: {done.text_zh} / {done.text_en}", err=True)
    else:
        typer.echo(sentence(done))
    if isinstance(done, Refusal):
        raise typer.Exit(1)


def sentence(case: Case) -> str:
    """Say how a case stands."""
    parts = [f"case 案件 {case.case_no}: {case.state.name.lower()}"]
    if case.verdict:
        parts.append(case.verdict.name.lower())
    if case.proposed_fen:
        parts.append(f"proposed 拟扣 {yuan(case.proposed_fen)}")
    if case.deduction_fen:
        parts.append(f"deducted 已扣 {yuan(case.deduction_fen)}")
    if case.appeal_until:
        parts.append(f"appeal until 申诉截止 {case.appeal_until}")
    return ", ".join(parts)


def yuan(amount_fen: int) -> str:
    """Write an amount as people read it."""
    sign = "-" if amount_fen < 0 else ""
    return f"{sign}{abs(amount_fen) // 100:,}.{abs(amount_fen) % 100:02d}"


def _result(done: Case | Refusal) -> StepResult:
    if isinstance(done, Refusal):
        return StepResult(None, "", done.name.lower(), done.text_zh, done.text_en)
    return StepResult(done, done.state.name.lower(), "", "", "")
