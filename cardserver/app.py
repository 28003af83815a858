"""One worker of the centre: chooses the parts, starts them, runs, and shuts them down in order.

Not here: several workers (`supervisor.py`), and what requests do (`dispatch.py`).
"""

import asyncio
import gc
import os
import resource
import secrets
import signal
import socket
import sys
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog
import uvloop

from cardserver.admission import admission
from cardserver.benefits.policy import PolicyBook, PolicyError, load_policy
from cardserver.cards.attached_reader import AttachedReader
from cardserver.cards.keystore import KeyStore
from cardserver.cards.keystore_choice import open_keystore
from cardserver.cards.revocations import Revocations
from cardserver.cards.session_token import CardSessions
from cardserver.cards.trust_anchors import TrustAnchors, read_anchors
from cardserver.catalogue.catalogue import Catalogue
from cardserver.catalogue.catalogue_store import catch_up
from cardserver.centre import Centre
from cardserver.checks.checks_store import StoredRules, checks_of, stored_rules
from cardserver.checks.rule_book import RulesError
from cardserver.claims.claims_store import claims_participants
from cardserver.claims.settled_store import Archive
from cardserver.claims.values import Rules
from cardserver.config import Config, ConfigError
from cardserver.dispatch import Dispatcher
from cardserver.handlers.lists import NewestLists
from cardserver.key_files import read_secret
from cardserver.listener import (
    TerminalListener,
    listening_sockets,
    terminal_tls_context,
)
from cardserver.migrations.revision_store import require_current
from cardserver.observe import catalogue as families
from cardserver.observe.logs import dropped_count
from cardserver.observe.metrics import Metrics
from cardserver.observe.pages import ObservePages
from cardserver.observe.shared_metrics import SharedMetrics
from cardserver.registry.registry_store import Registry
from cardserver.session import TerminalSession
from cardserver.storage.parts_store import keep_parts_ahead
from cardserver.telemetry.service import TelemetryService
from cardserver.watch import Watch, make_exporter, watch_terminals
from ledger.calendar import SystemClock
from ledger.database_store import Database
from ledger.store_errors import StoreError
from ledger.writer import GroupWriter
from terminals.readers.pcsc import PCSCReader

log = structlog.get_logger("cardserver.app")

