"""Review rules as activated, in the database."""

import hashlib

from cardserver.registry.history_store import audit
from cardserver.registry.values import Actor
from cardserver.review import tables
from cardserver.review.rule_file import ReviewRules, load_review_rules, rules_of_month
from ledger.bulk_store import plain, put
from ledger.database_store import Database
from ledger.scripts import Script

_TEXTS_TEXT = (
    "SELECT name, begins, text, activated_time_ms FROM review_rules"
    " ORDER BY begins, activated_time_ms, sha256"
)
_TEXTS = plain("read review rules", postgresql=_TEXTS_TEXT, sqlite=_TEXTS_TEXT)
_PUT_RULES = put(
    tables.review_rules, set=("text", "activated_time_ms"), by=("name", "begins", "sha256")
)


async def activate_review_rules(
    database: Database, rules: ReviewRules, text: str, actor: Actor
) -> None:
    """Put a file in force for the months that are opened from now on; earlier ones are kept."""
    sha256 = hashlib.sha256(text.encode()).digest()

    def script() -> Script[None]:
        yield _PUT_RULES([(rules.document.name, rules.begins, sha256, text, actor.now_ms)])
        yield audit(actor, "review rules activated", rules.identity, sha256.hex())

    await database.transact(script)


async def activated_review_rules(database: Database) -> list[tuple[ReviewRules, int]]:
    """List every version with the time of its activation, by first month.

    Raises:
        ReviewRulesError: A text is of a release that knew other rules.
    """
    rows = await database.fetch(_TEXTS())
    return [(load_review_rules(text), time_ms) for _, _, text, time_ms in rows]


async def review_rules_for(database: Database, month: int) -> ReviewRules | None:
    """Find the version for a month: of those that begin together the one activated last."""
    versions = await activated_review_rules(database)
    latest = {rules.begins: rules for rules, _ in versions}
    return rules_of_month(latest.values(), month)


async def review_rules_named(database: Database, identity: str) -> ReviewRules:
    """Find the version that a month was opened by."""
    for rules, _ in await activated_review_rules(database):
        if rules.identity == identity:
            return rules
    raise LookupError(f"the database has no review rules {identity}")
