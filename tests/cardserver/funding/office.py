"""Who posts, and by which rules."""

from cardserver.funding.rules import load_rules, shipped_rules
from cardserver.funding.rules_store import activate_rules
from cardserver.registry import tables as registry
from cardserver.registry.passwords import hash_password
from ledger.bulk_store import insert
from ledger.database_store import Database
from tests.cardserver.funding.fund import ACTOR

OFFICER, CLERK, PASSWORD = "F01", "A01", "made up for tests"
_NAMES = (
    "operator_no", "institution_no", "code", "name", "role", "password_hash", "state", "failures",
)  # fmt: skip


async def add_officer(database: Database) -> None:
    """Add a funding officer, and someone who is none."""
    hashed = hash_password(PASSWORD)
    await database.execute(
        insert(registry.operator, _NAMES)([
            (7, 0, OFFICER, "李四", "funding_officer", hashed, 1, 0),
            (8, 0, CLERK, "王五", "acceptance", hashed, 1, 0),
        ])
    )  # fmt: skip


async def activate_shipped(database: Database) -> None:
    """Put the shipped rules in force."""
    text = shipped_rules()
    await activate_rules(database, load_rules(text), text, ACTOR)
