"""What to do about each alert: a page each, in Chinese and English, beside this file.

A running centre shows them at `/runbooks/NAME.md`, where alerts point to.
"""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("runbooks")


def runbook_names() -> list[str]:
    """Name the pages."""
    return sorted(path.name for path in FOLDER.glob("*.md") if path.name != "README.md")


def read_runbook(name: str) -> str:
    """Give a page's Markdown.

    Raises:
        KeyError: There is none of this name.
    """
    if name not in runbook_names():
        raise KeyError(name)
    return (FOLDER / name).read_text(encoding="utf-8")
