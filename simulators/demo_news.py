"""The demonstration's last part: a terminal on a real broker, seen by the centre, hearing news.

Not here: the other steps (`demo.py`).
"""

import asyncio
import json
import time
from contextlib import ExitStack
from pathlib import Path

from msgspec import structs

from simulators.centre_process import City, command
from simulators.mosquitto import MosquittoBroker
from terminals.attendance import Counter, attending
from terminals.client import TerminalClient
from terminals.config import TerminalConfig
from terminals.list_updates import ListUpdates
from terminals.lists import ListName, Lists
from terminals.outbox import Outbox
from terminals.telemetry import FeltTimes

_PATIENCE_S = 60.0
_LOOK_S = 0.05


async def hear_news(
    city: City, config: TerminalConfig, broker: MosquittoBroker, card_number: str
) -> str:
    """Attend with a terminal, have a card reported lost, and say how soon each side knew.

    Raises:
        TimeoutError: One of them never did.
    """
    mqtt = structs.replace(config.mqtt, host="127.0.0.1", port=broker.port, news_spread_ms=0)
    config = structs.replace(config, mqtt=mqtt)
    with ExitStack() as stack:
        outbox = stack.enter_context(Outbox(Path(config.outbox.file)))
        lists = stack.enter_context(Lists(Path(config.lists.file)))
        updates = ListUpdates(
            lists, frame_size_max=config.limits.frame_size_max,
            now_ms=lambda: time.time_ns() // 1_000_000, names=(ListName.REVOCATIONS,),
        )  # fmt: skip
        felt = FeltTimes()
        async with TerminalClient(config, lists=updates, on_felt=felt.hear) as client:
            await client.sign_on("c001", city.password_file.read_text(encoding="utf-8"))
            updates.start(client)
            counter = Counter(
                client=client, outbox=outbox, lists=lists, updates=updates, felt=felt
            )  # fmt: skip
            try:
                async with asyncio.timeout(_PATIENCE_S), attending(counter):
                    seen = await _seen(city, config.terminal.code)
                    version = updates.list_version
                    lost_at = time.perf_counter()
                    await command(
                        "cardserver", "card", "state", "--config", str(city.config_file),
                        card_number, "lost",
                    )  # fmt: skip
                    while updates.list_version == version:  # noqa: ASYNC110 - told by the centre
                        await asyncio.sleep(_LOOK_S)
                    heard_s = time.perf_counter() - lost_at
            finally:
                await updates.stop()
    return (
        f"the centre has this terminal's state: {seen}\n"
        f"      a card is reported lost: {heard_s:.1f} s after that command began, the terminal's"
        f" own list has it (version {updates.list_version})"
    )


async def _seen(city: City, code: str) -> str:
    """Wait until the centre's command shows the terminal signed on; give what it shows."""
    while True:
        shown = await command(
            "cardserver", "terminals", "states", "--config", str(city.config_file), "--json"
        )
        for one in json.loads(shown.output):
            if one["terminal"] == code and one["state"]["presence"] == "signed_on":
                state = one["state"]
                return (
                    f"{state['presence']}, operator {state['operator']},"
                    f" answers within {state['felt']['max_ms']} ms"
                )
        await asyncio.sleep(_LOOK_S)
