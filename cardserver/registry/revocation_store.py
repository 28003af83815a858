"""The revocation list in the database: cards and certificates that are not to be taken.

Every change makes the next version; what changed since a version is the rows above it. The card's
row in the registry still decides where money moves; the list is for whoever has not that row at
hand. Not here: looking up (`cardserver/cards/revocations.py`), what changes a card
(`administration_store.py`).
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cardserver.registry import tables
from cardserver.registry.values import RevocationKind, RevocationReason
from ledger.bulk_store import insert, plain, put, select
from ledger.database_store import Database
from ledger.scripts import Script

SUBJECT_SIZE = 16
# One page of changes is taken up in a few milliseconds, and is one transaction on SQLite.
PAGE_ROWS = 1_000

# Updating the one row locks it until commit: versions become visible in their order.
_NEXT_VERSION_TEXT = (
    "INSERT INTO revocation_list (list_no, version) VALUES (1, 1)"
    " ON CONFLICT (list_no) DO UPDATE SET version = revocation_list.version + 1 RETURNING version"
)
_NEXT_VERSION = plain(
    "next version of the revocation list",
    postgresql=_NEXT_VERSION_TEXT,
    sqlite=_NEXT_VERSION_TEXT,
)
_VERSION_TEXT = "SELECT coalesce(max(version), 0) FROM revocation_list"
_VERSION = plain("version of the list", postgresql=_VERSION_TEXT, sqlite=_VERSION_TEXT)
_ADD_VERSION = insert(tables.revocation_version, ("version", "made_time_ms"))
_MADE = select(tables.revocation_version, ("made_time_ms",), by=("version",))
_PUT = put(tables.revocation, set=("card_no", "reason", "version"), by=("kind", "subject"))
_SINCE = plain(
    "changes of the revocation list",
    postgresql="SELECT version, kind, subject, card_no, reason FROM revocation"
    " WHERE (version, kind, subject) > ($1::integer, $2::smallint, $3::bytea)"
    " ORDER BY version, kind, subject LIMIT $4::integer",
    sqlite="SELECT version, kind, subject, card_no, reason FROM revocation"
    " WHERE (version, kind, subject) > (?1, ?2, ?3) ORDER BY version, kind, subject LIMIT ?4",
)
_FIRST_NEWER = plain(
    "first newer version of the list",
    postgresql="SELECT min(made_time_ms) FROM revocation_version WHERE version > $1::integer",
    sqlite="SELECT min(made_time_ms) FROM revocation_version WHERE version > ?1",
)
_NOT_LISTED = (
    "SELECT c.card_no, c.profile, c.region, c.identity,"
    " CASE WHEN c.state <> 1 THEN c.state ELSE 5 END"
    " FROM card c LEFT JOIN person p ON p.person_no = c.person_no"
    " WHERE c.card_no > {after} AND (c.state <> 1 OR p.deceased_date IS NOT NULL)"
    " AND NOT EXISTS (SELECT 1 FROM revocation r WHERE r.card_no = c.card_no AND r.reason <> 0)"
    " ORDER BY c.card_no LIMIT {rows}"
)
_FIND_NOT_LISTED = plain(
    "cards that the revocation list lacks",
    postgresql=_NOT_LISTED.format(after="$1::bigint", rows="$2::integer"),
    sqlite=_NOT_LISTED.format(after="?1", rows="?2"),
)


@dataclass(frozen=True, slots=True)
class Revocation:
    """A row of the list.

    Attributes:
        subject: What it is about, as `card_subject` and `certificate_subject` name it.
        card_no: The card; 0 for a certificate.
        reason: NOT_REVOKED for what was taken off.
    """

    kind: RevocationKind
    subject: bytes
    card_no: int
    reason: RevocationReason


class Position(NamedTuple):
    """Up to where the list was read; with a version alone, up to that one's end."""

    version: int
    kind: int = 2**15 - 1  # above every kind
    subject: bytes = b""


def card_subject(profile: str, region: str, identity: bytes) -> bytes:
    """Name a card by what its key proves, so that the list tells nobody whose it is."""
    return hashlib.sha256(f"card\0{profile}\0{region}\0".encode() + identity).digest()[
        :SUBJECT_SIZE
    ]


def certificate_subject(sha256: bytes) -> bytes:
    """Name a certificate by its fingerprint."""
    return sha256[:SUBJECT_SIZE]


def list_changes(changes: Sequence[Revocation], *, now_ms: int) -> Script[int]:
    """Make the list's next version of these changes, within a transaction; return its number."""
    ((version,),) = yield _NEXT_VERSION()
    yield _ADD_VERSION([(version, now_ms)])
    yield _PUT(
        [(int(one.kind), one.subject, one.card_no, int(one.reason), version) for one in changes]
    )
    number: int = version
    return number


async def list_missing_cards(database: Database, *, now_ms: int) -> int:
    """List cards that may not be used and are not listed, as after an import; return how many."""
    after = count = 0
    while True:
        rows = await database.fetch(_FIND_NOT_LISTED([(after, PAGE_ROWS)]))
        if not rows:
            return count
        changes = [
            Revocation(
                RevocationKind.CARD,
                card_subject(profile, region, bytes(identity)),
                card_no,
                RevocationReason(reason),
            )
            for card_no, profile, region, identity, reason in rows
        ]

        def script(changes: Sequence[Revocation] = changes) -> Script[int]:
            return list_changes(changes, now_ms=now_ms)

        await database.transact(script)
        after = rows[-1][0]
        count += len(rows)


async def list_version(database: Database) -> int:
    """Return the newest version; 0 before the first change."""
    ((version,),) = await database.fetch(_VERSION())
    number: int = version
    return number


async def changes_since(
    database: Database, version: int
) -> AsyncIterator[tuple[int, list[Revocation]]]:
    """Give what changed since a version, page by page, each with the version that it reaches.

    Only after the last page is that version whole: take it as yours then.
    """
    after = Position(version)
    while True:
        page = await page_after(database, after, rows_max=PAGE_ROWS)
        if page:
            after = page[-1][0]
            yield after.version, [change for _, change in page]
        if len(page) < PAGE_ROWS:
            return


async def page_after(
    database: Database, after: Position, *, rows_max: int
) -> list[tuple[Position, Revocation]]:
    """Read the changes that come after a position, each with its own."""
    rows = await database.fetch(_SINCE([(*after, rows_max)]))
    return [
        (
            Position(version, kind, bytes(subject)),
            Revocation(RevocationKind(kind), bytes(subject), card_no, RevocationReason(reason)),
        )
        for version, kind, subject, card_no, reason in rows
    ]


async def made_time_ms(database: Database, version: int) -> int:
    """Return when a version was made; 0 where that isn't known."""
    rows = await database.fetch(_MADE([(version,)]))
    return rows[0][1] if rows else 0


def list_age(version: int, *, at_ms: int) -> Script[int]:
    """Return for how many ms a version had been overtaken at a moment; 0 while it was newest."""
    ((newer_ms,),) = yield _FIRST_NEWER([(version,)])
    return 0 if newer_ms is None else max(0, at_ms - newer_ms)
