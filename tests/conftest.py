"""Databases for every room's tests: real ones, each empty and private to its test."""

import asyncio
import datetime as dt
import fcntl
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings

from cardserver.cards.file_keystore import FileKeyStore
from cardserver.cards.keystore import RootKeyName
from cardserver.migrations.schema import migrate
from ledger.database_store import Database
from protocol.card.profiles.social_security_keys import CardKey
from simulators.centre_process import City, command, make_city
from simulators.postgres import PostgreSQLCluster
from simulators.softhsm import make_token
from tests.cities import MADE_DATABASE, PERSONS, CopyOnPostgreSQL, copy_city
from tests.databases import empty

# A busy machine is no fault of the code; pytest's own time-out still ends what hangs.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


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


# --- made-up cities ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def made_city(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> City:
    """A city on SQLite that no test changes, the same for all processes of a run; copy it."""
    own = tmp_path_factory.getbasetemp()
    note = (own if worker_id == "master" else own.parent) / "made-city"
    with note.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        if not note.exists():
            folder = tmp_path_factory.mktemp("city")
            _run(make_city(folder, persons=PERSONS, quick_passwords=True))
            note.write_text(str(folder), encoding="utf-8")
    return City.below(Path(note.read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def copy_on_postgresql(
    made_city: City, postgres_cluster: PostgreSQLCluster, tmp_path_factory: pytest.TempPathFactory
) -> CopyOnPostgreSQL:
    """Copies the same city to PostgreSQL: a centre of other keys, the same people."""
    folder = tmp_path_factory.mktemp("postgresql-city")
    made = City(folder / "centre", made_city.population, made_city.password_file)
    url = postgres_cluster.create_database(MADE_DATABASE)

    async def make() -> None:
        await command(
            "cardserver", "init", str(made.directory), "--with-test-card-keys", "--database", url
        )
        await command(
            "cardserver", "registry", "import", "--config", str(made.config_file),
            str(made.population),
        )  # fmt: skip

    _run(make())

    def copy(directory: Path, database: str) -> City:
        copied = postgres_cluster.create_database(database, template=MADE_DATABASE)
        return copy_city(made, directory, database_url=copied)

    return copy


def _run(work: Coroutine[None, None, None]) -> None:
    """Run it in a loop of its own, also where an async fixture asks and its loop runs already."""
    with ThreadPoolExecutor(1) as apart:
        apart.submit(asyncio.run, work).result()


# --- skipped is failed, where the part could be installed ------------------------------------

ABSENT_VECTORS = "the independent vectors (../shared/vectors) are not on this machine"
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


def pytest_configure(config: pytest.Config) -> None:
    """Have processes that share the work keep to the order below."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Two processes share the work by file; all that uses the one virtual reader stays together.

    A file of few tests is one whose tests take long: they come first, so that none of them is what
    one process still works at when the other has nothing left.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
    if hasattr(config, "workerinput"):
        sizes = Counter(group_of(item) for item in items)
        items.sort(key=lambda item: sizes[group_of(item)])


def group_of(item: pytest.Item) -> str:
    return "device" if "device" in item.path.parts else str(item.path)
