"""What `cardserver top` shows: times, refusals and workers, drawn in a terminal.

Not here: the command and its options (`top.py`).
"""

import asyncio
import time

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cardserver.config import Config
from cardserver.console.access import Language
from cardserver.console.feed import Feed, watches
from cardserver.console.window import By, Line, Window
from cardserver.console.words import named, word
from cardserver.observe import catalogue
from protocol.terminal.codes import ResponseCode

_ROWS_MAX = 12
_REFUSALS_MAX = 6
_WIDTH_MIN = 100
_SLOW_US = 500_000  # what nearly no settlement may take
_CODES = {code.value: code for code in ResponseCode}


async def show(
    config: Config, by: str, type_name: str, minutes: int, *, is_once: bool, is_english: bool
) -> None:
    """Show what a centre's workers say of themselves.

    Args:
        config: The centre's.
        by: The name of a `By`.
        type_name: Of which messages; empty: all.
        minutes: Of how many last minutes.
        is_once: Whether to print it once and end.
        is_english: Whether in English only.
    """
    view = _View(
        Feed(watches(config), Window()),
        By[by],
        type_name,
        minutes,
        Language.EN if is_english else Language.ZH,
    )
    await (view.once() if is_once else view.live())


class _View:
    """What is on the screen."""

    def __init__(
        self, feed: Feed, by: By, type_name: str, minutes: int, language: Language
    ) -> None:
        self._feed = feed
        self._by = by
        self._types = [type_name] if type_name else []
        self._minutes = minutes
        self._language = language

    async def once(self) -> None:
        """Look once and print."""
        await self._feed.look()
        console = Console(width=max(Console().width, _WIDTH_MIN))
        console.print(self._screen())
        if all(worker.error for worker in self._feed.watched):
            raise typer.Exit(1)

    async def live(self) -> None:
        """Show until interrupted."""
        following = asyncio.create_task(self._feed.run())
        try:
            with Live(self._screen(), screen=True, refresh_per_second=2) as live:
                while True:
                    await asyncio.sleep(1)
                    live.update(self._screen())
        except asyncio.CancelledError:  # Ctrl-C: nothing went wrong
            pass
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    def _screen(self) -> Group:
        now_ms = time.time_ns() // 1_000_000
        since_ms = now_ms - self._minutes * 60_000
        return Group(
            self._head(since_ms),
            self._durations(since_ms),
            self._refusals(since_ms),
            self._workers(),
        )

    def _head(self, since_ms: int) -> Text:
        window, language = self._feed.window, self._language
        outcomes = window.outcomes(since_ms=since_ms)
        answered = outcomes.total()
        refused = sum(n for (_, code), n in outcomes.items() if code != ResponseCode.APPROVED)
        reached = [worker for worker in self._feed.watched if not worker.error]

        def gauge(family: catalogue.Family) -> int:
            return round(sum(worker.gauge(family) for worker in reached))

        parts = [
            word("live.minutes", language, self._minutes),
            f"{word('live.rate', language)} {answered / (60 * self._minutes):.1f}",
            f"{word('live.refused', language)} {100 * refused / (answered or 1):.1f} %",
            f"{word('live.connected', language)} {gauge(catalogue.CONNECTIONS)}",
            f"{word('live.queue', language)} {gauge(catalogue.COMMIT_QUEUE)}",
        ]
        if window.lost:
            parts.append(word("live.lost", language, window.lost))
        return Text(" · ".join(parts), style="bold")

    def _durations(self, since_ms: int) -> Table:
        language = self._language
        lines = self._feed.window.lines(self._by, since_ms=since_ms, types=self._types)
        title = f"{word(f'by.{self._by.name}', language)} · {', '.join(self._types) or '*'}"
        table = Table(title=title, title_justify="left", expand=True)
        table.add_column(word("name", language))
        for heading in (word("count", language), "p50 ms", "p95 ms", "p99 ms"):
            table.add_column(heading, justify="right")
        for line in lines[:_ROWS_MAX]:
            table.add_row(*self._line(line))
        return table

    def _line(self, line: Line) -> tuple[str, ...]:
        kind = {By.STAGE: "stage", By.TYPE: "type"}.get(self._by)
        name = line.name if kind is None else named(kind, line.name, self._language)
        colour = "[red]" if line.p95_us >= _SLOW_US else ""
        return (
            f"{colour}{escape(name)}",
            str(line.count),
            *(f"{us / 1000:.2f}" for us in (line.p50_us, line.p95_us, line.p99_us)),
        )

    def _refusals(self, since_ms: int) -> Table:
        language = self._language
        table = Table(title=word("page.REFUSALS", language), title_justify="left", expand=True)
        for key in ("count", "type", "refusals.code", "refusals.meaning"):
            table.add_column(word(key, language))
        table.add_column("msgid")
        for refused in self._feed.window.refusals(since_ms=since_ms)[:_REFUSALS_MAX]:
            code = _CODES.get(refused.code)
            meaning = ""
            if code is not None:
                meaning = code.text_zh if language is Language.ZH else code.text_en
            table.add_row(
                str(refused.count),
                named("type", refused.type_name, language),
                str(refused.code),
                escape(meaning),
                escape(refused.examples[0].msgid),
            )
        return table

    def _workers(self) -> Table:
        language = self._language
        table = Table(title=word("centre.workers", language), title_justify="left", expand=True)
        for key in ("centre.address", "centre.state", "live.connected", "centre.in_flight"):
            table.add_column(word(key, language))
        shown = [one for one in self._feed.watched if one.life] or self._feed.watched[:1]
        for worker in shown:
            state = worker.error or word("centre.reached", language)
            table.add_row(
                worker.url,
                f"[red]{escape(state)}" if worker.error else state,
                str(round(worker.gauge(catalogue.CONNECTIONS))),
                str(round(worker.gauge(catalogue.IN_FLIGHT))),
            )
        return table
