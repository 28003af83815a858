"""`cardserver review`: a month is opened, sampled and flagged; cases are listed, shown, followed.

Not here: what is done to a case (`review_steps.py`), how a case is shown (`review_show.py`).
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from msgspec import Struct, json
from rich.table import Table

from cardserver.commands import review_show, review_steps
from cardserver.commands.database import ConfigFile, acting_user, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.fund_operator import password_of
from cardserver.commands.progress import progress_bar
from cardserver.commands.review_people import (
    AsJSON,
    Month,
    OperatorCode,
    PasswordFile,
    desk_of,
    prove_reviewer,
    sentence,
    yuan,
)
from cardserver.commands.rules_text import check_file, read_rules_text
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.registry.registry_store import Registry
from cardserver.review.case_view_store import (
    StateCount,
    count_states,
    institution_codes,
)
from cardserver.review.check_store import check_review
from cardserver.review.months_store import (
    Made,
    choose_settlement,
    find_month,
    find_strata,
    flag_month,
    open_month,
    sample_month,
)
from cardserver.review.population_store import StratumDrawn, count_population
from cardserver.review.readiness_store import undecided
from cardserver.review.rule_file import ReviewRulesError, load_review_rules
from cardserver.review.rules_store import activate_review_rules, activated_review_rules
from cardserver.review.sampling import SEED_SIZE
from cardserver.review.values import Reviewer
from ledger.calendar import SystemClock, text_of
from ledger.database_store import Database
from ledger.verify_findings import Difference

T = TypeVar("T")
app = typer.Typer(
    help="Review of settlements: acceptance, calculation, audit, appeals. 结算审核",
    no_args_is_help=True,
)
rules_app = typer.Typer(help="Review rules: write, check, activate. 审核规则", no_args_is_help=True)
app.add_typer(rules_app, name="rules")
app.command("list")(review_show.list_them)
app.command("appeals")(review_show.appeals)
app.command("show")(review_show.show)
app.command("take")(review_steps.take)
app.command("give-back")(review_steps.give_back)
app.command("accept")(review_steps.accept)
app.command("calculate")(review_steps.calculate)
app.command("audit")(review_steps.audit)
app.command("return")(review_steps.send_back)
app.command("decide")(review_steps.decide)
app.command("confirm")(review_steps.confirm)
app.command("recuse")(review_steps.recuse)

RulesFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A rules file.")]
_SHIPPED = "review.toml"


class MonthSeen(Struct, frozen=True):
    """How a month's review stands, as JSON names it.

    Attributes:
        hindrances: What stands in the way of clearing it; empty: it is ready.
    """

    month: int
    rules: str
    seed: str
    opened_time_ms: int
    sampled_time_ms: int
    flagged_time_ms: int
    states: tuple[tuple[str, int, int, int], ...]
    strata: tuple[tuple[str, int, int, int, int], ...]
    hindrances: tuple[tuple[str, str, int, int, int], ...]


# --- rules --------------------------------------------------------------------------------------


@rules_app.command("shipped")
@fail_clearly
def print_shipped() -> None:
    """Print the rules file that comes with this software, to start from.

    输出随附的规则文件，作为起点。
    """
    folder = resources.files("cardserver.review") / "rules"
    typer.echo((folder / _SHIPPED).read_text(encoding="utf-8"), nl=False)


@rules_app.command("check")
@fail_clearly
def check_rules(file: RulesFile, *, as_json: AsJSON = False) -> None:
    """Name every mistake in a rules file with its path; exit status 1 where there are any.

    检查规则文件。
    """
    check_file(
        file,
        lambda: load_review_rules(read_rules_text(file, ReviewRulesError)).identity,
        as_json=as_json,
    )


@rules_app.command("activate")
@fail_clearly
def activate_rules(config_file: ConfigFile, file: RulesFile) -> None:
    """Put a rules file in force for the months that are opened from now on.

    启用规则文件。
    """
    config = load_config(config_file)
    text = read_rules_text(file, ReviewRulesError)
    rules = load_review_rules(text)

    async def run() -> None:
        async with open_database(config) as database:
            await activate_review_rules(database, rules, text, acting_user())

    asyncio.run(run())
    typer.echo(f"{rules.identity} 已启用 is in force")


@rules_app.command("list")
@fail_clearly
def list_rules(config_file: ConfigFile) -> None:
    """List the versions that were activated.

    列出已启用的版本。
    """
    config = load_config(config_file)

    async def run() -> None:
        async with open_database(config) as database:
            for rules, time_ms in await activated_review_rules(database):
                typer.echo(f"{rules.identity}  {text_of(time_ms, config.timezone)}")

    asyncio.run(run())


# --- a month ------------------------------------------------------------------------------------


@app.command("open")
@fail_clearly
def open_review(
    config_file: ConfigFile,
    month: Month,
    operator: OperatorCode,
    password_file: PasswordFile = None,
) -> None:
    """Open a month's review: its rules, and the seed of its sample, are fixed once and for all.

    启动当月审核：确定规则与抽样种子。
    """
    seed = secrets.token_bytes(SEED_SIZE)

    async def act(database: Database, who: Reviewer, _config: Config) -> str:
        now_ms = SystemClock().now_ms()
        opened = await open_month(database, month, who, seed=seed, now_ms=now_ms)
        return f"{month}: {opened.rules}, seed 种子 {opened.seed.hex()}"

    typer.echo(_as_reviewer(config_file, operator, password_file, act))


@app.command()
@fail_clearly
def sample(
    config_file: ConfigFile,
    month: Month,
    operator: OperatorCode,
    password_file: PasswordFile = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """Draw the sample of a month that has ended, by institution and clearing type, from its seed.

    随机抽样：按机构和清算类别分层。
    """
    _print_made(_with_progress(config_file, operator, password_file, month, sample_month), as_json)


@app.command()
@fail_clearly
def flag(
    config_file: ConfigFile,
    month: Month,
    operator: OperatorCode,
    password_file: PasswordFile = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """Open a case for each settlement of the month in which a flag of the rules finds something.

    按规则筛查疑点。
    """
    _print_made(_with_progress(config_file, operator, password_file, month, flag_month), as_json)


@app.command()
@fail_clearly
def choose(
    config_file: ConfigFile,
    setl_id: Annotated[int, typer.Argument(help="结算编号 The settlement's number.")],
    month: Month,
    operator: OperatorCode,
    reason: Annotated[str, typer.Option(help="理由 Why, for the audit.")],
    password_file: PasswordFile = None,
) -> None:
    """Open a case for one settlement by hand: someone told of it.

    人工指定一笔结算。
    """

    async def act(database: Database, who: Reviewer, _config: Config) -> int:
        now_ms = SystemClock().now_ms()
        return await choose_settlement(database, month, setl_id, who, reason=reason, now_ms=now_ms)

    case_no = _as_reviewer(config_file, operator, password_file, act)
    typer.echo(f"case 案件 {case_no}")


@app.command("month")
@fail_clearly
def show_month(config_file: ConfigFile, month: Month, *, as_json: AsJSON = False) -> None:
    """Show how a month's review stands, and what is in the way of clearing it: then status 1.

    当月审核进度；未就绪时退出码为 1。
    """
    config = load_config(config_file)
    seen = asyncio.run(_month_seen(config, month))
    if as_json:
        typer.echo(json.encode(seen).decode())
    else:
        _print_month(seen, config)
    if seen.hindrances:
        raise typer.Exit(1)


@app.command()
@fail_clearly
def follow(config_file: ConfigFile) -> None:
    """Do what follows of itself: settlements undone close their cases, appeals run out.

    A deduction of a settlement undone is given back.

    跟进：已撤销结算退回扣款并关闭案件；申诉期满转为最终。
    """
    config = load_config(config_file)

    async def run() -> int:
        async with open_database(config) as database, desk_of(config, database) as desk:
            return await desk.follow(lambda case: typer.echo(sentence(case)))

    typer.echo(f"{asyncio.run(run())} cases followed 已跟进")


@app.command("check")
@fail_clearly
def check(config_file: ConfigFile) -> None:
    """Compare what cases say is deducted with the postings, and signatures with the rules.

    核对案件扣款与分录、签署规则；不一致时退出码为 1。
    """
    config = load_config(config_file)

    async def run() -> list[Difference]:
        async with open_database(config) as database:
            return await check_review(database)

    found = asyncio.run(run())
    for line in found:
        typer.echo(str(line))
    if found:
        raise typer.Exit(1)
    typer.echo("all agree 全部一致")


# --- beneath ------------------------------------------------------------------------------------


def _as_reviewer(
    config_file: Path,
    code: str,
    password_file: Path | None,
    act: Callable[[Database, Reviewer, Config], Awaitable[T]],
) -> T:
    config = load_config(config_file)
    password = password_of(code, password_file)

    async def run() -> T:
        async with open_database(config) as database:
            who = await prove_reviewer(Registry(database), code, password)
            return await act(database, who, config)

    return asyncio.run(run())


def _with_progress(
    config_file: Path,
    code: str,
    password_file: Path | None,
    month: int,
    work: Callable[..., Awaitable[Made]],
) -> Made:
    async def act(database: Database, who: Reviewer, config: Config) -> Made:
        with progress_bar() as progress:
            total = await count_population(database, month)
            task = progress.add_task("settlements 结算", total=total)
            return await work(
                database,
                month,
                who,
                now_ms=SystemClock().now_ms(),
                timezone=config.timezone,
                on_progress=lambda count: progress.advance(task, count),
            )

    return _as_reviewer(config_file, code, password_file, act)


def _print_made(made: Made, as_json: bool) -> None:  # noqa: FBT001 - as the option is called
    if as_json:
        typer.echo(json.encode({"found": made.found, "opened": made.opened}).decode())
    else:
        typer.echo(f"{made.found:,} settlements 结算, {made.opened:,} new cases 新案件")


async def _month_seen(config: Config, month: int) -> MonthSeen:
    async with open_database(config) as database:
        opened = await find_month(database, month)
        states = await count_states(database, month)
        strata = await find_strata(database, month)
        hindrances = await undecided(database, month)
        codes = await institution_codes(
            database,
            [one.stratum.institution_no for one in strata]
            + [one.institution_no for one in hindrances],
        )
    return MonthSeen(
        month=month,
        rules=opened.rules if opened else "",
        seed=opened.seed.hex() if opened else "",
        opened_time_ms=opened.opened_time_ms if opened else 0,
        sampled_time_ms=opened.sampled_time_ms if opened else 0,
        flagged_time_ms=opened.flagged_time_ms if opened else 0,
        states=tuple(_state_row(one) for one in states),
        strata=tuple(_stratum_row(one, codes) for one in strata),
        hindrances=tuple(
            (
                f"{one.why.text_zh} {one.why.text_en}", codes.get(one.institution_no, ""),
                one.clearing_type, one.cases, one.amount_fen,
            )
            for one in hindrances
        ),
    )  # fmt: skip


def _state_row(count: StateCount) -> tuple[str, int, int, int]:
    return count.state.name.lower(), count.cases, count.fund_pay_fen, count.deduction_fen


def _stratum_row(drawn: StratumDrawn, codes: dict[int, str]) -> tuple[str, int, int, int, int]:
    stratum = drawn.stratum
    return (
        codes.get(stratum.institution_no, ""), stratum.clearing_type, drawn.settlements,
        drawn.fund_pay_fen, drawn.sampled,
    )  # fmt: skip


def _print_month(seen: MonthSeen, config: Config) -> None:
    console = wide_console()
    if seen.rules:
        console.print(f"{seen.month}: {seen.rules}, seed 种子 {seen.seed}")
        for words, time_ms in (
            ("opened 启动", seen.opened_time_ms),
            ("sampled 抽样", seen.sampled_time_ms),
            ("flagged 筛查", seen.flagged_time_ms),
        ):
            console.print(f"  {words} {text_of(time_ms, config.timezone) if time_ms else '-'}")
    if seen.states:
        table = Table("state 状态", "cases 案件", "fund 基金支付", "deducted 已扣")
        for name, cases, fund_fen, deduction_fen in seen.states:
            table.add_row(name, f"{cases:,}", yuan(fund_fen), yuan(deduction_fen))
        console.print(table)
    if seen.strata:
        table = Table(
            "institution 机构", "type 类别", "settlements 结算", "fund 基金支付", "drawn 抽中"
        )
        for code, clearing_type, count, fund_fen, sampled in seen.strata:
            table.add_row(code, str(clearing_type), f"{count:,}", yuan(fund_fen), f"{sampled:,}")
        console.print(table)
    for why, code, clearing_type, cases, amount_fen in seen.hindrances:
        where = f" {code} {clearing_type}: {cases}, {yuan(amount_fen)}" if code else ""
        console.print(f"not ready 未就绪: {why}{where}")
    if not seen.hindrances:
        console.print("ready for clearing 可以清算")