_RULES_REFRESH_S = 5.0
_SWITCH_INTERVAL_S = 0.0005
_REVOCATIONS_REFRESH_S = 1.0
_CATALOGUE_REFRESH_S = 2.0
_GARBAGE_THRESHOLDS = (50_000, 20, 100)
_OTHER_DESCRIPTORS = 256  # database, pages, readers, log


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Which of the workers this is.

    Attributes:
        index: 0 is the one that readers attached to the centre belong to.
        shares_port: Whether other workers listen at the same port. Then this one has a parent, and
            ends when its standard input does, so that no worker outlives it.
        listening: Descriptors of sockets that listen, from that parent; it keeps them open when
            another worker takes this one's place. Without any, this worker binds its own.
        pages_socket: The descriptor of the socket of its pages, in the same way; -1 for none.
        ready_file: Written once terminals can connect: ports and process id, as JSON.
        metrics_folder: Where the workers of a parent share what they count.
    """

    index: int = 0
    shares_port: bool = False
    listening: tuple[int, ...] = ()
    pages_socket: int = -1
    ready_file: Path | None = None
    metrics_folder: Path | None = None


class Worker:
    """One process that serves terminals."""

    def __init__(self, config: Config, options: WorkerOptions) -> None:
        """Prepare a worker; nothing is opened before `run`."""
        self._config = config
        self._options = options
        self._stopping = asyncio.Event()
        self._is_replaced = False
        self._policy_texts: list[str] = []  # of the policies that decide now
        self._shared: SharedMetrics | None = None  # where several workers' counts come together

    async def run(self) -> None:
        """Start, serve until a signal, drain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        if self._options.shares_port:
            loop.add_signal_handler(signal.SIGUSR1, self._on_replaced)
            loop.add_reader(sys.stdin.fileno(), self._on_parent_gone)
        self._allow_descriptors()
        async with AsyncExitStack() as stack:
            centre = await self._open_parts(stack)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            listener = self._make_listener(centre, tasks)
            await self._listen(listener)
            pages = await self._show_pages(centre, stack)
            rules = tasks.create_task(self._refresh_rules(centre))
            revocations = tasks.create_task(self._refresh_revocations(centre))
            catalogue = tasks.create_task(self._refresh_catalogue(centre))
            checks = tasks.create_task(self._refresh_checks(centre))
            telemetry = tasks.create_task(self._run_telemetry(centre))
            parts = tasks.create_task(
                keep_parts_ahead(centre.database, centre.clock, self._config.timezone)
            )
            observing = [tasks.create_task(one) for one in self._observe(centre, listener)]
            leave_to_itself_what_stays()
            self._say_ready(listener.port, pages.port)
            await self._stopping.wait()
            log.info("stopping", worker=self._options.index, is_replaced=self._is_replaced)
            if self._is_replaced:
                telemetry.cancel()
                await listener.retire()
            centre.is_draining = True
            rules.cancel()
            revocations.cancel()
            catalogue.cancel()
            checks.cancel()
            parts.cancel()
            telemetry.cancel()
            await listener.drain()
            for task in observing:
                task.cancel()
        log.info("stopped", worker=self._options.index)

    def _on_hangup(self) -> None:
        """Say what is to be done; a worker's parent, if it has one, has the same signal."""
        if not self._options.shares_port:
            log.warning("an upgrade without stopping needs --workers 2 or more; nothing was done")

    def _on_replaced(self) -> None:
        """Stop, and hand the terminals over to the workers that go on."""
        self._is_replaced = True
        self._stopping.set()

    def _on_parent_gone(self) -> None:
        """Stop: standard input, which nobody writes to, has ended."""
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        self._stopping.set()

    def _allow_descriptors(self) -> None:
        """Let this process have as many connections as it is configured for."""
        section = self._config.listener
        wanted = section.connections_max + section.handshakes_max + _OTHER_DESCRIPTORS
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft != resource.RLIM_INFINITY and soft < allowed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < wanted:
            log.warning("the system allows fewer connections", allowed=allowed, wanted=wanted)

    async def _open_parts(self, stack: AsyncExitStack) -> Centre:
        config = self._config
        clock = SystemClock()
        database = Database.open(
            config.database_url,
            config.database_password,
            readers_max=config.database.pool_size_max,
        )
        await database.start()
        stack.push_async_callback(database.close)
        await require_current(database)
        registry = Registry(database)
        writer = GroupWriter(
            database,
            claims_participants(),
            clock=clock,
            timezone=config.timezone,
            queue_max=config.database.queue_max,
            group_max=config.database.group_max,
        )
        await writer.start()
        stack.push_async_callback(writer.stop)
        keys = open_keystore(config)
        stack.callback(keys.close)
        revocations = Revocations()
        await revocations.catch_up(database)
        anchors = read_anchors(config)
        anchors.revocations = revocations
        metrics = Metrics(self._options.index)
        metrics.watch(families.COMMIT_QUEUE, lambda: float(writer.waiting_count))
        metrics.set(families.COMMIT_QUEUE_LIMIT, config.database.queue_max)
        metrics.watch(families.LIST_VERSION, lambda: float(revocations.version))
        metrics.watch_count(families.LOGS_DROPPED, dropped_count)
        self._policy_texts = await registry.policies()
        centre = Centre(
            config=config,
            clock=clock,
            random_bytes=secrets.token_bytes,
            database=database,
            registry=registry,
            writer=writer,
            keys=keys,
            card_sessions=_card_sessions(config),
            rules=Rules(
                PolicyBook([load_policy(text) for text in self._policy_texts]),
                await catch_up(database, Catalogue()),
                checks_of(await stored_rules(database)),
            ),
            archive=Archive(database),
            metrics=metrics,
            attached_readers=await self._attach_readers(stack, keys, registry, anchors),
            revocations=revocations,
            anchors=anchors,
        )
        if config.mqtt.host:
            centre.telemetry = TelemetryService(
                config.mqtt, config.path, database, clock, NewestLists(centre)
            )
        return centre

    async def _attach_readers(
        self, stack: AsyncExitStack, keys: KeyStore, registry: Registry, anchors: TrustAnchors
    ) -> dict[str, AttachedReader]:
        """Take the readers attached to the centre, which belong to worker 0."""
        attached: dict[str, AttachedReader] = {}
        if self._options.index == 0:
            for name in self._config.readers.names:
                reader = await stack.enter_async_context(PCSCReader(name))
                attached[name] = AttachedReader(
                    reader,
                    keys=keys,
                    cards=registry,
                    issuers=self._config.issuers,
                    random_bytes=secrets.token_bytes,
                    anchors=anchors,
                )
        return attached

    def _make_listener(self, centre: Centre, tasks: asyncio.TaskGroup) -> TerminalListener:
        section = self._config.listener
        return TerminalListener(
            section,
            terminal_tls_context(section, self._config.path),
            admission(centre, Dispatcher(centre).serve, tasks),
            centre.metrics,
            tasks,
        )

    async def _listen(self, listener: TerminalListener) -> None:
        section, options = self._config.listener, self._options
        try:
            listening = [socket.socket(fileno=number) for number in options.listening]
            if not listening:
                listening = await listening_sockets(
                    section.host, section.port, shares_port=options.shares_port
                )
        except OSError as error:
            raise ConfigError(f"can't listen at {section.host}:{section.port}: {error}") from error
        await listener.start(listening, logs_traffic=self._config.observe.log_level == "TRAFFIC")

    async def _show_pages(self, centre: Centre, stack: AsyncExitStack) -> ObservePages:
        section = self._config.observe
        port = section.port + self._options.index if section.port else 0
        pages_socket = self._options.pages_socket
        folder = self._options.metrics_folder
        self._shared = None if folder is None else SharedMetrics(folder, centre.metrics)
        pages = ObservePages(
            self._shared or centre.metrics,
            centre.metrics,
            centre.recent,
            partial(_why_unready, centre),
            host=section.host,
            port=port,
            listening=None if pages_socket < 0 else socket.socket(fileno=pages_socket),
        )
        try:
            return await stack.enter_async_context(pages)
        except OSError as error:
            raise ConfigError(f"can't listen at {section.host}:{port}: {error}") from error

    def _observe(
        self, centre: Centre, listener: TerminalListener
    ) -> Iterator[Coroutine[Any, Any, None]]:  # as asyncio types them
        """Give what watches the centre while it serves."""
        centre.spans = make_exporter(self._config, centre.metrics, self._options.index)
        if centre.spans is not None:
            yield centre.spans.run()
        watch_terminals(
            centre.metrics,
            lambda: (
                link.session for link in listener.links if isinstance(link.session, TerminalSession)
            ),
            now_ms=centre.clock.now_ms,
            list_version=lambda: centre.revocations.version,
        )
        yield Watch(centre, looks_at_all=self._options.index == 0).run()
        if self._shared is not None:
            yield self._shared.run()

    async def _refresh_rules(self, centre: Centre) -> None:
        """Take up policies that were activated since; a version once activated never changes."""
        while True:
            await asyncio.sleep(_RULES_REFRESH_S)
            try:
                texts = await centre.registry.policies()
                if texts == self._policy_texts:  # not their number: one may replace another
                    continue
                policies = PolicyBook([load_policy(text) for text in texts])
            except (StoreError, PolicyError) as error:
                log.warning("policies can't be read; those known go on", error=str(error))
            else:
                self._policy_texts = texts
                centre.rules = replace(centre.rules, policies=policies)
                log.info("policies taken up", count=len(texts))

    async def _refresh_checks(self, centre: Centre) -> None:
        """Take up rules of checks that were activated since, and institutions that were placed."""
        known: StoredRules | None = None  # whatever was activated since the start is news
        while True:
            await asyncio.sleep(_RULES_REFRESH_S)
            try:
                stored = await stored_rules(centre.database)
                if stored == known:
                    continue
                checks = checks_of(stored)
            except (StoreError, RulesError) as error:
                log.warning("checks can't be read; those known go on", error=str(error))
            else:
                known = stored
                centre.rules = replace(centre.rules, checks=checks)
                log.info("checks taken up", count=len(stored.texts))

    async def _refresh_revocations(self, centre: Centre) -> None:
        """Take up every second what was put on the revocation list, and taken off it."""
        while True:
            await asyncio.sleep(_REVOCATIONS_REFRESH_S)
            try:
                has_news = await centre.revocations.catch_up(centre.database)
            except StoreError as error:  # the old list goes on, and the next second tries again
                log.warning("revocation list not read", error=str(error))
                continue
            centre.metrics.set(families.LIST_CHECKED, centre.clock.now_ms() / 1000)
            if has_news:
                log.info("revocation list taken up", version=centre.revocations.version)

    async def _refresh_catalogue(self, centre: Centre) -> None:
        """Take up what changed in the catalogue since; bills underway go on by the old one."""
        while True:
            await asyncio.sleep(_CATALOGUE_REFRESH_S)
            try:
                catalogue = await catch_up(centre.database, centre.rules.catalogue)
            except StoreError as error:  # the old one goes on, and the next round tries again
                log.warning("catalogue not read", error=str(error))
                continue
            if catalogue is not centre.rules.catalogue:
                centre.rules = replace(centre.rules, catalogue=catalogue)
                log.info("catalogue taken up", version=catalogue.version)

    async def _run_telemetry(self, centre: Centre) -> None:
        """Speak with the message broker, where there is one."""
        if centre.telemetry is not None:
            await centre.telemetry.run()

    def _say_ready(self, port: int, observe_port: int) -> None:
        log.info("ready", worker=self._options.index, port=port, observe_port=observe_port)
        file = self._options.ready_file
        if file is None:
            return
        content = {"port": port, "observe_port": observe_port, "pid": os.getpid()}
        part = file.with_name(f"{file.name}.part")  # not that of another worker, nor the parent's
        try:
            part.write_bytes(msgspec.json.encode(content))
            part.replace(file)
        except OSError as error:
            if not self._options.shares_port:
                raise ConfigError(f"{file} can't be written: {error.strerror}") from error
            # On a full disk a worker that died is replaced all the same; an upgrade is given up.
            log.warning("the ready file can't be written", file=str(file), error=str(error))


