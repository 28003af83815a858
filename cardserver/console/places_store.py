"""Where institutions are, for a map."""

from dataclasses import dataclass

from ledger.bulk_store import plain
from ledger.database_store import Database

_TEXT = (
    "SELECT i.code, i.name, p.latitude_e6, p.longitude_e6 FROM institution_position p"
    " JOIN institution i ON i.institution_no = p.institution_no"
)
_POSITIONS = plain("institutions on the map", postgresql=_TEXT, sqlite=_TEXT)


@dataclass(frozen=True, slots=True)
class Position:
    """An institution's place (WGS 84), in millionths of a degree, north and east positive."""

    name: str
    latitude_e6: int
    longitude_e6: int


async def positions(database: Database) -> dict[str, Position]:
    """Return where institutions are, by their codes; those without a known place are left out."""
    return {row[0]: Position(*row[1:]) for row in await database.fetch(_POSITIONS())}
