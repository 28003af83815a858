"""`cardserver enrol-terminals`: many terminals at once, from a folder of certificate requests."""

import asyncio
import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from cardserver import authority, key_files
from cardserver.commands.database import ConfigFile, acting_user, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.progress import progress_bar
from cardserver.config import Config, load_config
from cardserver.registry import administration_store as administration
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.registry_store import Registry
from cardserver.registry.values import Institution

_SUFFIX = ".csr"


@fail_clearly
def enrol_terminals(
    config_file: ConfigFile,
    requests: Annotated[
        Path,
        typer.Argument(
            exists=True, file_okay=False, help="Folder of INSTITUTION-TERMINAL.csr files (PEM)."
        ),
    ],
) -> None:
    """Sign and register every request in a folder; certificates go beside them, as .crt.

    A request whose certificate is there already is left alone, so that a run that was broken off
    goes on where it stood.

    批量为终端签发证书并登记。
    """
    config = load_config(config_file)
    files = [
        file
        for file in sorted(requests.glob(f"*{_SUFFIX}"))
        if not file.with_suffix(".crt").exists()
    ]
    count = asyncio.run(_enrol(config, files))
    typer.echo(f"{count} terminals are enrolled: {requests}")


async def _enrol(config: Config, files: list[Path]) -> int:
    own = authority.open_authority(config.path(authority.DIRECTORY))
    institutions: dict[str, Institution] = {}
    async with open_database(config) as database:
        registry = Registry(database)
        with progress_bar() as bar:
            for file in bar.track(files, description="terminals"):
                code, _, terminal = file.stem.partition("-")
                if code not in institutions:
                    found = await registry.institution_by_code(code)
                    if found is None:
                        raise AdministrationError(f"{file}: no institution has the code {code!r}")
                    institutions[code] = found
                certificate = authority.issue_terminal_certificate(
                    own,
                    file.read_bytes(),
                    institution=code,
                    terminal=terminal,
                    now=dt.datetime.now(dt.UTC),
                )
                await administration.enrol_terminal(
                    database,
                    institutions[code],
                    terminal,
                    authority.fingerprint_of(certificate),
                    acting_user(),
                    ends_ms=authority.ends_ms_of(certificate),
                )
                # Written last: what is there is registered.
                key_files.replace(
                    file.with_suffix(".crt"),
                    authority.to_pem(certificate),
                    mode=key_files.PUBLIC_MODE,
                )
    return len(files)
