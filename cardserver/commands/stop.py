"""`cardserver stop plan`, `list`, `cancel`: stops of the centre that terminals are told of."""

import asyncio
import datetime as dt
import time
from typing import Annotated

import typer

from cardserver.commands.database import ConfigFile, acting_user, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.config import Config, load_config
from cardserver.registry.administration_store import AdministrationError
from cardserver.telemetry.stops_store import PlannedStop, cancel_stop, coming_stops, plan_stop

app = typer.Typer(help="Planned stops, which terminals are told of over the broker. 计划停机")

_WORDS_MAX = 200
_FORM = "%Y-%m-%dT%H:%M"


@app.command("plan")
@fail_clearly
def plan(
    config_file: ConfigFile,
    *,
    begins: Annotated[str, typer.Option(help="The fund's local time, 2026-11-30T02:00.")],
    ends: Annotated[str, typer.Option(help="As planned, in the same form.")],
    text_zh: Annotated[str, typer.Option(help="Why, for cashiers, in Chinese.")] = "系统维护",
    text_en: Annotated[str, typer.Option(help="The same in English.")] = "maintenance",
) -> None:
    """Plan a stop; signed-on terminals are told of the next one within seconds.

    登记计划停机；在岗终端数秒内得到通知。
    """
    config = load_config(config_file)
    begins_ms, ends_ms = _time_ms(begins, config), _time_ms(ends, config)
    if not begins_ms < ends_ms:
        raise AdministrationError("a stop ends after it begins")
    if ends_ms <= time.time_ns() // 1_000_000:
        raise AdministrationError("this stop would be over already")
    if max(len(text_zh), len(text_en)) > _WORDS_MAX:
        raise AdministrationError(f"a text may have {_WORDS_MAX} characters")

    async def run() -> int:
        async with open_database(config) as database:
            return await plan_stop(
                database,
                begins_time_ms=begins_ms,
                ends_time_ms=ends_ms,
                texts=(text_zh, text_en),
                actor=acting_user(),
            )

    typer.echo(f"stop {asyncio.run(run())} is planned: {begins} to {ends}")


@app.command("list")
@fail_clearly
def list_stops(config_file: ConfigFile) -> None:
    """List the stops to come.

    列出计划停机。
    """
    config = load_config(config_file)

    async def run() -> list[PlannedStop]:
        async with open_database(config) as database:
            return await coming_stops(database, now_ms=time.time_ns() // 1_000_000)

    for stop in asyncio.run(run()):
        begins, ends = (
            dt.datetime.fromtimestamp(at_ms / 1000, config.timezone).strftime(_FORM)
            for at_ms in (stop.begins_time_ms, stop.ends_time_ms)
        )
        typer.echo(
            f"{stop.stop_no}  {begins} to {ends}  {stop.text_zh} / {stop.text_en}  ({stop.made_by})"
        )


@app.command("cancel")
@fail_clearly
def cancel(
    config_file: ConfigFile, stop_no: Annotated[int, typer.Argument(help="As `list` says.")]
) -> None:
    """Take a planned stop back; terminals are told.

    取消计划停机。
    """
    config = load_config(config_file)

    async def run() -> bool:
        async with open_database(config) as database:
            return await cancel_stop(database, stop_no)

    if not asyncio.run(run()):
        raise AdministrationError(f"no stop {stop_no} is planned")
    typer.echo(f"stop {stop_no} is cancelled")


def _time_ms(text: str, config: Config) -> int:
    try:
        local = dt.datetime.strptime(text, _FORM).replace(tzinfo=config.timezone)
    except ValueError as error:
        raise AdministrationError(f"{text!r} is no time as 2026-11-30T02:00") from error
    return int(local.timestamp() * 1000)
