"""What an examination finds: a sentence in two languages, and what to do about it."""

from collections.abc import Iterable
from enum import IntEnum, unique

from msgspec import Struct


@unique
class Level(IntEnum):
    """How bad it is."""

    FINE = 0
    WARNING = 1
    """It works, and will not for ever, or not as it should."""
    FAULT = 2
    """The centre can't serve like this, or could lose what it answered."""


class Finding(Struct, frozen=True):
    """What one check found.

    Attributes:
        check: Its name, one word.
        text_zh: What it is, in Chinese.
        text_en: The same in English.
        advice_zh: What to do; empty where all is fine.
        advice_en: The same in English.
    """

    check: str
    level: Level
    text_zh: str
    text_en: str
    advice_zh: str = ""
    advice_en: str = ""


Words = tuple[str, str]
"""Chinese, English."""


def fine(check: str, text: Words) -> Finding:
    """All is well."""
    return Finding(check, Level.FINE, *text)


def warning(check: str, text: Words, advice: Words) -> Finding:
    """It works, and something is to be done."""
    return Finding(check, Level.WARNING, *text, *advice)


def fault(check: str, text: Words, advice: Words) -> Finding:
    """Something must be done."""
    return Finding(check, Level.FAULT, *text, *advice)


def worst(findings: Iterable[Finding]) -> Level:
    """Return the level of the worst of them."""
    return max((one.level for one in findings), default=Level.FINE)
