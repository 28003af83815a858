"""Funding rules as activated, in the database."""

import hashlib

from msgspec import Struct

from cardserver.funding import tables
from cardserver.funding.rules import FundingRules, RulesVersion, load_rules
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.history_store import audit
from cardserver.registry.values import Actor
from ledger.bulk_store import plain, put
from ledger.database_store import Database
from ledger.scripts import Script

_VERSIONS_TEXT = (
    "SELECT name, begins, sha256, text, activated_time_ms FROM funding_rules"
    " ORDER BY begins, activated_time_ms, name, sha256"
)
_VERSIONS = plain("read funding rules", postgresql=_VERSIONS_TEXT, sqlite=_VERSIONS_TEXT)
_PUT_RULES = put(
    tables.funding_rules, set=("text", "activated_time_ms"), by=("name", "begins", "sha256")
)


class ActivatedRules(Struct, frozen=True):
    """One text that was activated.

    Attributes:
        is_in_force: Whether it holds from its first day on; of one day the last one activated.
    """

    name: str
    begins: int
    sha256: bytes
    text: str
    activated_time_ms: int
    is_in_force: bool


async def activated_rules(database: Database) -> list[ActivatedRules]:
    """List every text by its first day, of one day the last activated last."""
    rows = await database.fetch(_VERSIONS())
    last = {begins: index for index, (_, begins, *_) in enumerate(rows)}
    return [
        ActivatedRules(
            name, begins, bytes(sha256), text, time_ms, is_in_force=last[begins] == index
        )
        for index, (name, begins, sha256, text, time_ms) in enumerate(rows)
    ]


async def rules_in_force(database: Database) -> FundingRules:
    """Read what holds."""
    return FundingRules(
        load_rules(one.text) for one in await activated_rules(database) if one.is_in_force
    )


async def activate_rules(
    database: Database, version: RulesVersion, text: str, actor: Actor
) -> None:
    """Put a rules file in force from its first day on; earlier ones are kept.

    Raises:
        AdministrationError: Rules of another name are in force: a fund has one set.
    """
    others = {one.name for one in await activated_rules(database)} - {version.document.name}
    if others:
        raise AdministrationError(f"the rules of this fund are named {', '.join(sorted(others))}")
    sha256 = hashlib.sha256(text.encode()).digest()

    def script() -> Script[None]:
        row = (version.document.name, version.begins, sha256, text, actor.now_ms)
        yield _PUT_RULES([row])
        yield audit(actor, "funding activated", version.identity, sha256.hex())

    await database.transact(script)
