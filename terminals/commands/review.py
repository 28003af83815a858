"""`cardterminal review`: which settlements the fund reviews, what it decided, and to appeal."""

from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protocol.terminal.messages import (
    AppealResult,
    MessageType,
    ReviewAppeal,
    ReviewAppealed,
    ReviewCase,
    ReviewCases,
    ReviewCasesFound,
    ReviewState,
    ReviewVerdict,
)
from terminals.answer import Answer
from terminals.commands.desk import DEFAULT_CONFIG, AsJSON, ConfigFile, Desk, Yes, recorded, run
from terminals.commands.result import Result, console, fault, plain, result_of
from terminals.commands.settlement import declined, may_go_on
from terminals.receipt import yuan

app = typer.Typer(
    help="结算审核 Settlements that the fund reviews: what was decided, and appeals.",
    no_args_is_help=True,
)

CaseNumber = Annotated[str, typer.Argument(metavar="CASE", help="案件号 The case's number.")]
_REASON_MAX: Final = 400
_STATES: Final = {
    ReviewState.UNDER_REVIEW: "审核中 under review",
    ReviewState.DECIDED: "已裁定 decided",
    ReviewState.APPEALED: "申诉中 appealed",
    ReviewState.FINAL: "最终 final",
    ReviewState.CLOSED: "已关闭 closed",
}
_VERDICTS: Final = {
    ReviewVerdict.NONE: "",
    ReviewVerdict.APPROVED: "同意 approved",
    ReviewVerdict.REDUCED: "扣减 reduced",
    ReviewVerdict.REJECTED: "不予支付 rejected",
}
_APPEALS: Final = {
    AppealResult.NONE: "",
    AppealResult.PENDING: "待裁定 pending",
    AppealResult.GRANTED: "成立 granted",
    AppealResult.GRANTED_PARTLY: "部分成立 granted in part",
    AppealResult.DISMISSED: "不成立 dismissed",
}


@app.command("list")
def list_cases(
    month: Annotated[
        int, typer.Option(min=0, max=999_912, metavar="YYYYMM", help="月份; without it, all.")
    ] = 0,
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """案件列表 List this institution's cases by number."""

    async def act(desk: Desk) -> Result:
        answer, cases = await _all_cases(desk, month)
        if cases is None:
            return result_of(answer)
        values = {"cases": plain(tuple(cases))}
        return result_of(answer, values, lambda screen: _render_list(screen, cases))

    run("review list", config, act, as_json=as_json)


@app.command()
def show(case: CaseNumber, config: ConfigFile = DEFAULT_CONFIG, *, as_json: AsJSON = False) -> None:
    """案件详情 Show one case: what was deducted, from which line, why."""

    async def act(desk: Desk) -> Result:
        answer = await desk.client.request(MessageType.REVIEW_CASES, ReviewCases(0, case))
        found = answer.body
        if not isinstance(found, ReviewCasesFound):
            return result_of(answer)
        return _result(answer, found.cases[0])

    run("review show", config, act, as_json=as_json)


@app.command()
def appeal(
    case: CaseNumber,
    reason: Annotated[str, typer.Option("--reason", "-r", help="申诉理由 Why, for the auditors.")],
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    yes: Yes = False,
    as_json: AsJSON = False,
) -> None:
    """申诉 Appeal against a deduction; a supervisor must be signed on. A case is appealed once."""

    async def act(desk: Desk) -> Result:
        if len(reason) > _REASON_MAX or not reason.isprintable():
            return fault(
                "申诉理由过长", f"a reason is one line of at most {_REASON_MAX} characters"
            )
        if as_json and not yes:
            return declined(as_json=True)
        if not yes and not await _agreed(desk, case):
            return declined(as_json=False)
        answer = await recorded(
            desk, MessageType.REVIEW_APPEAL, ReviewAppeal(case, reason), f"review show {case}"
        )
        if isinstance(answer, Result):
            return answer
        filed = answer.body
        return result_of(answer) if not isinstance(filed, ReviewAppealed) else _filed(answer, filed)

    run("review appeal", config, act, as_json=as_json)


async def _all_cases(desk: Desk, month: int) -> tuple[Answer, list[ReviewCase] | None]:
    """Ask for page after page; None where one is refused."""
    cases: list[ReviewCase] = []
    after = ""
    while True:
        answer = await desk.client.request(MessageType.REVIEW_CASES, ReviewCases(month, "", after))
        page = answer.body
        if not isinstance(page, ReviewCasesFound):
            return answer, None
        cases += page.cases
        if not page.next_after:
            return answer, cases
        after = page.next_after


async def _agreed(desk: Desk, case: str) -> bool:
    """Show what would be appealed, and ask."""
    answer = await desk.client.request(MessageType.REVIEW_CASES, ReviewCases(0, case))
    if isinstance(answer.body, ReviewCasesFound):
        _render(console(), answer.body.cases[0])
    return may_go_on("确认申诉 appeal against this?", yes=False, as_json=False)


def _filed(answer: Answer, filed: ReviewAppealed) -> Result:
    values = {"case": plain(filed.case), "filed_time_ms": filed.filed_time_ms}
    return result_of(answer, values, lambda screen: _render(screen, filed.case))


def _result(answer: Answer, case: ReviewCase) -> Result:
    return result_of(answer, {"case": plain(case)}, lambda screen: _render(screen, case))


def _render_list(screen: Console, cases: list[ReviewCase]) -> None:
    if not cases:
        screen.print("无审核案件 no settlement is reviewed")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("案件 case", "结算 settlement", "日期 day", "类别 type", "状态 state"):
        table.add_column(heading)
    for heading in ("基金支付 funds paid", "扣减 deducted"):
        table.add_column(heading, justify="right")
    for heading in ("申诉截止 appeal until", "申诉 appeal"):
        table.add_column(heading)
    for one in cases:
        table.add_row(
            one.case_no,
            one.setl_id,
            one.business_date.isoformat(),
            str(one.clearing_type),
            _STATES[one.state],
            yuan(one.fund_pay_fen),
            yuan(one.deduction_fen),
            one.appeal_until.isoformat() if one.appeal_until else "",
            _APPEALS[one.appeal],
        )
    screen.print(table)


def _render(screen: Console, case: ReviewCase) -> None:
    screen.print(
        f"案件 case [bold]{case.case_no}[/]  {_STATES[case.state]}  {_VERDICTS[case.verdict]}"
    )
    screen.print(
        f"结算 settlement {case.setl_id}, {case.business_date}, 终端 terminal"
        f" {escape(case.terminal)}, {case.msgid}"
    )
    screen.print(
        f"总额 total {yuan(case.total_fen)}, 基金支付 funds paid {yuan(case.fund_pay_fen)},"
        f" 扣减 deducted [bold]{yuan(case.deduction_fen)}[/]"
    )
    for cut in case.cuts:
        line = f"第 {cut.line} 行 line {cut.line}" if cut.line else "整单 the whole"
        screen.print(f"  {line}: {yuan(cut.amount_fen)}  {escape(cut.reason)}")
        screen.print(f"    {cut.article}  {escape(cut.article_zh)}  {escape(cut.article_en)}")
    if case.appeal_until is not None:
        screen.print(f"申诉截止 appeal until {case.appeal_until}")
    if case.appeal is not AppealResult.NONE:
        screen.print(f"申诉 appeal: {_APPEALS[case.appeal]}  {escape(case.appeal_reason)}")
    if case.appeal_answer:
        screen.print(f"答复 answer: {escape(case.appeal_answer)}")
