"""`cardsim`: the other ends of a card centre. Commands live in `commands/`, one noun a file."""

from collections.abc import Mapping
from typing import ClassVar

import typer

from terminals.lazy_commands import LazyCommands, Noun


class OtherEnds(LazyCommands):
    """What pretends to be the other end."""

    package = "simulators.commands"
    nouns: ClassVar[Mapping[str, Noun]] = {
        "card": Noun(
            "card:card",
            "Put simulated cards into the virtual reader of the real pcscd, until stopped.",
        ),
        "fleet": Noun(
            "fleet:fleet",
            "Have simulated terminals work at a running centre; print what their cashiers felt.",
        ),
        "population": Noun(
            "population:population",
            "Make up a city: persons, families, employers, cards, institutions, operators,"
            " catalogue.",
        ),
    }


app = typer.Typer(
    cls=OtherEnds,
    help="The other ends of a card centre: made-up cities, simulated cards and terminals.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def cardsim() -> None:
    """Be a group, whatever the table holds."""
