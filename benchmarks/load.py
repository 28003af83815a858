"""What benchmarks and tests under load share: databases, and a city's terminals, many at a time.

Not a benchmark itself.
"""

import csv
import datetime as dt
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from msgspec import structs

from cardserver.authority import (
    ends_ms_of,
    fingerprint_of,
    issue_terminal_certificate,
    open_authority,
    to_pem,
)
from cardserver.commands.database import acting_user, open_database
from cardserver.config import load_config
from cardserver.registry import administration_store
from cardserver.registry.registry_store import Registry
from simulators.centre_process import CentreProcess, City
from simulators.postgres import PostgreSQLCluster
from terminals.client import TerminalClient
from terminals.config import TerminalConfig
from terminals.config import load_config as load_terminal_config
from terminals.enrolment import (
    CERTIFICATE_FILE,
    REQUEST_FILE,
    NewTerminal,
    make_terminal,
)

OPERATOR = "c001"
_LOG_MIB = 1024  # what some 300,000 settlements write
_FUND_TIME = dt.timezone(dt.timedelta(hours=8))


def institutions(population: Path) -> list[str]:
    """Give the codes of a made-up city's hospitals and community centres that are in contract."""
    with (population / "institutions.csv").open(encoding="utf-8", newline="") as file:
        return [
            row["code"]
            for row in csv.DictReader(file)
            if row["state"] == "1" and row["kind"] in {"1", "2"}
        ]


async def enrol_many(
    city: City, terminals: Sequence[tuple[str, str]], *, folder: Path
) -> list[Path]:
    """Enrol terminals (institution, code) as `enrol-terminal` does, without a process for each.

    Returns:
        Their folders.
    """
    config = load_config(city.config_file)
    authority = open_authority(config.path("authority"))
    folders: list[Path] = []
    async with open_database(config) as database:
        for institution, code in terminals:
            own = folder / f"{institution}-{code}"
            make_terminal(
                own,
                NewTerminal(
                    institution=institution, institution_name="", code=code, host="127.0.0.1",
                    port=1, server_name="", reader="", ca_file=city.authority_file,
                ),
            )  # fmt: skip
            certificate = issue_terminal_certificate(
                authority,
                (own / REQUEST_FILE).read_bytes(),
                institution=institution,
                terminal=code,
                now=dt.datetime.now(dt.UTC),
            )
            (own / CERTIFICATE_FILE).write_bytes(to_pem(certificate))
            found = await Registry(database).institution_by_code(institution)
            assert found is not None, institution
            await administration_store.enrol_terminal(
                database, found, code, fingerprint_of(certificate), acting_user(),
                ends_ms=ends_ms_of(certificate),
            )  # fmt: skip
            folders.append(own)
    return folders


def terminal_config(folder: Path, *, port: int) -> TerminalConfig:
    """Read an enrolled terminal's configuration, for a centre that listens at `port`."""
    config = load_terminal_config(folder / "terminal.toml")
    return structs.replace(config, centre=structs.replace(config.centre, port=port))


@asynccontextmanager
async def signed_on_terminals(
    city: City, centre: CentreProcess, *, count: int, folder: Path
) -> AsyncIterator[list[TerminalClient]]:
    """Enrol terminals at the city's institutions and sign a cashier on at each."""
    codes = institutions(city.population)
    terminals = [(codes[number % len(codes)], f"B{number:04}") for number in range(count)]
    folders = await enrol_many(city, terminals, folder=folder)
    password = city.password_file.read_text(encoding="utf-8")
    async with AsyncExitStack() as stack:
        clients: list[TerminalClient] = []
        for own in folders:
            client = TerminalClient(terminal_config(own, port=centre.port))
            clients.append(await stack.enter_async_context(client))
            answer = await client.sign_on(OPERATOR, password)
            assert answer.is_approved, answer.code
        yield clients


@contextmanager
def database_urls(names: Sequence[str]) -> Iterator[dict[str, str]]:
    """Have the databases asked for: by name, a URL for `make_city`; empty is its own SQLite."""
    with ExitStack() as stack:
        urls = {}
        for name in names:
            urls[name] = ""
            if name == "postgresql":
                cluster = stack.enter_context(worn_in_cluster())
                urls[name] = cluster.create_database("benchmark")
        yield urls


@contextmanager
def worn_in_cluster(settings: Mapping[str, str] | None = None) -> Iterator[PostgreSQLCluster]:
    """Start a server whose log's files are there already, as those of one that runs for a day."""
    sizes = {"min_wal_size": f"{_LOG_MIB}MB", "max_wal_size": f"{4 * _LOG_MIB}MB"}
    with PostgreSQLCluster({**sizes, **(settings or {})}) as cluster:
        cluster.recycle_log(_LOG_MIB)
        yield cluster


def today() -> int:
    """The fund's local day, YYYYMMDD."""
    return int(dt.datetime.now(_FUND_TIME).strftime("%Y%m%d"))


def cpu_seconds(pid: int) -> float:
    """Processor time that a process and its children have used so far."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    own_ns = sum(
        int((task / "schedstat").read_text(encoding="ascii").split()[0])  # proc(5)
        for task in Path(f"/proc/{pid}/task").iterdir()
    )
    return own_ns / 1e9 + sum(cpu_seconds(int(child)) for child in children)
