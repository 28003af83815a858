"""`cardterminal preview`, `settle`, `cancel`, `reverse`, `status`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from msgspec import Struct
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protocol.terminal.bodies import decode_reply_body
from protocol.terminal.errors import RemoteProtocolError
from protocol.terminal.messages import (
    Bill,
    CardException,
    CheckRefused,
    Line,
    MessageType,
    Preview,
    Previewed,
    Reversed,
    ReverseResult,
    Settle,
    Settled,
    Split,
    Status,
    StatusFound,
    StatusState,
)
from terminals.answer import Answer, words_of
from terminals.attempts import Outcome
from terminals.bill_file import BillFileError
from terminals.commands.attempt_words import TYPES
from terminals.commands.desk import DEFAULT_CONFIG, AsJSON, ConfigFile, Desk, Yes, run
from terminals.commands.findings import Override, render_refused, render_warnings
from terminals.commands.last import LAST, described, settled_named
from terminals.commands.result import (
    ExitStatus,
    Result,
    console,
    fault,
    plain,
    result_of,
    result_of_attempt,
    warn_of_same_bill,
)
from terminals.outbox import AttemptState
from terminals.receipt import LAYERS, yuan

BillPath = Annotated[Path, typer.Argument(help="账单文件 The bill, TOML or JSON.")]
ExceptionName = Annotated[
    str, typer.Option("--exception", help="无卡原因 Why there is no card, as the centre allows.")
]
CertificateType = Annotated[str, typer.Option(help="证件类型 02 identity card, 03 card.")]
CertificateNumber = Annotated[str, typer.Option(help="证件号码 Who is treated, without a card.")]
Reason = Annotated[str, typer.Option(help="原因 Why, for the audit.")]
CLASSES: Final = {1: "甲 A", 2: "乙 B", 3: "丙 C"}
_REVERSE_WORDS: Final = {
    ReverseResult.REVERSED: "已冲正 reversed",
    ReverseResult.ALREADY_UNDONE: "此前已撤销或冲正 undone before",
    ReverseResult.NOT_FOUND: "未见原交易，迟到将被拒 never seen; refused should it still arrive",
    ReverseResult.NOT_SETTLED: "原交易未成功 it had been refused",
}
_STATUS_WORDS: Final = {
    StatusState.NOT_SEEN: "[yellow]未见（非最终）not seen, which is not final[/]",
    StatusState.IN_PROGRESS: "[yellow]处理中 in progress[/]",
    StatusState.SETTLED: "[green]已成功 done[/]",
    StatusState.REFUSED: "[red]已拒绝 refused[/]",
    StatusState.UNDONE: "[red]已撤销或冲正 undone[/]",
    StatusState.TOMBSTONED: "[red]已冲正，原交易不再受理 reversed before it arrived[/]",
}


def preview(
    bill: BillPath,
    exception: ExceptionName = "",
    certificate_type: CertificateType = "02",
    certificate_number: CertificateNumber = "",
    override: Override = "",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """试算 Show how a bill splits, line by line and step by step; nothing is committed."""

    async def act(desk: Desk) -> Result:
        try:
            asked = desk.load_bill(bill)
        except BillFileError as error:
            return fault("账单文件错误", "the bill file is not one", str(error))
        named = named_exception(exception, certificate_type, certificate_number)
        return preview_result(await previewed(desk, asked, named, override), asked.lines)

    run("preview", config, act, as_json=as_json)


def settle(  # noqa: PLR0913 - each is an option of its own
    bill: BillPath,
    exception: ExceptionName = "",
    certificate_type: CertificateType = "02",
    certificate_number: CertificateNumber = "",
    override: Override = "",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    yes: Yes = False,
    as_json: AsJSON = False,
) -> None:
    """结算 Preview a bill, show and ask, then settle with the amounts shown."""

    async def act(desk: Desk) -> Result:
        try:
            asked = desk.load_bill(bill)
        except BillFileError as error:
            return fault("账单文件错误", "the bill file is not one", str(error))
        if as_json and not yes:
            return fault("--json 须与 --yes 同用", "--json needs --yes: nobody can be asked")
        named = named_exception(exception, certificate_type, certificate_number)
        return await settled_result(desk, asked, named, override=override, asks=not yes)

    run("settle", config, act, as_json=as_json)


def cancel(
    name: Annotated[
        str, typer.Argument(help="结算编号或报文标识 setl_id, msgid, or 'last'.")
    ] = LAST,
    reason: Reason = "操作员撤销 cancelled by the operator",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    yes: Yes = False,
    as_json: AsJSON = False,
) -> None:
    """撤销 Undo a settlement by its exact negative."""

    async def act(desk: Desk) -> Result:
        setl_id = name
        found = settled_named(desk, name, (MessageType.SETTLE, MessageType.REFUND))
        if isinstance(found, Result):
            return found
        if found is not None and found.setl_id:
            setl_id = found.setl_id
        elif name == LAST:
            return fault("本机无结算", "this terminal has no settlement to cancel")
        what = f"{setl_id}  {described(desk, found)}" if found is not None else setl_id
        if not may_go_on(f"撤销 cancel {what}?", yes=yes, as_json=as_json):
            return declined(as_json=as_json)
        outcome = await desk.runner.cancel(setl_id, reason, card_session=desk.card_session)
        return _settlement_result(outcome)

    run("cancel", config, act, as_json=as_json)


def reverse(
    name: Annotated[
        str, typer.Argument(help="原报文标识 The original's msgid or setl_id, or 'last'.")
    ] = LAST,
    terminal: Annotated[str, typer.Option(help="原终端 The original's terminal.")] = "",
    reason: Reason = "操作员冲正 reversed by the operator",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    yes: Yes = False,
    as_json: AsJSON = False,
) -> None:
    """冲正 Make sure that whatever became of a msgid doesn't stand."""

    async def act(desk: Desk) -> Result:
        is_ours = terminal in {"", desk.config.terminal.code}
        found = desk.outbox.find(name) if is_ours else None
        if name == LAST:
            found = desk.outbox.newest((MessageType.SETTLE,))
        if name == LAST and (found is None or not is_ours):
            return fault("本机无交易", "this terminal has no attempt to reverse")
        msgid = found.msgid if found is not None else name
        what = f"{msgid}  {described(desk, found)}" if found is not None else msgid
        if not may_go_on(f"冲正 reverse {what}?", yes=yes, as_json=as_json):
            return declined(as_json=as_json)
        outcome = await desk.runner.reverse(msgid, reason, terminal=terminal)
        body = outcome.body
        if not isinstance(body, Reversed):
            return result_of_attempt(outcome)
        values = {
            "original_msgid": msgid,
            "result": body.result.name.lower(),
            "reversed_setl_id": body.setl_id,
            "undo_setl_id": body.undo_setl_id,
            "balance_after_fen": body.balance_after_fen,
        }
        words = _REVERSE_WORDS[body.result]
        return result_of_attempt(outcome, values, lambda out: out.print(f"{msgid}: {words}"))

    run("reverse", config, act, as_json=as_json)


