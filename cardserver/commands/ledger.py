"""`cardserver trial-balance`: do debits equal credits, and does all else agree?"""

import asyncio
import sys
from typing import Annotated

import typer
from msgspec import json
from rich.table import Table

from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from ledger.accounts import ACCOUNTS
from ledger.trial_balance_store import TrialBalance
from ledger.trial_balance_store import trial_balance as read_trial_balance


@fail_clearly
def trial_balance(
    config_file: ConfigFile,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, amounts in fen.")] = False,
) -> None:
    """Sum up every posting by account and compare with balances and totals kept beside them.

    Exit status 0: debits equal credits and all agrees; 1: not.

    试算平衡：按科目汇总借贷方，核对余额与合计。
    """
    balance = asyncio.run(_read(load_config(config_file)))
    if as_json:
        sys.stdout.write(json.format(json.encode(_document(balance)), indent=2).decode() + "\n")
    else:
        _print(balance)
    if not balance.is_equal:
        raise typer.Exit(1)


async def _read(config: Config) -> TrialBalance:
    async with open_database(config) as database:
        return await database.report(read_trial_balance)


def _document(balance: TrialBalance) -> dict[str, object]:
    return {
        "is_equal": balance.is_equal,
        "entry_count": balance.entry_count,
        "debit_fen": balance.debit_fen,
        "credit_fen": balance.credit_fen,
        "accounts": [
            {
                "account": number,
                "name_zh": ACCOUNTS[number].name_zh,
                "name_en": ACCOUNTS[number].name_en,
                "debit_fen": total.debit_fen,
                "credit_fen": total.credit_fen,
                "balance_fen": total.balance_fen,
            }
            for number, total in balance.by_account.items()
        ],
        "differences": list(balance.differences),
    }


def _print(balance: TrialBalance) -> None:
    console = wide_console()
    table = Table("account", "", "", "debit 借方", "credit 贷方", "net 借贷差")
    for column in table.columns[3:]:
        column.justify, column.no_wrap = "right", True
    for number, total in balance.by_account.items():
        account = ACCOUNTS[number]
        table.add_row(
            str(number), account.name_zh, account.name_en,
            _yuan(total.debit_fen), _yuan(total.credit_fen), _yuan(total.balance_fen),
        )  # fmt: skip
    table.add_section()
    table.add_row(
        "", "合计", "total", _yuan(balance.debit_fen), _yuan(balance.credit_fen),
        _yuan(balance.debit_fen - balance.credit_fen),
    )  # fmt: skip
    console.print(table)
    for difference in balance.differences:
        console.print(difference)
    console.print(
        f"{balance.entry_count:,} entries: "
        + ("equal / 平衡" if balance.is_equal else "NOT EQUAL / 不平衡")
    )


def _yuan(amount_fen: int) -> str:
    whole, rest = divmod(abs(amount_fen), 100)
    return f"{'-' if amount_fen < 0 else ''}{whole:,}.{rest:02d}"
