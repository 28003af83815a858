"""`cardserver claim MSGID`: all that is known of one request."""

import asyncio
import datetime as dt
from collections.abc import Iterable
from typing import Annotated

import typer
from msgspec import json, structs
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cardserver.benefits.policy import PolicyBook
from cardserver.claims.inquiry_store import ClaimFound, ClaimTold, RequestFound, inquire
from cardserver.claims.settled_store import Archive, retell_claim
from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.observe.stages import Stage, in_order
from cardserver.outcomes import code_of_number
from ledger.database_store import Database
from protocol.terminal.messages import MessageType

_TOMBSTONE = 0
_CLASSES = {1: "甲 A", 2: "乙 B", 3: "丙 C"}


@fail_clearly
def claim(
    config_file: ConfigFile,
    msgid: Annotated[str, typer.Argument(help="The request's msgid, 30 characters.")],
    *,
    explains: Annotated[
        bool,
        typer.Option("--explain", help="Tell step by step how the settlement came to what it is."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show outcome, claim, postings and stage times of one request.

    查询一笔请求：结果、结算、分录与各环节耗时。
    """
    config = load_config(config_file)
    found = asyncio.run(_inquire(config, msgid, explains=explains))
    if as_json:
        typer.echo(json.format(json.encode(found)).decode())
    else:
        console = wide_console()
        for request in found:
            _print_request(console, config, request)
    if not found:
        typer.echo(f"nothing is known of {msgid}: it never ended here 未查到", err=True)
        raise typer.Exit(1)


async def _inquire(config: Config, msgid: str, *, explains: bool) -> tuple[RequestFound, ...]:
    async with open_database(config) as database:
        found = await database.fetch_script(inquire(msgid))
        if not explains:
            return found
        archive = Archive(database)
        return tuple([await _told(database, archive, request) for request in found])


async def _told(database: Database, archive: Archive, request: RequestFound) -> RequestFound:
    """Tell the request's claims, each by the version that decided it."""
    told: list[ClaimTold] = []
    for claim in (request.claim, request.remainder):
        if claim is None or claim.undoes:
            continue
        retold = await retell_claim(database, archive, PolicyBook(()), int(claim.setl_id))
        if retold is not None:
            _, again = retold
            steps = () if again.adjudication is None else again.adjudication.explanation
            told.append(ClaimTold(claim.setl_id, again.result.name, again.difference, steps))
    return structs.replace(request, told=tuple(told))


def _print_request(console: Console, config: Config, request: RequestFound) -> None:
    console.print(f"[bold]{request.msgid}[/bold]  {request.institution} {request.terminal}")
    if request.code is None or request.type is None:
        console.print("no outcome is stored 无已存结果")
    else:
        type_ = "tombstone 墓碑" if request.type == _TOMBSTONE else MessageType(request.type).name
        code = code_of_number(request.code)
        when = _local(config, request.recorded_time_ms or 0)
        console.print(
            f"{type_}: {code.value:03} {code.text_zh} / {code.text_en}; {when}, "
            f"business date 业务日期 {request.business_date}"
        )
    if request.claim is not None:
        _print_claim(console, config, request.claim)
    if request.remainder is not None:
        console.print("what remained, settled anew 剩余部分重新结算:")
        _print_claim(console, config, request.remainder)
    for told in request.told:
        _print_told(console, told)
    _print_trace(console, config, request)


def _print_trace(console: Console, config: Config, request: RequestFound) -> None:
    """Print where the time went on both sides, by the trace that joins them."""
    for trace in dict.fromkeys(one.trace for one in request.times):
        console.print(f"trace 追踪 {trace or '-'}")
        for felt in request.felt:
            table = Table(
                "terminal 终端", "ms",
                title=f"{request.terminal} felt 终端感受 {felt.took_us / 1000:.3f} ms, sent"
                f" 发送 {felt.sends} x",
            )  # fmt: skip
            _add_stages(table, felt.stages)
            console.print(table)
        for one in request.times:
            if one.trace == trace:
                total_ms = sum(us for stage, us in one.stages if stage != Stage.CHIP) / 1000
                table = Table(
                    "centre 中心", "ms",
                    title=f"answered {_local(config, one.recorded_time_ms)}, {total_ms:.3f} ms",
                )  # fmt: skip
                _add_stages(table, in_order(one.stages))
                console.print(table)


def _add_stages(table: Table, stages: Iterable[tuple[str, int]]) -> None:
    for stage, microseconds in stages:
        table.add_row(escape(stage), f"{microseconds / 1000:.3f}")


def _print_told(console: Console, told: ClaimTold) -> None:
    console.print(f"settlement 结算号 {told.setl_id}: {told.result} {told.difference}")
    for step in told.steps:
        console.print(f"{_yuan(step.amount_fen):>14}  {escape(step.text_zh)}")
        console.print(f"{'':>14}  {escape(step.text_en)}  {escape(f'[{step.rule}]')}")


def _print_claim(console: Console, config: Config, claim: ClaimFound) -> None:
    console.print(
        f"settlement 结算号 {claim.setl_id}: person 人员 {claim.psn_no}, insurance 险种 "
        f"{claim.insutype}, care 医疗类别 {claim.med_type}, care date 就诊日 {claim.care_date}, "
        f"policy 政策 {claim.policy}, period 会计期 {claim.period}"
    )
    visit = f", visit 就诊编号 {claim.mdtrt_id}" if claim.mdtrt_id else ""
    how = f"exception 例外 {claim.exception}" if claim.exception else f"card 卡 {claim.card_no}"
    console.print(
        f"operator 操作员 {claim.operator_no}, {how}, proof 验证级别 {claim.proof}{visit}"
    )
    if claim.list_age_ms is not None:
        console.print(
            f"revocation list 吊销名单 {claim.list_version}, "
            f"overtaken for 已过时 {claim.list_age_ms / 1000:.0f} s"
        )
    if claim.undoes:
        console.print(f"undoes 撤销 {claim.undoes}: {claim.reason}")
    if claim.undone_by:
        console.print(f"undone by 已被撤销 {claim.undone_by} ({claim.undone_by_msgid})")
    if claim.replaces:
        console.print(f"what remained of, after a refund 退费前结算 {claim.replaces}")
    if claim.checked is not None:
        for rule in claim.checked.warned:
            console.print(f"warned 提醒 {rule}")
        for rule in claim.checked.overridden:
            console.print(f"overridden 放行 {rule}: {claim.checked.override}", markup=False)
    _print_split(console, claim)
    table = Table(
        "account 科目", "", "owner 归属", "debit 借方", "credit 贷方", title="postings 分录"
    )
    for posting in claim.postings:
        amount = _yuan(abs(posting.amount_fen))
        sides = (amount, "") if posting.amount_fen > 0 else ("", amount)
        table.add_row(
            str(posting.account), f"{posting.name_zh} {posting.name_en}", str(posting.owner), *sides
        )
    console.print(table)
    for number, one in enumerate(claim.prints, 1):
        said = "printed 已打印" if one.is_printed else "not printed 未打印"
        console.print(f"print 打印 {number}: {said}, {_local(config, one.recorded_time_ms)}")


def _print_split(console: Console, claim: ClaimFound) -> None:
    split = claim.split
    parts = (
        ("funds 基金", split.fund_pay_fen),
        ("account 个账", split.account_pay_fen),
        ("mutual aid 共济", split.mutual_aid_fen),
        ("cash 现金", split.cash_fen),
        ("hospital 医院", split.hospital_part_fen),
    )
    division = " + ".join(f"{name} {_yuan(amount_fen)}" for name, amount_fen in parts)
    console.print(f"total 总额 {_yuan(split.total_fen)} = {division}")
    if not claim.lines:
        return
    table = Table("item 项目", "name 名称", "class 类别", "amount 金额", "in scope 范围内")
    for line in claim.lines:
        table.add_row(
            line.item, line.name, _CLASSES[line.divided.item_class], _yuan(line.gross_fen),
            _yuan(line.divided.in_scope_fen),
        )  # fmt: skip
    console.print(table)


def _yuan(amount_fen: int) -> str:
    sign = "-" if amount_fen < 0 else ""
    return f"{sign}{abs(amount_fen) // 100:,}.{abs(amount_fen) % 100:02d}"


def _local(config: Config, time_ms: int) -> str:
    moment = dt.datetime.fromtimestamp(time_ms / 1000, tz=config.timezone)
    return moment.strftime("%Y-%m-%d %H:%M:%S")