def status(
    name: Annotated[
        str, typer.Argument(help="报文标识 The msgid or setl_id asked about, or 'last'.")
    ] = LAST,
    terminal: Annotated[str, typer.Option(help="原终端 The terminal that sent it.")] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: AsJSON = False,
) -> None:
    """查询 Ask the centre what it knows of a msgid; changes nothing here or there."""

    async def act(desk: Desk) -> Result:
        found = (
            desk.outbox.newest((MessageType.SETTLE, MessageType.CANCEL, MessageType.REFUND))
            if name == LAST
            else desk.outbox.find(name)
        )
        if found is None and name == LAST:
            return fault("本机无交易", "this terminal has no attempt to ask about")
        msgid = found.msgid if found is not None else name
        answer = await desk.client.request(
            MessageType.STATUS, Status(terminal or desk.config.terminal.code, msgid)
        )
        if not isinstance(answer.body, StatusFound):
            return result_of(answer)
        return _status_result(answer, answer.body, msgid)

    run("status", config, act, as_json=as_json)


async def previewed(
    desk: Desk, bill: Bill, exception: CardException | None, override: str
) -> Answer:
    """Ask how a bill splits."""
    return await desk.client.request(
        MessageType.PREVIEW,
        Preview(bill, exception, wants_explanation=True, override=override),
        card_session=b"" if exception else desk.card_session,
    )


