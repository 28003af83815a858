"""`cardserver review list`, `appeals`, `show`: cases, and one with all it takes to judge it."""

import asyncio
from typing import Annotated

import typer
from msgspec import json
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.review_people import AsJSON, CaseNumber, Month, sentence, yuan
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.registry.administration_store import FUND, AdministrationError
from cardserver.registry.registry_store import Registry
from cardserver.review.case_view_store import (
    LIST_MAX,
    CaseSeen,
    Wanted,
    institution_codes,
    list_cases,
    operator_codes,
    see_case,
)
from cardserver.review.desk_store import ReviewDesk
from cardserver.review.values import Case, Source, State
from ledger.calendar import SystemClock, text_of

_STATES = ", ".join(state.name.lower() for state in State)
_CLASSES = {1: "甲 A", 2: "乙 B", 3: "丙 C"}


@fail_clearly
def list_them(  # noqa: PLR0913 - one parameter an option
    config_file: ConfigFile,
    month: Month,
    *,
    state: Annotated[str, typer.Option(help=f"状态 One of {_STATES}.")] = "",
    institution: Annotated[str, typer.Option(help="机构 The institution's code.")] = "",
    holder: Annotated[str, typer.Option(help="领取人 Those that this operator has taken.")] = "",
    after: Annotated[int, typer.Option(help="Those with a higher number.")] = 0,
    count_max: Annotated[
        int, typer.Option("--max", min=1, max=LIST_MAX, help="So many at the most.")
    ] = 100,
    as_json: AsJSON = False,
) -> None:
    """List cases of a month by number.

    列出当月案件。
    """
    if state and state.upper() not in State.__members__:
        raise AdministrationError(f"a state is one of {_STATES}")
    wanted = State[state.upper()] if state else None
    config = load_config(config_file)
    _list(config, month, wanted, (institution, holder), (after, count_max), as_json=as_json)


@fail_clearly
def appeals(config_file: ConfigFile, month: Month, *, as_json: AsJSON = False) -> None:
    """List the cases whose appeal waits to be decided.

    列出待裁定的申诉。
    """
    config = load_config(config_file)
    _list(config, month, State.APPEALED, ("", ""), (0, LIST_MAX), as_json=as_json)
    _list(config, month, State.APPEAL_SIGNED, ("", ""), (0, LIST_MAX), as_json=as_json)


@fail_clearly
def show(config_file: ConfigFile, case_no: CaseNumber, *, as_json: AsJSON = False) -> None:
    """Show a case: settlement, lines, split, explanation, checks, other claims near it, steps.

    查看案件全貌。
    """
    config = load_config(config_file)

    async def run() -> CaseSeen | None:
        async with open_database(config) as database:
            desk = ReviewDesk(database, None, clock=SystemClock(), timezone=config.timezone)
            return await see_case(database, desk, case_no)

    seen = asyncio.run(run())
    if seen is None:
        raise AdministrationError(f"there is no case {case_no} 没有这个案件")
    if as_json:
        typer.echo(json.encode(seen).decode())
    else:
        _print(wide_console(), config, seen)


def _list(
    config: Config,
    month: int,
    state: State | None,
    whose: tuple[str, str],
    part: tuple[int, int],
    *,
    as_json: bool,
) -> None:
    institution, holder = whose

    async def run() -> tuple[list[Case], dict[int, str], dict[int, str]]:
        async with open_database(config) as database:
            registry = Registry(database)
            found = await registry.institution_by_code(institution) if institution else None
            operator = await registry.operator(FUND, holder) if holder else None
            if (institution and found is None) or (holder and operator is None):
                raise AdministrationError("no such institution or operator")
            cases = await list_cases(
                database,
                Wanted(
                    month=month,
                    state=state,
                    institution_no=found.institution_no if found else 0,
                    holder_no=operator.operator_no if operator else 0,
                    after=part[0],
                    count_max=part[1],
                ),
            )
            places = await institution_codes(database, [one.institution_no for one in cases])
            holders = await operator_codes(database, [one.holder_no for one in cases])
            return cases, places, holders

    cases, places, holders = asyncio.run(run())
    if as_json:
        for case in cases:
            typer.echo(json.encode(case).decode())
        return
    table = Table(
        "case 案件", "state 状态", "institution 机构", "type", "settlement 结算", "day 日期",
        "fund 基金支付", "proposed 拟扣", "deducted 已扣", "why 来源", "taken by 领取",
    )  # fmt: skip
    for case in cases:
        table.add_row(
            str(case.case_no), case.state.name.lower(), places.get(case.institution_no, ""),
            str(case.clearing_type), str(case.claim_no), str(case.business_date),
            yuan(case.fund_pay_fen), yuan(case.proposed_fen), yuan(case.deduction_fen),
            _why(case), holders.get(case.holder_no, ""),
        )  # fmt: skip
    wide_console().print(table)


