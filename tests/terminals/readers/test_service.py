"""The card service itself, where it is away or hangs; no reader is needed."""

import asyncio
import threading

import pytest

from terminals.readers import pcsc


async def test_a_service_that_hangs_does_not_hold_the_counter_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_over = threading.Event()

    def hang() -> tuple[str, ...]:
        is_over.wait(20)
        return ("too late",)

    monkeypatch.setattr(pcsc, "reader_names", hang)
    before = set(threading.enumerate())
    async with asyncio.timeout(5):
        with pytest.raises(pcsc.PCSCServiceError, match="does not answer in 50 ms"):
            await pcsc.list_readers(timeout_ms=50)
    left = set(threading.enumerate()) - before
    assert all(thread.daemon for thread in left), "a program may end all the same"
    is_over.set()
    for thread in left:
        await asyncio.to_thread(thread.join)


async def test_what_the_service_says_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcsc, "reader_names", lambda: ("one", "two"))
    assert await pcsc.list_readers() == ("one", "two")

    def away() -> tuple[str, ...]:
        raise pcsc.PCSCServiceError("away")

    monkeypatch.setattr(pcsc, "reader_names", away)
    with pytest.raises(pcsc.PCSCServiceError, match="away"):
        await pcsc.list_readers()
