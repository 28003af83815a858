"""A reader attached to the centre opens cards as one at a terminal does."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cardserver.cards.attached_reader import AttachedReader
from cardserver.cards.file_keystore import FileKeyStore
from cardserver.cards.opening import OpenedCard
from cardserver.cards.refusals import CardRefusal
from cardserver.cards.refusals import CardRefusalReason as Reason
from cardserver.registry.values import Card, CardNumber, CardState
from protocol.card.profiles.social_security_card import PROFILE
from simulators.card.faults import RemovedCard
from simulators.card.simulated_card import PoweredCard
from simulators.card.social_security_card import FICTITIOUS, RootKeys, print_card, print_clone
from simulators.card.virtual_reader import VirtualReaderCard
from terminals.readers.pcsc import PCSCReader

DATA = replace(FICTITIOUS, version="3.00")


class OneCard:
    """A registry of one card."""

    async def card_by_identity(self, _profile: str, region: str, identity: bytes) -> Card | None:
        if (region, identity) != (DATA.region, DATA.identity):
            return None
        return Card(
            card_no=1,
            profile=PROFILE,
            identity=DATA.identity,
            region=DATA.region,
            card_number=CardNumber(DATA.card_number),
            card_id=DATA.card_id,
            person_no=1,
            version=DATA.version,
            algorithm=int(DATA.algorithm),
            card_class=DATA.card_class,
            issuer=DATA.issuer,
            begins=DATA.begins,
            ends=DATA.ends,
            state=CardState.VALID,
        )


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for usage in ("IRK", "RKSSSE"):
        path = tmp_path / f"{usage}.3des.1.key"
        path.write_bytes(os.urandom(16))
        path.chmod(0o600)
    return tmp_path


@pytest.fixture
def store(keys: Path, keystore_of: Callable[[Path], FileKeyStore]) -> FileKeyStore:
    return keystore_of(keys)


def attached(reader: PCSCReader, store: FileKeyStore) -> AttachedReader:
    return AttachedReader(reader, keys=store, cards=OneCard(), issuers=(), random_bytes=os.urandom)


async def opens(slot: str, store: FileKeyStore, card: PoweredCard) -> OpenedCard | CardRefusal:
    """Open a card that was put in a moment ago; the service learns of it a little later."""
    async with VirtualReaderCard(card), PCSCReader(slot) as reader, asyncio.timeout(10):
        while True:
            opened = await attached(reader, store).open(today=20261121, wants_holder=True)
            if isinstance(opened, OpenedCard) or "there is no card" not in opened.detail_en:
                return opened
            await asyncio.sleep(0.02)


async def test_a_card_is_opened(slots: Any, keys: Path, store: FileKeyStore) -> None:
    opened = await opens(slots[0], store, print_card(DATA, RootKeys.read(keys, DATA.algorithm)))
    assert isinstance(opened, OpenedCard), opened
    assert (opened.holder_name, opened.round_trips) == ("张三", 2)


async def test_a_clone_is_refused(slots: Any, store: FileKeyStore) -> None:
    refusal = await opens(slots[0], store, print_clone(DATA))
    assert isinstance(refusal, CardRefusal)
    assert refusal.reason is Reason.CARD_NOT_GENUINE


async def test_a_card_that_goes_is_refused(slots: Any, keys: Path, store: FileKeyStore) -> None:
    card = print_card(DATA, RootKeys.read(keys, DATA.algorithm))
    refusal = await opens(slots[0], store, RemovedCard(card, 5))
    assert isinstance(refusal, CardRefusal)
    assert refusal.reason is Reason.CARD_REMOVED


async def test_visits_take_turns(slots: Any, connect: Any, keys: Path, store: FileKeyStore) -> None:
    card = print_card(DATA, RootKeys.read(keys, DATA.algorithm))
    async with VirtualReaderCard(card), PCSCReader(slots[0]) as pcsc:
        await connect(pcsc)
        reader = attached(pcsc, store)
        both = await asyncio.gather(
            *(reader.open(today=20261121, wants_holder=True) for _ in range(2))
        )
    assert all(isinstance(each, OpenedCard) for each in both), both


async def test_an_empty_or_unknown_reader_refuses(slots: Any, store: FileKeyStore) -> None:
    for name, reason in ((slots[0], Reason.CARD_REMOVED), ("none", Reason.CARD_READER_FAULT)):
        async with PCSCReader(name) as reader:
            refusal = await attached(reader, store).open(today=20261121, wants_holder=True)
        assert isinstance(refusal, CardRefusal)
        assert refusal.reason is reason
