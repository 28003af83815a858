"""`cardterminal`: what a cashier types. Commands live in `commands/`, one noun a file.

Exit status: 0 approved, 1 refused, 2 outcome unknown, 3 a fault of this machine or command line,
130 interrupted where it asked something.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import ClassVar

import typer

from terminals.commands.result import ExitStatus
from terminals.lazy_commands import LazyCommands, Noun

_INTERRUPTED = 130


class CounterCommands(LazyCommands):
    """Keeps exit status 2 for unknown outcomes: a wrong command line is a local fault."""

    package = "terminals.commands"
    nouns: ClassVar[Mapping[str, Noun]] = {
        "init": Noun("session:init"),
        "sign-on": Noun("session:sign_on"),
        "sign-off": Noun("session:sign_off"),
        "echo": Noun("session:echo"),
        "readers": Noun("card:readers"),
        "card": Noun("card:card"),
        "apdu": Noun("apdu:apdu"),
        "watch": Noun("card:watch_cards"),
        "attend": Noun("attend:attend"),
        "member": Noun("card:member"),
        "eligibility": Noun("card:eligibility"),
        "accumulators": Noun("accumulators:accumulators"),
        "preview": Noun("settlement:preview"),
        "settle": Noun("settlement:settle"),
        "cancel": Noun("settlement:cancel"),
        "refund": Noun("settled:refund"),
        "explain": Noun("settled:explain"),
        "reverse": Noun("settlement:reverse"),
        "status": Noun("settlement:status"),
        "receipt": Noun("paper:receipt"),
        "outbox": Noun("doubts:outbox"),
        "reconcile": Noun("reconcile:app"),
        "review": Noun("review:app"),
        "clearing": Noun("clearing:app"),
        "visit": Noun("visit:app"),
        "lists": Noun("lists:app"),
    }

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


@app.callback()
def cardterminal() -> None:
    """Be a group, whatever the table holds."""
