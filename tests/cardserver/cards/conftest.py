"""A made-up fund's keys, cards of every version and cipher, and the registry that issued them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest

from cardserver.cards.file_keystore import FileKeyStore
from cardserver.cards.opening import OpenedCard, open_card
from cardserver.cards.refusals import CardRefusal
from cardserver.cards.visit import FirstAnswers
from cardserver.registry.values import Card, CardNumber, CardState
from protocol.card.catalogue import OPENINGS
from protocol.card.profiles.social_security_keys import Algorithm, CardKey
from protocol.card.script import Batch
from simulators.card.social_security_card import FICTITIOUS, CardData, RootKeys
from terminals.readers.channel import BatchAnswers, CardChannel, run_batch

TODAY = 20261121


class Registry:
    """The registry as opening a card sees it."""

    def __init__(self) -> None:
        self.cards: dict[tuple[str, str, bytes], Card] = {}

    def register(self, data: CardData, **changes: object) -> Card:
        card = Card(
            card_no=7,
            profile="social_security_card",
            identity=data.identity,
            region=data.region,
            card_number=CardNumber(data.card_number),
            card_id=data.card_id,
            person_no=1,
            version=data.version,
            algorithm=int(data.algorithm),
            card_class=data.card_class,
            issuer=data.issuer,
            begins=data.begins,
            ends=data.ends,
            state=CardState.VALID,
        )
        card = replace(card, **changes)
        self.cards[card.profile, card.region, card.identity] = card
        return card

    async def card_by_identity(self, profile: str, region: str, identity: bytes) -> Card | None:
        return self.cards.get((profile, region, identity))


class Relay:
    """Runs batches on a channel, and remembers them."""

    def __init__(self, channel: CardChannel) -> None:
        self.channel = channel
        self.batches: list[Batch] = []

    async def run(self, batch: Batch) -> BatchAnswers:
        self.batches.append(batch)
        return run_batch(self.channel, batch, b"")


@dataclass
class Counter:
    """A counter: puts a card in, sends the opening batch's answers, relays what follows."""

    keys: FileKeyStore
    registry: Registry
    random: Random
    issuers: tuple[bytes, ...] = ()

    def first_answers(self, channel: CardChannel, challenge: bytes | None = None) -> FirstAnswers:
        challenge = challenge or self.random.randbytes(32)
        ran = run_batch(channel, OPENINGS[0].batch, challenge)
        return FirstAnswers(
            atr=channel.atr,
            opening=OPENINGS[0].number,
            challenge=challenge,
            answers=ran.answers,
            outcome=ran.outcome,
            card_time_us=ran.card_time_us,
        )

    async def open(
        self,
        channel: CardChannel,
        *,
        first: FirstAnswers | None = None,
        wants_holder: bool = True,
        today: int = TODAY,
        relay: Relay | None = None,
    ) -> OpenedCard | CardRefusal:
        return await open_card(
            first=first or self.first_answers(channel),
            runner=relay or Relay(channel),
            keys=self.keys,
            cards=self.registry,
            issuers=self.issuers,
            today=today,
            wants_holder=wants_holder,
        )


@pytest.fixture
def random() -> Random:
    return Random(20261121)


@pytest.fixture
def key_directory(tmp_path: Path, random: Random) -> Path:
    directory = tmp_path / "keys"
    directory.mkdir()
    for usage in ("IRK", "RKSSSE"):
        for algorithm in ("3des", "sm4"):
            path = directory / f"{usage}.{algorithm}.1.key"
            path.write_bytes(random.randbytes(16))
            path.chmod(0o600)
    return directory


@pytest.fixture
def roots(key_directory: Path) -> dict[Algorithm, RootKeys]:
    held = {
        algorithm: RootKeys.read(key_directory, algorithm)
        for algorithm in (Algorithm.TRIPLE_DES, Algorithm.SM4)
    }
    return held | {Algorithm.SSF33: RootKeys(CardKey(bytes(16)), CardKey(bytes(16)))}


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def counter(
    key_directory: Path,
    keystore_of: Callable[[Path], FileKeyStore],
    registry: Registry,
    random: Random,
) -> Counter:
    return Counter(keystore_of(key_directory), registry, random)


@pytest.fixture
def data() -> CardData:
    return FICTITIOUS
