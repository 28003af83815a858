"""A simulated social security card (社会保障卡), versions 1.0 to 3.0, and how one is printed.

A printer reads root keys, diversifies them and writes them with the holder's data into a card.
The holder of `FICTITIOUS` is the standard's own, 张三, who does not exist.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from protocol.card.profiles import social_security_medical as medical
from protocol.card.profiles.social_security_card import (
    ATS_HEADER,
    ITEM_SIZES,
    KEY_EXTERNAL,
    SSSE_NAME,
    VERSION_1,
    VERSION_3,
    Item,
)
from protocol.card.profiles.social_security_keys import Algorithm, CardKey, card_key
from protocol.card.profiles.social_security_medical import LogRecord
from protocol.card.tlv import TLV
from simulators.card.file_system import (
    PIN,
    BinaryFile,
    DedicatedFile,
    RecordFile,
    always,
    any_of,
    key,
    never,
    pin,
)
from simulators.card.simulated_card import SimulatedCard

ALGORITHM_NAMES: Mapping[Algorithm, str] = {
    Algorithm.TRIPLE_DES: "3des",
    Algorithm.SSF33: "ssf33",
    Algorithm.SM4: "sm4",
}
INTERNAL_USAGE = "IRK"
EXTERNAL_USAGE = "RKSSSE"
_ATR_HEADER = bytes.fromhex("3B6D0000")
_KEY_UK1DF04 = 0x0C
_NAME_SIZE = 30


@dataclass(frozen=True, slots=True)
class CardData:
    """What is printed and written on one card.

    Attributes:
        historical: Thirteen historical bytes of the ATR; the last eight diversify its keys.
        region: GB/T 2260 code, six digits.
        issuer: Initialising organisation, 12 bytes.
        begins: YYYYMMDD.
        ends: YYYYMMDD.
        pin: Its digits; empty for a card that asks for none.
        card_no: The registry's number; 0 for a card of no registry.
        pin_tries: How often a wrong PIN may be given; 0 for a card that is blocked.
        declares_algorithm: Whether the directory's FCI names the cipher; older ones don't.
        is_contactless: Whether the card answers as through the field of a contactless reader.
        medical_items: Data items of DF04 by tag, as text; beside those every card has.
        log: Its settlement log, newest first.
    """

    historical: bytes
    region: str
    card_id: bytes = field(repr=False)
    card_class: str
    version: str
    algorithm: Algorithm
    issuer: bytes
    begins: int
    ends: int
    card_number: str = field(repr=False)
    holder_number: str = field(repr=False)
    holder_name: str = field(repr=False)
    sex: int
    birth_date: int
    pin: str = field(repr=False, default="")
    card_no: int = 0
    pin_tries: int = 6
    declares_algorithm: bool = True
    is_contactless: bool = False
    medical_items: tuple[tuple[int, str], ...] = ()
    log: tuple[LogRecord, ...] = ()

    @property
    def atr(self) -> bytes:
        """The answer to reset (part 2)."""
        header = ATS_HEADER if self.is_contactless else _ATR_HEADER
        atr = header + self.historical
        return atr + _check_byte(atr) if self.is_contactless else atr

    @property
    def identity(self) -> bytes:
        """What its keys are diversified by: historical bytes 6 to 13."""
        return self.historical[5:]


FICTITIOUS = CardData(
    historical=bytes.fromhex("00814E43238697159900BF7C7A"),
    region="639900",
    card_id=bytes.fromhex("639900D15600000500BF7C7A48FB4966"),
    card_class="3",
    version=VERSION_1,
    algorithm=Algorithm.TRIPLE_DES,
    issuer=bytes.fromhex("639900000000000000000000"),
    begins=20101001,
    ends=20391001,
    card_number="X00000019",
    holder_number="111111198101011110",
    holder_name="张三",
    sex=1,
    birth_date=19810101,
)
"""The card of the standard's own example, valid for longer."""


