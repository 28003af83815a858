"""What benchmarks and tests under load share: a city's terminals, enrolled many at a time.

Not a benchmark itself.
"""

import csv
import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from cardserver.authority import fingerprint_of, issue_terminal_certificate, open_authority, to_pem
from cardserver.commands.database import acting_user, open_database
from cardserver.config import load_config
from cardserver.registry import administration_store
from cardserver.registry.registry_store import Registry
from simulators.centre_process import City
from terminals.config import TerminalConfig
from terminals.config import load_config as load_terminal_config
from terminals.enrolment import (
    CERTIFICATE_FILE,
    REQUEST_FILE,
    NewTerminal,
    make_terminal,
)


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
                database, found, code, fingerprint_of(certificate), acting_user()
            )
            folders.append(own)
    return folders


def terminal_config(folder: Path, *, port: int) -> TerminalConfig:
    """Read an enrolled terminal's configuration, for a centre that listens at `port`."""
    config = load_terminal_config(folder / "terminal.toml")
    return structs.replace(config, centre=structs.replace(config.centre, port=port))
