"""What commands do alike with any file of rules: read its text, say what is wrong in it.

Not here: policies, which are checked several at once (`policy.py`).
"""

from collections.abc import Callable
from pathlib import Path

import typer
from msgspec import Struct, json

from cardserver.benefits.mistakes import Mistake
from cardserver.benefits.rules_file import MistakesError

_MISTAKEN = 1


class MistakeFound(Struct, frozen=True):
    """A mistake, as JSON names its parts."""

    path: str
    sentence: str


class RulesChecked(Struct, frozen=True):
    """What a `check` says of a file: its version, or what is wrong with it."""

    file: str
    identity: str
    mistakes: tuple[MistakeFound, ...]


def read_rules_text(file: Path, error: Callable[[tuple[Mistake, ...]], Exception]) -> str:
    """Read a file of rules, also with the mark before it that Windows' editors write.

    What is not UTF-8 is a mistake in it.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        sentence = f"this is not UTF-8: {fault.reason} at byte {fault.start}"
        raise error((Mistake("$", sentence),)) from fault


def check_file(file: Path, identify: Callable[[], str], *, as_json: bool) -> None:
    """Print a file's version or its mistakes.

    Args:
        file: As it was named.
        identify: Reads and checks the file, and returns its identity.
        as_json: Whether to print JSON.

    Raises:
        typer.Exit: With status 1 where there are mistakes.
    """
    mistakes: tuple[Mistake, ...] = ()
    identity = ""
    try:
        identity = identify()
    except MistakesError as error:
        mistakes = error.mistakes
    if as_json:
        found = tuple(MistakeFound(*mistake) for mistake in mistakes)
        typer.echo(json.encode(RulesChecked(str(file), identity, found)).decode())
    else:
        for mistake in mistakes:
            typer.echo(f"{file}: {mistake.path}: {mistake.sentence}")
        if not mistakes:
            typer.echo(f"{file}: {identity} 无误 no mistake")
    if mistakes:
        raise typer.Exit(_MISTAKEN)
