"""What is watched beside requests: database, lists, certificates, disks, what is overdue.

Each worker knows its own terminals; worker 0 alone looks at what is the whole centre's. Nothing
here holds up a request. Not here: which metrics these become (`observe/catalogue.py`).
"""

import asyncio
import datetime as dt
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import structlog
from cryptography import x509

from cardserver import watch_store
from cardserver.authority import ENDS_SOON
from cardserver.centre import Centre, day_at
from cardserver.config import Config
from cardserver.observe import catalogue
from cardserver.observe.metrics import Metrics
from cardserver.observe.spans import SpanExporter
from cardserver.reconciliation.readiness_store import AGES_DAYS, OLDER, open_by_age
from cardserver.session import TerminalSession
from ledger.database_store import Database
from ledger.store_errors import StoreError

log = structlog.get_logger("cardserver.watch")

_LOOK_S = 5.0
_ANSWER_MAX_S = 5.0
_SELDOM_S = 60.0  # for what changes by the day, and takes longer to find out
_SERVICE = "cardserver"
_OF_OTHERS = frozenset({"console"})  # certificates that another process loads


class Watch:
    """Looks around, and says what it sees in gauges."""

    def __init__(self, centre: Centre, *, looks_at_all: bool) -> None:
        """Watch for this worker; `looks_at_all`: for the whole centre too."""
        self._centre = centre
        self._looks_at_all = looks_at_all
        self._seldom_at = 0.0
        # This worker goes on with what it loaded, whatever lies in the files by now.
        self._loaded_ends: dict[str, float] = {}

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> None:
        """Look once."""
        centre, metrics = self._centre, self._centre.metrics
        _look_at_pools(centre.database, metrics)
        now_ms = centre.clock.now_ms()
        state = await self._ask_database(now_ms)
        centre.is_database_up = state is not None
        if not self._looks_at_all:
            return
        metrics.set(catalogue.DATABASE_UP, float(centre.is_database_up))
        is_all_seen = True
        if state is not None:
            _show(metrics, state)
            is_all_seen = await self._look_at_what_changes_seldom(now_ms)
        await asyncio.to_thread(_look_at_files, centre.config, metrics, self._loaded_ends)
        if is_all_seen:
            metrics.set(catalogue.WATCH, now_ms / 1000)

    async def _ask_database(self, now_ms: int) -> watch_store.DatabaseState | None:
        """Ask the database how it is; None where it doesn't answer soon."""
        try:
            async with asyncio.timeout(_ANSWER_MAX_S):
                return await watch_store.look(self._centre.database, now_ms)
        except (StoreError, TimeoutError) as error:
            log.warning("the database can't be watched", error=str(error) or "no answer in time")
            return None

    async def _look_at_what_changes_seldom(self, now_ms: int) -> bool:
        """Look once a minute; False where it failed, and is tried again at the next look."""
        monotonic_s = asyncio.get_running_loop().time()
        if monotonic_s < self._seldom_at:
            return True
        try:
            await self._look_at_what_is_overdue(now_ms)
        except StoreError as error:  # its moment stands still, which is an alert of its own
            log.warning("what is overdue can't be watched", error=str(error))
            return False
        self._seldom_at = monotonic_s + _SELDOM_S
        return True

    async def _look_at_what_is_overdue(self, now_ms: int) -> None:
        centre, metrics = self._centre, self._centre.metrics
        open_counts = await open_by_age(centre.database, now_ms)
        for age in (*AGES_DAYS, OLDER):
            metrics.set(catalogue.DIFFERENCES, open_counts[age], age_label(age))
        soon_ms = now_ms + ENDS_SOON // dt.timedelta(milliseconds=1)
        ending = await watch_store.terminals_ending(centre.database, soon_ms)
        metrics.set(catalogue.TERMINAL_CERTIFICATES, ending)
        month = day_at(centre.config, now_ms) // 100
        months = await centre.database.report(
            lambda connection: watch_store.uncleared_months(connection, before=month)
        )
        metrics.set(catalogue.CLEARING_UNCLEARED, len(months))
        if months:
            metrics.set(catalogue.CLEARING_SINCE, end_of(months[0], centre.config.timezone))
        else:
            metrics.forget(catalogue.CLEARING_SINCE)


def age_label(age: int) -> str:
    """Name an age of open differences, by the days below which it is."""
    return f"over_{AGES_DAYS[-1]}_days" if age == OLDER else f"under_{age}_days"