def _why_unready(centre: Centre) -> str:
    """Say why no terminals should be sent here now; nothing where they may be."""
    if centre.is_draining:
        return "draining"
    return "" if centre.is_database_up else "the database does not answer"


def _card_sessions(config: Config) -> CardSessions:
    path = config.path(config.cards.session_secret_file)
    try:
        return CardSessions(read_secret(path), life_ms=config.cards.session_life_ms)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def leave_to_itself_what_stays() -> None:
    """Take what is loaded by now (modules, rules, catalogue) out of the garbage collector's sight.

    It lives as long as the process. Looked through while requests wait, it holds all of them up.
    A group makes tens of thousands of values that end with it, and hardly ever a circle of them:
    to look for circles whenever a few hundred were made took a sixth of a settlement's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


def check_workers(config: Config, workers: int) -> None:
    """Refuse what this database can't serve.

    Raises:
        ConfigError: Several workers on SQLite.
    """
    if workers > 1 and config.database.url.startswith("sqlite"):
        raise ConfigError(
            "SQLite serves one worker: use --workers 1, or PostgreSQL in [database] url"
        )


def run_on_loop(main: Coroutine[Any, Any, None]) -> None:  # as asyncio.run
    """Run a coroutine on the event loop that the centre uses."""
    # SQLite's writing thread and the loop hand the interpreter to each other at every group; with
    # Python's own 5 ms each would wait longer for its turn than its work takes.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    uvloop.run(main)
