"""Commands in a table, each imported when it is called.

What one command needs (spreadsheets, web pages, a broker's client) would cost every other one's
start. The table holds each command's line too, so that a help of all imports none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

# Contexts and commands are click's, which typer brings along under names that are its own affair.
_Click = Any


@dataclass(frozen=True, slots=True)
class Noun:
    """Where a command is, and what the help of all says of it.

    Attributes:
        place: `file:name` in the package: a function, or a group of them.
        line: Begins as the command's own help does.
        joined: What joins a group from other files, by name.
    """

    place: str
    line: str
    joined: Mapping[str, "Noun"] = field(default_factory=dict)


class LazyCommands(TyperGroup):
    """All nouns of a package.

    Attributes:
        package: Where the files are.
        nouns: By the command's name, in the order of the help.
    """

    package: ClassVar[str]
    nouns: ClassVar[Mapping[str, Noun]]

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - as typer makes a group
        super().__init__(**settings)
        for name, noun in self.nouns.items():
            self.add_command(_Uncalled(name, noun, self.package))


class _Uncalled(TyperCommand):
    """A command of which only name and line are known, until it is called."""

    def __init__(self, name: str, noun: Noun, package: str) -> None:
        super().__init__(name, help=noun.line)
        self._name = name
        self._noun = noun
        self._package = package

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: _Click = None,
        **extra: Any,  # noqa: ANN401 - as click calls it
    ) -> _Click:
        """Begin the call: the context is the imported command's, which then runs in it."""
        return self._imported().make_context(info_name, args, parent, **extra)

    def _imported(self) -> _Click:
        file, _, attribute = self._noun.place.partition(":")
        found = getattr(import_module(f"{self._package}.{file}"), attribute)
        holder = typer.Typer()
        if isinstance(found, typer.Typer):
            holder.add_typer(found, name=self._name)
        else:
            holder.command(self._name)(found)
        command: _Click = typer.main.get_group(holder).commands[self._name]
        for name, noun in self._noun.joined.items():
            command.add_command(_Uncalled(name, noun, self._package))
        return command
