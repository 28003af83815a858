"""What the centre knows of msgids that only an institution has on a day."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from cardserver.claims import tables as claims
from ledger.bulk_store import select
from ledger.calendar import date_of
from ledger.group import TOMBSTONE_TYPE
from ledger.ledger_store import RequestKey, read_requests
from ledger.scripts import Script
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import StatusState

_UNDOING = select(claims.claim, ("entry_no",), by=("undoes",))


@dataclass(frozen=True, slots=True)
class Known:
    """What became of a msgid.

    Attributes:
        business_date: YYYYMMDD; 0 where it has not been seen.
        is_settlement: Whether it made or undid a settlement.
    """

    state: StatusState = StatusState.NOT_SEEN
    code: int = 0
    business_date: int = 0
    is_settlement: bool = False

    @property
    def date(self) -> dt.date | None:
        """The business date as it goes over the wire."""
        return date_of(self.business_date) if self.business_date else None


def known_of(keys: Iterable[RequestKey]) -> Script[dict[RequestKey, Known]]:
    """Find what became of attempts; those never seen are left out."""
    stored = yield from read_requests(keys)
    entries = [(one.entry_no,) for one in stored.values() if one.entry_no is not None]
    undone: set[int] = set()
    if entries:
        undone = {row[0] for row in (yield _UNDOING(entries))}
    found: dict[RequestKey, Known] = {}
    for key, one in stored.items():
        if one.type == TOMBSTONE_TYPE:
            state = StatusState.TOMBSTONED
        elif one.code != ResponseCode.APPROVED:
            state = StatusState.REFUSED
        else:
            state = StatusState.UNDONE if one.entry_no in undone else StatusState.SETTLED
        found[key] = Known(state, one.code, one.business_date or 0, one.entry_no is not None)
    return found
