"""A card's medical file through a running centre: the holder's PIN stays at the counter."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from protocol.terminal.messages import CardOpened, PINAction, PINKind, PINResult, PINState
from simulators.card.social_security_card import RootKeys, print_card
from terminals.card_opening import CardOpening
from terminals.card_reader import PINRequest
from terminals.client import TerminalClient
from terminals.link import Link
from tests.cardserver.desk import Desk, Reader

PIN = "624815"
# As it would stand in a command (BCD) and as text.
TRACES = (bytes.fromhex(PIN), PIN.encode())


@dataclass
class Holder:
    """Someone at the counter who is asked for a PIN."""

    pins: dict[PINKind, str | None]
    asked: list[PINRequest] = field(default_factory=list)

    async def __call__(self, request: PINRequest) -> str | None:
        self.asked.append(request)
        return self.pins[request.kind]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """All that terminals of this process write to the centre, before it is encrypted."""
    written: list[bytes] = []
    write: Callable[[Link, bytes], None] = Link._write

    def listening(link: Link, data: bytes) -> None:
        written.append(data)
        write(link, data)

    monkeypatch.setattr(Link, "_write", listening)
    return written


async def opened(
    client: TerminalClient, desk: Desk, holder: Holder, action: PINAction = PINAction.VERIFY
) -> CardOpening:
    data = replace(desk.card_data(), pin=PIN, medical_items=((0x83, "北京一院"),))
    card = print_card(data, RootKeys.read(desk.city.keys, data.algorithm))
    return await client.open_card(
        Reader(card), wants_medical=True, pin_action=action, pin_entry=holder
    )


async def test_the_medical_file_is_read_with_a_pin_that_does_not_leave(
    desk: Desk, said: list[bytes]
) -> None:
    holder = Holder({PINKind.CURRENT: PIN})
    async with desk.client(await desk.enrol("PIN1")) as client:
        opening = await opened(client, desk, holder)
    body = opening.answer.body
    assert isinstance(body, CardOpened)
    assert (body.pin_result, body.round_trips) == (PINResult.RIGHT, 2)
    assert body.medical is not None
    assert (0x83, "北京一院") in [(item.tag, item.text) for item in body.medical.items]
    assert [request.tries_left for request in holder.asked] == [6]
    assert len(said) > 2, "nothing was listened to"
    for trace in TRACES:
        assert all(trace not in frame for frame in said)
        assert trace not in desk.centre.log_file.read_bytes()


async def test_a_wrong_pin_is_told_and_not_tried_again(desk: Desk) -> None:
    holder = Holder({PINKind.CURRENT: "000000"})
    async with desk.client(await desk.enrol("PIN2")) as client:
        body = (await opened(client, desk, holder)).answer.body
    assert isinstance(body, CardOpened)
    assert (body.pin_result, body.pin, body.pin_tries) == (PINResult.WRONG, PINState.REQUIRED, 5)
    assert body.medical is None
    assert body.card_session, "the card itself is genuine all the same"
    assert len(holder.asked) == 1


async def test_a_holder_may_give_no_pin(desk: Desk) -> None:
    async with desk.client(await desk.enrol("PIN3")) as client:
        body = (await opened(client, desk, Holder({PINKind.CURRENT: None}))).answer.body
    assert isinstance(body, CardOpened)
    assert (body.pin_result, body.pin_tries, body.medical) == (PINResult.NOT_GIVEN, 6, None)


async def test_a_pin_is_changed_over_the_centre(desk: Desk, said: list[bytes]) -> None:
    holder = Holder({PINKind.CURRENT: PIN, PINKind.NEW: "975310"})
    async with desk.client(await desk.enrol("PIN4")) as client:
        body = (await opened(client, desk, holder, PINAction.CHANGE)).answer.body
    assert isinstance(body, CardOpened)
    assert body.pin_result is PINResult.CHANGED
    assert body.medical is not None
    assert [request.kind for request in holder.asked] == [PINKind.CURRENT, PINKind.NEW]
    assert all(bytes.fromhex("975310") not in frame for frame in said)


async def test_a_contactless_card_is_opened_in_one_round_trip(desk: Desk) -> None:
    data = replace(desk.card_data(), is_contactless=True)
    card = print_card(data, RootKeys.read(desk.city.keys, data.algorithm))
    async with desk.client(await desk.enrol("PIN5")) as client:
        body = (await client.open_card(Reader(card))).answer.body
    assert isinstance(body, CardOpened)
    assert (body.round_trips, body.holder_name) == (1, data.holder_name)


async def test_a_card_that_declares_no_cipher_is_opened_by_its_region(desk: Desk) -> None:
    data = replace(desk.card_data(), declares_algorithm=False)
    card = print_card(data, RootKeys.read(desk.city.keys, data.algorithm))
    async with desk.client(await desk.enrol("PIN6")) as client:
        answer = (await client.open_card(Reader(card))).answer
    # The made-up city lies in a region of 11, whose cards without a declaration are SSF33's.
    assert not answer.is_approved
    assert "SSF33" in answer.reply.detail_en
