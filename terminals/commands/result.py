"""What a command came to: its exit status, its JSON, and its words on the screen."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum, unique
from typing import Final, TypeAlias, assert_never

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.markup import escape

from terminals.answer import Answer, advice_of, words_of
from terminals.attempts import Outcome
from terminals.bill_notes import Note
from terminals.outbox import AttemptState

JSON: TypeAlias = object
_COLUMNS_MIN: Final = 176
Render = Callable[[Console], None]


@unique
class ExitStatus(IntEnum):
    """What the shell is told; a misused command line is a LOCAL_FAULT as well."""

    APPROVED = 0
    REFUSED = 1
    UNKNOWN = 2
    LOCAL_FAULT = 3


_STATUS_WORDS: Final = {
    ExitStatus.APPROVED: ("green", "成功", "approved"),
    ExitStatus.REFUSED: ("red", "拒绝", "refused"),
    ExitStatus.UNKNOWN: ("yellow", "结果未知", "outcome unknown"),
    ExitStatus.LOCAL_FAULT: ("red", "本机故障", "local fault"),
}
UNKNOWN_ZH: Final = "结果未知，请稍后执行 outbox --resolve"
UNKNOWN_EN: Final = "outcome unknown: run `cardterminal outbox --resolve` later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a command came to.

    Attributes:
        status: The exit status.
        code: The `ResponseCode`; -1 where there is none.
        text_zh: In words, Chinese.
        text_en: In words, English.
        detail_zh: What the centre added.
        detail_en: The same in English.
        msgid: The attempt's or request's; empty without one.
        is_duplicate: Whether the centre repeated an earlier answer.
        business_date: The fund's day; empty without an answer.
        took_ms: What the cashier waited for the centre and the card.
        stages_us: Where the time went at the centre.
        values: The command's own result, as JSON.
        render: Writes the command's own result to the screen.
    """

    status: ExitStatus
    code: int = -1
    text_zh: str = ""
    text_en: str = ""
    detail_zh: str = ""
    detail_en: str = ""
    msgid: str = ""
    is_duplicate: bool = False
    business_date: str = ""
    took_ms: float = 0.0
    stages_us: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, JSON] = field(default_factory=dict)
    render: Render | None = None


def result_of(
    answer: Answer, values: Mapping[str, JSON] | None = None, render: Render | None = None
) -> Result:
    """Turn an answer to something that commits nothing into a result."""
    text_zh, text_en = words_of(answer.code)
    return Result(
        status=ExitStatus.APPROVED if answer.is_approved else ExitStatus.REFUSED,
        code=answer.code,
        text_zh=text_zh,
        text_en=text_en,
        detail_zh=answer.reply.detail_zh,
        detail_en=answer.reply.detail_en,
        msgid=answer.msgid,
        is_duplicate=answer.is_duplicate,
        business_date=answer.reply.business_date.isoformat(),
        took_ms=answer.took_ms,
        stages_us=answer.stages_us,
        values=values or {},
        render=render,
    )


def result_of_attempt(
    outcome: Outcome, values: Mapping[str, JSON] | None = None, render: Render | None = None
) -> Result:
    """Turn an attempt's outcome into a result; it adds what the outbox knows of it."""
    attempt, answer = outcome.attempt, outcome.answer
    text_zh, text_en = words_of(attempt.code) if attempt.code >= 0 else ("", "")
    detail_zh = answer.reply.detail_zh if answer else ""
    detail_en = answer.reply.detail_en if answer else outcome.reason
    match attempt.state:
        case AttemptState.SETTLED:
            status = ExitStatus.APPROVED
        case AttemptState.REFUSED if attempt.ended_by == "not sent":
            status = ExitStatus.LOCAL_FAULT
            text_zh, text_en = "中心不可达，未发送", "the centre was not reached, nothing was sent"
        case AttemptState.REFUSED | AttemptState.REVERSED:
            status = ExitStatus.REFUSED
        case AttemptState.PENDING | AttemptState.UNKNOWN:
            status = ExitStatus.UNKNOWN
            text_zh, text_en = UNKNOWN_ZH, UNKNOWN_EN
            detail_en = outcome.reason
        case _:
            assert_never(attempt.state)
    return Result(
        status=status,
        code=attempt.code,
        text_zh=text_zh,
        text_en=text_en,
        detail_zh=detail_zh,
        detail_en=detail_en,
        msgid=attempt.msgid,
        is_duplicate=answer.is_duplicate if answer else False,
        business_date=attempt.business_date,
        took_ms=outcome.took_ms,
        stages_us=answer.stages_us if answer else {},
        values={
            "state": attempt.state.value,
            "ended_by": attempt.ended_by,
            "sends": attempt.sends,
            "setl_id": attempt.setl_id,
            "taken_up": outcome.is_taken_up,
            **(values or {}),
        },
        render=render,
    )


