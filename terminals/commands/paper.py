"""`cardterminal receipt`: print, count and acknowledge a settlement's receipt."""

import dataclasses
from typing import Annotated

import typer
from rich.console import Console

from protocol.terminal.bodies import decode_reply_body, decode_request_body
from protocol.terminal.errors import RemoteProtocolError
from protocol.terminal.messages import (
    Bill,
    MessageType,
    PrintAcked,
    Refunded,
    Settle,
    Settled,
    Status,
    StatusFound,
)
from terminals.attempt_endings import reply_body_of
from terminals.attempts import Outcome
from terminals.commands.desk import DEFAULT_CONFIG, AsJSON, ConfigFile, Desk, now_ms, run
from terminals.commands.last import LAST, settled_named
from terminals.commands.result import (
    ExitStatus,
    Render,
    Result,
    fault,
    result_of,
    result_of_attempt,
)
from terminals.outbox import Attempt, AttemptState
from terminals.receipt import COLUMNS_MIN, ReceiptContext, receipt_text, receipt_values

_PRINTED = (MessageType.SETTLE, MessageType.CANCEL, MessageType.REFUND)


def receipt(
    name: Annotated[
        str, typer.Argument(help="结算编号或报文标识 setl_id, msgid, or 'last'.")
    ] = LAST,
    columns: Annotated[
        int, typer.Option(min=0, max=80, help="纸宽 Columns of the paper; 0: as configured.")
    ] = 0,
    terminal: Annotated[
        str, typer.Option(help="原终端 Of another terminal, by msgid; always a copy.")
    ] = "",
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    acknowledge: Annotated[
        bool, typer.Option("--ack/--no-ack", help="告知中心已打印 Tell the centre it is printed.")
    ] = True,
    as_json: AsJSON = False,
) -> None:
    """票据 Print a receipt; from the second time on it is marked 副本 COPY."""

    async def act(desk: Desk) -> Result:
        width = columns or desk.config.receipt.columns
        if width < COLUMNS_MIN:
            return fault("纸宽过小", f"a receipt needs {COLUMNS_MIN} columns or more")
        if terminal:
            return await _of_another_terminal(desk, name, terminal, width)
        attempt = settled_named(desk, name, _PRINTED)
        if isinstance(attempt, Result):
            return attempt
        settled = reply_body_of(attempt) if attempt is not None else None
        if attempt is None or not isinstance(settled, Settled | Refunded):
            return fault("本机无此结算", "this terminal has no such settlement", name)
        # Counted before it is printed: after a half-printed one the next is marked a copy.
        is_copy = desk.outbox.begin_print(attempt.msgid, now_ms()) > 0
        context = _context(desk, attempt, is_copy=is_copy)
        text = receipt_text(settled, context, columns=width)
        values: dict[str, object] = {"receipt": receipt_values(settled, context), "text": text}
        if not as_json:
            typer.echo(text, nl=False)
        if not acknowledge:
            return _printed_result(attempt, values)
        number = settled.setl_id if isinstance(settled, Settled) else settled.undo_setl_id
        acked = await desk.runner.acknowledge_print(number, is_printed=True)
        copies = acked.body.copies if isinstance(acked.body, PrintAcked) else -1
        values["copies_before"] = copies

        def render(console: Console) -> None:
            if copies > 0 and not is_copy:
                console.print(
                    "[yellow]中心记录此前已打印，请标注副本"
                    f" the centre knows of {copies} before: mark this one a copy[/]"
                )

        return _acked_result(acked, values, render)

    run("receipt", config, act, as_json=as_json)


async def _of_another_terminal(desk: Desk, msgid: str, terminal: str, columns: int) -> Result:
    """Print what another terminal settled; the original is its own to print."""
    answer = await desk.client.request(MessageType.STATUS, Status(terminal, msgid))
    found = answer.body
    if not isinstance(found, StatusFound):
        return result_of(answer)
    try:
        settled = decode_reply_body(found.type, found.code, found.body)
    except RemoteProtocolError:
        settled = None
    if not isinstance(settled, Settled | Refunded):
        return fault("该交易无结算", "that msgid has no settlement", found.state.name.lower())
    context = _context(desk, None, is_copy=True, msgid=msgid, terminal=terminal)
    text = receipt_text(settled, context, columns=columns)
    values = {"receipt": receipt_values(settled, context), "text": text}
    return result_of(answer, values, lambda _: typer.echo(text, nl=False))


def _acked_result(acked: Outcome, values: dict[str, object], render: Render) -> Result:
    result = result_of_attempt(acked, values, render)
    if not acked.attempt.state.is_open:
        return result
    return dataclasses.replace(
        result,
        text_zh="已打印，尚未告知中心，请稍后执行 outbox --resolve",
        text_en="printed, but the centre is not told: run `cardterminal outbox --resolve` later",
    )


def _printed_result(attempt: Attempt, values: dict[str, object]) -> Result:
    return Result(
        status=ExitStatus.APPROVED,
        text_zh="已打印，未告知中心",
        text_en="printed, the centre was not told",
        msgid=attempt.msgid,
        business_date=attempt.business_date,
        values=values,
    )


def _context(
    desk: Desk, attempt: Attempt | None, *, is_copy: bool, msgid: str = "", terminal: str = ""
) -> ReceiptContext:
    sign_on, config = desk.state.sign_on, desk.config
    return ReceiptContext(
        fund_zh=sign_on.fund_zh if sign_on else "",
        fund_en=sign_on.fund_en if sign_on else "",
        institution=config.terminal.institution,
        institution_name=config.receipt.institution_name,
        terminal=terminal or config.terminal.code,
        operator=desk.operator,
        holder=attempt.holder if attempt else "",
        msgid=attempt.msgid if attempt else msgid,
        business_date=attempt.business_date if attempt else "",
        bill=_bill(attempt),
        is_copy=is_copy,
        # What a refund gave back stays given back, whatever becomes of what remained.
        is_void=attempt is not None
        and attempt.state is AttemptState.REVERSED
        and attempt.type is not MessageType.REFUND,
        time_zone=config.terminal.time_zone,
    )


def _bill(attempt: Attempt | None) -> Bill | None:
    if attempt is None or attempt.type is not MessageType.SETTLE:
        return None
    body = decode_request_body(attempt.type, attempt.body)
    assert isinstance(body, Settle)
    return body.bill
