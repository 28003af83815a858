"""Recording rules and alerts for Prometheus, as files that point to where runbooks are served."""

import re
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("rules")
RUNBOOKS: Final = "http://127.0.0.1:9464/runbooks/"
"""Where a centre on this machine serves them, as it is configured by default."""

_RUNBOOK: Final = re.compile(r"(?m)^(\s*runbook_url: )(\S+)$")


def rules(runbooks: str) -> dict[str, str]:
    """Give the rules' files by name.

    Args:
        runbooks: The address before a runbook's name.
    """
    base = runbooks if runbooks.endswith("/") else f"{runbooks}/"
    return {
        path.name: _RUNBOOK.sub(rf"\g<1>{base}\g<2>", path.read_text(encoding="utf-8"))
        for path in sorted(FOLDER.glob("*.yml"))
    }


def runbooks_named() -> list[str]:
    """Give the runbook of every alert, in their order."""
    text = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
    return [match[2] for match in _RUNBOOK.finditer(text)]
