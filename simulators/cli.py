"""`cardsim`: the other ends of a card centre. Commands live in `commands/`, one noun a file."""

import typer

from simulators.commands.card import card
from simulators.commands.fleet import fleet
from simulators.commands.population import population

app = typer.Typer(
    help="The other ends of a card centre: made-up cities, simulated cards and terminals.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("card")(card)
app.command("fleet")(fleet)
app.command("population")(population)
