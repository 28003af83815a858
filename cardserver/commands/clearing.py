"""`cardserver clearing`: previewed, run, shown; holds, terms and deposits.

Not here: payments (`clearing_payments.py`), statements (`clearing_statements.py`).
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cardserver.benefits.mistakes import Mistake
from cardserver.clearing.amounts import month_text, type_text, yuan
from cardserver.clearing.clearing_store import (
    Hold,
    activate_terms,
    activated_terms,
    begin_hold,
    institution_codes,
    read_holds,
    release_holds,
    stored_clearings,
)
from cardserver.clearing.plan import Clearing, Left, StoredClearing
from cardserver.clearing.run import ReadMonth, RunReport, RunWish, read_month, run
from cardserver.clearing.terms import TermsError, load_terms
from cardserver.commands.clearing_desk import (
    AsJSON,
    ClearingType,
    Despite,
    Month,
    OfficerOption,
    PasswordFile,
    echo_json,
    institution_of,
    month_of,
    open_desk,
)
from cardserver.commands.clearing_payments import app as payments_app
from cardserver.commands.clearing_payments import release_deposit
from cardserver.commands.clearing_statements import write_statements
from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.progress import progress_bar
from cardserver.commands.rules_text import read_rules_text
from cardserver.commands.wide_console import print_whole, wide_console
from cardserver.config import Config, load_config
from cardserver.registry.administration_store import AdministrationError
from ledger.calendar import text_of

app = typer.Typer(help="Monthly clearing with institutions. 医药机构月度清算", no_args_is_help=True)
hold_app = typer.Typer(help="Institutions that are held. 暂停清算", no_args_is_help=True)
terms_app = typer.Typer(
    help="Deposits, caps on total, accounts: terms as a file. 清算规则文件", no_args_is_help=True
)
app.add_typer(hold_app, name="hold")
app.add_typer(terms_app, name="terms")
app.add_typer(payments_app, name="payments")
app.command("statement")(write_statements)
app.command("release-deposit")(release_deposit)

_HEADER = (
    "institution 机构", "type 类别", "settled 结算", "undone 撤销", "of earlier 跨期",
    "other 其他", "brought 结转", "applied 申报", "review 审核扣款", "cap 总额控制",
    "withheld 保证金", "paid 应付", "carried 转下期", "",
)  # fmt: skip


@app.command("preview")
@fail_clearly
def preview(config_file: ConfigFile, month: Month, *, as_json: AsJSON = False) -> None:
    """Show what a month's clearing comes to, with its totals recomputed from every posting.

    Nothing is changed. The month may still be open: then more may come.

    清算预览。
    """
    config = load_config(config_file)
    read = asyncio.run(_preview(config, month_of(month)))
    if as_json:
        echo_json(_document(read))
        return
    rows = [
        *((one.clearing, str(one.clearing_no)) for one in read.plan.done),
        *((one, "to clear 待清算") for one in read.plan.to_clear),
        *((one, _words(reason)) for one, reason in read.plan.left),
    ]
    _print(rows, read.books.codes)
    recomputed = read.books.recomputed
    typer.echo(
        f"{month_text(read.books.month)}: {recomputed.postings_count:,} postings recomputed 重算,"
        f" {yuan(recomputed.owed_fen)} owed 应付; kept totals agree 合计一致"
    )
    if not read.is_closed:
        typer.echo("the period is open: more may come 期间未结账")


@app.command("run")
@fail_clearly
def run_clearing(
    config_file: ConfigFile,
    month: Month,
    *,
    by: OfficerOption,
    password_file: PasswordFile = None,
    despite: Despite = "",
    as_json: AsJSON = False,
) -> None:
    """Clear a closed month: every institution and clearing type that is not held, each once.

    Its totals are recomputed from every posting, and it is refused, naming the rows, where they
    differ from those kept. Run again it does what is missing: nothing, if all is done.

    执行月度清算。
    """
    config = load_config(config_file)
    wish = RunWish(month_of(month), despite)

    async def work() -> RunReport:
        async with open_desk(config, by, password_file) as desk, desk.acts() as acts:
            with progress_bar() as bar:
                task = bar.add_task("clearing 清算", total=None)
                return await run(
                    desk.database,
                    acts,
                    wish,
                    desk.actor,
                    lambda done, total: bar.update(task, completed=done, total=total),
                )

    report = asyncio.run(work())
    if as_json:
        echo_json({"cleared": report.cleared_count, **_document(report.read)})
        return
    plan = report.read.plan
    paid_fen = sum(one.result.paid_fen for one in plan.to_clear)
    typer.echo(
        f"{month_text(wish.month)}: {report.cleared_count} cleared now 本次清算, "
        f"{len(plan.done)} before 此前, {yuan(paid_fen)} to be paid 应付;"
        f" {report.read.books.recomputed.postings_count:,} postings recomputed 重算一致"
    )
    if plan.left:
        _print([(one, _words(reason)) for one, reason in plan.left], report.read.books.codes)


@app.command("show")
@fail_clearly
def show(
    config_file: ConfigFile,
    month: Month,
    *,
    institution: Annotated[str, typer.Option(help="One institution's, by its code.")] = "",
    as_json: AsJSON = False,
) -> None:
    """Show what was cleared for a month.

    显示已清算结果。
    """
    config = load_config(config_file)
    found, codes = asyncio.run(_show(config, month_of(month), institution))
    if as_json:
        echo_json([_row(one.clearing, codes, clearing_no=one.clearing_no) for one in found])
    else:
        _print([(one.clearing, str(one.clearing_no)) for one in found], codes)


async def _preview(config: Config, month: int) -> ReadMonth:
    async with open_database(config) as database:
        return await read_month(database, month)


async def _show(
    config: Config, month: int, institution: str
) -> tuple[list[StoredClearing], dict[int, str]]:
    async with open_database(config) as database:
        number = None
        if institution:
            number = (await institution_of(database, institution)).institution_no
        found = await database.report(
            lambda one: stored_clearings(one, month=month, institution_no=number)
        )
        codes = await database.report(institution_codes)
    return found, codes


def _document(read: ReadMonth) -> dict[str, object]:
    codes = read.books.codes
    return {
        "month": read.books.month,
        "is_closed": read.is_closed,
        "terms": read.terms.sha256.hex(),
        "postings": read.books.recomputed.postings_count,
        "owed_fen": read.books.recomputed.owed_fen,
        "done": [_row(one.clearing, codes, clearing_no=one.clearing_no) for one in read.plan.done],
        "to_clear": [_row(one, codes) for one in read.plan.to_clear],
        "left": [
            {**_row(one, codes), "reason": reason.name.lower()} for one, reason in read.plan.left
        ],
    }


def _row(clearing: Clearing, codes: dict[int, str], *, clearing_no: int = 0) -> dict[str, object]:
    totals, result = clearing.totals, clearing.result
    return {
        "institution": codes.get(clearing.institution_no, str(clearing.institution_no)),
        "month": clearing.month,
        "clearing_type": clearing.clearing_type,
        "clearing_no": str(clearing_no or ""),
        "settled_count": totals.settled_count,
        "settled_fen": totals.settled_fen,
        "undone_count": totals.undone_count,
        "undone_fen": totals.undone_fen,
        "earlier_fen": totals.earlier_fen,
        "other_fen": totals.other_fen,
        "brought_fen": clearing.before.brought_fen,
        "applied_fen": result.applied_fen,
        "review_fen": totals.review_fen,
        "cap_fen": result.cap_fen,
        "withheld_fen": result.withheld_fen,
        "paid_fen": result.paid_fen,
        "carried_fen": result.carried_fen,
    }


def _words(reason: Left) -> str:
    return f"{reason.text_zh} {reason.text_en}"


def _print(rows: Sequence[tuple[Clearing, str]], codes: dict[int, str]) -> None:
    table = Table(*_HEADER)
    for column in table.columns[2:-1]:
        column.justify = "right"
    sums = [0] * 11
    for one, note in rows:
        totals, result = one.totals, one.result
        amounts = (
            totals.settled_fen, totals.undone_fen, totals.earlier_fen, totals.other_fen,
            one.before.brought_fen, result.applied_fen, totals.review_fen, result.cap_fen,
            result.withheld_fen, result.paid_fen, result.carried_fen,
        )  # fmt: skip
        sums = [done + fen for done, fen in zip(sums, amounts, strict=True)]
        table.add_row(
            codes.get(one.institution_no, str(one.institution_no)),
            type_text(one.clearing_type),
            *map(yuan, amounts),
            note,
        )
    table.add_section()
    table.add_row("合计 total", "", *map(yuan, sums), "")
    print_whole(table)


# --- holds --------------------------------------------------------------------------------------


@hold_app.command("list")
@fail_clearly
def list_holds(
    config_file: ConfigFile,
    *,
    released: Annotated[bool, typer.Option(help="Also those that were released.")] = False,
    as_json: AsJSON = False,
) -> None:
    """List holds.

    列出暂停清算。
    """
    config = load_config(config_file)

    async def read() -> tuple[list[Hold], dict[int, str]]:
        async with open_database(config) as database:
            found = await database.report(lambda one: read_holds(one, also_released=released))
            return found, await database.report(institution_codes)

    found, codes = asyncio.run(read())
    if as_json:
        echo_json(found)
        return
    table = Table("no", "institution 机构", "type 类别", "since 自", "reason 原因", "released 解除")
    for one in found:
        table.add_row(
            str(one.hold_no),
            codes.get(one.institution_no, str(one.institution_no)),
            "all 全部" if not one.clearing_type else type_text(one.clearing_type),
            text_of(one.begun_time_ms, config.timezone),
            one.reason,
            text_of(one.released_time_ms, config.timezone) if one.released_time_ms else "",
        )
    wide_console().print(table)


@hold_app.command("begin")
@fail_clearly
def hold(
    config_file: ConfigFile,
    institution: Annotated[str, typer.Argument(help="Its code.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; for the audit.")],
    by: OfficerOption,
    clearing_type: ClearingType = 0,
    password_file: PasswordFile = None,
) -> None:
    """Hold an institution: it is not cleared and, held whole, not paid until released.

    暂停某机构清算（整家暂停时亦不付款）。
    """
    config = load_config(config_file)
    if not reason.strip():
        raise AdministrationError("say why")

    async def work() -> None:
        async with open_desk(config, by, password_file) as desk:
            found = await institution_of(desk.database, institution)
            number = found.institution_no
            await begin_hold(desk.database, number, clearing_type, reason[:200], desk.actor)

    asyncio.run(work())
    typer.echo(f"{institution}: held 已暂停")


@hold_app.command("release")
@fail_clearly
def release(
    config_file: ConfigFile,
    institution: Annotated[str, typer.Argument(help="Its code.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; for the audit.")],
    by: OfficerOption,
    clearing_type: ClearingType = 0,
    password_file: PasswordFile = None,
) -> None:
    """Release an institution's holds; `clearing run MONTH` then clears the months left out.

    解除暂停清算。
    """
    config = load_config(config_file)

    async def work() -> int:
        async with open_desk(config, by, password_file) as desk:
            found = await institution_of(desk.database, institution)
            holds = [
                one.hold_no
                for one in await desk.database.report(read_holds)
                if one.institution_no == found.institution_no
                and clearing_type in {0, one.clearing_type}
            ]
            return await release_holds(desk.database, holds, reason[:200], desk.actor)

    count = asyncio.run(work())
    if not count:
        raise AdministrationError(f"{institution} has no such hold")
    typer.echo(f"{institution}: {count} released 已解除")


# --- terms --------------------------------------------------------------------------------------

TermsFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A file of terms.")]


@terms_app.command("check")
@fail_clearly
def check_terms(file: TermsFile, *, as_json: AsJSON = False) -> None:
    """Name every mistake in a file of terms. Exit status 0: none; 1: there are some.

    检查清算规则文件。
    """
    mistakes: tuple[Mistake, ...] = ()
    try:
        load_terms(read_rules_text(file, TermsError))
    except TermsError as error:
        mistakes = error.mistakes
    if as_json:
        echo_json({"file": str(file), "mistakes": [one._asdict() for one in mistakes]})
    else:
        for one in mistakes:
            typer.echo(f"{file}: {one.path}: {one.sentence}")
        if not mistakes:
            typer.echo(f"{file}: 无误 no mistake")
    if mistakes:
        raise typer.Exit(1)


@terms_app.command("activate")
@fail_clearly
def activate(
    config_file: ConfigFile,
    file: TermsFile,
    *,
    by: OfficerOption,
    password_file: PasswordFile = None,
) -> None:
    """Put terms in force from their first month on; months whose clearing began keep theirs.

    启用清算规则。
    """
    config = load_config(config_file)

    async def work() -> int:
        async with open_desk(config, by, password_file) as desk:
            content = read_rules_text(file, TermsError)
            terms = load_terms(content)
            codes = set((await desk.database.report(institution_codes)).values())
            named = [one.code for one in terms.document.institutions]
            named += [one.institution for one in terms.document.caps]
            unknown = sorted(set(named) - codes)
            if unknown:
                raise AdministrationError(f"no institution has these codes: {', '.join(unknown)}")
            await activate_terms(desk.database, content, desk.actor)
            return terms.begins

    begins = asyncio.run(work())
    typer.echo(f"in force from {month_text(begins)} on 已启用")


@terms_app.command("list")
@fail_clearly
def list_terms(config_file: ConfigFile) -> None:
    """List every version that was activated.

    列出已启用的清算规则。
    """
    config = load_config(config_file)

    async def read() -> list[tuple[str, ...]]:
        async with open_database(config) as database:
            return [
                (
                    month_text(one.terms.begins), one.terms.sha256.hex()[:12],
                    text_of(one.activated_time_ms, config.timezone),
                    "in force 有效" if one.is_in_force else "replaced 已替换",
                )
                for one in await database.report(activated_terms)
            ]  # fmt: skip

    table = Table("begins 起始", "hash 摘要", "activated 启用时间", "")
    for row in asyncio.run(read()):
        table.add_row(*row)
    wide_console().print(table)
