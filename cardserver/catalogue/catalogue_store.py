"""The two lists of this room in the database, and the catalogue taken from there into memory.

Not here: how versions are kept (`lists_store.py`).
"""

from cardserver.catalogue import tables
from cardserver.catalogue.catalogue import Catalogue, Draft
from cardserver.catalogue.lists_store import VersionedList
from cardserver.catalogue.values import CatalogueRow, ListNumber, MappingRow
from ledger.bulk_store import plain
from ledger.database_store import Database

CATALOGUE = VersionedList(ListNumber.CATALOGUE, tables.catalogue_item, CatalogueRow, name="item")
MAPPING = VersionedList(
    ListNumber.MAPPING,
    tables.item_mapping,
    MappingRow,
    name="local_item",
    owner="institution_no",
)

_INSTITUTIONS_TEXT = "SELECT code, institution_no FROM institution"
_INSTITUTIONS = plain(
    "numbers of institutions", postgresql=_INSTITUTIONS_TEXT, sqlite=_INSTITUTIONS_TEXT
)


async def institution_numbers(database: Database) -> dict[str, int]:
    """Read the number of each institution by its code."""
    return {row[0]: row[1] for row in await database.fetch(_INSTITUTIONS())}


async def catch_up(database: Database, catalogue: Catalogue) -> Catalogue:
    """Return the catalogue of the newest version: the same one where it is that already.

    Only what changed is read. The rows are taken into a copy, so that nobody sees half a version.
    """
    newest = await CATALOGUE.newest(database)
    if newest == catalogue.version:
        return catalogue
    if newest < catalogue.version:  # another database, or an older copy of it
        catalogue = Catalogue()
    draft = Draft(catalogue)
    async for rows in CATALOGUE.changes(database, catalogue.version, newest):
        draft.take_up(rows)
    return draft.publish(newest)
