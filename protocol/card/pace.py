"""PACE with the card access number, generic mapping, AES-128 (ICAO 9303-11, 4.4; TR-03110-3).

The number proves nothing by itself; it keeps whoever has not seen the card from talking to it
through the air. Both ends come out with the keys of a secure channel. Not here: the channel
(`secure_messaging.py`), where the number comes from.
"""

from hashlib import sha1
from hmac import compare_digest

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from protocol.card.apdu import EXTENDED_LE_MAX, CommandAPDU, Instruction
from protocol.card.elliptic_curve import POINT_SIZE, EphemeralKey, map_generator
from protocol.card.errors import CardDataError
from protocol.card.script import Script, Step
from protocol.card.secure_messaging import (
    MAC_SIZE,
    SecureMessaging,
    SessionKeys,
    authentication_code,
    derive_session_keys,
)
from protocol.card.status_word import StatusWord
from protocol.card.tlv import TLV, find, parse_ber

NONCE_SIZE = 16
CAN_SIZE = 6
PACE_ECDH_GM_AES_128 = bytes.fromhex("04007F00070202040202")
"""id-PACE-ECDH-GM-AES-CBC-CMAC-128."""

NONCE = 0x80
MAP_TERMINAL, MAP_CARD = 0x81, 0x82
AGREE_TERMINAL, AGREE_CARD = 0x83, 0x84
TOKEN_TERMINAL, TOKEN_CARD = 0x85, 0x86

_OK = (int(StatusWord.OK),)
_CARD_ACCESS = bytes.fromhex("011C")
_KEY_CAN = 0x02
_BRAINPOOL_P256R1 = b"\x0d"  # standardised domain parameters, number 13 (TR-03110-3, table 4)
_CHAINED, _LAST = 0x10, 0x00
_DYNAMIC = 0x7C
_PUBLIC_KEY = 0x7F49


def establish(can: str, keys: tuple[EphemeralKey, bytes]) -> Script[SecureMessaging]:
    """Agree on a secure channel with a card whose access number is known.

    Three batches: parameters and nonce together with the first public key; the second key, whose
    generator hangs on the nonce; the tokens.

    Args:
        can: Six digits, as printed on the card.
        keys: For mapping, a key; for agreeing, 32 random bytes whose key is made on the mapped
            generator.

    Raises:
        CardDataError: The card's parameters are others, or its token is wrong: another number.
    """
    mapping, agreeing = keys
    answers = yield (
        Step(CommandAPDU(0x00, Instruction.SELECT, 0x02, 0x0C, _CARD_ACCESS).encode(), _OK),
        Step(_extended(0x00, Instruction.READ_BINARY), _OK),
        Step(_choose_protocol(), _OK),
        Step(general_authenticate(b"", is_last=False), _OK),
        Step(
            general_authenticate(
                TLV(MAP_TERMINAL, mapping.public_point).encode_ber(), is_last=False
            ),
            _OK,
        ),
    )
    _check_parameters(answers[1][:-2])
    nonce = decrypt_nonce(can, dynamic(answers[3][:-2], NONCE, NONCE_SIZE))
    mapped = dynamic(answers[4][:-2], MAP_CARD, POINT_SIZE)
    generator = map_generator(nonce, mapping.multiply(mapped))
    own = EphemeralKey(agreeing, generator)
    point = TLV(AGREE_TERMINAL, own.public_point).encode_ber()
    (answer,) = yield (Step(general_authenticate(point, is_last=False), _OK),)
    other = dynamic(answer[:-2], AGREE_CARD, POINT_SIZE)
    if other == own.public_point:
        raise CardDataError("the card sent our own key back")
    session = derive_session_keys(own.shared_secret(other))
    token = TLV(TOKEN_TERMINAL, token_over(session, other)).encode_ber()
    (answer,) = yield (Step(general_authenticate(token, is_last=True), _OK),)
    wanted = token_over(session, own.public_point)
    if not compare_digest(dynamic(answer[:-2], TOKEN_CARD, MAC_SIZE), wanted):
        raise CardDataError("the card's token is not of this access number")
    return SecureMessaging(session)


def password_key(can: str) -> bytes:
    """Derive the key under which the card encrypts its nonce.

    Raises:
        CardDataError: An access number has six digits.
    """
    if len(can) != CAN_SIZE or not (can.isascii() and can.isdecimal()):
        raise CardDataError(f"a card access number has {CAN_SIZE} digits")
    secret = can.encode("ascii") + (3).to_bytes(4, "big")
    return sha1(secret, usedforsecurity=False).digest()[:16]


def decrypt_nonce(can: str, cryptogram: bytes) -> bytes:
    """Decrypt the card's nonce: one block, initial vector zero."""
    decryptor = Cipher(AES(password_key(can)), CBC(bytes(16))).decryptor()
    return decryptor.update(cryptogram) + decryptor.finalize()


def encrypt_nonce(can: str, nonce: bytes) -> bytes:
    """Encrypt a nonce: what the card does."""
    encryptor = Cipher(AES(password_key(can)), CBC(bytes(16))).encryptor()
    return encryptor.update(nonce) + encryptor.finalize()


def token_over(session: SessionKeys, point: bytes) -> bytes:
    """Compute the token that shows one end that the other has the same keys."""
    value = TLV(0x06, PACE_ECDH_GM_AES_128).encode_ber() + TLV(0x86, point).encode_ber()
    return authentication_code(session.mac, TLV(_PUBLIC_KEY, value).encode_ber())


def general_authenticate(value: bytes, *, is_last: bool) -> bytes:
    """GENERAL AUTHENTICATE with dynamic authentication data; all but the last are chained."""
    return CommandAPDU(
        _LAST if is_last else _CHAINED,
        Instruction.GENERAL_AUTHENTICATE,
        0x00,
        0x00,
        TLV(_DYNAMIC, value).encode_ber(),
        EXTENDED_LE_MAX,
        is_extended=True,
    ).encode()


def dynamic(data: bytes, tag: int, size: int) -> bytes:
    """Take one object out of dynamic authentication data.

    Raises:
        CardDataError: It is not there, or of another size.
    """
    value = find(parse_ber(data), _DYNAMIC, tag)
    if value is None or len(value) != size:
        raise CardDataError(f"authentication data {tag:02X} of {size} bytes belongs here")
    return value


def _choose_protocol() -> bytes:
    value = (
        TLV(0x80, PACE_ECDH_GM_AES_128).encode_ber() + TLV(0x83, bytes((_KEY_CAN,))).encode_ber()
    )
    return CommandAPDU(0x00, Instruction.MANAGE_SECURITY_ENVIRONMENT, 0xC1, 0xA4, value).encode()


def _check_parameters(card_access: bytes) -> None:
    """See that the card does PACE as it is done here (EF.CardAccess, TR-03110-3, A.1.1.1)."""
    expected = (
        TLV(0x06, PACE_ECDH_GM_AES_128).encode_ber()
        + TLV(0x02, b"\x02").encode_ber()
        + TLV(0x02, _BRAINPOOL_P256R1).encode_ber()
    )
    infos = find(parse_ber(card_access), 0x31)
    if infos is None or TLV(0x30, expected) not in parse_ber(infos):
        raise CardDataError("the card does PACE with other parameters, or not at all")


def _extended(p1: int, instruction: Instruction) -> bytes:
    return CommandAPDU(0x00, instruction, p1, 0x00, le=EXTENDED_LE_MAX, is_extended=True).encode()
