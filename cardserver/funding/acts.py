"""Opens the fund's acts (`ledger/fund_acts.py`) on a database: whose rows are locked is known here.

Not here: what is posted, which each owner of acts decides.
"""

import datetime as dt

from cardserver.registry import tables as registry
from ledger.bulk_store import select
from ledger.calendar import Clock, SystemClock
from ledger.database_store import Database
from ledger.fund_acts import FundActs

_LOCK_PERSONS = select(registry.person, (), ("person_no",), lock=True)


def open_fund_acts(database: Database, timezone: dt.tzinfo, clock: Clock | None = None) -> FundActs:
    """Return what posts the fund's acts, to be entered with `async with`.

    Args:
        database: Started.
        timezone: `Config.timezone`.
        clock: The machine's, where none is given.
    """
    return FundActs(database, _LOCK_PERSONS, clock=clock or SystemClock(), timezone=timezone)
