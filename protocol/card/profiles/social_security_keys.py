"""Keys and authentication of the social security card (社会保障（个人）卡规范, parts 4 and 9).

Everything here is a function of its arguments. Not here: who holds the root keys
(`cardserver/cards/keystore.py`), the commands that carry the results
(`social_security_card.py`).
"""

from enum import IntEnum, unique
from typing import assert_never

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4

from protocol.card.errors import AlgorithmUnsupportedError

KEY_SIZE = 16
FACTOR_SIZE = 8
MAC_SIZE = 4
_DES_BLOCK = 8
_SM4_BLOCK = 16


@unique
class Algorithm(IntEnum):
    """The card's cipher, as in data object 86 of the directory's FCI (part 4)."""

    TRIPLE_DES = 1
    SSF33 = 2
    SM4 = 3


class CardKey(bytes):
    """A key; its repr shows nothing."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<CardKey>"


def province_factor(region: str) -> bytes:
    """Make the factor of the first level: two digits, `0000`, "sh" (part 9, 8)."""
    assert len(region) == 6  # noqa: PLR2004 - GB/T 2260
    return region[:2].encode("ascii") + b"0000sh"


def city_factor(region: str) -> bytes:
    """Make the factor of the second level: six digits, "sx" (part 9, 8)."""
    assert len(region) == 6  # noqa: PLR2004 - GB/T 2260
    return region.encode("ascii") + b"sx"


def diversify(algorithm: Algorithm, key: CardKey, factor: bytes) -> CardKey:
    """Derive the key one level down (part 9, 7.3).

    3DES: `E(factor) || E(~factor)`; a cipher of 16-byte blocks: `E(factor || ~factor)`.

    Raises:
        AlgorithmUnsupportedError: For SSF33.
    """
    assert len(factor) == FACTOR_SIZE
    complement = bytes(each ^ 0xFF for each in factor)
    return CardKey(_encrypt(algorithm, key, factor + complement))


def region_key(algorithm: Algorithm, root: CardKey, region: str) -> CardKey:
    """Derive the key of a city from the root key."""
    return diversify(
        algorithm, diversify(algorithm, root, province_factor(region)), city_factor(region)
    )


def card_key(algorithm: Algorithm, root: CardKey, *, region: str, identity: bytes) -> CardKey:
    """Derive a card's key from the root key; `identity` is historical bytes 6 to 13."""
    return diversify(algorithm, region_key(algorithm, root, region), identity)


def session_key(algorithm: Algorithm, key: CardKey, factor: bytes) -> CardKey:
    """Make the session key from a challenge (part 4).

    3DES makes a single-DES key of 8 bytes, a cipher of 16-byte blocks one of 16. A challenge of
    4 bytes is filled up with zeros on the right.
    """
    assert len(factor) in {4, FACTOR_SIZE}
    match algorithm:
        case Algorithm.TRIPLE_DES:
            return CardKey(_encrypt(algorithm, key, factor.ljust(_DES_BLOCK, b"\0")))
        case Algorithm.SM4 | Algorithm.SSF33:
            return CardKey(_encrypt(algorithm, key, factor.ljust(_SM4_BLOCK, b"\0")))
        case _:
            assert_never(algorithm)


def authentication_data(algorithm: Algorithm, session: CardKey, original: bytes) -> bytes:
    """Compute the 8 bytes that internal and external authentication carry (part 4)."""
    assert len(original) == FACTOR_SIZE
    match algorithm:
        case Algorithm.TRIPLE_DES:
            return _encrypt(algorithm, session, original)
        case Algorithm.SM4 | Algorithm.SSF33:
            block = _encrypt(algorithm, session, original.ljust(_SM4_BLOCK, b"\0"))
            return _exclusive_or(block[:8], block[8:])
        case _:
            assert_never(algorithm)


def message_authentication_code(algorithm: Algorithm, session: CardKey, message: bytes) -> bytes:
    """Compute the 4-byte MAC over a command's header, Lc and data (part 4).

    CBC from a zero block over the message padded `80 00..`; of the last block the leftmost four
    bytes, or with blocks of 16 the exclusive-or of its four words.
    """
    size = _SM4_BLOCK if algorithm is not Algorithm.TRIPLE_DES else _DES_BLOCK
    padded = message + b"\x80"
    padded = padded.ljust(-(-len(padded) // size) * size, b"\0")
    block = bytes(size)
    for offset in range(0, len(padded), size):
        block = _encrypt(algorithm, session, _exclusive_or(block, padded[offset : offset + size]))
    if size == _DES_BLOCK:
        return block[:MAC_SIZE]
    return _exclusive_or(
        _exclusive_or(block[0:4], block[4:8]), _exclusive_or(block[8:12], block[12:16])
    )


def encrypt_data(algorithm: Algorithm, session: CardKey, data: bytes) -> bytes:
    """Encrypt command data: length, data, padding `80 00..`, block by block (part 4)."""
    assert len(data) <= 0xFF  # noqa: PLR2004 - the length is one byte
    size = _SM4_BLOCK if algorithm is not Algorithm.TRIPLE_DES else _DES_BLOCK
    padded = bytes((len(data),)) + data + b"\x80"
    return _encrypt(algorithm, session, padded.ljust(-(-len(padded) // size) * size, b"\0"))


def _encrypt(algorithm: Algorithm, key: CardKey, data: bytes) -> bytes:
    """Encrypt whole blocks each for itself, which is what the standard builds everything from."""
    match algorithm:
        case Algorithm.TRIPLE_DES:
            # Two-key 3DES repeats the first half; single DES is one key three times over
            # (NIST SP 800-67r2, 3.2). Both are the key repeated up to 24 bytes.
            des_key = (bytes(key) * 3)[:24]
            cipher = Cipher(TripleDES(des_key), modes.ECB())  # noqa: S305 - LD/T 32 asks for it
        case Algorithm.SM4:
            cipher = Cipher(SM4(bytes(key)), modes.ECB())  # noqa: S305 - LD/T 32 asks for it
        case Algorithm.SSF33:
            raise AlgorithmUnsupportedError("SSF33 has no public definition")
        case _:
            assert_never(algorithm)
    encryptor = cipher.encryptor()
    return encryptor.update(data) + encryptor.finalize()


def _exclusive_or(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
