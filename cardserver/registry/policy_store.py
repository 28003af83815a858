"""The versions of the rules that were ever activated.

They are kept for ever, so that a decision can be looked at by the text that made it. Not here:
which apply (`registry_store.Registry.policies`), activating one (`administration_store.py`).
"""

import datetime as dt

from msgspec import Struct

from ledger.bulk_store import plain
from ledger.calendar import date_of
from ledger.database_store import Database

_VERSIONS_TEXT = (
    "SELECT name, begins, sha256, text, activated_time_ms FROM policy"
    " ORDER BY name, begins, activated_time_ms, sha256"
)
_VERSIONS = plain("read all versions", postgresql=_VERSIONS_TEXT, sqlite=_VERSIONS_TEXT)
_HASH_SIZE = 12  # hexadecimal digits of it in an identity


class PolicyVersion(Struct, frozen=True):
    """One activated text.

    Attributes:
        begins: First day of care, YYYYMMDD.
        is_in_force: Whether it applies; of one name and first day that is what was activated last.
    """

    name: str
    begins: int
    sha256: bytes
    text: str
    activated_time_ms: int
    is_in_force: bool

    @property
    def date(self) -> dt.date:
        """Its first day of care."""
        return date_of(self.begins)

    @property
    def identity(self) -> str:
        """What claims call it: name, first day and hash."""
        return f"{self.name}@{self.date}#{self.sha256.hex()[:_HASH_SIZE]}"


async def policy_versions(database: Database) -> list[PolicyVersion]:
    """List every version by name and first day, of one first day the last activated last."""
    rows = await database.fetch(_VERSIONS())
    last = {(name, begins): index for index, (name, begins, *_) in enumerate(rows)}
    return [
        PolicyVersion(
            name, begins, bytes(sha256), text, time_ms, is_in_force=last[name, begins] == index
        )
        for index, (name, begins, sha256, text, time_ms) in enumerate(rows)
    ]


def find_version(versions: list[PolicyVersion], wanted: str) -> PolicyVersion | None:
    """Find what `name@date` means, which is the one in force, or `name@date#hash`, just that.

    A hash may be cut short, as long as it means one.
    """
    name_and_date, _, digest = wanted.partition("#")
    found = [
        version
        for version in versions
        if f"{version.name}@{version.date}" == name_and_date
        and (version.sha256.hex().startswith(digest) if digest else version.is_in_force)
    ]
    return found[0] if len(found) == 1 else None
