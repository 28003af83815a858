"""What all files of rules have in common: TOML of a given shape, its mistakes, its identity.

Not here: the shapes, and what must hold in each (`policy_document.py`, `policy_check.py` and their
like in the rooms of checks, funding, review and clearing).
"""

import datetime as dt
import hashlib
import tomllib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from cardserver.benefits.mistakes import Mistake, mistake_of

D = TypeVar("D", bound=msgspec.Struct)

_HASH_SIZE = 12  # hexadecimal digits of it in an identity


class MistakesError(Exception):
    """A file of rules, or a set of them, says something that cannot hold.

    Attributes:
        mistakes: Each with its path and a sentence.
    """

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(f"{one.path}: {one.sentence}" for one in self.mistakes))


def read_document(
    text: str,
    shape: type[D],
    *,
    decode: Callable[[type[Any], Any], Any],
    check: Callable[[D], Iterable[Mistake]],
    error: Callable[[tuple[Mistake, ...]], Exception],
) -> D:
    """Read a file's text.

    Args:
        text: TOML. Its floats reach `decode` as text: 0.10 must not pass through binary fractions.
        shape: What the file says.
        decode: Reads the values that msgspec does not know.
        check: Names what must not stand in a document of that shape.
        error: Made of the mistakes, and raised.
    """
    try:
        document = msgspec.convert(tomllib.loads(text, parse_float=str), shape, dec_hook=decode)
    except tomllib.TOMLDecodeError as fault:
        raise error((Mistake("$", f"this is not TOML: {fault}"),)) from fault
    except msgspec.ValidationError as fault:
        raise error((mistake_of(str(fault)),)) from fault
    mistakes = tuple(check(document))
    if mistakes:
        raise error(mistakes)
    return document


def identity_of(text: str, name: str, begins: dt.date | str) -> str:
    """Return a file's name, first day or month, and hash: `name@2026-01-01#0123456789ab`."""
    return f"{name}@{begins}#{hashlib.sha256(text.encode()).hexdigest()[:_HASH_SIZE]}"
