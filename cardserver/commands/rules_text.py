"""Files of rules as the fund's people write them: policies, checks, terms, rates."""

from collections.abc import Callable
from pathlib import Path

from cardserver.benefits.mistakes import Mistake


def rules_text(file: Path, error: Callable[[tuple[Mistake, ...]], Exception]) -> str:
    """Read a file of rules: UTF-8, also with the mark before it that Windows' editors write.

    Args:
        file: Which.
        error: Makes the error of these rules from mistakes.

    Raises:
        Exception: Made by `error`: the file is not UTF-8.
        OSError: It can't be read.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as cause:
        sentence = f"this is not UTF-8: {cause.reason} at byte {cause.start}"
        raise error((Mistake("$", sentence),)) from cause
