"""What documents tell people to type exists: each command, sub-command and option."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cardserver.cli import app as cardserver
from simulators.cli import app as cardsim
from terminals.cli import app as cardterminal

ROOT = Path(__file__).parents[1]
PROGRAMS = {
    "cardserver": get_command(cardserver),
    "cardsim": get_command(cardsim),
    "cardterminal": get_command(cardterminal),
}
ROOMS = ("protocol", "terminals", "ledger", "cardserver", "simulators", "benchmarks", "tests")
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for room in (".", *ROOMS)
    for path in (ROOT / room).glob("*.md" if room == "." else "**/*.md")
)
SPAN = re.compile(r"```.*?```|`[^`\n]+`|^    .*$", re.DOTALL | re.MULTILINE)
CALL = re.compile(r"(?<![\w./-])(cardserver|cardsim|cardterminal)((?: [^`#&;<>\n]*)?)")


def calls(text: str) -> Iterator[tuple[str, list[str]]]:
    """Give the programs that a document's code calls, with their words."""
    for span in SPAN.findall(text):
        for program, rest in CALL.findall(span.replace("\\\n", " ").replace("\\|", "|")):
            yield program, rest.split()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_is_typed_exists(document: str) -> None:
    wrong = []
    for program, words in calls((ROOT / document).read_text(encoding="utf-8")):
        context, rest = reached(program, words)
        named = {name for option in context.command.params for name in option.opts}
        named |= {"--help", "--install-completion"}
        if rest and hasattr(context.command, "commands"):
            wrong += [
                f"{program} {' '.join(words)}: no command {name}"
                for name in rest[0].split("|")
                if re.fullmatch(r"[a-z][a-z-]*", name) and name not in context.command.commands
            ]
        for word in rest:
            option = re.match(r"\[?(--[a-z][a-z-]*)", word)
            if option and option[1] not in named:
                wrong.append(f"{program} {' '.join(words)}: no option {option[1]}")
    assert not wrong, "\n" + "\n".join(wrong)


def reached(program: str, words: list[str]) -> tuple[Any, list[str]]:
    """Follow the words to the last command that they name; give its context and the rest."""
    context = PROGRAMS[program].make_context(program, [], resilient_parsing=True)
    rest = list(words)
    while rest and hasattr(context.command, "commands"):
        if any(name not in context.command.commands for name in rest[0].split("|")):
            break
        found = context.command.commands[rest[0].split("|")[0]]
        context = found.make_context(rest.pop(0), [], resilient_parsing=True, parent=context)
    return context, rest