def fault(text_zh: str, text_en: str, detail: str = "") -> Result:
    """Make the result of something that went wrong on this machine."""
    return Result(status=ExitStatus.LOCAL_FAULT, text_zh=text_zh, text_en=text_en, detail_en=detail)


def left_in_doubt(result: Result, msgids: Sequence[str]) -> Result:
    """Make the result of a command that ended before its attempts did; without any, its own."""
    if not msgids:
        return result
    return replace(
        result,
        status=ExitStatus.UNKNOWN,
        text_zh=f"{result.text_zh}，{UNKNOWN_ZH}",
        text_en=f"{result.text_en}; {UNKNOWN_EN}",
        msgid=msgids[0],
        values={"in_doubt": list(msgids)},
    )


def plain(value: object) -> JSON:
    """Turn a message into JSON values with the protocol's field names."""
    if isinstance(value, Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, msgspec.Raw):
        return bytes(value).hex()
    if isinstance(value, bytes):
        return value.hex()
    return value


def show(command: str, result: Result, *, as_json: bool) -> None:
    """Print a result, as one line of JSON or for people."""
    if as_json:
        sys.stdout.write(msgspec.json.encode(_document(command, result)).decode() + "\n")
        sys.stdout.flush()
        return
    screen = console()
    if result.render is not None:
        result.render(screen)
    colour, status_zh, status_en = _STATUS_WORDS[result.status]
    code = f" {result.code}" if result.code >= 0 else ""
    screen.print(f"[{colour}]{status_zh} {status_en}{code}[/]", end="")
    if result.status is not ExitStatus.APPROVED:
        screen.print(f"  {escape(result.text_zh)} / {escape(result.text_en)}", end="")
    for detail in (result.detail_zh, result.detail_en):
        if detail:
            screen.print(f"\n  {escape(detail)}", end="")
    duplicate = "  重复应答 duplicate" if result.is_duplicate else ""
    took = f"{result.took_ms:.1f} ms{_stages(result)}  " if result.took_ms else ""
    screen.print(f"\n[dim]{took}{result.msgid}{duplicate}[/]")


NOTES_MAX: Final = 10
REVOCATION_REASONS: Final = {
    2: ("已挂失", "lost"),
    3: ("已换卡", "replaced"),
    4: ("已冻结", "frozen"),
    5: ("持卡人已死亡", "its holder has died"),
    6: ("已收回", "withdrawn"),
}


def warn_of_listed(reason: int, version: int) -> None:
    """Tell the cashier at once that a card is on the revocation list, before the centre answers."""
    text_zh, text_en = REVOCATION_REASONS.get(reason, ("已吊销", "revoked"))
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"[bold red]吊销名单 revocation list {version}: 此卡{text_zh} this card is {text_en}[/]"
    )


def warn_of_certificate(text_zh: str, text_en: str) -> None:
    """Tell the cashier that the terminal's certificate ends, or has ended."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"[bold yellow]{text_zh} / {text_en}[/]"
    )


def warn_of_same_bill(setl_id: str, what: str) -> None:
    """Tell the cashier that an equal bill of this person stands: it may be this very one."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"[bold yellow]相同账单已于此前结算 an equal bill was settled before: {setl_id}"
        f"  {escape(what)}[/]"
    )


def warn_of_lines(notes: Sequence[Note]) -> None:
    """Tell the cashier what the catalogue held says of a bill's lines, before it is sent."""
    screen = Console(stderr=True, highlight=False, soft_wrap=True)
    for note in notes[:NOTES_MAX]:
        screen.print(f"[yellow]第 {note.line} 行 line: {note.text_zh} / {note.text_en}[/]")
    if len(notes) > NOTES_MAX:
        more = len(notes) - NOTES_MAX
        screen.print(f"[yellow]另有 {more} 行 and {more} more lines[/]")


def console() -> Console:
    """Give a screen on which no table is cut: a narrow one wraps by itself."""
    return Console(highlight=False, soft_wrap=True, width=max(Console().width, _COLUMNS_MIN))


def _stages(result: Result) -> str:
    if not result.stages_us:
        return ""
    stages = ", ".join(f"{name} {us / 1000:.2f}" for name, us in result.stages_us.items() if us)
    return f" (中心 centre: {stages})" if stages else ""


def _document(command: str, result: Result) -> dict[str, JSON]:
    return {
        "command": command,
        "status": _STATUS_WORDS[result.status][2],
        "exit_status": int(result.status),
        "code": result.code,
        "retry": advice_of(result.code).name.lower() if result.code >= 0 else "none",
        "text_zh": result.text_zh,
        "text_en": result.text_en,
        "detail_zh": result.detail_zh,
        "detail_en": result.detail_en,
        "msgid": result.msgid,
        "duplicate": result.is_duplicate,
        "business_date": result.business_date,
        "took_ms": round(result.took_ms, 3),
        "stages_us": dict(result.stages_us),
        "result": dict(result.values),
    }
