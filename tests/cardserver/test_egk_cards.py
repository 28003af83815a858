"""German health cards at a running centre: verified in one round trip, and settled with."""

import csv
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest

from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    MessageType,
    PINAction,
    PINKind,
    PINResult,
    PINState,
    Preview,
    ProofLevel,
)
from simulators.card.egk import EGKImage, SimulatedEGK, pin_block
from simulators.card.egk_print import FICTITIOUS_EGK, CardAuthority, print_egk
from simulators.card.faults import RewritingCard
from simulators.card.population_cards import iterate_cards
from simulators.centre_process import CentreProcess, City
from terminals.card_reader import PINRequest
from terminals.readers.paced_channel import PacedChannel
from tests.cardserver.desk import Desk, Reader, configure, settle_of
from tests.in_process import command


class PacedCard:
    """A card on a contactless reader of a counter that knows its access number."""

    def __init__(self, card: SimulatedEGK) -> None:
        self._card = card
        self.atr = card.atr
        self.reset()

    def reset(self) -> None:
        self._card.reset()
        self._channel = PacedChannel.open(self._card, "123123")

    def transmit(self, command: bytes) -> bytes:
        return self._channel.transmit(command)


@dataclass
class German:
    """A centre where an insured person has a German health card."""

    desk: Desk
    image: EGKImage


async def _register(city: City, row: dict[str, str]) -> None:
    folder = city.directory / "german"
    folder.mkdir()
    with (folder / "cards.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, row, lineterminator="\n")
        writer.writeheader()
        writer.writerow(row)
    await command(
        "cardserver", "registry", "import", "--config", str(city.config_file), str(folder)
    )


@pytest.fixture
async def german(city: City) -> AsyncIterator[German]:
    authority = CardAuthority(Random(1).randbytes)
    anchors = city.directory / "anchors"
    anchors.mkdir()
    (anchors / "root.cvc").write_bytes(authority.root.encode())
    configure(city, "cards", anchors_directory="anchors")
    process = CentreProcess(city.config_file)
    desk = Desk(city, process)
    person_no = next(
        int(row["person_no"])
        for row in iterate_cards(city.population)
        if row["card_no"] == str(desk.card_data(0).card_no)
    )
    await _register(city, FICTITIOUS_EGK.registry_row(card_no=900_003, person_no=person_no))
    await process.start()
    yield German(desk, print_egk(FICTITIOUS_EGK, authority, Random(2).randbytes))
    await process.stop()


async def test_a_card_is_opened_and_settled_with(german: German) -> None:
    desk = german.desk
    async with desk.client(await desk.enrol("G1")) as client:
        for card in (
            SimulatedEGK(german.image),
            PacedCard(SimulatedEGK(german.image, is_contactless=True)),
        ):
            opening = await client.open_card(Reader(card))
            body = opening.answer.body
            assert opening.answer.is_approved, opening.answer.reply
            assert (body.profile, body.proof) == ("egk", ProofLevel.GENUINE_CARD)
            assert body.round_trips == 1
            assert (body.holder_name, body.holder_id) == ("Erika Mustermann", "X110540756")
            bill = desk.bill(1)
            shown = await client.request(
                MessageType.PREVIEW, Preview(bill), card_session=body.card_session
            )
            assert shown.is_approved
            settled = await client.request(
                MessageType.SETTLE,
                settle_of(bill, shown.body.split),
                card_session=body.card_session,
            )
            assert settled.is_approved


async def test_a_pin_is_verified_or_changed_at_the_counter(german: German) -> None:
    desk = german.desk
    card = SimulatedEGK(german.image)
    typed: list[tuple[PINKind, int]] = []
    pins: dict[PINKind, str | None] = {}

    async def holder(request: PINRequest) -> str | None:
        typed.append((request.kind, request.tries_left))
        return pins[request.kind]

    async with desk.client(await desk.enrol("G1")) as client:
        for action, current, new, result, tries in (
            (PINAction.VERIFY, "654321", None, PINResult.WRONG, 2),
            (PINAction.VERIFY, None, None, PINResult.NOT_GIVEN, 2),
            (PINAction.CHANGE, "654321", "135790", PINResult.WRONG, 1),
            (PINAction.CHANGE, "123456", "135790", PINResult.CHANGED, -1),
            (PINAction.VERIFY, "135790", None, PINResult.RIGHT, -1),
        ):
            pins.update({PINKind.CURRENT: current, PINKind.NEW: new})
            opening = await client.open_card(Reader(card), pin_action=action, pin_entry=holder)
            body = opening.answer.body
            assert opening.answer.is_approved
            assert (body.pin_result, body.pin_tries) == (result, tries)
            assert body.round_trips == 2
    assert typed[0] == (PINKind.CURRENT, 3)


async def test_a_blocked_pin_is_not_asked_for(german: German) -> None:
    desk = german.desk
    card = SimulatedEGK(german.image)
    for _ in range(3):
        card.transmit(bytes.fromhex("0020000108") + pin_block("654321"))

    async def holder(_request: PINRequest) -> str | None:
        raise AssertionError("a blocked PIN was asked for")

    async with desk.client(await desk.enrol("G1")) as client:
        opening = await client.open_card(
            Reader(card), pin_action=PINAction.VERIFY, pin_entry=holder
        )
        body = opening.answer.body
        assert (body.pin, body.pin_result, body.round_trips) == (
            PINState.BLOCKED, PINResult.NOT_ASKED, 1,
        )  # fmt: skip


async def test_what_is_not_the_card_is_refused(german: German) -> None:
    desk = german.desk
    genuine = RewritingCard(SimulatedEGK(german.image), {})
    strange = print_egk(FICTITIOUS_EGK, CardAuthority(Random(9).randbytes))
    unknown = replace(FICTITIOUS_EGK, iccsn="80276009999900000026")
    async with desk.client(await desk.enrol("G1")) as client:
        assert (await client.open_card(Reader(genuine))).answer.is_approved
        for card, code in (
            (genuine.recording(), ResponseCode.CARD_NOT_GENUINE),
            (
                SimulatedEGK(replace(german.image, card_key=b"\1" * 32)),
                ResponseCode.CARD_NOT_GENUINE,
            ),
            (SimulatedEGK(strange), ResponseCode.CARD_NOT_GENUINE),
            (
                SimulatedEGK(print_egk(unknown, CardAuthority(Random(1).randbytes))),
                ResponseCode.CARD_NOT_REGISTERED,
            ),
            (SimulatedEGK(german.image, is_contactless=True), ResponseCode.CARD_UNEXPECTED_STATUS),
        ):
            channel: Any = card
            opening = await client.open_card(Reader(channel))
            assert opening.answer.code == code, opening.answer
