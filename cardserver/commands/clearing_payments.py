"""`cardserver clearing payments`: made, signed, handed out, confirmed or returned."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cardserver.clearing.amounts import yuan
from cardserver.clearing.paying import (
    RunWish,
    Signing,
    Taken,
    gathered_of,
    make_run,
    release_deposits,
    run_of_number,
    sign,
    signed_file,
    signing_of,
    take_report,
    withdraw_run,
)
from cardserver.clearing.payments import Gathered, end_to_end_id, message_id
from cardserver.clearing.payments_store import (
    Payment,
    PaymentRun,
    read_payable,
    read_payments,
    read_runs,
    terms_of_run,
)
from cardserver.clearing.statement_store import institutions
from cardserver.clearing.terms import terms_of_month
from cardserver.commands.clearing_desk import (
    AsJSON,
    Month,
    OfficerOption,
    PasswordFile,
    day_of,
    echo_json,
    institution_of,
    month_of,
    open_desk,
    today_of,
)
from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.progress import progress_bar
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.registry.roles import Role
from cardserver.when_called import when_called
from ledger.calendar import text_of
from ledger.database_store import Database

app = typer.Typer(help="Payment runs to institutions. 清算付款", no_args_is_help=True)

_summary_pdf: Callable[..., bytes] = when_called("cardserver.clearing.summary_page:summary_pdf")

RunNumber = Annotated[int, typer.Argument(metavar="RUN", help="The run's number.")]


@app.command("due")
@fail_clearly
def due(config_file: ConfigFile, *, as_json: AsJSON = False) -> None:
    """Show what the next run would pay, and to whom it could not.

    显示待付款项。
    """
    config = load_config(config_file)

    async def read() -> tuple[Gathered, dict[int, tuple[str, str]]]:
        async with open_database(config) as database:
            payable = await database.report(read_payable)
            terms = terms_of_month(payable.terms, today_of(config) // 100)
            known = await database.report(institutions)
            return gathered_of(payable, terms, again_only=False), known

    gathered, known = asyncio.run(read())
    if as_json:
        echo_json(gathered)
        return
    table = Table("institution 机构", "payee 收款人", "account 账号", "amount 金额", "")
    for one in gathered.transfers:
        table.add_row(
            known[one.institution_no][0], one.holder.name, one.holder.account,
            yuan(one.amount_fen),
            f"again for 重付 {end_to_end_id(one.again_of)}" if one.again_of else "",
        )  # fmt: skip
    for number, fen in gathered.without_account.items():
        table.add_row(known[number][0], "", "", yuan(fen), "no account in the terms 无账户")
    wide_console().print(table)
    typer.echo(f"{len(gathered.transfers)} transfers 笔, {yuan(gathered.total_fen)} 元")


@app.command("make")
@fail_clearly
def make(
    config_file: ConfigFile,
    *,
    summary: Annotated[Path, typer.Option(dir_okay=False, help="Where the PDF to sign goes.")],
    by: OfficerOption,
    on: Annotated[
        str, typer.Option(metavar="YYYY-MM-DD", help="When the bank shall pay; without it today.")
    ] = "",
    again: Annotated[bool, typer.Option("--again", help="Only what the bank returned.")] = False,
    password_file: PasswordFile = None,
) -> None:
    """Make a run of all that is to be paid, and its summary on paper for those who sign.

    One that was broken off is gone on with. The bank's file is handed out once it is signed.

    生成付款批次及汇总单。
    """
    config = load_config(config_file)

    async def work() -> tuple[PaymentRun, Gathered | None, dict[int, tuple[str, str]]]:
        async with open_desk(config, by, password_file) as desk, desk.acts() as acts:
            wish = RunWish(
                execution_date=day_of(on) if on else desk.today,
                today=desk.today,
                region=config.fund.region,
                timezone=config.timezone,
                again_only=again,
            )
            made = await make_run(desk.database, acts, wish, desk.actor)
            summary.write_bytes(await _summary(config, desk.database, made.run))
            known = await desk.database.report(institutions)
            return made.run, made.gathered, known

    run, gathered, known = asyncio.run(work())
    if gathered is None:
        typer.echo(f"run {run.run_no} had been begun, and is made now 续作此前批次")
    else:
        for number, fen in gathered.without_account.items():
            typer.echo(
                f"{known[number][0]}: {yuan(fen)} wait for an account in the terms 无账户", err=True
            )
    typer.echo(
        f"run 批次 {run.run_no}: {run.count} transfers 笔, {yuan(run.total_fen)} 元,"
        f" sha256 {run.sha256.hex()}"
    )


@app.command("summary")
@fail_clearly
def summary_again(
    config_file: ConfigFile,
    run_no: RunNumber,
    *,
    out: Annotated[Path, typer.Option(dir_okay=False, help="Where the PDF goes.")],
) -> None:
    """Print a run's summary again.

    重印付款汇总单。
    """
    config = load_config(config_file)

    async def work() -> bytes:
        async with open_database(config) as database:
            return await _summary(config, database, await run_of_number(database, run_no))

    out.write_bytes(asyncio.run(work()))
    typer.echo(str(out))


@app.command("sign")
@fail_clearly
def sign_run(
    config_file: ConfigFile,
    run_no: RunNumber,
    *,
    digits: Annotated[
        str,
        typer.Option("--hash", help="The file's hash as the summary prints it: 16 digits or more."),
    ],
    by: Annotated[str, typer.Option("--by", metavar="OPERATOR", help="The signatory.")],
    password_file: PasswordFile = None,
) -> None:
    """Sign for a run: above the terms' amount two people must.

    签批付款批次（超过限额须两人）。
    """
    config = load_config(config_file)

    async def work() -> Signing:
        async with open_desk(config, by, password_file, role=Role.SIGNATORY) as desk:
            return await sign(desk.database, run_no, digits, desk.actor)

    signing = asyncio.run(work())
    typer.echo(f"run {run_no}: signed by 已签 {len(signing.signatures)} of {signing.wanted}")


@app.command("withdraw")
@fail_clearly
def withdraw(
    config_file: ConfigFile,
    run_no: RunNumber,
    *,
    reason: Annotated[str, typer.Option(help="Why; for the audit.")],
    by: OfficerOption,
    password_file: PasswordFile = None,
) -> None:
    """Take a run back that is not signed: what it would have paid is owed again.

    The next `make` pays it, by the accounts of the terms that hold then.

    撤回尚未签批的付款批次。
    """
    config = load_config(config_file)

    async def work() -> int:
        async with open_desk(config, by, password_file) as desk, desk.acts() as acts:
            return await withdraw_run(desk.database, acts, run_no, reason, desk.actor)

    typer.echo(f"run 批次 {run_no}: {asyncio.run(work())} withdrawn 已撤回")


@app.command("file")
@fail_clearly
def hand_out(
    config_file: ConfigFile,
    run_no: RunNumber,
    *,
    out: Annotated[Path, typer.Option(dir_okay=False, help="Where pain.001 goes.")],
) -> None:
    """Write a signed run's file for the bank: ISO 20022 pain.001.001.09.

    导出银行付款文件。
    """
    config = load_config(config_file)

    async def work() -> bytes:
        async with open_database(config) as database:
            return await signed_file(database, run_no)

    out.write_bytes(asyncio.run(work()))
    typer.echo(str(out))


@app.command("confirm")
@fail_clearly
def confirm(
    config_file: ConfigFile,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="pain.002.")],
    *,
    by: OfficerOption,
    password_file: PasswordFile = None,
    as_json: AsJSON = False,
) -> None:
    """Take the bank's report in: payments are confirmed, or come back and are owed again.

    Exit status 1 where it says something that can't be; what it says of the others is taken in.

    导入银行回执：确认付款或退汇。
    """
    config = load_config(config_file)

    async def work() -> Taken:
        async with open_desk(config, by, password_file) as desk, desk.acts() as acts:
            with progress_bar() as bar:
                task = bar.add_task("payments 付款", total=None)
                return await take_report(
                    desk.database,
                    acts,
                    file.read_bytes(),
                    config.fund.region,
                    desk.actor,
                    lambda done, total: bar.update(task, completed=done, total=total),
                )

    taken = asyncio.run(work())
    if as_json:
        echo_json(taken)
    else:
        typer.echo(
            f"run 批次 {taken.report.run_no}: {taken.confirmed} confirmed 已付,"
            f" {taken.returned} returned 退汇, {taken.repeated} known before 已知,"
            f" {taken.under_way} under way 在途"
        )
        for sentence in taken.refused:
            typer.echo(f"refused 不予采信: {sentence}", err=True)
    if taken.refused:
        raise typer.Exit(1)


@app.command("list")
@fail_clearly
def list_runs(config_file: ConfigFile, *, as_json: AsJSON = False) -> None:
    """List payment runs.

    列出付款批次。
    """
    config = load_config(config_file)

    async def read() -> list[tuple[PaymentRun, Signing]]:
        async with open_database(config) as database:
            runs = await database.report(read_runs)
            return [(run, await signing_of(database, run)) for run in runs]

    found = asyncio.run(read())
    if as_json:
        echo_json([
            {
                "run": run.run_no, "message": message_id(run.run_no, config.fund.region),
                "execution_date": run.execution_date, "count": run.count,
                "total_fen": run.total_fen, "sha256": run.sha256.hex(),
                "signatures": len(signing.signatures), "wanted": signing.wanted,
            }
            for run, signing in found
        ])  # fmt: skip
        return
    table = Table(
        "run 批次", "begun 时间", "on 付款日", "transfers 笔数", "total 金额", "signed 签批"
    )
    for run, signing in found:
        table.add_row(
            str(run.run_no), text_of(run.begun_time_ms, config.timezone),
            str(run.execution_date), str(run.count), yuan(run.total_fen),
            f"{len(signing.signatures)} of {signing.wanted}",
        )  # fmt: skip
    wide_console().print(table)


@app.command("show")
@fail_clearly
def show_run(config_file: ConfigFile, run_no: RunNumber, *, as_json: AsJSON = False) -> None:
    """Show a run's transfers and what became of them.

    显示付款明细。
    """
    config = load_config(config_file)

    async def read() -> tuple[list[Payment], dict[int, tuple[str, str]]]:
        async with open_database(config) as database:
            await run_of_number(database, run_no)
            found = await database.report(lambda one: read_payments(one, run_no=run_no))
            return found, await database.report(institutions)

    found, known = asyncio.run(read())
    if as_json:
        echo_json([{"reference": end_to_end_id(one.payment_no), **_fields(one)} for one in found])
        return
    table = Table(
        "reference 付款号", "institution 机构", "amount 金额", "state 状态", "reason 原因"
    )
    for one in found:
        table.add_row(
            end_to_end_id(one.payment_no), known[one.institution_no][0], yuan(one.amount_fen),
            one.state.name.lower(), one.reason,
        )  # fmt: skip
    wide_console().print(table)


@fail_clearly
def release_deposit(
    config_file: ConfigFile,
    institution: Annotated[str, typer.Argument(help="Its code.")],
    until: Month,
    *,
    by: OfficerOption,
    password_file: PasswordFile = None,
) -> None:
    """Release an institution's deposits of all months until one; the next run pays them.

    退还质量保证金。
    """
    config = load_config(config_file)
    month = month_of(until)

    async def work() -> int:
        async with open_desk(config, by, password_file) as desk, desk.acts() as acts:
            found = await institution_of(desk.database, institution)
            return await release_deposits(
                desk.database, acts, found.institution_no, desk.actor, until=month, today=desk.today
            )

    typer.echo(f"{institution}: {yuan(asyncio.run(work()))} released 已退还")


async def _summary(config: Config, database: Database, run: PaymentRun) -> bytes:
    payments = await database.report(lambda one: read_payments(one, run_no=run.run_no))
    known = await database.report(institutions)
    terms = await database.report(lambda one: terms_of_run(one, run))
    signing = await signing_of(database, run)
    return _summary_pdf(
        run,
        payments,
        fund=f"{config.fund.name_zh} {config.fund.name_en}",
        region=config.fund.region,
        payer=terms.document.payer,
        codes={number: code for number, (code, _) in known.items()},
        signatures_wanted=signing.wanted,
    )


def _fields(payment: Payment) -> dict[str, object]:
    return {
        "institution_no": payment.institution_no,
        "amount_fen": payment.amount_fen,
        "again_of": end_to_end_id(payment.again_of) if payment.again_of else "",
        "account": payment.account,
        "state": payment.state.name.lower(),
        "reason": payment.reason,
        "entry_no": str(payment.entry_no or ""),
    }