@dataclass(frozen=True, slots=True)
class RootKeys:
    """Root keys of one cipher, from which a printer derives a card's own."""

    internal: CardKey
    external: CardKey

    @classmethod
    def read(cls, directory: Path, algorithm: Algorithm, *, version: int = 1) -> "RootKeys":
        """Read `IRK.<algorithm>.<version>.key` and `RKSSSE...` of a key directory."""
        return cls(
            internal=_read_key(directory, INTERNAL_USAGE, algorithm, version),
            external=_read_key(directory, EXTERNAL_USAGE, algorithm, version),
        )

    @classmethod
    def draw(cls, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> "RootKeys":
        """Draw keys that nobody else holds: what whoever copies a card has to do."""
        return cls(internal=CardKey(random_bytes(16)), external=CardKey(random_bytes(16)))


def print_card(
    data: CardData,
    roots: RootKeys,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> SimulatedCard:
    """Make the card that this data and these root keys give."""
    return SimulatedCard(
        atr=data.atr,
        algorithm=data.algorithm,
        directories=(_ssse(data, roots), _medical(data, roots)),
        pin=PIN(data.pin, data.pin_tries) if data.pin else None,
        random_bytes=random_bytes,
        is_block_transfer=data.is_contactless,
    )


def print_clone(
    data: CardData, random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> SimulatedCard:
    """Make a copy of all that can be read from a card; its keys can't be."""
    return print_card(data, RootKeys.draw(random_bytes), random_bytes)


def with_public_data_of(data: CardData, other: CardData) -> CardData:
    """Give a card another one's EF05 and EF06, but keep its ATR and so its keys."""
    return replace(other, historical=data.historical, algorithm=data.algorithm)


def _ssse(data: CardData, roots: RootKeys) -> DedicatedFile:
    is_holder_free = data.version != VERSION_3
    return DedicatedFile(
        fid=0x3F01,
        name=SSSE_NAME,
        fci=_fci(SSSE_NAME, data.algorithm if data.declares_algorithm else None),
        files=(
            RecordFile(0xEF05, 0x05, _public_records(data), read=always, update=never),
            RecordFile(
                0xEF06,
                0x06,
                _holder_records(data),
                read=always if is_holder_free else key(KEY_EXTERNAL),
            ),
            BinaryFile(0xEF08, 0x08, bytearray(0x1000), read=key(KEY_EXTERNAL)),
        ),
        internal_keys={0x00: _diversified(roots.internal, data)},
        external_keys={KEY_EXTERNAL: _diversified(roots.external, data)},
    )


def _medical(data: CardData, roots: RootKeys) -> DedicatedFile:
    may_read = any_of(pin, key(medical.KEY_READ)) if data.pin else always
    return DedicatedFile(
        fid=0xDF04,
        name=medical.DIRECTORY_NAME,
        fci=_fci(medical.DIRECTORY_NAME, data.algorithm),
        files=(
            RecordFile(
                0xEF05, 0x05, _medical_records(data), read=may_read, update=key(_KEY_UK1DF04)
            ),
            RecordFile(
                0xEF08,
                0x08,
                [each.encode() for each in data.log],
                read=may_read,
                update=key(_KEY_UK1DF04),
                cyclic_max=medical.LOG_MAX,
            ),
            RecordFile(
                0xEF15,
                0x15,
                [bytes((number, 0, 0)) for number in range(len(data.log), 0, -1)][
                    : medical.MARKS_MAX
                ],
                read=may_read,
                update=key(_KEY_UK1DF04),
                cyclic_max=medical.MARKS_MAX,
            ),
        ),
        external_keys={
            medical.KEY_READ: _diversified(roots.external, data),
            _KEY_UK1DF04: _diversified(roots.external, data),
        },
    )


def _medical_records(data: CardData) -> list[bytes]:
    items = {0x81: "310", 0x84: data.region, 0x8C: "11", 0x80: f"{data.begins:08d}"}
    items |= dict(data.medical_items)
    return [_medical_record(tag, text) for tag, text in items.items()]


def _medical_record(tag: int, text: str) -> bytes:
    layout = medical.ITEMS.get(tag)
    if layout is None:
        raise ValueError(f"{tag:02X} is no data item of the medical directory")
    if layout.coding is medical.Coding.TEXT:
        value = text.encode("gb18030").ljust(layout.size, b"\0")
    elif len(text) % 2 and len(text) > 2 * layout.size:
        raise ValueError(f"data item {tag:02X} holds {layout.size} bytes of digits")
    else:
        value = bytes.fromhex(text.ljust(2 * layout.size, "F"))
    if layout.size not in {0, len(value)}:
        raise ValueError(f"data item {tag:02X} holds {layout.size} bytes, not {len(value)}")
    return TLV(tag, value).encode_simple()


def _fci(name: bytes, algorithm: Algorithm | None) -> bytes:
    """Build what SELECT answers (part 2): name, SFI of the directory file, cipher if declared."""
    proprietary = TLV(0x88, b"\x1e").encode_ber()
    if algorithm is not None:
        issuer_data = TLV(0x9F0C, TLV(0x86, bytes((algorithm,))).encode_ber())
        proprietary += issuer_data.encode_ber()
    return TLV(
        0x6F, TLV(0x84, name).encode_ber() + TLV(0xA5, proprietary).encode_ber()
    ).encode_ber()


def _check_byte(atr: bytes) -> bytes:
    """Compute TCK, which an ATR that offers T=1 has (ISO/IEC 7816-3:2006, 8.2.5)."""
    value = 0
    for each in atr[1:]:
        value ^= each
    return bytes((value,))


def _public_records(data: CardData) -> list[bytes]:
    return [
        _record(Item.CARD_ID, data.card_id),
        _record(Item.CARD_CLASS, data.card_class.encode("ascii")),
        _record(Item.VERSION, data.version.encode("ascii")),
        _record(Item.INITIALISING_ORGANISATION, data.issuer),
        _record(Item.ISSUE_DATE, bytes.fromhex(f"{data.begins:08d}")),
        _record(Item.VALID_TO, bytes.fromhex(f"{data.ends:08d}")),
        _record(Item.CARD_NUMBER, data.card_number.encode("ascii")),
    ]


def _holder_records(data: CardData) -> list[bytes]:
    name = data.holder_name.encode("gb18030")
    records = [
        _record(Item.SOCIAL_SECURITY_NUMBER, data.holder_number.encode("ascii")),
        _record(Item.NAME, name[:_NAME_SIZE]),
        _record(Item.SEX, str(data.sex).encode("ascii")),
        _record(Item.NATION, b"\x01"),
        _record(Item.BIRTHPLACE, bytes.fromhex(data.region)),
        _record(Item.BIRTH_DATE, bytes.fromhex(f"{data.birth_date:08d}")),
    ]
    if len(name) > _NAME_SIZE:
        records.append(_record(Item.NAME_EXTENSION, name[_NAME_SIZE:]))
    return records


def _record(item: Item, value: bytes) -> bytes:
    size = ITEM_SIZES[item]
    if len(value) > size:
        raise ValueError(f"data item {item:02X} holds {size} bytes, not {len(value)}")
    return TLV(item, value.ljust(size, b"\0")).encode_simple()


def _diversified(root: CardKey, data: CardData) -> CardKey:
    if data.algorithm is Algorithm.SSF33:
        return root  # nobody outside knows the cipher; the card answers with noise
    return card_key(data.algorithm, root, region=data.region, identity=data.identity)


def _read_key(directory: Path, usage: str, algorithm: Algorithm, version: int) -> CardKey:
    path = directory / f"{usage}.{ALGORITHM_NAMES[algorithm]}.{version}.key"
    value = path.read_bytes()
    if len(value) != 16:  # noqa: PLR2004 - two DES keys, or one of SM4
        raise ValueError(f"{path} has {len(value)} bytes, a root key has 16")
    return CardKey(value)
