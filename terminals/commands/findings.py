"""What the fund's checks found, on the cashier's screen. Not here: what is done about it."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape

from protocol.terminal.messages import CheckFinding, CheckRefused

Override = Annotated[
    str,
    typer.Option(
        help="放行理由 Why a supervisor, who is signed on, lets pass what the checks refuse."
    ),
]
_WARNING: Final = "[yellow]提醒 warning[/]"
_REFUSAL: Final = "[red]拒绝 refusal[/]"


def render_warnings(screen: Console, findings: Sequence[CheckFinding]) -> None:
    """Show what the patient and the cashier should know before a bill is settled."""
    _render(screen, _WARNING, findings)


def render_refused(screen: Console, refused: CheckRefused) -> None:
    """Show what refuses a bill, what would only warn, and who may let it pass."""
    _render(screen, _REFUSAL, refused.refusals)
    _render(screen, _WARNING, refused.warnings)
    if refused.override:
        screen.print(
            f"可由 {escape(refused.override)} 签到后以 --override 说明理由放行"
            f" — {escape(refused.override)} may sign on and let it pass: --override REASON"
        )


def _render(screen: Console, heading: str, findings: Sequence[CheckFinding]) -> None:
    for finding in findings:
        line = f" 第{finding.line}行 line {finding.line}" if finding.line else ""
        screen.print(f"{heading}{line}: {escape(finding.text_zh)}")
        screen.print(f"    [dim]{escape(finding.text_en)}  \\[{escape(finding.rule)}][/]")