async def settled_result(
    desk: Desk,
    bill: Bill,
    exception: CardException | None,
    *,
    override: str,
    asks: bool,
    shown_lines: Sequence[Line] = (),
) -> Result:
    """Preview a bill, show and ask, and settle it as shown.

    Args:
        desk: Whose card is open.
        bill: The bill.
        exception: In place of a card.
        override: Why what the checks refuse shall pass.
        asks: Whether to show it and ask first.
        shown_lines: The lines of a visit's bill, which itself has none.
    """
    psn_no = "" if exception or desk.card is None else desk.card.psn_no
    open_attempt = desk.runner.open_settlement_of(bill, exception, psn_no=psn_no)
    if open_attempt is not None:
        # The same bill again: first see what became of it, for a second one would pay twice.
        outcome = await desk.runner.resolve(open_attempt.msgid)
        if outcome.attempt.state in {
            AttemptState.SETTLED,
            AttemptState.PENDING,
            AttemptState.UNKNOWN,
        }:
            return _settlement_result(outcome, is_taken_up=True)
    standing = desk.runner.standing_settlement_of(bill, exception, psn_no=psn_no)
    if standing is not None:
        if bill.invoice:
            outcome = await desk.runner.resolve(standing.msgid)
            return _settlement_result(outcome, is_taken_up=True)
        warn_of_same_bill(standing.setl_id, described(desk, standing))
    answer = await previewed(desk, bill, exception, override)
    shown = answer.body
    if not isinstance(shown, Previewed):
        return _not_previewed(answer)
    holder = desk.card.holder if desk.card is not None and not exception else ""
    if asks:
        screen = console()
        _render_preview(screen, shown, shown_lines or bill.lines)
        screen.print(f"参保人 patient [bold]{escape(holder)} {shown.psn_no}[/]")
        if not typer.confirm("确认结算 settle this?", err=True):
            return declined(as_json=False)
    split = shown.split
    body = Settle(
        bill=bill,
        fund_pay_fen=split.fund_pay_fen,
        account_pay_fen=split.account_pay_fen + split.mutual_aid_fen,
        cash_fen=split.cash_fen,
        exception=exception,
        override=override,
    )
    outcome = await desk.runner.settle(
        body,
        card_session=b"" if exception else desk.card_session,
        psn_no=psn_no,
        holder=holder,
    )
    return _settlement_result(outcome, preview_ms=answer.took_ms)


def _settlement_result(
    outcome: Outcome, *, is_taken_up: bool = False, preview_ms: float | None = None
) -> Result:
    body = outcome.body
    values: dict[str, object] = {} if preview_ms is None else {"preview_ms": round(preview_ms, 3)}
    if is_taken_up:
        values["taken_up"] = True
    if isinstance(body, Settled):
        settled = body
        values |= {
            "psn_no": settled.psn_no,
            "split": plain(settled.split),
            "balance_after_fen": settled.balance_after_fen,
            "settled_time_ms": settled.settled_time_ms,
            "cancels": settled.cancels,
            "warnings": plain(settled.warnings),
        }

        def render(screen: Console) -> None:
            if outcome.is_taken_up or is_taken_up:
                screen.print("[yellow]同一账单此前已提交 the same bill had been sent before[/]")
            cancels = f"  撤销 cancels {settled.cancels}" if settled.cancels else ""
            screen.print(f"结算编号 settlement [bold]{settled.setl_id}[/]{cancels}")
            render_warnings(screen, settled.warnings)
            render_split(screen, settled.split)
            screen.print(f"账户余额 balance after [bold]{yuan(settled.balance_after_fen)}[/]")

        return result_of_attempt(outcome, values, render)
    if isinstance(body, Previewed):
        changed = body
        values |= {"split": plain(changed.split)}
        return result_of_attempt(
            outcome, values, lambda screen: render_split(screen, changed.split)
        )
    if isinstance(body, CheckRefused):
        found = body
        values |= _refused_values(found)
        return result_of_attempt(outcome, values, lambda screen: render_refused(screen, found))
    return result_of_attempt(outcome, values)


def _not_previewed(answer: Answer) -> Result:
    body = answer.body
    if not isinstance(body, CheckRefused):
        return result_of(answer)
    return result_of(answer, _refused_values(body), lambda screen: render_refused(screen, body))


def _refused_values(refused: CheckRefused) -> dict[str, object]:
    return {
        "refusals": plain(refused.refusals),
        "warnings": plain(refused.warnings),
        "override": refused.override,
    }


def preview_result(answer: Answer, lines: Sequence[Line]) -> Result:
    """Turn PREVIEW's answer into a result, with the lines that it is about."""
    body = answer.body
    if not isinstance(body, Previewed):
        return _not_previewed(answer)
    values = {
        "psn_no": body.psn_no,
        "split": plain(body.split),
        "line_splits": plain(body.line_splits),
        "balance_after_fen": body.balance_after_fen,
        "explanation": plain(body.explanation),
        "warnings": plain(body.warnings),
    }
    return result_of(answer, values, lambda screen: _render_preview(screen, body, lines))


