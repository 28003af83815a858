"""A mistake in a file: where it is, and what is wrong."""

import re
from typing import NamedTuple

_AT_PATH = re.compile(r"(?s)(.*) - at `([^`]*)`")
_KEY_MISTAKES = (
    (re.compile(r"Object contains unknown field `([^`]*)`"), "no such key is known here"),
    (re.compile(r"Object missing required field `([^`]*)`"), "this key is missing"),
)


class Mistake(NamedTuple):
    """A mistake: its path from the root, `$`, and a sentence."""

    path: str
    sentence: str


def mistake_of(message: str) -> Mistake:
    """Read what msgspec says of a document."""
    at = _AT_PATH.fullmatch(message)
    sentence, path = (at[1], at[2]) if at else (message, "$")
    for pattern, words in _KEY_MISTAKES:
        match = pattern.fullmatch(sentence)
        if match is not None:
            return Mistake(f"{path}.{match[1]}", words)
    return Mistake(path, sentence)
