"""Data objects: BER-TLV (ISO/IEC 7816-4:2020, 6.3) and SIMPLE-TLV (6.2).

Not here: which tags a card uses; that is its profile's.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from protocol.card.errors import CardDataError

_LENGTH_BYTES_MAX = 3
_TAG_BYTES_MAX = 3


@dataclass(frozen=True, slots=True)
class TLV:
    """One data object."""

    tag: int
    value: bytes

    @property
    def is_constructed(self) -> bool:
        """Whether the value of a BER-TLV object is itself made of objects."""
        first = self.tag
        while first > 0xFF:  # noqa: PLR2004 - down to the first tag byte
            first >>= 8
        return bool(first & 0x20)

    def encode_ber(self) -> bytes:
        """Write it as BER-TLV with the shortest length."""
        tag = self.tag.to_bytes(max(1, (self.tag.bit_length() + 7) // 8), "big")
        return tag + _ber_length(len(self.value)) + self.value

    def encode_simple(self) -> bytes:
        """Write it as SIMPLE-TLV."""
        assert 0 < self.tag < 0xFF  # noqa: PLR2004 - 00 and FF are not tags
        size = len(self.value)
        assert size <= 0xFFFF  # noqa: PLR2004 - the longest that the form holds
        length = bytes((size,)) if size < 0xFF else b"\xff" + size.to_bytes(2, "big")  # noqa: PLR2004
        return bytes((self.tag,)) + length + self.value


def parse_ber(data: bytes) -> tuple[TLV, ...]:
    """Read BER-TLV objects that stand one after another; `00` and `FF` between them are skipped.

    Raises:
        CardDataError: An object is cut short or a length has a form that is not allowed.
    """
    objects: list[TLV] = []
    offset = 0
    while offset < len(data):
        if data[offset] in {0x00, 0xFF}:
            offset += 1
            continue
        tag, offset = _read_ber_tag(data, offset)
        size, offset = _read_ber_length(data, offset)
        objects.append(TLV(tag, _take(data, offset, size)))
        offset += size
    return tuple(objects)


def parse_simple(data: bytes) -> tuple[TLV, ...]:
    """Read SIMPLE-TLV objects that stand one after another.

    Raises:
        CardDataError: An object is cut short or its tag is 00 or FF.
    """
    objects: list[TLV] = []
    offset = 0
    while offset < len(data):
        tag = data[offset]
        if tag in {0x00, 0xFF}:
            raise CardDataError(f"{tag:02X} is no SIMPLE-TLV tag")
        size = _take(data, offset + 1, 1)[0]
        offset += 2
        if size == 0xFF:  # noqa: PLR2004 - announces a length of two bytes
            size = int.from_bytes(_take(data, offset, 2), "big")
            offset += 2
        objects.append(TLV(tag, _take(data, offset, size)))
        offset += size
    return tuple(objects)


def find(objects: Iterable[TLV], *path: int) -> bytes | None:
    """Follow tags down through BER-TLV templates; None where one of them is absent.

    Raises:
        CardDataError: A template on the way is malformed.
    """
    assert path
    for found in _with_tag(objects, path[0]):
        if len(path) == 1:
            return found.value
        inner = find(parse_ber(found.value), *path[1:])
        if inner is not None:
            return inner
    return None


def _with_tag(objects: Iterable[TLV], tag: int) -> Iterator[TLV]:
    return (each for each in objects if each.tag == tag)


def _read_ber_tag(data: bytes, offset: int) -> tuple[int, int]:
    tag = data[offset]
    offset += 1
    if tag & 0x1F != 0x1F:  # noqa: PLR2004 - five ones announce more tag bytes
        return tag, offset
    for _ in range(_TAG_BYTES_MAX - 1):
        following = _take(data, offset, 1)[0]
        if tag & 0xFF == 0x1F and following == 0x80:  # noqa: PLR2004 - X.690, 8.1.2.4.2 c
            raise CardDataError("a tag begins with an empty byte")
        tag = tag << 8 | following
        offset += 1
        if not following & 0x80:
            return tag, offset
    raise CardDataError(f"a tag has more than {_TAG_BYTES_MAX} bytes")


def _read_ber_length(data: bytes, offset: int) -> tuple[int, int]:
    first = _take(data, offset, 1)[0]
    offset += 1
    if first < 0x80:  # noqa: PLR2004 - the short form
        return first, offset
    count = first & 0x7F
    if not 0 < count <= _LENGTH_BYTES_MAX:
        raise CardDataError(f"a length of form {first:02X} is not allowed")
    return int.from_bytes(_take(data, offset, count), "big"), offset + count


def _ber_length(size: int) -> bytes:
    if size < 0x80:  # noqa: PLR2004 - the short form
        return bytes((size,))
    width = (size.bit_length() + 7) // 8
    assert width <= _LENGTH_BYTES_MAX
    return bytes((0x80 | width,)) + size.to_bytes(width, "big")


def _take(data: bytes, offset: int, size: int) -> bytes:
    if offset + size > len(data):
        raise CardDataError(f"{size} bytes are wanted at {offset}, {len(data) - offset} are there")
    return data[offset : offset + size]
