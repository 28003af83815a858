"""`cardserver audit`: who did what to what, and whether the record of it is as it was written."""

import asyncio
import datetime as dt
from typing import Annotated

import typer
from msgspec import json
from rich.console import Console
from rich.markup import escape

from cardserver.audit_desk import find, verify_audit
from cardserver.claims.audit_search_store import ROWS_MAX, AuditQuery, AuditRow
from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.config import Config, load_config
from ledger.verify_findings import Findings

app = typer.Typer(no_args_is_help=True, help="The audit: search it, verify it. 审计记录")

_DAY = dt.timedelta(days=1)
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("search")
@fail_clearly
def search(  # noqa: PLR0913 - one parameter an option
    config_file: ConfigFile,
    *,
    operator: Annotated[
        int | None, typer.Option(help="Who did it, by number; 0: nobody who signed on.")
    ] = None,
    subject: Annotated[
        str,
        typer.Option(help="To what: a settlement's number, 'card 7' ...; 'card*': beginning so."),
    ] = "",
    action: Annotated[str, typer.Option(help="What: settle, cancel ...; 'key*' as above.")] = "",
    begins: Annotated[
        dt.datetime | None, typer.Option("--from", help="From this local time on.")
    ] = None,
    ends: Annotated[
        dt.datetime | None,
        typer.Option("--to", help="Before this local time; of a date, that day is included."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=ROWS_MAX, help="The latest so many.")] = 100,
    as_json: AsJSON = False,
) -> None:
    """Show who did what, the latest last.

    查询审计记录：何人、何时、对何事做了什么。
    """
    config = load_config(config_file)
    if ends is not None and ends.time() == dt.time():
        ends += _DAY
    query = AuditQuery(
        operator,
        subject,
        action,
        _ms(config, begins) if begins else 0,
        _ms(config, ends) if ends else AuditQuery().to_ms,
        limit,
    )
    rows = asyncio.run(_find(config, query))
    if as_json:
        typer.echo(json.format(json.encode([row._asdict() for row in rows])).decode())
        return
    # Lines and no table, which would cut what doesn't fit: an auditor reads whole rows.
    console = Console(highlight=False, soft_wrap=True)
    for row in rows:
        where = f"{row.institution_no}/{row.terminal_no}" if row.institution_no else "centre 中心"
        who = f"operator 操作员 {row.operator_no}" if row.operator_no else "-"
        line = (_local(config, row), who, where, row.action, row.subject, row.detail)
        console.print("  ".join(escape(part) for part in line))
    console.print(f"{len(rows)} rows / 条")


@app.command("verify")
@fail_clearly
def verify(config_file: ConfigFile, *, as_json: AsJSON = False) -> None:
    """Recompute the chains, and name the first row that is not as it was written.

    It reads beside a running centre. Exit status 0: all agrees; 1: not.

    校验审计记录：重算哈希链，指出被改动、删除或增添的记录。
    """
    findings = asyncio.run(_verify(load_config(config_file)))
    if as_json:
        document = {
            "is_as_written": not findings.count,
            "difference_count": findings.count,
            "differences": findings.differences,
            "rows": findings.rows,
        }
        typer.echo(json.format(json.encode(document)).decode())
    else:
        console = Console(highlight=False, soft_wrap=True)
        for difference in findings.differences[:20]:
            console.print(escape(str(difference)))
        verdict = "NOT as written / 不一致" if findings.count else "as written / 一致"
        console.print(
            f"{findings.rows.get('audit', 0):,} rows of the audit, "
            f"{findings.rows.get('seal', 0):,} seals: {verdict}"
        )
    if findings.count:
        raise typer.Exit(1)


async def _find(config: Config, query: AuditQuery) -> list[AuditRow]:
    async with open_database(config) as database:
        return await find(database, query)


async def _verify(config: Config) -> Findings:
    async with open_database(config) as database:
        return await verify_audit(database)


def _ms(config: Config, moment: dt.datetime) -> int:
    return int(moment.replace(tzinfo=config.timezone).timestamp() * 1000)


def _local(config: Config, row: AuditRow) -> str:
    moment = dt.datetime.fromtimestamp(row.recorded_time_ms / 1000, tz=config.timezone)
    return moment.strftime("%Y-%m-%d %H:%M:%S")
