"""`cardterminal attend`: stay in the fund's sight while signed on, and take news as it comes."""

import asyncio
import contextlib
import datetime as dt
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.markup import escape

from protocol.telemetry.messages import StopNews
from terminals.answer import ClientError
from terminals.attendance import Counter, WatchedReader, attending
from terminals.commands.desk import DEFAULT_CONFIG, AsJSON, ConfigFile, Desk, run
from terminals.commands.result import ExitStatus, Result, fault
from terminals.lists import ListName
from terminals.state import load_state
from terminals.telemetry import Telemetry

_LOOK_S = 1.0


def attend(
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    seconds: Annotated[
        float, typer.Option(min=0, help="秒 End after so long; 0: when the operator signs off.")
    ] = 0,
    as_json: AsJSON = False,
) -> None:
    """值守 Say this terminal's state to the fund's broker while signed on, and keep lists fresh."""

    async def act(desk: Desk) -> Result:
        if not desk.config.mqtt.host:
            return fault("未配置消息代理", "no broker is configured", "[mqtt] host")
        if desk.client.sign_on_state is None:
            return fault("未签到", "nobody is signed on", "cardterminal sign-on")
        telemetry = await _attend(desk, seconds)
        values = {
            "seconds": seconds,
            "is_connected": telemetry.is_connected,
            "revocations": desk.lists.held(ListName.REVOCATIONS).version,
        }
        return Result(
            status=ExitStatus.APPROVED, values=values, text_zh="结束值守", text_en="no longer there"
        )

    run("attend", config, act, as_json=as_json)


def counter_of(desk: Desk) -> Counter:
    """Give what a desk's state is made from."""
    return Counter(
        client=desk.client,
        outbox=desk.outbox,
        lists=desk.lists,
        updates=desk.list_updates,
        felt=desk.felt,
    )


async def _attend(desk: Desk, seconds: float) -> Telemetry:
    screen = Console(stderr=True, highlight=False)
    reader = WatchedReader(desk.config.reader.name, lambda: None)
    watching = asyncio.create_task(reader.run())
    try:
        async with attending(
            counter_of(desk), reader, on_stop=lambda news: tell_stop(desk, screen, news)
        ) as telemetry:
            assert telemetry is not None
            await _until_signed_off(desk, telemetry, screen, seconds)
            is_connected = telemetry.is_connected
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    telemetry.is_connected = is_connected
    return telemetry


async def _until_signed_off(
    desk: Desk, telemetry: Telemetry, screen: Console, seconds: float
) -> None:
    """Look every second what changed; ask the centre now and then how far it is."""
    clock = asyncio.get_running_loop().time
    state_file = Path(desk.config.state_file)
    ends_at = clock() + seconds if seconds else float("inf")
    asked_at = clock()
    was_connected, version = None, desk.list_updates.list_version
    sign_no = desk.client.sign_on_state.sign_no if desk.client.sign_on_state else ""
    while clock() < ends_at:
        if telemetry.is_connected is not was_connected:
            was_connected = telemetry.is_connected
            words = "已连接 connected" if was_connected else "未连接 not connected"
            screen.print(f"消息代理 broker: {words}")
        if desk.list_updates.list_version != version:
            version = desk.list_updates.list_version
            screen.print(f"吊销名单 revocation list: {version}")
        if clock() - asked_at >= desk.config.mqtt.interval_ms / 1000:
            asked_at = clock()
            with contextlib.suppress(ClientError):  # it is felt, and said
                await desk.client.echo()
        kept = load_state(state_file).sign_on
        if kept is None or kept.sign_no != sign_no:
            screen.print("已签退 signed off")
            return
        await asyncio.sleep(_LOOK_S)


def tell_stop(desk: Desk, screen: Console, news: StopNews) -> None:
    """Tell the cashier of a planned stop."""
    if not news.begins_time_ms:
        return
    zone = ZoneInfo(desk.config.terminal.time_zone)
    begins, ends = (
        f"{dt.datetime.fromtimestamp(at_ms / 1000, zone):%Y-%m-%d %H:%M}"
        for at_ms in (news.begins_time_ms, news.ends_time_ms)
    )
    screen.print(
        f"[yellow]中心计划停机 the centre will stop[/]: {begins} - {ends}"
        f"  {escape(news.text_zh)} / {escape(news.text_en)}"
    )
