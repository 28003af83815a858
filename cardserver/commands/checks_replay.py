"""`cardserver checks replay`: what rules would have found in the settlements of past months."""

import asyncio
import csv
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct, json
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cardserver.catalogue.catalogue import Catalogue
from cardserver.catalogue.catalogue_store import catch_up
from cardserver.checks.checks_store import checks_of, stored_rules
from cardserver.checks.rule_book import load_rules
from cardserver.checks.rules_document import AnyRule
from cardserver.claims.checks_replay import ChecksTally, Found, Replay, StoredSettlement, read_from
from cardserver.claims.checks_replay_store import read_settlements
from cardserver.claims.replay_store import institution_names, person_ranges
from cardserver.commands.checks import AsJSON, rules_or_shipped
from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.wide_console import wide_console
from cardserver.config import Config, load_config

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)
_LAST_OF_MONTH = 31
_CLAIMS_A_RANGE = 20_000
_CSV_HEADER = (
    "setl_id", "business_date", "person_no", "institution", "rule", "action", "line", "text_zh",
    "text_en",
)  # fmt: skip


class RuleReported(Struct, frozen=True):
    """What one rule found."""

    rule: str
    action: str
    findings: int
    settlements: int
    persons: int
    total_fen: int
    fund_pay_fen: int


class Reported(Struct, frozen=True):
    """What a replay found, as JSON has it.

    Attributes:
        refused: Settlements that at least one rule refuses.
        warned: Settlements that rules only warn of.
    """

    identity: str
    first_month: str
    last_month: str
    settlements: int
    refused: int
    warned: int
    rules: tuple[RuleReported, ...]


@fail_clearly
def replay_checks(
    config_file: ConfigFile,
    first: Annotated[str, typer.Option("--from", help="First month of settlement, YYYY-MM.")],
    last: Annotated[str, typer.Option("--to", help="Last month of settlement, YYYY-MM.")],
    file: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="A rules file; else the shipped one."),
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", dir_okay=False, help="Every finding, one a row.")
    ] = None,
    *,
    as_json: AsJSON = False,
) -> None:
    """Try stored settlements by a rules file, whatever its own dates, and count what it finds.

    Each is tried beside those that stood at its moment, up to a year back. Nothing is changed.

    以规则文件试审历史结算，统计提醒和拒绝。
    """
    months = (_month(first), _month(last))
    if months[1] < months[0]:
        raise typer.BadParameter(f"{last} is before {first}")
    version = load_rules(rules_or_shipped(file))
    config = load_config(config_file)
    tally = ChecksTally()
    began = time.perf_counter()
    if csv_file is None:
        asyncio.run(_replay(config, version.document.rules, months, tally.take))
    else:
        asyncio.run(_replay_to_file(config, version.document.rules, months, tally, csv_file))
    took_s = time.perf_counter() - began
    report = Reported(
        version.identity, first, last, tally.settlements, tally.refused, tally.warned,
        tuple(
            RuleReported(
                rule.name, rule.action, found.findings, len(found.settlements),
                len(found.persons), found.total_fen, found.fund_pay_fen,
            )
            for rule in version.document.rules
            if (found := tally.rules.get(rule.name)) is not None
        ),
    )  # fmt: skip
    if as_json:
        typer.echo(json.format(json.encode(report)).decode())
    else:
        _print(report, took_s)


async def _replay_to_file(
    config: Config,
    rules: tuple[AnyRule, ...],
    months: tuple[int, int],
    tally: ChecksTally,
    csv_file: Path,
) -> None:
    async with open_database(config) as database:
        institutions = await institution_names(database)
    with csv_file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(_CSV_HEADER)

        def take(found: list[Found]) -> None:
            tally.take(found)
            for one in found:
                finding, settled = one.finding, one.settled
                code, _ = institutions[settled.place.institution_no]
                writer.writerow((
                    settled.claim_no, one.business_date, one.person_no, code, finding.rule,
                    "refuse" if finding.is_refusal else "warn", finding.line, finding.text_zh,
                    finding.text_en,
                ))  # fmt: skip

        await _replay(config, rules, months, take)


async def _replay(
    config: Config,
    rules: tuple[AnyRule, ...],
    months: tuple[int, int],
    take: Callable[[list[Found]], None],
) -> None:
    """Try every settlement of the months, with a progress bar."""
    async with open_database(config) as database:
        checks = checks_of(await stored_rules(database))
        replay = Replay(
            rules=rules,
            catalogue=await catch_up(database, Catalogue()),
            positions=checks.positions,
            first_day=months[0] * 100 + 1,
            last_day=months[1] * 100 + _LAST_OF_MONTH,
        )

        def try_person(rows: list[StoredSettlement]) -> None:
            for found in replay.try_person(rows):
                take(found)

        ranges = await person_ranges(database, _CLAIMS_A_RANGE)
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        with progress:
            task = progress.add_task("claims 结算", total=sum(one.claim_count for one in ranges))
            for persons in ranges:
                await read_settlements(
                    database,
                    persons,
                    from_day=read_from(replay.first_day),
                    last_day=replay.last_day,
                    take=try_person,
                )
                progress.advance(task, persons.claim_count)


def _print(report: Reported, took_s: float) -> None:
    console = wide_console()
    table = Table(title=f"{report.identity}, {report.first_month} – {report.last_month}")
    table.add_column("规则 rule")
    table.add_column("处理 action")
    for heading in (
        "结算 settlements", "发现 findings", "人员 persons", "总额 total", "基金支付 funds pay",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for rule in report.rules:
        table.add_row(
            rule.rule,
            "拒绝 refuse" if rule.action == "refuse" else "提醒 warn",
            f"{rule.settlements:,}",
            f"{rule.findings:,}",
            f"{rule.persons:,}",
            f"{rule.total_fen / 100:,.2f}",
            f"{rule.fund_pay_fen / 100:,.2f}",
        )
    console.print(table)
    console.print(
        f"共 {report.settlements:,} 次结算，拒绝 {report.refused:,}，仅提醒 {report.warned:,}\n"
        f"{report.settlements:,} settlements, {report.refused:,} refused, "
        f"{report.warned:,} warned of only, in {took_s:.1f} s"
    )


def _month(text: str) -> int:
    match = _MONTH.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text} is no month; write YYYY-MM")
    return int(match[1]) * 100 + int(match[2])
