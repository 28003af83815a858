"""Institutions by number, as reconciliation names them."""

from dataclasses import dataclass

from ledger.bulk_store import plain
from ledger.database_store import Database

_ACTIVE = 1
_TEXT = (
    "SELECT institution_no, code, name, state, contract_begins, contract_ends FROM institution"
    " ORDER BY code"
)
_ALL = plain("all institutions", postgresql=_TEXT, sqlite=_TEXT)


@dataclass(frozen=True, slots=True)
class InstitutionNamed:
    """An institution, and whether anything is to be expected of it."""

    institution_no: int
    code: str
    name: str
    state: int
    contract_begins: int
    contract_ends: int

    def is_contracted(self, day: int) -> bool:
        """Whether it may settle on a day (YYYYMMDD), by its first contract."""
        return self.state == _ACTIVE and self.contract_begins <= day <= self.contract_ends


async def institutions(database: Database) -> list[InstitutionNamed]:
    """Return all institutions by code."""
    return [InstitutionNamed(*row) for row in await database.fetch(_ALL())]
