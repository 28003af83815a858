"""Secure messaging with AES session keys (ISO/IEC 7816-4:2020, clause 10; gemSpec_COS, 13).

Commands are encrypted and carry a MAC, answers likewise; a counter stands before everything that
a MAC covers, so that nothing can be repeated, left out or put in another order. The counter runs
by itself, two for each exchange: a whole batch can be protected before its first answer is there,
and still takes one round trip. Not here: how the keys were agreed on (`pace.py`,
`trusted_channel.py`).
"""

from collections import deque
from dataclasses import dataclass, field
from hashlib import sha1
from hmac import compare_digest
from typing import TypeVar

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from cryptography.hazmat.primitives.cmac import CMAC

from protocol.card.apdu import (
    SHORT_DATA_MAX,
    SHORT_LE_MAX,
    CommandAPDU,
    decode_command,
    decode_response,
)
from protocol.card.errors import CardDataError, CardProtocolError
from protocol.card.script import Batch, Script, Step
from protocol.card.tlv import TLV, parse_ber

T = TypeVar("T")

KEY_SIZE = 16
BLOCK_SIZE = 16
MAC_SIZE = 8
COUNTER_MAX = (1 << 8 * BLOCK_SIZE) - 1
IN_FLIGHT_MAX = 256

_INDICATION = 0x0C  # secure messaging, header in the MAC
_PROPRIETARY = 0x80
_PLAIN = 0x81
_ENCRYPTED = 0x87
_EXPECTED = 0x97
_STATUS = 0x99
_MAC = 0x8E
_PADDED = b"\x01"
_EVEN_PLAIN_CLASS = 0xF3
# What an answer has besides its data: padding, tags, lengths, status word, MAC.
_OVERHEAD_MAX = 33


class SecureMessagingError(CardProtocolError):
    """An answer is not the one that the other end of a secure channel gave to this command."""


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """Two AES-128 keys of one session."""

    encryption: bytes = field(repr=False)
    mac: bytes = field(repr=False)

    def __post_init__(self) -> None:
        assert len(self.encryption) == len(self.mac) == KEY_SIZE


def derive_key(secret: bytes, number: int) -> bytes:
    """Derive an AES-128 key from a secret (BSI TR-03110-3, A.2.3): SHA-1, first sixteen bytes."""
    return sha1(secret + number.to_bytes(4, "big"), usedforsecurity=False).digest()[:KEY_SIZE]


def derive_session_keys(secret: bytes) -> SessionKeys:
    """Derive the keys of a session: number 1 encrypts, number 2 authenticates."""
    return SessionKeys(derive_key(secret, 1), derive_key(secret, 2))


def authentication_code(key: bytes, data: bytes) -> bytes:
    """Compute AES-CMAC (NIST SP 800-38B), the first eight bytes."""
    code = CMAC(AES(key))
    code.update(data)
    return code.finalize()[:MAC_SIZE]


class SecureMessaging:
    """One end of a secure channel: the one that sends commands.

    Args:
        keys: Of the session.
        counter: Send sequence counter; 0 after an authentication.
    """

    def __init__(self, keys: SessionKeys, counter: int = 0) -> None:
        self.keys = keys
        self._counter = counter
        self._awaited: deque[int] = deque()

    def protect(self, command: bytes) -> bytes:
        """Protect the next command.

        Raises:
            CardDataError: It is no command, or protected already.
        """
        if len(self._awaited) >= IN_FLIGHT_MAX or self._counter + 2 > COUNTER_MAX:
            raise SecureMessagingError("too many commands on one secure channel")
        plain = decode_command(command)
        if plain.cla & _INDICATION:
            raise CardDataError("the command is protected already")
        self._counter += 2
        self._awaited.append(self._counter)
        return _protect(self.keys, self._counter - 1, plain)

    def unprotect(self, answer: bytes) -> bytes:
        """Verify the answer to the oldest command that has none yet, and decrypt it.

        Raises:
            SecureMessagingError: It is not protected, was changed, or belongs to another command.
        """
        assert self._awaited, "no command waits for an answer"
        return open_answer(self.keys, self._awaited.popleft(), answer)


def protected(messaging: SecureMessaging, script: Script[T]) -> Script[T]:
    """Run a script over a secure channel: the same batches, protected.

    A batch whose commands hang on earlier answers has no protected form: the counter of a command
    that may be skipped is not known beforehand. Places are to be filled already.
    """
    try:
        batch = next(script)
        while True:
            answers = yield _protected_batch(messaging, batch)
            batch = script.send(tuple(messaging.unprotect(answer) for answer in answers))
    except StopIteration as stop:
        value: T = stop.value
        return value
    finally:
        script.close()


def _protected_batch(messaging: SecureMessaging, batch: Batch) -> Batch:
    assert not any(step.condition or step.spans for step in batch)
    return tuple(Step(messaging.protect(step.command), step.expected) for step in batch)


