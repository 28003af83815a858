"""`cardterminal init`, `sign-on`, `sign-off`, `echo`."""

import datetime as dt
import secrets
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from protocol.terminal.codes import Retry
from protocol.terminal.messages import SignedOn
from terminals.answer import advice_of
from terminals.certificate import certificate_ends, words_of_end
from terminals.commands.desk import DEFAULT_CONFIG, AsJSON, ConfigFile, Desk, run
from terminals.commands.reconcile import reconcile_at_sign_off, render_day, values_of
from terminals.commands.result import (
    ExitStatus,
    Result,
    fault,
    result_of,
    show,
    warn_of_certificate,
)
from terminals.config import CONFIG_FILE_NAME, ConfigError
from terminals.enrolment import (
    CERTIFICATE_FILE,
    KEY_FILE,
    REQUEST_FILE,
    EnrolmentError,
    NewTerminal,
    make_terminal,
)

PASSWORD_SIZE_MAX = 128


def init(  # noqa: PLR0913, PLR0917 - a command's options are its arguments
    directory: Annotated[Path, typer.Argument(help="终端目录 The terminal's new folder.")],
    institution: Annotated[str, typer.Option(help="机构编码 The institution's code, 12 places.")],
    terminal: Annotated[str, typer.Option(help="终端编号 The terminal's code.")],
    ca: Annotated[Path, typer.Option(help="基金根证书 The fund's authority, PEM.")],
    host: Annotated[str, typer.Option(help="中心地址 The centre's name or address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="端口 Its port.")] = 7443,
    server_name: Annotated[
        str, typer.Option(help="中心证书名 What its certificate names, unless the host.")
    ] = "",
    reader: Annotated[str, typer.Option(help="读卡器 The reader's name or a part of it.")] = "",
    institution_name: Annotated[str, typer.Option(help="机构名称 Its name on receipts.")] = "",
    *,
    as_json: AsJSON = False,
) -> None:
    """新建终端 Make a terminal's folder: key, certificate request, configuration."""
    new = NewTerminal(
        institution=institution,
        institution_name=institution_name,
        code=terminal,
        host=host,
        port=port,
        server_name=server_name,
        reader=reader,
        ca_file=ca,
    )
    try:
        make_terminal(directory, new)
    except (EnrolmentError, ConfigError) as error:
        show("init", fault("无法新建终端", "cannot make the terminal", str(error)), as_json=as_json)
        raise typer.Exit(int(ExitStatus.LOCAL_FAULT)) from error
    enrol = (
        f"cardserver enrol-terminal --config CENTRE.toml --institution {institution}"
        f" --terminal {terminal} --request {directory / REQUEST_FILE}"
        f" --out {directory / CERTIFICATE_FILE}"
    )

    def render(console: Console) -> None:
        console.print(f"私钥 key: {directory / KEY_FILE} (0600, 不得离开本机 stays here)")
        console.print(f"证书申请 request: {directory / REQUEST_FILE}")
        console.print(f"配置 configuration: {directory / CONFIG_FILE_NAME}")
        console.print(f"下一步 next:\n  {enrol}")

    values = {
        "directory": str(directory),
        "config": str(directory / CONFIG_FILE_NAME),
        "key": str(directory / KEY_FILE),
        "request": str(directory / REQUEST_FILE),
        "certificate": str(directory / CERTIFICATE_FILE),
        "next": enrol,
    }
    show(
        "init",
        Result(
            status=ExitStatus.APPROVED,
            text_zh="已新建",
            text_en="made",
            values=values,
            render=render,
        ),
        as_json=as_json,
    )


def sign_on(
    operator: Annotated[str, typer.Option(help="操作员工号 The operator's number.")],
    password_file: Annotated[
        Path | None, typer.Option(help="口令文件 File with the password; else it is asked.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """签到 Sign an operator on; later commands use it until it ends."""

    async def act(desk: Desk) -> Result:
        try:
            password = _password(password_file)
        except OSError as error:
            return fault("口令文件不可用", "the password file cannot be used", str(error))
        ends = certificate_ends(Path(desk.config.terminal.certificate_file))
        if words := words_of_end(ends, dt.datetime.now(dt.UTC)):
            warn_of_certificate(*words)
        answer = await desk.client.sign_on(operator, password)
        body = answer.body
        if not isinstance(body, SignedOn):
            return result_of(answer)
        desk.forget_card()
        doubts, _ = desk.outbox.depth()

        def render(console: Console) -> None:
            console.print(f"{body.fund_zh}  {body.fund_en}")
            console.print(f"操作员 operator {operator}  批次 batch {body.batch_no}")
            if doubts:
                console.print(
                    f"[bold yellow]{doubts} 笔结果未知，请先执行 outbox --resolve"
                    f" {doubts} in doubt: run `cardterminal outbox --resolve` first[/]"
                )

        values = {
            "operator": operator,
            "batch_no": body.batch_no,
            "version": body.version,
            "fund_zh": body.fund_zh,
            "fund_en": body.fund_en,
            "expires_time_ms": body.expires_time_ms,
            "challenges": len(body.challenges),
            "openings": len(body.openings),
            "certificate_ends": ends.isoformat(),
            "open_attempts": doubts,
        }
        return result_of(answer, values, render)

    run("sign-on", config, act, as_json=as_json)


def sign_off(
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    reconciles: Annotated[
        bool,
        typer.Option("--reconcile/--no-reconcile", help="先对账 Reconcile days first, or not."),
    ] = True,
    as_json: AsJSON = False,
) -> None:
    """签退 Sign the operator off, once earlier days and today so far are reconciled."""

    async def act(desk: Desk) -> Result:
        days = await reconcile_at_sign_off(desk) if reconciles else []
        answer = await desk.client.sign_off()
        if answer.is_approved or advice_of(answer.code) is Retry.SIGN_ON:
            desk.client.forget_sign_on()
            desk.forget_card()

        def render(console: Console) -> None:
            if isinstance(days, str):
                console.print(f"[yellow]未能对账 could not reconcile: {escape(days)}[/]")
                return
            for one in days:
                render_day(one)(console)

        values = {"reconciled": days if isinstance(days, str) else [*map(values_of, days)]}
        return result_of(answer, values, render)

    run("sign-off", config, act, as_json=as_json)


def echo(
    count: Annotated[int, typer.Option(min=1, max=1000, help="次数 How often.")] = 1,
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """回声 Ask whether the centre is there, and how far away."""

    async def act(desk: Desk) -> Result:
        await desk.client.connect()
        times_ms: list[float] = []
        while True:
            answer = await desk.client.echo(secrets.token_bytes(16))
            times_ms.append(answer.wire_ms)
            if len(times_ms) == count or not answer.is_approved:
                break

        def render(console: Console) -> None:
            console.print(
                f"最快 min {min(times_ms):.2f} ms, 最慢 max {max(times_ms):.2f} ms,"
                f" {len(times_ms)} x"
            )

        return result_of(answer, {"times_ms": [round(one_ms, 3) for one_ms in times_ms]}, render)

    run("echo", config, act, as_json=as_json)


def _password(file: Path | None) -> str:
    if file is None:
        return str(typer.prompt("口令 password", hide_input=True, err=True))
    with file.open(encoding="utf-8") as opened:
        return opened.read(PASSWORD_SIZE_MAX + 2).rstrip("\r\n")
