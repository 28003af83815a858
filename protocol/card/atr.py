"""Answer to reset (ISO/IEC 7816-3:2006, 8.2).

Not here: which card has which ATR; that is `catalogue.py`.
"""

from dataclasses import dataclass

from protocol.card.errors import CardDataError

_SIZE_MIN = 2
_SIZE_MAX = 33
_T0 = 0
_TS_DIRECT = 0x3B
_TS_INVERSE = 0x3F
_OLD_THAI = b"\x3b\x67"  # as readers of these cards tell them apart


@dataclass(frozen=True, slots=True)
class ATR:
    """An answer to reset taken apart.

    Attributes:
        interface: Interface bytes by name, such as `TA1`.
        protocols: Transmission protocols offered, in order; `(0,)` where none is named.
        historical: Historical bytes.
        has_check: Whether a check byte TCK stands at the end.
    """

    ts: int
    interface: dict[str, int]
    protocols: tuple[int, ...]
    historical: bytes
    has_check: bool


def decode_atr(atr: bytes) -> ATR:
    """Take an ATR apart.

    Raises:
        CardDataError: It is cut short, too long, or its check byte is wrong.
    """
    if not _SIZE_MIN <= len(atr) <= _SIZE_MAX:
        raise CardDataError(f"an ATR has 2 to 33 bytes, not {len(atr)}")
    if atr[0] not in {_TS_DIRECT, _TS_INVERSE}:
        raise CardDataError(f"an ATR begins with 3B or 3F, not {atr[0]:02X}")
    interface, protocols, offset = _read_interface(atr)
    historical_end = offset + (atr[1] & 0x0F)
    has_check = any(protocol != _T0 for protocol in protocols)
    if len(atr) != historical_end + has_check:
        raise CardDataError(
            f"the ATR announces {historical_end + has_check} bytes and has {len(atr)}"
        )
    if has_check and _exclusive_or(atr[1:]):
        raise CardDataError("the ATR's check byte is wrong")
    return ATR(atr[0], interface, protocols, atr[offset:historical_end], has_check)


def matches_atr(atr: bytes, *, pattern: bytes, mask: bytes) -> bool:
    """Say whether an ATR has the pattern's length and, under the mask, its bits."""
    assert len(pattern) == len(mask)
    if len(atr) != len(pattern):
        return False
    differing = int.from_bytes(atr, "big") ^ int.from_bytes(pattern, "big")
    return not differing & int.from_bytes(mask, "big")


def get_response_p2(atr: bytes) -> int:
    """Give P2 of GET RESPONSE: 00 (ISO/IEC 7816-4:2020, 11.8.1), but 01 on old Thai cards."""
    return 0x01 if atr.startswith(_OLD_THAI) else 0x00


def _read_interface(atr: bytes) -> tuple[dict[str, int], tuple[int, ...], int]:
    interface: dict[str, int] = {}
    protocols: list[int] = []
    announced = atr[1] >> 4
    offset = 2
    number = 1
    while announced:
        names = [name for bit, name in enumerate("ABCD") if announced & 1 << bit]
        if offset + len(names) > len(atr):
            raise CardDataError("the ATR's interface bytes are cut short")
        for name in names:
            interface[f"T{name}{number}"] = atr[offset]
            offset += 1
        following = interface.get(f"TD{number}")
        announced = 0
        if following is not None:
            protocols.append(following & 0x0F)
            announced = following >> 4
        number += 1
    return interface, tuple(protocols) or (_T0,), offset


def _exclusive_or(data: bytes) -> int:
    value = 0
    for each in data:
        value ^= each
    return value