def open_answer(keys: SessionKeys, counter: int, answer: bytes) -> bytes:
    """Verify and decrypt one answer: data and the status word that the card protected.

    Raises:
        SecureMessagingError: It is not protected, or its MAC is of another answer.
    """
    outer = decode_response(answer)
    try:
        objects = parse_ber(outer.data)
    except CardDataError as malformed:
        raise SecureMessagingError("an answer's data objects are malformed") from malformed
    tags = tuple(each.tag for each in objects)
    if tags not in {(_STATUS, _MAC), (_ENCRYPTED, _STATUS, _MAC), (_PLAIN, _STATUS, _MAC)}:
        raise SecureMessagingError(f"an answer {outer.status_word:04X} is not protected")
    status, mac = objects[-2].value, objects[-1].value
    covered = outer.data[: len(outer.data) - len(objects[-1].encode_ber())]
    is_ours = compare_digest(mac, _code(keys, counter, covered))
    if not is_ours or covered + objects[-1].encode_ber() != outer.data:
        raise SecureMessagingError("an answer's authentication code is not of this answer")
    if status != outer.status_word.to_bytes(2, "big"):
        raise SecureMessagingError("an answer's status word was changed")
    if len(objects) == 2:  # noqa: PLR2004 - status word and code, no data
        return status
    data = objects[0].value
    return (data if tags[0] == _PLAIN else _decrypt(keys, counter, data)) + status


def open_command(keys: SessionKeys, counter: int, command: bytes) -> CommandAPDU:
    """Verify and decrypt one command: what the card's end of the channel does.

    Raises:
        SecureMessagingError: Its MAC is of another command.
        CardDataError: It is no protected command.
    """
    outer = decode_command(command)
    objects = parse_ber(outer.data)
    tags = [each.tag for each in objects]
    if tags[-1:] != [_MAC] or not set(tags[:-1]) <= {_ENCRYPTED, _PLAIN, _EXPECTED}:
        raise CardDataError("a command is not protected")
    covered = b"".join(each.encode_ber() for each in objects[:-1])
    header = bytes((outer.cla, outer.ins, outer.p1, outer.p2))
    if not compare_digest(objects[-1].value, _code(keys, counter, covered, header)):
        raise SecureMessagingError("a command's authentication code is not of this command")
    data = b""
    le: int | None = None
    for each in objects[:-1]:
        if each.tag == _EXPECTED:
            le = int.from_bytes(each.value, "big") or 1 << 8 * len(each.value)
        elif each.tag == _PLAIN:
            data = each.value
        else:
            data = _decrypt(keys, counter, each.value)
    cla = outer.cla & _EVEN_PLAIN_CLASS
    return CommandAPDU(cla, outer.ins, outer.p1, outer.p2, data, le)


def protect_answer(
    keys: SessionKeys, counter: int, data: bytes, status: int, *, encrypts: bool = True
) -> bytes:
    """Protect one answer: what the card's end of the channel does."""
    status_word = status.to_bytes(2, "big")
    covered = b""
    if data and encrypts:
        covered = TLV(_ENCRYPTED, _PADDED + _encrypt(keys, counter, data)).encode_ber()
    elif data:
        covered = TLV(_PLAIN, data).encode_ber()
    covered += TLV(_STATUS, status_word).encode_ber()
    return covered + TLV(_MAC, _code(keys, counter, covered)).encode_ber() + status_word


def _protect(keys: SessionKeys, counter: int, plain: CommandAPDU) -> bytes:
    header = bytes((plain.cla | _INDICATION, plain.ins, plain.p1, plain.p2))
    covered = b""
    if plain.data:
        covered = TLV(_ENCRYPTED, _PADDED + _encrypt(keys, counter, plain.data)).encode_ber()
    if plain.le is not None:
        size = 2 if plain.is_extended or plain.le > SHORT_LE_MAX else 1
        length = (plain.le & (1 << 8 * size) - 1).to_bytes(size, "big")
        covered += TLV(_EXPECTED, length).encode_ber()
    data = covered + TLV(_MAC, _code(keys, counter, covered, header)).encode_ber()
    is_extended = (
        plain.is_extended
        or len(data) > SHORT_DATA_MAX
        or (plain.le or 0) + _OVERHEAD_MAX > SHORT_LE_MAX
    )
    everything = 1 << 16 if is_extended else SHORT_LE_MAX
    cla, ins, p1, p2 = header
    return CommandAPDU(cla, ins, p1, p2, data, everything, is_extended=is_extended).encode()


def _code(keys: SessionKeys, counter: int, covered: bytes, header: bytes = b"") -> bytes:
    parts = counter.to_bytes(BLOCK_SIZE, "big")
    if header:
        parts += _padded(header)
    return authentication_code(keys.mac, parts + (_padded(covered) if covered else b""))


def _encrypt(keys: SessionKeys, counter: int, data: bytes) -> bytes:
    encryptor = Cipher(AES(keys.encryption), CBC(_start(keys, counter))).encryptor()
    return encryptor.update(_padded(data)) + encryptor.finalize()


def _decrypt(keys: SessionKeys, counter: int, value: bytes) -> bytes:
    if value[:1] != _PADDED or len(value) <= 1 or (len(value) - 1) % BLOCK_SIZE:
        raise SecureMessagingError("a cryptogram has a form that no cryptogram has")
    decryptor = Cipher(AES(keys.encryption), CBC(_start(keys, counter))).decryptor()
    padded = decryptor.update(value[1:]) + decryptor.finalize()
    data, mark, rest = padded.rpartition(b"\x80")
    if not mark or rest.strip(b"\0"):
        raise SecureMessagingError("a cryptogram's padding is wrong")
    return data


def _start(keys: SessionKeys, counter: int) -> bytes:
    encryptor = Cipher(AES(keys.encryption), ECB()).encryptor()  # noqa: S305 - one block
    return encryptor.update(counter.to_bytes(BLOCK_SIZE, "big")) + encryptor.finalize()


def _padded(data: bytes) -> bytes:
    """Pad to blocks (ISO/IEC 9797-1, method 2)."""
    return data + b"\x80" + bytes(-(len(data) + 1) % BLOCK_SIZE)
