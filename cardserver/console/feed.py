"""Follows the workers: what each answered since it was last asked, and whether it is there.

Not here: what is made of it (`window.py`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp
import msgspec
import structlog
from prometheus_client.parser import text_string_to_metric_families

from cardserver.config import Config
from cardserver.console.window import Window
from cardserver.observe.catalogue import Family
from cardserver.observe.recent import PAGE_MAX, RecentPage, decode_page

log = structlog.get_logger("cardserver.console.feed")

_PERIOD_S = 1.0
_TIME_MAX_S = 3.0
_PAGES_MAX = 8  # of one worker in one round: more than it keeps
_METRICS_EVERY = 4  # rounds: gauges change slowly, and a worker writes the whole page for them
_WORKERS_MAX = 16  # whose pages are looked for where the configuration names none


@dataclass(slots=True)
class Watched:
    """One worker's pages.

    Attributes:
        error: Why it could not be asked last time; empty when it could.
        metrics: Its gauges and counters without labels, by name.
    """

    url: str
    error: str = "not asked yet"
    life: str = ""
    at: int = 0
    metrics: dict[str, float] = field(default_factory=dict)

    def gauge(self, family: Family) -> float:
        """Return what a gauge without labels said last; 0 before it said anything."""
        return self.metrics.get(family.name, 0.0)


class Feed:
    """Keeps a window up to date."""

    def __init__(self, urls: Sequence[str], window: Window) -> None:
        """Watch the pages at these addresses (`http://host:port`)."""
        self.watched = [Watched(url) for url in urls]
        self.window = window

    async def run(self) -> None:
        """Follow until cancelled."""
        async with _session() as session:
            rounds = 0
            while True:
                await self._round(session, wants_metrics=rounds % _METRICS_EVERY == 0)
                rounds += 1
                await asyncio.sleep(_PERIOD_S)

    async def look(self) -> None:
        """Ask every worker once."""
        async with _session() as session:
            await self._round(session, wants_metrics=True)

    async def _round(self, session: aiohttp.ClientSession, *, wants_metrics: bool) -> None:
        async with asyncio.TaskGroup() as tasks:
            for worker in self.watched:
                tasks.create_task(self._ask(session, worker, wants_metrics=wants_metrics))

    async def _ask(
        self, session: aiohttp.ClientSession, worker: Watched, *, wants_metrics: bool
    ) -> None:
        try:
            for _ in range(_PAGES_MAX):
                page = await _page(session, worker)
                if worker.life:  # what was before the first look is no loss
                    self.window.lost += page.lost
                worker.life, worker.at = page.life, page.next
                self.window.add(page.rows)
                if len(page.rows) < PAGE_MAX:
                    break
            if wants_metrics:
                worker.metrics = await _metrics(session, worker.url)
        except (TimeoutError, aiohttp.ClientError, msgspec.MsgspecError, ValueError) as error:
            if not worker.error:
                log.warning("worker not reached", url=worker.url, error=str(error))
            worker.error = str(error) or type(error).__name__
        else:
            worker.error = ""


def watches(config: Config) -> list[str]:
    """Where workers' pages may be: as configured, or from this file's `[observe]` port on."""
    if config.console.watches:
        return list(config.console.watches)
    observe = config.observe
    return [f"http://{observe.host}:{observe.port + index}" for index in range(_WORKERS_MAX)]


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIME_MAX_S))


async def _page(session: aiohttp.ClientSession, worker: Watched) -> RecentPage:
    query = {"from": str(worker.at), "life": worker.life}
    async with session.get(f"{worker.url}/recent", params=query) as response:
        response.raise_for_status()
        return decode_page(await response.read())


async def _metrics(session: aiohttp.ClientSession, url: str) -> dict[str, float]:
    async with session.get(f"{url}/metrics/worker") as response:
        response.raise_for_status()
        text = await response.text()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.labels
    }
