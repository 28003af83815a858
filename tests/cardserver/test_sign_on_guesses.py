"""What one terminal's guesses may take of the threads that check passwords: one at a time."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast
from weakref import WeakValueDictionary

import pytest

from cardserver.centre import Exchange
from cardserver.handlers import sign_on as handler
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import PROTOCOL_VERSION, SignOn

TERMINAL = SimpleNamespace(terminal_no=7, code="T1", certificate_sha256=b"7" * 32, is_active=True)
INSTITUTION = SimpleNamespace(institution_no=3, code="H11010100001", is_active=True)


@dataclass
class Registry:
    """A registry that knows the terminal, and no operator."""

    async def terminal_by_no(self, _number: int) -> object:
        return TERMINAL

    async def institution_by_code(self, _code: str) -> object:
        return INSTITUTION

    async def operator(self, _institution_no: int, _code: str) -> None:
        return None


@dataclass
class Centre:
    """The parts that a sign-on asks."""

    registry: Registry = field(default_factory=Registry)
    revocations: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(is_certificate_revoked=lambda _: False)
    )
    locks: WeakValueDictionary[int, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def proving(self, number: int) -> asyncio.Lock:
        return self.locks.setdefault(number, asyncio.Lock())


def exchange_of(centre: Centre, operator: str, *, time_left_ms: int = 10_000) -> Exchange:
    found = SimpleNamespace(
        centre=centre,
        session=SimpleNamespace(institution=INSTITUTION, terminal=TERMINAL),
        request=SimpleNamespace(operator=operator),
        time_left_ms=lambda: time_left_ms,
    )
    return cast(Exchange, found)


async def test_unknown_operators_are_looked_at_one_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once = most = asked = 0

    async def verify(_hash: str, _password: str) -> bool:
        nonlocal at_once, most, asked
        at_once, asked = at_once + 1, asked + 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        return False

    monkeypatch.setattr(handler, "verify_password", verify)
    centre = Centre()

    async def guess(number: int, time_left_ms: int) -> ResponseCode:
        exchange = exchange_of(centre, f"x{number}", time_left_ms=time_left_ms)
        body = SignOn(f"x{number}", "a guess", 1, "raw terminal", (PROTOCOL_VERSION,))
        return (await handler.sign_on(exchange, body)).code

    said = await asyncio.gather(*(guess(number, 10_000) for number in range(20)))
    assert set(said) == {ResponseCode.OPERATOR_REFUSED}
    assert (most, asked) == (1, 20)
    # Who no longer waits for the answer costs nobody a hash.
    assert await guess(20, 0) is ResponseCode.DEADLINE_PASSED
    assert asked == 20
