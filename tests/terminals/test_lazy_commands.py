"""The tables of the three command lines: what their help says, and what it does not import."""

import subprocess
import sys
from importlib import import_module

import pytest
import typer
from typer.testing import CliRunner

from cardserver.cli import CentreCommands
from cardserver.cli import app as cardserver
from simulators.cli import OtherEnds
from simulators.cli import app as cardsim
from terminals.cli import CounterCommands
from terminals.cli import app as cardterminal
from terminals.lazy_commands import LazyCommands, Noun

PROGRAMS = {"cardserver.cli": cardserver, "simulators.cli": cardsim, "terminals.cli": cardterminal}
TABLES = [CentreCommands, OtherEnds, CounterCommands]
NOUNS = [
    (table.package, noun)
    for table in TABLES
    for named in table.nouns.values()
    for noun in (named, *named.joined.values())
]
LISTING = """
import sys
from {module} import app
try:
    app(["--help"])
except SystemExit:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(("package", "noun"), NOUNS)
def test_a_line_begins_as_the_command_itself_does(package: str, noun: Noun) -> None:
    file, _, attribute = noun.place.partition(":")
    found = getattr(import_module(f"{package}.{file}"), attribute)
    said = found.info.help if isinstance(found, typer.Typer) else found.__doc__
    first = " ".join(said.split("\n\n")[0].split())
    assert noun.line.startswith(first)


@pytest.mark.parametrize("table", TABLES)
def test_the_help_of_all_imports_no_command(table: type[LazyCommands]) -> None:
    module = table.__module__
    done = subprocess.run(
        [sys.executable, "-c", LISTING.format(module=module)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in table.nouns:
        assert name in done.stdout
    files = {noun.place.partition(":")[0] for noun in table.nouns.values()}
    imported = set(done.stderr.split())
    assert module in imported
    assert not {f"{table.package}.{file}" for file in files} & imported
    assert not {"aiohttp", "cryptography", "numpy", "sqlalchemy"} & imported


@pytest.mark.parametrize(
    ("module", "typed", "meant"),
    [
        ("cardserver.cli", ["polcy", "list"], "policy"),
        ("cardserver.cli", ["policy", "reply"], "replay"),
        ("simulators.cli", ["flet"], "fleet"),
        ("terminals.cli", ["setle"], "settle"),
    ],
)
def test_a_mistyped_command_is_told_what_was_meant(
    module: str, typed: list[str], meant: str
) -> None:
    done = CliRunner().invoke(PROGRAMS[module], typed)
    assert done.exit_code == (3 if module == "terminals.cli" else 2)
    assert f"Did you mean '{meant}'?" in done.stderr
