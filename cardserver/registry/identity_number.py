"""The form of a citizen's identity number (GB 11643-1999): digits, date and check character."""

import datetime as dt
from functools import lru_cache
from operator import mul

# GB 11643-1999, 4.2: weights of the 17 digits, and the check character by remainder (ISO 7064).
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECK_CHARACTERS = "10X98765432"
SIZE = 18


def fault_of(number: str) -> str | None:
    """Say what is wrong with an identity number's form, or None."""
    digits = number[:-1]
    if len(number) != SIZE or not (digits.isascii() and digits.isdecimal()):
        return "expected 17 digits and a check character"
    if not _is_date(number[6:14]):
        return "digits 7 to 14 are not a date"
    weight = sum(map(mul, map(int, digits), WEIGHTS))
    if CHECK_CHARACTERS[weight % 11] != number[-1]:
        return "the check character is wrong"
    return None


@lru_cache(maxsize=100_000)  # a city's people are born on some tens of thousands of days
def _is_date(digits: str) -> bool:
    try:
        dt.date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return True
