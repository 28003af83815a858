"""The social security card's keys and answers, calculated a second time and apart.

Nothing of the project's own cryptography is used: DES is another library's, SM4 is written out here
from its algebra, and the derivations follow parts 4 and 9 of the card standard anew.
"""

from collections.abc import Callable

import pytest
from Crypto.Cipher import DES, DES3
from hypothesis import given
from hypothesis import strategies as st

from protocol.card.profiles.social_security_keys import (
    Algorithm,
    CardKey,
    authentication_data,
    card_key,
    message_authentication_code,
    session_key,
)

_SM4_POLYNOMIAL = 0x1F5  # x^8 + x^7 + x^6 + x^5 + x^4 + x^2 + 1
_SM4_ROW = 0xA7  # the first row of the circulant matrix of the affine map
_SM4_CONSTANT = 0xD3
_SM4_FAMILY = (0xA3B1BAC6, 0x56AA3350, 0x677D9197, 0xB27022DC)
_WORD = 0xFFFFFFFF

Block = Callable[[bytes, bytes], bytes]


# --- SM4 (GB/T 32907-2016) from its algebra --------------------------------------------------


def multiply(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= _SM4_POLYNOMIAL
        b >>= 1
    return product


def inverse(a: int) -> int:
    return next((b for b in range(256) if multiply(a, b) == 1), 0)


def affine(x: int) -> int:
    y = 0
    for bit in range(8):
        row = ((_SM4_ROW << bit) | (_SM4_ROW >> (8 - bit))) & 0xFF
        y |= ((row & x).bit_count() & 1) << bit
    return y ^ _SM4_CONSTANT


S_BOX = [affine(inverse(affine(x))) for x in range(256)]


def rotate(word: int, count: int) -> int:
    return ((word << count) | (word >> (32 - count))) & _WORD


def substitute(word: int) -> int:
    return int.from_bytes(bytes(S_BOX[byte] for byte in word.to_bytes(4, "big")), "big")


def words(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 4], "big") for at in range(0, 16, 4)]


def sm4(key: bytes, block: bytes) -> bytes:
    state = [word ^ constant for word, constant in zip(words(key), _SM4_FAMILY, strict=True)]
    x = words(block)
    for round_ in range(32):
        constant = int.from_bytes(bytes((4 * round_ + j) * 7 % 256 for j in range(4)), "big")
        t = substitute(state[1] ^ state[2] ^ state[3] ^ constant)
        state = [*state[1:], state[0] ^ t ^ rotate(t, 13) ^ rotate(t, 23)]
        t = substitute(x[1] ^ x[2] ^ x[3] ^ state[3])
        x = [*x[1:], x[0] ^ t ^ rotate(t, 2) ^ rotate(t, 10) ^ rotate(t, 18) ^ rotate(t, 24)]
    return b"".join(word.to_bytes(4, "big") for word in reversed(x))


def triple_des(key: bytes, block: bytes) -> bytes:
    left, right = DES.new(key[:8], DES.MODE_ECB), DES.new(key[8:], DES.MODE_ECB)
    return left.encrypt(right.decrypt(left.encrypt(block)))


# --- the standard's derivations, anew --------------------------------------------------------


def invert(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)


def exclusive_or(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def diversified(cipher: Algorithm, key: bytes, factor: bytes) -> bytes:
    if cipher is Algorithm.SM4:
        return sm4(key, factor + invert(factor))
    return triple_des(key, factor) + triple_des(key, invert(factor))


def key_of_card(cipher: Algorithm, root: bytes, region: str, identity: bytes) -> bytes:
    province = region[:2].encode() + b"0000" + b"sh"
    city = region.encode() + b"sx"
    for factor in (province, city, identity):
        root = diversified(cipher, root, factor)
    return root


def session_of(cipher: Algorithm, key: bytes, factor: bytes) -> bytes:
    return sm4(key, factor + bytes(8)) if cipher is Algorithm.SM4 else triple_des(key, factor)


def answer_of(cipher: Algorithm, session: bytes, original: bytes) -> bytes:
    if cipher is Algorithm.SM4:
        block = sm4(session, original + bytes(8))
        return exclusive_or(block[:8], block[8:])
    return DES.new(session, DES.MODE_ECB).encrypt(original)


def padded(data: bytes, size: int) -> bytes:
    data += b"\x80"
    return data + bytes(-len(data) % size)


def mac_of(cipher: Algorithm, session: bytes, data: bytes) -> bytes:
    if cipher is Algorithm.SM4:
        chain = bytes(16)
        message = padded(data, 16)
        for at in range(0, len(message), 16):
            chain = sm4(session, exclusive_or(chain, message[at : at + 16]))
        return exclusive_or(
            exclusive_or(chain[:4], chain[4:8]), exclusive_or(chain[8:12], chain[12:])
        )
    return DES.new(session, DES.MODE_CBC, iv=bytes(8)).encrypt(padded(data, 8))[-8:-4]


# --- both agree ------------------------------------------------------------------------------

KEYS = st.binary(min_size=16, max_size=16)
EIGHT = st.binary(min_size=8, max_size=8)
CIPHERS = st.sampled_from([Algorithm.TRIPLE_DES, Algorithm.SM4])
REGIONS = st.from_regex(r"[1-9][0-9]{5}", fullmatch=True)


def test_the_ciphers_here_are_the_standards() -> None:
    block = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
    assert sm4(block, block).hex().upper() == "681EDF34D206965E86B3E94F536E4246"
    key = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
    assert triple_des(key, block[:8]) == DES3.new(key, DES3.MODE_ECB).encrypt(block[:8])


@pytest.mark.parametrize(
    ("cipher", "card", "session", "answer"),
    [
        (
            Algorithm.TRIPLE_DES,
            "17DB4336DA83BDE7F509E7F34192E2BE",
            "9888E725390F98D5",
            "698CE898313CC36F",
        ),
        (
            Algorithm.SM4,
            "F34D877883F3A81E61B79B7873D20CF2",
            "781D56B64E1B54ECFE425DB962A635A7",
            "2DE36924D57D5F48",
        ),
    ],
)
def test_the_vectors_hold_apart(cipher: Algorithm, card: str, session: str, answer: str) -> None:
    key = key_of_card(cipher, bytes(range(16)), "639900", bytes.fromhex("8697159900BF7C7A"))
    assert key.hex().upper() == card
    used = session_of(cipher, key, bytes.fromhex("1122334455667788"))
    assert used.hex().upper() == session
    assert answer_of(cipher, used, bytes.fromhex("99AABBCCDDEEFF00")).hex().upper() == answer


@given(CIPHERS, KEYS, REGIONS, EIGHT, EIGHT, EIGHT)
def test_both_calculations_agree(
    cipher: Algorithm, root: bytes, region: str, identity: bytes, factor: bytes, original: bytes
) -> None:
    ours = card_key(cipher, CardKey(root), region=region, identity=identity)
    apart = key_of_card(cipher, root, region, identity)
    assert bytes(ours) == apart
    session = session_key(cipher, ours, factor)
    assert bytes(session) == session_of(cipher, apart, factor)
    assert authentication_data(cipher, session, original) == answer_of(
        cipher, bytes(session), original
    )


@given(CIPHERS, KEYS, EIGHT, st.binary(max_size=70))
def test_both_macs_agree(cipher: Algorithm, key: bytes, factor: bytes, data: bytes) -> None:
    session = session_key(cipher, CardKey(key), factor)
    assert message_authentication_code(cipher, session, data) == mac_of(
        cipher, bytes(session), data
    )
