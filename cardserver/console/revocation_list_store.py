"""How long the revocation list is, and what was put on it or taken off it last."""

from dataclasses import dataclass

from cardserver.registry.values import RevocationKind, RevocationReason
from ledger.bulk_store import plain
from ledger.database_store import Database

_SIZES_TEXT = "SELECT kind, count(*) FROM revocation WHERE reason <> 0 GROUP BY kind"
_SIZES = plain("revoked", postgresql=_SIZES_TEXT, sqlite=_SIZES_TEXT)
_NEWEST_TEXT = (
    "SELECT r.version, r.kind, r.card_no, r.subject, r.reason, v.made_time_ms FROM revocation r"
    " JOIN revocation_version v ON v.version = r.version ORDER BY r.version DESC LIMIT "
)
_NEWEST = plain(
    "newest revocations",
    postgresql=f"{_NEWEST_TEXT} $1::integer",
    sqlite=f"{_NEWEST_TEXT} ?1",
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is revoked now."""

    cards: int
    certificates: int


@dataclass(frozen=True, slots=True)
class NewestChange:
    """One row of the list; `subject` names our card's number or a certificate's fingerprint."""

    version: int
    subject: str
    reason: str
    made_time_ms: int


async def sizes(database: Database) -> Sizes:
    """Count what is revoked now."""
    counts = {row[0]: row[1] for row in await database.fetch(_SIZES())}
    return Sizes(
        cards=counts.get(RevocationKind.CARD, 0),
        certificates=counts.get(RevocationKind.CERTIFICATE, 0),
    )


async def newest_changes(database: Database, rows_max: int) -> list[NewestChange]:
    """List what changed last, latest first."""
    rows = await database.fetch(_NEWEST([(rows_max,)]))
    return [
        NewestChange(
            version=version,
            subject=f"card {card_no}"
            if kind == RevocationKind.CARD
            else f"certificate {bytes(subject).hex()[:16]}…",
            reason=RevocationReason(reason).name.lower(),
            made_time_ms=made_ms,
        )
        for version, kind, card_no, subject, reason, made_ms in rows
    ]
