"""`cardserver`: the centre's command line. Commands live in `commands/`, one noun a file."""

import typer

from cardserver.commands.adjudicate import adjudicate
from cardserver.commands.backup import backup, restore
from cardserver.commands.balances import app as balances_app
from cardserver.commands.card_read import read_card
from cardserver.commands.catalogue import app as catalogue_app
from cardserver.commands.claim import claim
from cardserver.commands.digest import app as digest_app
from cardserver.commands.init import enrol_terminal, init
from cardserver.commands.keys import app as keys_app
from cardserver.commands.ledger import trial_balance
from cardserver.commands.policy import app as policy_app
from cardserver.commands.registry import app as registry_app
from cardserver.commands.registry import card_app
from cardserver.commands.replay import replay
from cardserver.commands.resolve import resolve
from cardserver.commands.revocation import app as revocation_app
from cardserver.commands.serve import serve
from cardserver.commands.verify import verify_ledger

app = typer.Typer(
    help="A medical-insurance fund's card transaction centre. 医疗保障基金卡交易中心",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("init")(init)
app.command("serve")(serve)
app.command("enrol-terminal")(enrol_terminal)
app.command("adjudicate")(adjudicate)
app.command("claim")(claim)
app.command("resolve")(resolve)
app.command("trial-balance")(trial_balance)
app.command("verify-ledger")(verify_ledger)
app.command("backup")(backup)
app.command("restore")(restore)
card_app.command("read")(read_card)
policy_app.command("replay")(replay)
app.add_typer(registry_app, name="registry")
app.add_typer(card_app, name="card")
app.add_typer(keys_app, name="keys")
app.add_typer(revocation_app, name="revocation")
app.add_typer(policy_app, name="policy")
app.add_typer(digest_app, name="digest")
app.add_typer(balances_app, name="balances")
app.add_typer(catalogue_app, name="catalogue")
