"""Commands in a table, each imported when it is called.

What one command needs (spreadsheets, web pages, a broker's client) would cost every other one's
start. Of a command line's help all are imported.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup

# Contexts and commands are click's, which typer brings along under names that are its own affair.
_Click = Any


@dataclass(frozen=True, slots=True)
class Noun:
    """Where a command is: `file:name` in the package, and what joins it from other files."""

    place: str
    joined: Mapping[str, str] = field(default_factory=dict)


class LazyCommands(TyperGroup):
    """All nouns of a package, each imported when it is asked for.

    Attributes:
        package: Where the files are.
        nouns: By the command's name, in the order of the help.
    """

    package: ClassVar[str]
    nouns: ClassVar[Mapping[str, Noun]]

    def list_commands(self, ctx: _Click) -> list[str]:  # noqa: ARG002 - as click calls it
        """Name the commands in the order of the table."""
        return list(self.nouns)

    def get_command(self, ctx: _Click, cmd_name: str) -> _Click:  # noqa: ARG002
        """Import a command."""
        noun = self.nouns.get(cmd_name)
        if noun is None:
            return None
        found = self._imported(noun.place)
        holder = typer.Typer()
        if not isinstance(found, typer.Typer):
            holder.command(cmd_name)(found)
            return typer.main.get_group(holder).commands[cmd_name]
        for name, place in noun.joined.items():
            if name not in {command.name for command in found.registered_commands}:
                found.command(name)(self._imported(place))
        holder.add_typer(found, name=cmd_name)
        return typer.main.get_group(holder).commands[cmd_name]

    def _imported(self, place: str) -> Any:  # noqa: ANN401 - a function, or a group of them
        module, _, name = place.partition(":")
        return getattr(import_module(f"{self.package}.{module}"), name)
