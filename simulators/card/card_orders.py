"""Cards as a TOML file orders them: what is on each, how it behaves, which slot it goes into.

    keys = "keys"                # root keys; without them, keys of nobody's

    [[card]]
    slot = 1
    version = "3.00"
    algorithm = "sm4"
    pin = "624815"
    timing = "chip"
    fault = [{ kind = "pulled", at = 12 }]

    [[card]]
    slot = 2
    population = "city"
    number = "B00000001"

    [[card]]
    slot = 3
    profile = "egk"
    image = "card.xml"

Not here: what each card type does with its data (`social_security_card.py` and its neighbours),
the command line (`simulators/commands/card.py`).
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from protocol.card.profiles import social_security_medical as medical
from protocol.card.profiles.social_security_keys import Algorithm
from simulators.card import taiwan_nhi, thai_nhso
from simulators.card.chip_timing import TIMINGS, TimedCard
from simulators.card.egk import SimulatedEGK
from simulators.card.egk_image import ImageError, read_image
from simulators.card.egk_print import FICTITIOUS_EGK, CardAuthority, EGKData, print_egk
from simulators.card.faults import Fault, FaultKind, FaultyCard
from simulators.card.population_cards import CardNotFoundError, find_card
from simulators.card.simulated_card import PoweredCard
from simulators.card.social_security_card import (
    ALGORITHM_NAMES,
    FICTITIOUS,
    CardData,
    RootKeys,
    print_card,
    print_clone,
)
from simulators.card.transcript import ReplayedCard, TranscriptError, read_transcript

D = TypeVar("D", EGKData, taiwan_nhi.CardData, thai_nhso.CardData)

SLOTS_MAX = 8
_ALGORITHMS = {name: algorithm for algorithm, name in ALGORITHM_NAMES.items()}
_REGION_START = 7
_SERIAL_SIZE = 4
_CARD_ID_INNER = bytes.fromhex("D156000005")

Hex = Annotated[str, Meta(pattern="^([0-9A-Fa-f]{2})*$")]
Digits = Annotated[str, Meta(pattern="^[0-9]*$")]


class OrderError(Exception):
    """A card can't be made as it was ordered; the sentence says why."""


class FaultOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """A fault as the file has it; fields as in `Fault`, bytes in hex."""

    kind: FaultKind
    at: int = 0
    match: Hex = ""
    times: int = 0
    ms: int = 0
    value: Hex = ""
    bit: int = 0

    def fault(self) -> Fault:
        """Make the fault."""
        return Fault(
            self.kind,
            at=self.at,
            match=bytes.fromhex(self.match),
            times=self.times,
            ms=self.ms,
            value=bytes.fromhex(self.value),
            bit=self.bit,
        )


class LogOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """A record of the settlement log, as in `LogRecord`."""

    sequence: Annotated[int, Meta(ge=0, le=0xFFFF)]
    kind: Literal["1", "2"]
    terminal: Annotated[str, Meta(pattern="^[0-9]{12}$")]
    time: Annotated[str, Meta(pattern="^[0-9]{14}$")]
    account_fen: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0
    own_pay_fen: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0
    pool_fen: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0

    def record(self) -> medical.LogRecord:
        """Make the record."""
        return medical.LogRecord(
            self.sequence,
            self.kind,
            self.terminal,
            self.time,
            self.account_fen,
            self.own_pay_fen,
            self.pool_fen,
        )


