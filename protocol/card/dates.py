"""Dates of cards as integers YYYYMMDD of the Gregorian calendar, which compare as dates do.

Not here: how a card writes its years; that is its profile's.
"""

import datetime as dt

from protocol.card.errors import CardDataError

FOREVER = 99991231
"""Stands for no end."""


def date_number(year: int, month: int, day: int) -> int:
    """Write a date as YYYYMMDD.

    Raises:
        CardDataError: There is no such day.
    """
    try:
        dt.date(year, month, day)
    except ValueError:
        raise CardDataError("a date names a day that is none") from None
    return year * 10_000 + month * 100 + day
