"""`cardserver upgrade`: have a running centre replace its workers one by one, and wait for it."""

import os
import signal
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from cardserver.commands.faults import fail_clearly
from cardserver.config import ConfigError
from cardserver.supervisor import UpgradeState

_POLL_S = 0.2


@fail_clearly
def upgrade(
    ready_file: Annotated[
        Path, typer.Option(help="As given to `serve --workers N --ready-file FILE`.")
    ],
    time_max_s: Annotated[
        int, typer.Option(min=1, help="How long to wait for the end of the upgrade.")
    ] = 600,
) -> None:
    """Replace the workers of a running centre by new processes, while terminals go on.

    A new worker that does not get ready ends the upgrade; those that are there go on serving. The
    same without waiting: SIGHUP to the process of `cardserver serve`.

    不停机升级：逐个更换工作进程；新进程启动失败时，原有进程继续服务。
    """
    before = _state_of(ready_file)
    if before.is_upgrading:
        raise ConfigError(f"an upgrade is under way: process {before.pid}")
    try:
        os.kill(before.pid, signal.SIGHUP)
    except (ProcessLookupError, PermissionError) as error:
        raise ConfigError(f"process {before.pid} of {ready_file} can't be told: {error}") from error
    give_up_at = time.monotonic() + time_max_s
    while (state := _state_of(ready_file)).upgrades == before.upgrades:
        if time.monotonic() > give_up_at or not _is_running(before.pid):
            raise ConfigError(f"no end of the upgrade was seen: process {before.pid}")
        time.sleep(_POLL_S)
    if state.failure:
        raise ConfigError(f"the upgrade was given up: {state.failure}")
    typer.echo(f"all workers of process {state.pid} are new; port {state.port}")


def _state_of(ready_file: Path) -> UpgradeState:
    try:
        return msgspec.json.decode(ready_file.read_bytes(), type=UpgradeState)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"{ready_file} was not written by `cardserver serve --workers N`: {error}"
        ) from error


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
