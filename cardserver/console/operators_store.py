"""Operators by what people call them, wherever they are."""

from ledger.bulk_store import plain
from ledger.database_store import Database

_TEXT = "SELECT operator_no FROM operator WHERE code = {} ORDER BY operator_no LIMIT 100"
_NUMBERS = plain(
    "operators of a code",
    postgresql=_TEXT.format("$1::text"),
    sqlite=_TEXT.format("?1"),
)


async def operator_numbers(database: Database, code: str) -> list[int]:
    """Return the numbers of the operators who have this code, at the fund and at institutions."""
    return [row[0] for row in await database.fetch(_NUMBERS([(code,)]))]
