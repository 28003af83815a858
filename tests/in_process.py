"""The project's commands within the test's own process, for tests of what they say and do.

To start a process takes longer than most commands do. That each program works as a process, with
its exit status, its streams and its signals, is shown where processes are run:
`tests/terminals/test_cli.py`, and the tests that take `simulators.centre_process.command`.
"""

import asyncio
import threading
from collections.abc import Sequence

import typer
from typer.testing import CliRunner

from cardserver.cli import app as cardserver
from simulators.centre_process import Commanded, CommandError
from terminals.cli import app as cardterminal

_PROGRAMS = {"cardserver": cardserver, "cardterminal": cardterminal}
_TURN = threading.Lock()  # a runner puts its own streams in the place of the process'


async def command(program: str, *arguments: str, check: bool = True) -> Commanded:
    """Run one of the project's console commands to its end, as its namesake runs a process.

    Raises:
        CommandError: It exited with another status than 0, and `check` asks for that.
    """
    result = await asyncio.to_thread(_run, _PROGRAMS[program], arguments)
    if check and result.status != 0:
        raise CommandError(
            f"{program} {' '.join(arguments)}: exit status {result.status}\n"
            f"{result.output}{result.errors}"
        )
    return result


def _run(app: typer.Typer, arguments: Sequence[str]) -> Commanded:
    with _TURN:
        done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Commanded(done.stdout, done.stderr, done.exit_code)
