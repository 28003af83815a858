"""Numbers of identity documents: their forms, check characters, and how typed ones are read.

A citizen's number (GB 11643-1999) is kept in its form of 18 characters; the older form of 15
digits (GB 11643-1989) lacks the century and the check character, and is made into it.
"""

import datetime as dt
import re
import unicodedata
from functools import lru_cache
from operator import mul

from cardserver.registry.values import IDType

# GB 11643-1999, 4.2: weights of the 17 digits, and the check character by remainder (ISO 7064).
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECK_CHARACTERS = "10X98765432"
SIZE = 18
OLD_SIZE = 15
_REGION_SIZE = 6
# Whoever had a number of 15 digits was born in this century: there are none of later years.
_OLD_CENTURY = "19"

# The forms of the other documents, as they are printed without what counts the issues.
_FORMS = {
    IDType.HONG_KONG: (re.compile(r"H[0-9]{8}"), "H and 8 digits, without the issue's number"),
    IDType.MACAO: (re.compile(r"M[0-9]{8}"), "M and 8 digits, without the issue's number"),
    IDType.TAIWAN: (re.compile(r"[0-9]{8}"), "8 digits, without the issue's number"),
    IDType.PASSPORT: (re.compile(r"[A-Z0-9]{5,15}"), "5 to 15 capital letters and digits"),
}
_OLD_RESIDENT = re.compile(r"[A-Z]{3}[0-9]{12}")


def normalised(text: str) -> str:
    """Return a number as the registry keeps it, whatever way it was typed.

    Full-width characters become plain ones, blanks go, letters become capitals, and a citizen's 15
    digits become 18 characters. What is no such number comes back otherwise unchanged.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    text = "".join(text.split()).upper()
    if len(text) == OLD_SIZE and text.isascii() and text.isdecimal():
        return _lengthened(text)
    return text


def fault_of(number: str, id_type: IDType = IDType.CITIZEN) -> str | None:
    """Say what is wrong with a normalised number's form, or None."""
    match id_type:
        case IDType.CITIZEN:
            return _citizen_fault(number)
        case IDType.PERMANENT_RESIDENT:
            # Since 2023 as a citizen's, beginning with 9; before, the country's letters first.
            if _OLD_RESIDENT.fullmatch(number):
                return None
            fault = _citizen_fault(number)
            if fault is None and not number.startswith("9"):
                fault = "a resident's number of 18 characters begins with 9"
            return fault
        case IDType.HONG_KONG | IDType.MACAO | IDType.TAIWAN | IDType.PASSPORT:
            form, expected = _FORMS[id_type]
            return None if form.fullmatch(number) else f"expected {expected}"


def check_character(digits: str) -> str:
    """Return the check character of 17 digits (GB 11643-1999, 4.2)."""
    return CHECK_CHARACTERS[sum(map(mul, map(int, digits), WEIGHTS)) % 11]


def _lengthened(digits: str) -> str:
    longer = digits[:_REGION_SIZE] + _OLD_CENTURY + digits[_REGION_SIZE:]
    return longer + check_character(longer)


def _citizen_fault(number: str) -> str | None:
    digits = number[:-1]
    if len(number) != SIZE or not (digits.isascii() and digits.isdecimal()):
        return "expected 17 digits and a check character"
    if not _is_date(number[6:14]):
        return "digits 7 to 14 are not a date"
    if check_character(digits) != number[-1]:
        return "the check character is wrong"
    return None


@lru_cache(maxsize=100_000)  # a city's people are born on some tens of thousands of days
def _is_date(digits: str) -> bool:
    try:
        dt.date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return True
