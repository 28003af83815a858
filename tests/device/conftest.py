"""Real PC/SC: pcscd with its virtual reader, started here where none runs.

`pytest tests/device --reader NAME` runs what needs no simulated card on the card in that reader.
"""

import asyncio
from collections.abc import Iterator

import pytest

from simulators.pcscd import virtual_reader
from terminals.readers.channel import CardRemovedError
from terminals.readers.pcsc import PCSCReader


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reader", default=None, help="name of a reader with a card in it")


@pytest.fixture
def slots() -> Iterator[tuple[str, ...]]:
    """The virtual reader's two slots, ours until the test ends."""
    with virtual_reader() as reader:
        yield reader.slots


@pytest.fixture
def connect() -> object:
    """Connect to a card that was put in a moment ago; the service learns of it a little later."""

    async def connect_soon(reader: PCSCReader) -> bytes:
        async with asyncio.timeout(5):
            while True:
                try:
                    return await reader.connect()
                except CardRemovedError:
                    await asyncio.sleep(0.02)

    return connect_soon
