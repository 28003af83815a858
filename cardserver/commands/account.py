"""`cardserver account`: the statement of a person's account."""

import asyncio
import csv
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer
from msgspec import json
from rich.markup import escape
from rich.table import Table

from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.funding_run import yuan
from cardserver.commands.registry_subjects import PersonText, day_number, find_person
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config
from cardserver.funding.statement import Statement, statement_of
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.masking import masked_name
from cardserver.registry.registry_store import Registry
from ledger.calendar import text_of

app = typer.Typer(help="Personal accounts. 个人账户", no_args_is_help=True)

_HEADER = ("date", "time", "number", "kind", "reason_zh", "reason_en", "amount", "balance")


class Language(StrEnum):
    """In which language people read it."""

    CHINESE = "zh"
    ENGLISH = "en"
    BOTH = "both"


@app.callback()
def account() -> None:
    """Be a group."""


@app.command("statement")
@fail_clearly
def print_statement(
    person: PersonText,
    config_file: ConfigFile,
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="First day, 2026-01-01.")],
    last: Annotated[
        str, typer.Option("--to", metavar="DATE", help="Last day; without it, today.")
    ] = "",
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", dir_okay=False, help="Write it as CSV; - is standard output."),
    ] = None,
    language: Annotated[
        Language, typer.Option("--language", help="Of the printed statement.")
    ] = Language.BOTH,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, amounts in fen.")] = False,
) -> None:
    """Print a personal account's opening balance, its movements and why, its closing balance.

    打印个人账户对账单。
    """
    config = load_config(config_file)
    first_day, last_day = day_number(first, config), day_number(last, config)
    if last_day < first_day:
        raise AdministrationError("the last day is before the first one")
    name, statement = asyncio.run(_read(config, person, first_day, last_day))
    if as_json:
        typer.echo(json.format(json.encode(statement)).decode())
    elif csv_file is None:
        _print(config, name, statement, language)
    elif str(csv_file) == "-":
        _write(config, sys.stdout, statement)
    else:
        try:
            with csv_file.open("w", encoding="utf-8-sig", newline="") as file:
                _write(config, file, statement)
        except OSError as error:
            raise AdministrationError(f"{csv_file}: {error.strerror}") from error


async def _read(
    config: Config, person: str, first_day: int, last_day: int
) -> tuple[str, Statement]:
    async with open_database(config) as database:
        found = await find_person(Registry(database), person)
        statement = await statement_of(
            database, found.person_no, first_day=first_day, last_day=last_day
        )
        return masked_name(found.name), statement


def _print(config: Config, name: str, statement: Statement, language: Language) -> None:
    is_zh, is_en = language != Language.ENGLISH, language != Language.CHINESE

    def words(zh: str, en: str) -> str:
        return " ".join(part for part, wanted in ((zh, is_zh), (en, is_en)) if wanted)

    table = Table(
        words("时间", "time"), words("号码", "number"), words("事由", "reason"),
        words("金额（元）", "yuan"), words("余额（元）", "balance"),
        title=escape(
            f"{words('个人账户对账单', 'Statement of a personal account')}\n"
            f"{name} {statement.person_no}  {_date(statement.first_day)} – "
            f"{_date(statement.last_day)}"
        ),
    )  # fmt: skip
    for column in table.columns[3:]:
        column.justify = "right"
    table.add_row("", "", words("期初余额", "opening balance"), "", yuan(statement.opening_fen))
    for line in statement.lines:
        reason = "\n".join(
            part for part, wanted in ((line.reason_zh, is_zh), (line.reason_en, is_en)) if wanted
        )
        table.add_row(
            text_of(line.time_ms, config.timezone), line.number, escape(reason),
            yuan(line.amount_fen), yuan(line.balance_fen),
        )  # fmt: skip
    table.add_section()
    table.add_row("", "", words("本期划入", "gained"), yuan(statement.gained_fen), "")
    table.add_row("", "", words("本期支付", "paid"), yuan(-statement.paid_fen), "")
    table.add_row("", "", words("期末余额", "closing balance"), "", yuan(statement.closing_fen))
    wide_console().print(table)


def _write(config: Config, file: TextIO, statement: Statement) -> None:
    """Write CSV: the opening balance, the movements, the closing balance."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerow(
        (_date(statement.first_day), "", "", "", "期初余额", "opening balance", "",
         _plain(statement.opening_fen))
    )  # fmt: skip
    for line in statement.lines:
        _, _, time = text_of(line.time_ms, config.timezone).partition(" ")
        writer.writerow(
            (_date(line.day), time, line.number, line.kind, line.reason_zh, line.reason_en,
             _plain(line.amount_fen), _plain(line.balance_fen))
        )  # fmt: skip
    writer.writerow(
        (_date(statement.last_day), "", "", "", "期末余额", "closing balance", "",
         _plain(statement.closing_fen))
    )  # fmt: skip


def _date(day: int) -> str:
    return f"{day // 10_000:04d}-{day // 100 % 100:02d}-{day % 100:02d}"


def _plain(amount_fen: int) -> str:
    """Write an amount as programs read it."""
    return yuan(amount_fen).replace(",", "")