class CardOrder(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One card; what is left out is the fictitious holder's.

    Attributes:
        slot: Of the virtual reader, from 1.
        population: A made-up city's folder, with `number`.
        image: An image of a health card.
        replay: A transcript that is the card.
        record: Where its exchanges are written.
        timing: `none`, or as what kind of chip it takes its time.
        fault: What goes wrong, in the order in which it is looked at.
        is_clone: A copy of its data, without its keys.
        is_wrong_key: Its internal key is another one, its external key is right.
        holder: Fields of the other card types' data, by name.
    """

    slot: Annotated[int, Meta(ge=1, le=SLOTS_MAX)] = 1
    profile: Literal["social_security_card", "egk", "taiwan_nhi", "thai_nhso"] = (
        "social_security_card"
    )
    population: str = ""
    number: str = ""
    image: str = ""
    replay: str = ""
    record: str = ""
    timing: Literal["none", "chip", "fast-chip", "contactless-chip"] = "none"
    fault: tuple[FaultOrder, ...] = ()
    is_clone: bool = False
    is_wrong_key: bool = False
    is_contactless: bool = False
    declares_algorithm: bool = True
    version: Literal["1.00", "2.00", "3.00"] | None = None
    algorithm: Literal["3des", "ssf33", "sm4"] | None = None
    pin: Annotated[str, Meta(pattern="^([0-9]{4,12})?$")] = ""
    pin_tries: Annotated[int, Meta(ge=0, le=15)] = 6
    region: Annotated[str, Meta(pattern="^[0-9]{6}$")] | None = None
    serial: Annotated[str, Meta(pattern="^[0-9A-Fa-f]{8}$")] | None = None
    card_class: Literal["1", "2", "3", "4"] | None = None
    card_number: Annotated[str, Meta(max_length=9)] | None = None
    holder_number: Annotated[str, Meta(max_length=18)] | None = None
    holder_name: Annotated[str, Meta(min_length=1, max_length=25)] | None = None
    begins: Annotated[int, Meta(ge=19000101, le=29991231)] | None = None
    ends: Annotated[int, Meta(ge=19000101, le=29991231)] | None = None
    medical: dict[str, str] = {}
    log: tuple[LogOrder, ...] = ()
    holder: dict[str, str | int | bool] = {}


class Orders(Struct, frozen=True, forbid_unknown_fields=True):
    """A file of cards.

    Attributes:
        keys: Folder of the fund's root keys; empty for keys of nobody's.
        card: The cards.
    """

    card: Annotated[tuple[CardOrder, ...], Meta(min_length=1, max_length=SLOTS_MAX)]
    keys: str = ""


@dataclass(frozen=True, slots=True)
class MadeCard:
    """A card made to order.

    Attributes:
        name: What to call it: type and number.
    """

    name: str
    card: PoweredCard = field(repr=False)


def read_orders(path: Path) -> Orders:
    """Read a file of cards; paths in it start at the file.

    Raises:
        OrderError: It is no such file; the sentence names the key.
    """
    try:
        orders = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Orders)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as unreadable:
        raise OrderError(f"{path} can't be read: {unreadable}") from unreadable
    except msgspec.ValidationError as wrong:
        raise OrderError(f"{path}: {wrong}") from wrong
    slots = [card.slot for card in orders.card]
    if len(set(slots)) != len(slots):
        raise OrderError(f"{path}: two cards are ordered for one slot")
    folder = path.parent
    return Orders(
        card=tuple(
            msgspec.structs.replace(
                card,
                population=_from(folder, card.population),
                image=_from(folder, card.image),
                replay=_from(folder, card.replay),
                record=_from(folder, card.record),
            )
            for card in orders.card
        ),
        keys=_from(folder, orders.keys),
    )


def make_card(order: CardOrder, keys: Path | None) -> MadeCard:
    """Make a card as ordered, with its faults and its speed; its record is the caller's.

    Raises:
        OrderError: It can't be made.
    """
    try:
        made = _replayed(order) if order.replay else _MAKERS[order.profile](order, keys)
        card = made.card
        if order.fault:
            card = FaultyCard(card, [each.fault() for each in order.fault])
        if order.timing != "none":
            card = TimedCard(card, TIMINGS[order.timing])
    except (OSError, ValueError, CardNotFoundError, ImageError, TranscriptError) as wrong:
        raise OrderError(f"the card for slot {order.slot} can't be made: {wrong}") from wrong
    return MadeCard(made.name, card)


def _replayed(order: CardOrder) -> MadeCard:
    return MadeCard(f"recording {order.replay}", ReplayedCard(read_transcript(Path(order.replay))))


def _social_security(order: CardOrder, keys: Path | None) -> MadeCard:
    data = _social_security_data(order)
    name = f"{data.card_number} ({data.version}, {data.algorithm.name})"
    if order.is_clone:
        return MadeCard(f"clone {name}", print_clone(data))
    has_keys = keys is not None and data.algorithm is not Algorithm.SSF33
    roots = RootKeys.read(keys, data.algorithm) if keys and has_keys else RootKeys.draw()
    if order.is_wrong_key:
        roots = replace(roots, internal=RootKeys.draw().internal)
    return MadeCard(f"card {name}", print_card(data, roots))


def _social_security_data(order: CardOrder) -> CardData:
    if bool(order.population) != bool(order.number):
        raise OrderError("population and number belong together")
    data = find_card(Path(order.population), order.number) if order.population else FICTITIOUS
    data = replace(
        data,
        version=order.version or data.version,
        algorithm=_ALGORITHMS[order.algorithm] if order.algorithm else data.algorithm,
        region=order.region or data.region,
        card_class=order.card_class or data.card_class,
        card_number=order.card_number or data.card_number,
        holder_number=order.holder_number or data.holder_number,
        holder_name=order.holder_name or data.holder_name,
        begins=order.begins or data.begins,
        ends=order.ends or data.ends,
        pin=order.pin,
        pin_tries=order.pin_tries,
        is_contactless=order.is_contactless,
        declares_algorithm=order.declares_algorithm,
        medical_items=tuple((int(tag, 16), text) for tag, text in order.medical.items()),
        log=tuple(each.record() for each in order.log),
    )
    return _with_serial(data, order)


def _with_serial(data: CardData, order: CardOrder) -> CardData:
    """Write region and serial where they stand: in the ATR (T8 to TD) and in the card id."""
    if order.region is None and order.serial is None:
        return data
    region = bytes.fromhex(data.region)
    serial = bytes.fromhex(order.serial) if order.serial else data.historical[-_SERIAL_SIZE:]
    return replace(
        data,
        historical=data.historical[:_REGION_START] + region[:2] + serial,
        card_id=region + _CARD_ID_INNER + serial + data.card_id[-_SERIAL_SIZE:],
        issuer=region + data.issuer[len(region) :],
    )


def _egk(order: CardOrder, _keys: Path | None) -> MadeCard:
    if order.image:
        image = read_image(Path(order.image))
    else:
        data = _with_holder(FICTITIOUS_EGK, order)
        image = print_egk(data, CardAuthority())
    return MadeCard(
        f"eGK {order.image or 'of a made-up authority'}",
        SimulatedEGK(image, is_contactless=order.is_contactless),
    )


def _taiwan_nhi(order: CardOrder, _keys: Path | None) -> MadeCard:
    data = _with_holder(taiwan_nhi.FICTITIOUS, order)
    return MadeCard(f"Taiwan NHI card {data.card_number}", taiwan_nhi.TaiwanNHICard(data))


def _thai_nhso(order: CardOrder, _keys: Path | None) -> MadeCard:
    data = _with_holder(thai_nhso.FICTITIOUS, order)
    return MadeCard(f"Thai NHSO card {data.cid}", thai_nhso.ThaiNHSOCard(data))


def _with_holder(data: D, order: CardOrder) -> D:
    """Change fields of a card's data, by name; each keeps its type."""
    for name, value in order.holder.items():
        before = getattr(data, name, None)
        if type(before) is not type(value):
            names = ", ".join(each.name for each in fields(data))
            raise OrderError(f"holder.{name} is no such field, or of another type: {names}")
        data = replace(data, **{name: value})
    return data


_MAKERS: Mapping[str, Callable[[CardOrder, Path | None], MadeCard]] = {
    "social_security_card": _social_security,
    "egk": _egk,
    "taiwan_nhi": _taiwan_nhi,
    "thai_nhso": _thai_nhso,
}
"""A card type joins the command with a line here."""


def _from(folder: Path, path: str) -> str:
    return str(folder / path) if path else ""
