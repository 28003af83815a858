"""Runs `cardterminal` as a process. No test."""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OPERATOR, PASSWORD = "1001", "correct horse"  # of the in-test centre
FIELDS = {
    "command", "status", "exit_status", "code", "retry", "text_zh", "text_en", "detail_zh",
    "detail_en", "msgid", "duplicate", "business_date", "took_ms", "stages_us", "result",
}  # fmt: skip


@dataclass
class Ran:
    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        document = json.loads(self.out)
        assert set(document) == FIELDS
        assert document["exit_status"] == self.status
        return document


class Shell:
    """Runs `cardterminal` in a terminal's folder."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.program = Path(sys.executable).with_name("cardterminal")

    async def __call__(self, *arguments: str, stdin: str = "") -> Ran:
        process = await asyncio.create_subprocess_exec(
            str(self.program),
            *arguments,
            cwd=self.directory,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        assert "Traceback" not in err.decode()
        return Ran(process.returncode, out.decode(), err.decode())
