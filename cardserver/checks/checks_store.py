"""Rules as activated, and institutions' positions, in the database."""

import hashlib
from collections.abc import Mapping

from msgspec import Struct

from cardserver.checks import tables
from cardserver.checks.counter_checks import CounterChecks
from cardserver.checks.rule_book import RuleBook, RulesVersion, load_rules
from cardserver.checks.values import Position
from cardserver.registry import tables as registry
from cardserver.registry.history_store import audit
from cardserver.registry.values import Actor
from ledger.bulk_store import plain, put, select
from ledger.database_store import Database
from ledger.scripts import Script

_VERSIONS_TEXT = (
    "SELECT name, begins, sha256, text, activated_time_ms FROM check_rules"
    " ORDER BY name, begins, activated_time_ms, sha256"
)
_VERSIONS = plain("read check rules", postgresql=_VERSIONS_TEXT, sqlite=_VERSIONS_TEXT)
_POSITIONS_TEXT = "SELECT institution_no, latitude_e6, longitude_e6 FROM institution_position"
_POSITIONS = plain("read positions", postgresql=_POSITIONS_TEXT, sqlite=_POSITIONS_TEXT)
_PUT_RULES = put(
    tables.check_rules, set=("text", "activated_time_ms"), by=("name", "begins", "sha256")
)
_PUT_POSITIONS = put(
    tables.institution_position, set=("latitude_e6", "longitude_e6"), by=("institution_no",)
)
_INSTITUTIONS = select(registry.institution, ("institution_no",), by=("code",))


class StoredRules(Struct, frozen=True):
    """What the database holds of checks; equal where nothing has changed.

    Attributes:
        texts: Of the versions that apply, each on some day.
        positions: `(institution_no, latitude_e6, longitude_e6)`, in the order of the numbers.
    """

    texts: tuple[str, ...]
    positions: tuple[tuple[int, int, int], ...]


class ActivatedRules(Struct, frozen=True):
    """One text that was activated.

    Attributes:
        is_in_force: Whether it applies; of one name and first day that is what was activated last.
    """

    name: str
    begins: int
    sha256: bytes
    text: str
    activated_time_ms: int
    is_in_force: bool


async def activated_rules(database: Database) -> list[ActivatedRules]:
    """List every text by name and first day, of one first day the last activated last."""
    rows = await database.fetch(_VERSIONS())
    last = {(name, begins): index for index, (name, begins, *_) in enumerate(rows)}
    return [
        ActivatedRules(
            name, begins, bytes(sha256), text, time_ms, is_in_force=last[name, begins] == index
        )
        for index, (name, begins, sha256, text, time_ms) in enumerate(rows)
    ]


async def stored_rules(database: Database) -> StoredRules:
    """Read what applies."""
    texts = tuple(one.text for one in await activated_rules(database) if one.is_in_force)
    rows = await database.fetch(_POSITIONS())
    return StoredRules(texts, tuple(sorted((no, north, east) for no, north, east in rows)))


def checks_of(stored: StoredRules) -> CounterChecks:
    """Make of it what bills are tried by.

    Raises:
        RulesError: One of the texts is no rules file, or two contradict each other.
    """
    return CounterChecks(
        RuleBook(load_rules(text) for text in stored.texts),
        {number: Position(north, east) for number, north, east in stored.positions},
    )


async def activate_rules(
    database: Database, version: RulesVersion, text: str, actor: Actor
) -> None:
    """Put a rules file in force; earlier ones are kept."""
    sha256 = hashlib.sha256(text.encode()).digest()

    def script() -> Script[None]:
        yield _PUT_RULES([(version.name, version.begins, sha256, text, actor.now_ms)])
        yield audit(actor, "checks activated", f"{version.name}@{version.begins}", sha256.hex())

    await database.transact(script)


async def place_institutions(
    database: Database, positions: Mapping[str, Position], actor: Actor
) -> tuple[str, ...]:
    """Say where institutions are, by code, all or none; return the codes that nobody has."""

    def script() -> Script[tuple[str, ...]]:
        rows = yield _INSTITUTIONS([(code,) for code in sorted(positions)])
        found = {row[0]: row[1] for row in rows}
        unknown = tuple(sorted(set(positions) - set(found)))
        if not unknown:
            yield _PUT_POSITIONS([(found[code], *at) for code, at in sorted(positions.items())])
            yield audit(actor, "institutions placed", "positions", f"{len(positions)} of them")
        return unknown

    return await database.transact(script)
