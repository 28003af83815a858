"""`cardserver backup` and `restore`: the whole database into a folder while serving, and back."""

import asyncio
import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TaskID

from cardserver.backup import BackupError
from cardserver.backup_making import Tell, make_backup
from cardserver.backup_restoring import check_target, open_backup
from cardserver.backup_restoring import restore as restore_backup
from cardserver.commands.database import ConfigFile, acting_user, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.commands.fund_operator import By, acting_operator
from cardserver.commands.progress import progress_bar
from cardserver.commands.verify import print_verified
from cardserver.config import Config, load_config
from cardserver.registry.registry_store import Registry
from cardserver.registry.roles import Role
from cardserver.registry.values import Actor


@fail_clearly
def backup(
    config_file: ConfigFile,
    *,
    out: Annotated[Path, typer.Option(help="The backup's folder; new.")],
) -> None:
    """Copy the database as it is at one moment into a folder, while the centre serves.

    What was answered before it began is in it. The folder holds persons' data and no key: keep it
    encrypted, and elsewhere.

    在线备份数据库到文件夹；备份不含任何密钥。
    """
    config = load_config(config_file)
    out = out.absolute()
    with _telling() as tell:
        manifest = asyncio.run(make_backup(config, config_file, out, tell))
    size = sum(file.size for file in manifest.files)
    typer.echo(
        f"{out}: {manifest.ledger.entries_count:,} numbers in the chains,"
        f" {size / 1_048_576:,.1f} MiB, schema {manifest.schema}"
    )


@fail_clearly
def restore(
    config_file: ConfigFile,
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The backup.")],
    *,
    replaces: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Into a database that has data: on SQLite its file is moved aside, on PostgreSQL"
            " its tables are dropped.",
        ),
    ] = False,
    by: By = "",
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Verify in so many processes.")] = 1,
) -> None:
    """Put a backup into the database that the configuration names, and verify the ledger.

    Nothing is changed where the backup is not as it was made, where the database has data (but see
    --replace), or while a centre serves from it. Exit status 1: not restored, or the ledger is not
    as it was written, and no centre may serve from it.

    从备份恢复数据库，并校验账本。
    """
    config = load_config(config_file)
    folder = folder.absolute()

    async def run(tell: Tell) -> None:
        manifest = open_backup(config, folder, tell)
        target = await check_target(config, replaces=replaces)
        if by and not target.has_tables:
            raise BackupError(
                "--by names an operator of the database that is restored into, and it has none yet:"
                " leave --by away"
            )
        actor = await _actor(config, by)
        verified = await restore_backup(config, folder, manifest, actor, jobs=jobs, tell=tell)
        print_verified(verified, (manifest.ledger,))
        if verified.findings.count:
            raise typer.Exit(1)
        moment = dt.datetime.fromtimestamp(manifest.made_time_ms / 1000, config.timezone)
        typer.echo(f"restored from {folder}: as it was at {moment:%Y-%m-%d %H:%M:%S}")

    with _telling() as tell:
        asyncio.run(run(tell))


async def _actor(config: Config, by: str) -> Actor:
    """Say who restores: an operator whom the database knows that is restored into."""
    if not by:
        return acting_user()
    async with open_database(config) as database:
        return await acting_operator(Registry(database), by, Role.RESOLVER, Role.AUDIT)


@contextmanager
def _telling() -> Iterator[Tell]:
    """Show one bar for each thing that is done."""
    with progress_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield tell
