"""Databases for every room's tests: real ones, each empty and private to its test."""

import asyncio
import datetime as dt
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from cardserver.cards.file_keystore import FileKeyStore
from cardserver.cards.keystore import RootKeyName
from cardserver.migrations.schema import migrate
from ledger.database_store import Database
from protocol.card.profiles.social_security_keys import CardKey
from simulators.postgres import PostgreSQLCluster
from simulators.softhsm import make_token
from tests.databases import empty


@pytest.fixture(scope="session", autouse=True)
def interrupts_are_heard() -> Iterator[None]:
    """Let programs that tests start hear an interrupt, wherever the tests themselves run.

    A shell's job in the background ignores interrupts, and so would all that it starts. Programs
    don't inherit a handler; this one does nothing, so that the tests go on as that shell wished.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    yield
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgreSQLCluster]:
    """A PostgreSQL server of this test run, with safe settings."""
    with PostgreSQLCluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres_url(postgres_cluster: PostgreSQLCluster) -> str:
    """The URL of an empty database, the same for the whole run."""
    return postgres_cluster.create_database("empty")


@pytest.fixture(scope="session")
def migrated_postgres_url(postgres_cluster: PostgreSQLCluster) -> str:
    """The URL of a migrated database that tests use one after the other."""
    url = postgres_cluster.create_database("migrated")
    asyncio.run(migrate(url))
    return url


@pytest.fixture
def fresh_postgres_url(migrated_postgres_url: str) -> Iterator[str]:
    """The URL of a migrated, empty database of this test."""
    yield migrated_postgres_url
    asyncio.run(empty(migrated_postgres_url))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a migrated SQLite file."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return path.read_bytes()


@pytest.fixture
def fresh_sqlite_url(sqlite_template: bytes, tmp_path: Path) -> str:
    """The URL of a migrated, empty SQLite file of this test."""
    path = tmp_path / "cardserver.db"
    path.write_bytes(sqlite_template)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated, empty database of either kind."""
    name = "fresh_sqlite_url" if request.param == "sqlite" else "fresh_postgres_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A started database of either kind, migrated and empty."""
    opened = Database.open(database_url)
    await opened.start()
    yield opened
    await opened.close()


# --- skipped is failed, where the part could be installed ------------------------------------

ABSENT_VECTORS = "../shared/vectors is absent"
"""The one reason for which a test may be skipped: independent data that is not the project's."""

_skipped: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fail-on-skip",
        action="store_true",
        help="fail when a test was skipped for another reason than absent independent vectors",
    )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if ABSENT_VECTORS not in reason:
            _skipped.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--fail-on-skip") and _skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.config.getoption("--fail-on-skip"):
        for line in _skipped:
            terminalreporter.write_line(f"skipped, and could have run: {line}", red=True)


@pytest.fixture
def keystore_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], FileKeyStore]:
    """Puts the root keys of test cards into an encrypted store, as `cardserver init` does."""

    def take(directory: Path) -> FileKeyStore:
        store = FileKeyStore.make(tmp_path_factory.mktemp("store"), b"made up for a test")
        for path in sorted(directory.glob("*.key")):
            name = RootKeyName.parse(path.stem)
            store.import_key(name, CardKey(path.read_bytes()), dt.date(2026, 11, 21))
        return store

    return take


@pytest.fixture(scope="session")
def softhsm_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The label of this run's one token, whose library is loaded into this process."""
    configuration = make_token(tmp_path_factory.mktemp("softhsm"), "tests")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(configuration))
        yield "tests"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes share the work by file; all that uses the one virtual reader stays together."""
    for item in items:
        is_device = "device" in item.path.parts
        item.add_marker(pytest.mark.xdist_group("device" if is_device else str(item.path)))