def end_of(month: int, timezone: dt.tzinfo) -> float:
    """Say when a month (YYYYMM) ended, in seconds since 1970."""
    year, number = divmod(month, 100)
    first = dt.datetime(year + number // 12, number % 12 + 1, 1, tzinfo=timezone)
    return first.timestamp()


def watch_terminals(
    metrics: Metrics,
    sessions: Callable[[], Iterable[TerminalSession]],
    *,
    now_ms: Callable[[], int],
    list_version: Callable[[], int],
) -> None:
    """Have the gauges of connected terminals be counted when they are looked at."""

    def oldest_s() -> float:
        since_ms = [one.outbox_since_ms for one in sessions() if one.outbox_count]
        return max(now_ms() - min(since_ms), 0) / 1000 if since_ms else 0.0

    metrics.watch(catalogue.OUTBOX_AGE, oldest_s)
    metrics.watch(
        catalogue.TERMINALS_IN_DOUBT, lambda: sum(1 for one in sessions() if one.outbox_count)
    )
    metrics.watch(
        catalogue.TERMINALS_OUTDATED,
        lambda: sum(1 for one in sessions() if 0 < one.list_version < list_version()),
    )


def make_exporter(config: Config, metrics: Metrics, worker: int) -> SpanExporter | None:
    """Make what sends traces to a collector, where one is configured."""
    section = config.observe.otlp
    if section is None:
        return None
    return SpanExporter(
        section.endpoint,
        service={
            "service.name": _SERVICE,
            "service.namespace": config.fund.name_en,
            "service.instance.id": str(worker),
        },
        ratio=section.ratio,
        queue_max=section.queue_max,
        on_sent=lambda count: metrics.count(catalogue.SPANS_SENT, count),
        on_dropped=lambda count: metrics.count(catalogue.SPANS_DROPPED, count),
    )


def _show(metrics: Metrics, state: watch_store.DatabaseState) -> None:
    for name, count in state.slots.items():
        metrics.set(catalogue.WRITER_SLOTS, count, name)
    metrics.set(catalogue.REPLICATION_STANDBYS, state.standbys)
    metrics.set(catalogue.REPLICATION_LAG, state.lag_s)
    metrics.set(catalogue.DATABASE_SIZE, state.size)


def _look_at_pools(database: Database, metrics: Metrics) -> None:
    for pool, (busy, idle) in database.connections().items():
        metrics.set(catalogue.DATABASE_CONNECTIONS, busy, pool, "busy")
        metrics.set(catalogue.DATABASE_CONNECTIONS, idle, pool, "idle")


def _look_at_files(config: Config, metrics: Metrics, loaded_ends: dict[str, float]) -> None:
    for name, expiry in expiries(config).items():
        ends = expiry if name in _OF_OTHERS else min(expiry, loaded_ends.setdefault(name, expiry))
        metrics.set(catalogue.CERTIFICATE_EXPIRY, ends, name)
    for volume, folder in _folders(config).items():
        try:
            usage = shutil.disk_usage(folder)
        except OSError as error:
            log.warning("a volume can't be looked at", volume=volume, error=str(error))
            continue
        metrics.set(catalogue.DISK_FREE, usage.free, volume)
        metrics.set(catalogue.DISK_SIZE, usage.total, volume)


def expiries(config: Config) -> Mapping[str, float]:
    """Say when the centre's certificates end, in seconds since 1970; by what each is for."""
    found: dict[str, float] = {}
    listener, mqtt = config.listener, config.mqtt
    files = {"listener": listener.certificate_file, "terminal_authority": listener.terminal_ca_file}
    if config.console.certificate_file:
        files["console"] = config.console.certificate_file
    if mqtt.host:
        files |= {"broker_client": mqtt.certificate_file, "broker_authority": mqtt.ca_file}
    for name, file in files.items():
        try:
            certificates = x509.load_pem_x509_certificates(config.path(file).read_bytes())
        except (OSError, ValueError) as error:
            log.warning("a certificate can't be read", certificate=name, error=str(error))
            continue
        found[name] = min(one.not_valid_after_utc.timestamp() for one in certificates)
    return found


def _folders(config: Config) -> Mapping[str, Path]:
    folders = {"configuration": Path(config.directory)}
    scheme, _, path = config.database_url.partition(":///")
    if scheme.startswith("sqlite") and path:
        folders["database"] = Path(path.partition("?")[0]).parent
    return folders
