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
        "init": Noun(
            "session:init",
            "新建终端 Make a terminal's folder: key, certificate request, configuration.",
        ),
        "sign-on": Noun(
            "session:sign_on", "签到 Sign an operator on; later commands use it until it ends."
        ),
        "sign-off": Noun(
            "session:sign_off",
            "签退 Sign the operator off, once earlier days and today so far are reconciled.",
        ),
        "echo": Noun("session:echo", "回声 Ask whether the centre is there, and how far away."),
        "readers": Noun("card:readers", "列出读卡器 List the card readers of this machine."),
        "card": Noun(
            "card:card", "读卡 Open the card in the reader: verified, looked up, with its times."
        ),
        "apdu": Noun(
            "apdu:apdu", "发送APDU Send raw commands to the card in a reader, without a centre."
        ),
        "watch": Noun(
            "card:watch_cards",
            "监视读卡器 Open every card that is put into a reader, until interrupted.",
        ),
        "attend": Noun(
            "attend:attend",
            "值守 Say this terminal's state to the fund's broker while signed on, and keep"
            " lists fresh.",
        ),
        "member": Noun(
            "card:member", "人员查询 Look a person up by a certificate's number, without a card."
        ),
        "eligibility": Noun("card:eligibility", "待遇资格 Ask whether a person is entitled."),
        "accumulators": Noun(
            "accumulators:accumulators",
            "累计 Show what a person has used in a year: deductible, in scope, paid, how often"
            " treated.",
        ),
        "preview": Noun(
            "settlement:preview",
            "试算 Show how a bill splits, line by line and step by step; nothing is committed.",
        ),
        "settle": Noun(
            "settlement:settle",
            "结算 Preview a bill, show and ask, then settle with the amounts shown.",
        ),
        "cancel": Noun("settlement:cancel", "撤销 Undo a settlement by its exact negative."),
        "refund": Noun(
            "settled:refund",
            "退费 Give lines of a settlement back: show what comes back, ask, and settle what"
            " remains.",
        ),
        "explain": Noun(
            "settled:explain",
            "解释 Show how a settlement came to what it is, by the rules that decided it.",
        ),
        "reverse": Noun(
            "settlement:reverse", "冲正 Make sure that whatever became of a msgid doesn't stand."
        ),
        "status": Noun(
            "settlement:status",
            "查询 Ask the centre what it knows of a msgid; changes nothing here or there.",
        ),
        "receipt": Noun(
            "paper:receipt", "票据 Print a receipt; from the second time on it is marked 副本 COPY."
        ),
        "outbox": Noun(
            "doubts:outbox",
            "未决交易 List attempts in doubt (exit status 2 while there is one), and resolve them.",
        ),
        "reconcile": Noun(
            "reconcile:app", "对账 Reconcile a day with the centre: totals, then row by row."
        ),
        "review": Noun(
            "review:app",
            "结算审核 Settlements that the fund reviews: what was decided, and appeals.",
        ),
        "clearing": Noun("clearing:app", "清算 A month's clearing with the fund."),
        "visit": Noun(
            "visit:app",
            "就诊 Outpatient visits and inpatient stays, from registration to settlement.",
        ),
        "lists": Noun("lists:app", "本机名单与目录 Lists that this terminal holds."),
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
