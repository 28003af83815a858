"""Independent vectors, where they are: published test cards, certificates and traces."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from protocol.card.script import Script

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors"


@pytest.fixture(scope="session")
def vectors() -> Path:
    if not VECTORS.is_dir():
        pytest.skip("the independent vectors (../shared/vectors) are not on this machine")
    return VECTORS


@pytest.fixture(scope="session")
def trace(vectors: Path) -> Any:
    """Read a trace: its header, and pairs of command and answer."""

    def read(name: str) -> tuple[dict[str, Any], list[tuple[bytes, bytes]]]:
        lines = (vectors / "egk-traces" / f"{name}.jsonl").read_text().splitlines()
        header, *exchanges = (json.loads(line) for line in lines)
        return header, [
            (bytes.fromhex(each["tx"]), bytes.fromhex(each["rx"])) for each in exchanges
        ]

    return read


@pytest.fixture(scope="session")
def image(vectors: Path) -> Any:
    """Read the contents of a published card image: by the names of its files."""

    def read(number: int) -> dict[str, bytes]:
        path = vectors / "egk-images" / f"EGK_802768831100001685{number}_gema5.xml"
        found: dict[str, bytes] = {}
        for child in ET.parse(path).iter("child"):
            attributes = child.find("attributes")
            for each in attributes if attributes is not None else ():
                if each.get("id") == "body":
                    found[child.get("id") or ""] = bytes.fromhex("".join((each.text or "").split()))
        return found

    return read


@pytest.fixture(scope="session")
def play() -> Any:
    """Run a script against a tape that must hold exactly the commands that it sends."""

    def run(script: Script[Any], tape: list[tuple[bytes, bytes]]) -> Any:
        turns: Iterator[tuple[bytes, bytes]] = iter(tape)
        try:
            batch = next(script)
            while True:
                answers = []
                for step in batch:
                    command, answer = next(turns)
                    assert step.command.hex() == command.hex()
                    assert int.from_bytes(answer[-2:], "big") in step.expected
                    answers.append(answer)
                batch = script.send(tuple(answers))
        except StopIteration as stop:
            assert next(turns, None) is None
            return stop.value

    return run