def _why(case: Case) -> str:
    names = [source.name.lower() for source in Source(case.sources) if source.name]
    return " ".join([*names, case.flags]).strip()


def _print(console: Console, config: Config, seen: CaseSeen) -> None:
    case = seen.case
    console.print(f"[bold]{sentence(case)}[/]  {_why(case)}")
    due = f"waits for 待 {seen.due}" if seen.due else ""
    held = f"taken by 领取 {seen.holder}" if seen.holder else ""
    console.print(f"  {due}  {held}")
    place = seen.institution
    console.print(
        f"settlement 结算 {case.claim_no}, {case.business_date}; {place.code} {escape(place.name)},"
        f" level 级别 {place.level}; terminal 终端 {escape(seen.terminal)},"
        f" operator 操作员 {escape(seen.cashier)}, msgid {seen.msgid}"
    )
    person = seen.person
    console.print(
        f"person 参保人 {person.psn_no} {escape(person.name)} {person.id_number},"
        f" sex 性别 {person.sex}, born 出生 {person.birth_year}"
    )
    how = (
        f"exception 例外 {escape(seen.exception)}" if seen.exception else f"proof 验证 {seen.proof}"
    )
    console.print(
        f"insurance 险种 {seen.insutype}, care 医疗类别 {seen.med_type}, {seen.care_date}; {how},"
        f" revocation list 吊销名单 {seen.list_version}; policy 政策 {escape(seen.policy)}"
    )
    if seen.undone_by:
        console.print(f"[red]undone by 已被撤销 {seen.undone_by}[/]")
    if seen.replaces:
        console.print(f"what remained after a refund of 退费前结算 {seen.replaces}")
    for rule in seen.warned:
        console.print(f"warned 提醒 {rule}", markup=False)
    for rule in seen.overridden:
        console.print(f"overridden 放行 {rule}: {seen.override}", markup=False)
    _print_bill(console, seen)
    for step in seen.explanation:
        console.print(f"{yuan(step.amount_fen):>14}  {step.text_zh}", markup=False)
        console.print(f"{'':>14}  {step.text_en}  [{step.rule}]", markup=False)
    console.print(f"decided again 重新核算: {seen.explained}")
    _print_near(console, seen)
    _print_steps(console, config, seen)


def _print_bill(console: Console, seen: CaseSeen) -> None:
    split = seen.split
    console.print(
        f"total 总额 {yuan(split.total_fen)} = funds 基金 {yuan(split.fund_pay_fen)} + account 个账"
        f" {yuan(split.account_pay_fen)} + mutual aid 共济 {yuan(split.mutual_aid_fen)} + cash 现金"
        f" {yuan(split.cash_fen)} + hospital 医院 {yuan(split.hospital_part_fen)}"
    )
    table = Table(
        "line 行", "item 项目", "name 名称", "class 类", "price 单价", "quantity 数量",
        "amount 金额", "in scope 范围内", "fund's share 基金份额",
    )  # fmt: skip
    for line in seen.lines:
        table.add_row(
            str(line.line), line.item, escape(line.name),
            _CLASSES.get(line.divided.item_class, ""), f"{line.price_microyuan / 10**6:.4f}",
            f"{line.quantity_e4 / 10**4:g}", yuan(line.gross_fen), yuan(line.divided.in_scope_fen),
            yuan(line.fund_share_fen),
        )  # fmt: skip
    console.print(table)


def _print_near(console: Console, seen: CaseSeen) -> None:
    if not seen.near:
        return
    table = Table(
        "settlement 结算", "day 日期", "care 就诊日", "institution 机构", "type", "total 总额",
        "fund 基金支付", "undoes 撤销", title="other claims within 30 days 前后三十天的其他结算",
    )  # fmt: skip
    for one in seen.near:
        table.add_row(
            str(one.claim_no), str(one.business_date), str(one.care_date), one.institution,
            one.med_type, yuan(one.total_fen), yuan(one.fund_pay_fen), str(one.undoes or ""),
        )  # fmt: skip
    console.print(table)


def _print_steps(console: Console, config: Config, seen: CaseSeen) -> None:
    for step in seen.steps:
        console.print(
            f"{text_of(step.recorded_time_ms, config.timezone)} {step.kind}"
            f" {step.operator} {step.department}: {step.verdict} {yuan(step.deduction_fen)}"
            f" {step.note}",
            markup=False,
        )
        for cut in step.cuts:
            line = f"line 行 {cut.line}" if cut.line else "the whole 整单"
            console.print(
                f"    {line}: {yuan(cut.amount_fen)}, {cut.article}: {cut.reason}", markup=False
            )
    if seen.appeal is not None:
        console.print(f"appeal 申诉: {seen.appeal.reason}", markup=False)
    for article in seen.articles:
        console.print(f"  [dim]{article.code}  {article.title_zh} {article.title_en}[/]")