def _status_result(answer: Answer, found: StatusFound, msgid: str) -> Result:
    original = _original_body(found)
    zh, en = words_of(found.code)
    values = {
        "original_msgid": msgid,
        "state": found.state.name.lower(),
        "type": MessageType(found.type).name.lower() if found.type in _TYPES else "",
        "original_code": found.code,
        "setl_id": found.setl_id,
        "body": plain(original),
    }

    def render(screen: Console) -> None:
        screen.print(f"{msgid}: {_STATUS_WORDS[found.state]}")
        if found.state in {StatusState.SETTLED, StatusState.REFUSED, StatusState.UNDONE}:
            names = {key.value: words for key, words in TYPES.items()}
            screen.print(
                f"{names.get(found.type, found.type)} {found.code} {zh} / {en}  {found.setl_id}"
            )
        if isinstance(original, Settled | Previewed):
            render_split(screen, original.split)

    return result_of(answer, values, render)


def _original_body(found: StatusFound) -> Struct | None:
    try:
        return decode_reply_body(found.type, found.code, found.body)
    except RemoteProtocolError:
        return None  # never seen, or the reply's bytes are no longer kept


_TYPES: Final = frozenset(type_.value for type_ in MessageType)


def _render_preview(screen: Console, body: Previewed, lines: Sequence[Line]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("项目 item")
    for heading in (
        "类 class",
        "金额 amount",
        "自付比例 share",
        "全自费 own",
        "超限价 over",
        "先行自付 class B",
        "范围内 in scope",
    ):
        table.add_column(heading, justify="right")
    for line, split in zip(lines, body.line_splits, strict=False):
        table.add_row(
            escape(line.name),
            CLASSES.get(split.item_class, str(split.item_class)),
            yuan(line.gross_fen),
            f"{yuan(split.self_pay_ratio_e4)}%",
            yuan(split.fully_own_fen),
            yuan(split.over_limit_fen),
            yuan(split.pre_self_pay_fen),
            yuan(split.in_scope_fen),
        )
    screen.print(table)
    if body.explanation:
        screen.rule("计算过程 how it comes to this", style="dim")
    for step in body.explanation:
        screen.print(f"{yuan(step.amount_fen):>12}  {escape(step.text_zh)}")
        screen.print(f"{'':>12}  [dim]{escape(step.text_en)}  \\[{escape(step.rule)}][/]")
    render_split(screen, body.split)
    render_warnings(screen, body.warnings)
    screen.print(f"结算后账户余额 balance after [bold]{yuan(body.balance_after_fen)}[/]")


def render_split(screen: Console, split: Split) -> None:
    """Show how a bill is divided."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("[bold]费用总额 total[/]", f"[bold]{yuan(split.total_fen)}[/]")
    for label, amount_fen in (
        ("全自费 fully own", split.fully_own_fen),
        ("超限价 above price limits", split.over_limit_fen),
        ("先行自付 class B share", split.pre_self_pay_fen),
        ("政策范围内 in scope", split.in_scope_fen),
        ("起付线 deductible", split.deductible_fen),
    ):
        table.add_row(f"  {label}", yuan(amount_fen))
    table.add_row("[bold]基金支付 funds pay[/]", f"[bold]{yuan(split.fund_pay_fen)}[/]")
    for layer in split.layers:
        zh, en = LAYERS.get(layer.field, (layer.field, ""))
        table.add_row(f"  {zh} {en}", yuan(layer.paid_fen))
    if split.hospital_part_fen:
        table.add_row("医院负担 institution", yuan(split.hospital_part_fen))
    table.add_row("个人账户 personal account", yuan(split.account_pay_fen))
    if split.mutual_aid_fen:
        table.add_row("家庭共济 family account", yuan(split.mutual_aid_fen))
    table.add_row("[bold]现金 cash[/]", f"[bold]{yuan(split.cash_fen)}[/]")
    screen.print(table)


def named_exception(name: str, certificate_type: str, number: str) -> CardException | None:
    """Give the exception of a command's options; None without one."""
    return CardException(name, certificate_type, number) if name else None


def may_go_on(question: str, *, yes: bool, as_json: bool) -> bool:
    """Ask whether to go on, where somebody can be asked."""
    return yes or (not as_json and typer.confirm(question, err=True))


def declined(*, as_json: bool) -> Result:
    """Make the result of a command that was not confirmed."""
    if as_json:
        return fault("--json 须与 --yes 同用", "--json needs --yes: nobody can be asked")
    return Result(
        status=ExitStatus.REFUSED, text_zh="操作员未确认", text_en="not confirmed by the operator"
    )
