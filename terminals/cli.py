"""`cardterminal`: what a cashier types. Commands live in `commands/`, one noun a file.

Exit status: 0 approved, 1 refused, 2 outcome unknown, 3 a fault of this machine or command line.
"""

import sys
from collections.abc import Sequence

import typer
from typer.core import TyperGroup

from terminals.commands import (
    accumulators,
    apdu,
    attend,
    card,
    clearing,
    doubts,
    lists,
    paper,
    reconcile,
    review,
    session,
    settled,
    settlement,
    visit,
)
from terminals.commands.result import ExitStatus

_INTERRUPTED = 130


class CounterCommands(TyperGroup):
    """Keeps exit status 2 for unknown outcomes: a wrong command line is a local fault."""

    def main(  # type: ignore[override]  # typer passes none of its other parameters
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        *,
        standalone_mode: bool = True,
    ) -> object:
        """Run a command and end the process with its exit status."""
        status: object
        try:
            status = super().main(args, prog_name, standalone_mode=False)
        except typer.TyperException as error:
            sys.stderr.write(f"{error.format_message()}\n")
            status = int(ExitStatus.LOCAL_FAULT)
        except typer.Abort:
            status = _INTERRUPTED
        if standalone_mode:
            sys.exit(status if isinstance(status, int) else 0)
        return status


app = typer.Typer(
    cls=CounterCommands,
    help="医保结算终端 The counter of a medical-insurance card centre.\n\n"
    "退出码 exit status: 0 成功 approved, 1 拒绝 refused, 2 结果未知 outcome unknown,"
    " 3 本机故障 local fault.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(session.init)
app.command("sign-on")(session.sign_on)
app.command("sign-off")(session.sign_off)
app.command("echo")(session.echo)
app.command("readers")(card.readers)
app.command("card")(card.card)
app.command("apdu")(apdu.apdu)
app.command("watch")(card.watch_cards)
app.command("attend")(attend.attend)
app.command("member")(card.member)
app.command("eligibility")(card.eligibility)
app.command("accumulators")(accumulators.accumulators)
app.command("preview")(settlement.preview)
app.command("settle")(settlement.settle)
app.command("cancel")(settlement.cancel)
app.command("refund")(settled.refund)
app.command("explain")(settled.explain)
app.command("reverse")(settlement.reverse)
app.command("status")(settlement.status)
app.command("receipt")(paper.receipt)
app.command("outbox")(doubts.outbox)
app.add_typer(reconcile.app, name="reconcile")
app.add_typer(review.app, name="review")
app.add_typer(clearing.app, name="clearing")
app.add_typer(visit.app, name="visit")
app.add_typer(lists.app, name="lists")
