"""Vectors computed from the standard's text (parts 4 and 9), and the ciphers' own known answers."""

from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4

from protocol.card.errors import AlgorithmUnsupportedError
from protocol.card.profiles.social_security_keys import (
    Algorithm,
    CardKey,
    authentication_data,
    card_key,
    city_factor,
    diversify,
    encrypt_data,
    message_authentication_code,
    province_factor,
    session_key,
)

ROOT = CardKey(range(16))
REGION = "639900"
IDENTITY = bytes.fromhex("8697159900BF7C7A")
FACTOR = bytes.fromhex("1122334455667788")
ORIGINAL = bytes.fromhex("99AABBCCDDEEFF00")


@dataclass(frozen=True)
class Vector:
    algorithm: Algorithm
    province: str
    city: str
    card: str
    session: str
    authentication: str


VECTORS = [
    Vector(
        Algorithm.TRIPLE_DES,
        "37E8E45C49E289A24849909F2E4AEC86",
        "8DB5C53F6CBEB3B575C0BEE9236560D9",
        "17DB4336DA83BDE7F509E7F34192E2BE",
        "9888E725390F98D5",
        "698CE898313CC36F",
    ),
    Vector(
        Algorithm.SM4,
        "6C114867983345DDA32C01B8B4330C5F",
        "9DA13ABABDFDE094B7BEDD5F431C4A22",
        "F34D877883F3A81E61B79B7873D20CF2",
        "781D56B64E1B54ECFE425DB962A635A7",
        "2DE36924D57D5F48",
    ),
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.algorithm.name)
def test_keys_are_derived_level_by_level(vector: Vector) -> None:
    province = diversify(vector.algorithm, ROOT, province_factor(REGION))
    city = diversify(vector.algorithm, province, city_factor(REGION))
    card = diversify(vector.algorithm, city, IDENTITY)
    assert [key.hex().upper() for key in (province, city, card)] == [
        vector.province,
        vector.city,
        vector.card,
    ]
    assert card_key(vector.algorithm, ROOT, region=REGION, identity=IDENTITY) == card


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.algorithm.name)
def test_a_challenge_is_answered(vector: Vector) -> None:
    session = session_key(vector.algorithm, CardKey(bytes.fromhex(vector.card)), FACTOR)
    assert session.hex().upper() == vector.session
    answer = authentication_data(vector.algorithm, session, ORIGINAL)
    assert answer.hex().upper() == vector.authentication


def test_factors_are_those_of_the_standard() -> None:
    assert province_factor("650100").hex() == "3635303030307368"
    assert city_factor("650100").hex() == "3635303130307378"
    assert province_factor(REGION).hex() == "3633303030307368"
    assert city_factor(REGION).hex() == "3633393930307378"


def test_sm4_is_sm4() -> None:
    """GB/T 32907-2016, A.1."""
    block = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
    encryptor = Cipher(SM4(block), modes.ECB()).encryptor()
    assert encryptor.update(block).hex().upper() == "681EDF34D206965E86B3E94F536E4246"


def test_a_challenge_of_four_bytes_is_filled_up() -> None:
    for algorithm in (Algorithm.TRIPLE_DES, Algorithm.SM4):
        assert session_key(algorithm, ROOT, b"\1\2\3\4") == session_key(
            algorithm, ROOT, b"\1\2\3\4\0\0\0\0"
        )


def test_single_des_is_des() -> None:
    """NIST SP 800-17, table A.1: variable plaintext, key 0101010101010101."""
    session = CardKey(bytes.fromhex("0101010101010101"))
    answer = authentication_data(Algorithm.TRIPLE_DES, session, bytes.fromhex("8000000000000000"))
    assert answer.hex().upper() == "95F8A5E5DD31D900"


@pytest.mark.parametrize("size", [0, 1, 7, 8, 15, 16, 17, 40])
@pytest.mark.parametrize("algorithm", [Algorithm.TRIPLE_DES, Algorithm.SM4])
def test_a_mac_is_the_folded_last_block_of_cbc(algorithm: Algorithm, size: int) -> None:
    """Beside the library's own CBC."""
    session = session_key(algorithm, ROOT, FACTOR)
    message = bytes(range(size))
    if algorithm is Algorithm.SM4:
        padded = (message + b"\x80").ljust((size // 16 + 1) * 16, b"\0")
        encryptor = Cipher(SM4(bytes(session)), modes.CBC(bytes(16))).encryptor()
        last = encryptor.update(padded)[-16:]
        words = [int.from_bytes(last[index : index + 4], "big") for index in (0, 4, 8, 12)]
        wanted = (words[0] ^ words[1] ^ words[2] ^ words[3]).to_bytes(4, "big")
    else:
        padded = (message + b"\x80").ljust((size // 8 + 1) * 8, b"\0")
        block = bytes(8)
        for offset in range(0, len(padded), 8):
            mixed = bytes(a ^ b for a, b in zip(block, padded[offset : offset + 8], strict=True))
            block = authentication_data(algorithm, session, mixed)
        wanted = block[:4]
    assert message_authentication_code(algorithm, session, message) == wanted


@pytest.mark.parametrize("algorithm", [Algorithm.TRIPLE_DES, Algorithm.SM4])
def test_encrypted_data_is_whole_blocks(algorithm: Algorithm) -> None:
    session = session_key(algorithm, ROOT, FACTOR)
    size = 16 if algorithm is Algorithm.SM4 else 8
    for length in (0, size - 2, size - 1, 100):
        encrypted = encrypt_data(algorithm, session, bytes(length))
        assert len(encrypted) == (length + 2 + size - 1) // size * size


def test_ssf33_can_not_be_computed() -> None:
    for compute in (
        lambda: diversify(Algorithm.SSF33, ROOT, FACTOR),
        lambda: session_key(Algorithm.SSF33, ROOT, FACTOR),
        lambda: authentication_data(Algorithm.SSF33, ROOT, ORIGINAL),
        lambda: message_authentication_code(Algorithm.SSF33, ROOT, b"x"),
        lambda: encrypt_data(Algorithm.SSF33, ROOT, b"x"),
    ):
        with pytest.raises(AlgorithmUnsupportedError):
            compute()


def test_a_key_does_not_show_itself() -> None:
    assert repr(ROOT) == "<CardKey>"
    assert "00" not in f"{[ROOT]}"
