"""A simulated German health card (eGK G2.1), loaded from what `egk_print.py` or an image gives.

It answers over contacts as a T=1 card does, or through the air, where nearly everything is behind
PACE. It checks certificates that are shown to it, agrees on session keys both ways, and forgets a
secure channel at the first message that does not belong to it. Not here: what is on the card
(`egk_print.py`, `egk_image.py`).
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto, unique
from hmac import compare_digest

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from protocol.card.apdu import (
    EXTENDED_LE_MAX,
    SHORT_LE_MAX,
    CommandAPDU,
    Instruction,
    decode_command,
)
from protocol.card.cv_certificate import (
    AUTHORITY_NAME_SIZE,
    SIGNING_KEY,
    CertificateError,
    decode_certificate,
    verify_certificate,
)
from protocol.card.elliptic_curve import COORDINATE_SIZE, ORDER, EphemeralKey, map_generator
from protocol.card.errors import CardDataError
from protocol.card.pace import (
    AGREE_CARD,
    AGREE_TERMINAL,
    MAP_CARD,
    MAP_TERMINAL,
    NONCE,
    NONCE_SIZE,
    PACE_ECDH_GM_AES_128,
    TOKEN_CARD,
    TOKEN_TERMINAL,
    encrypt_nonce,
    token_over,
)
from protocol.card.pin import CHANGE_REFERENCE_DATA
from protocol.card.profiles.egk import NONCE_SIZE as CHALLENGE_SIZE
from protocol.card.profiles.egk import PIN_HOLDER, ROLE_AUTHENTICATION, ROOT
from protocol.card.secure_messaging import (
    SecureMessagingError,
    SessionKeys,
    derive_session_keys,
    open_command,
    protect_answer,
)
from protocol.card.status_word import VERIFY_TRIES, StatusWord
from protocol.card.tlv import TLV, find, parse_ber
from protocol.card.trusted_channel import CARD_KEY, EPHEMERAL, HOLDER, SESSION_KEYS

CONTACTLESS_ATR = bytes.fromhex("3B858001300101301014")
PIN_TRIES_MAX = 3

_SECURE = 0x0C
_CHAINED = 0x10
_DYNAMIC = 0x7C
_PIN_BLOCK_SIZE = 8
_PIN_SIZES = range(6, 9)
_KEY_CAN = 0x02
_CERTIFICATE = 0x7F21

Answer = tuple[bytes, int]


@unique
class Access(Enum):
    """Who may read a file."""

    ALWAYS = auto()
    """Everybody, through the air too."""
    FREE = auto()
    """Everybody over contacts; through the air, over a secure channel."""
    HOLDER = auto()
    """As FREE, after the holder's PIN."""
    NEVER = auto()


@dataclass(frozen=True, slots=True)
class CardFile:
    """A transparent file."""

    fid: int
    sfi: int
    content: bytes = field(repr=False)
    access: Access


@dataclass(frozen=True, slots=True)
class EGKImage:
    """All that is on a card.

    Attributes:
        atr: Over contacts.
        applications: Files by the name of their application; the root's own under its name.
        card_key: Private key behind the card's own certificate, 32 bytes.
        can: Access number, six digits.
        pin: The holder's; six to eight digits.
        roots: Public keys of authorities that the card trusts, by their names.
    """

    atr: bytes
    applications: Mapping[bytes, tuple[CardFile, ...]]
    card_key: bytes = field(repr=False)
    can: str = field(repr=False)
    pin: str = field(repr=False)
    roots: Mapping[bytes, bytes]


class _RefusedError(Exception):
    """The card answers with a status word instead of doing what was asked."""

    def __init__(self, status_word: int) -> None:
        super().__init__(f"{status_word:04X}")
        self.status_word = status_word


class SimulatedEGK:
    """One card, as a channel: powered, with an ATR, answering commands.

    Args:
        image: What is on it.
        is_contactless: Whether it lies on a reader instead of standing in one.
        random_bytes: Where its nonces and session keys come from.
    """

    def __init__(
        self,
        image: EGKImage,
        *,
        is_contactless: bool = False,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._image = image
        self._is_contactless = is_contactless
        self._random_bytes = random_bytes
        self._key = ec.derive_private_key(
            int.from_bytes(image.card_key, "big") % ORDER, ec.BrainpoolP256R1()
        )
        self._pin = image.pin
        self._pin_tries = PIN_TRIES_MAX
        self.commands_count = 0
        # Keys of certificates that were shown stay, as on a real card, over a reset.
        self._authorities = dict(image.roots)
        self._others: dict[bytes, bytes] = {}
        self._handlers: dict[tuple[int, int], Callable[[CommandAPDU], Answer]] = {
            (0x00, Instruction.SELECT): self._select,
            (0x00, Instruction.READ_BINARY): self._read_binary,
            (0x00, Instruction.MANAGE_SECURITY_ENVIRONMENT): self._manage,
            (0x00, Instruction.INTERNAL_AUTHENTICATE): self._internal_authenticate,
            (0x00, Instruction.PERFORM_SECURITY_OPERATION): self._import_certificate,
            (0x10, Instruction.GENERAL_AUTHENTICATE): self._general_authenticate,
            (0x00, Instruction.GENERAL_AUTHENTICATE): self._general_authenticate,
            (0x80, Instruction.GET_DATA): self._list_public_keys,
            (0x80, Instruction.VERIFY): self._pin_status,
            (0x00, Instruction.VERIFY): self._verify_pin,
            (0x00, CHANGE_REFERENCE_DATA): self._change_pin,
        }
        self.reset()

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return CONTACTLESS_ATR if self._is_contactless else self._image.atr

    def reset(self) -> None:
        """Forget all but what is written."""
        self._application = ROOT
        self._file: CardFile | None = None
        self._is_pin_verified = False
        self._algorithm: tuple[int, int] | None = None
        self._issuer = b""
        self._session: SessionKeys | None = None
        self._counter = 0
        self._agreed: SessionKeys | None = None
        self._forget_agreement()

    def transmit(self, command: bytes) -> bytes:
        """Answer one command."""
        self.commands_count += 1
        try:
            parsed = decode_command(command)
        except CardDataError:
            return _encode(b"", StatusWord.WRONG_LENGTH)
        if parsed.cla & _SECURE == _SECURE:
            return self._transmit_secure(command)
        self._session = None
        answer = _encode(*self._answer(parsed))
        # The last plain answer of an agreement comes before its channel begins.
        self._session, self._agreed = self._agreed, None
        return answer

    def _transmit_secure(self, command: bytes) -> bytes:
        session, self._session = self._session, None
        if session is None:
            return _encode(b"", StatusWord.SECURE_MESSAGING_INCORRECT)
        try:
            plain = open_command(session, self._counter + 1, command)
        except (SecureMessagingError, CardDataError):
            return _encode(b"", StatusWord.SECURE_MESSAGING_INCORRECT)
        self._session = session
        data, status_word = self._answer(plain)
        self._counter += 2
        return protect_answer(session, self._counter, data, status_word)

    def _answer(self, command: CommandAPDU) -> Answer:
        handler = self._handlers.get((command.cla, command.ins))
        if handler is None:
            known = {ins for _, ins in self._handlers}
            is_known = command.ins in known
            return b"", int(
                StatusWord.CLASS_NOT_SUPPORTED if is_known else StatusWord.INSTRUCTION_NOT_SUPPORTED
            )
        try:
            return handler(command)
        except _RefusedError as refused:
            return b"", refused.status_word
        except CardDataError:
            return b"", int(StatusWord.DATA_INCORRECT)

    # Files

    def _select(self, command: CommandAPDU) -> Answer:
        if command.p1 == 0x04:  # noqa: PLR2004 - by name
            name = command.data or ROOT
            if name not in self._image.applications:
                raise _RefusedError(StatusWord.FILE_NOT_FOUND)
            self._application, self._file = name, None
            control = TLV(0x82, b"\x38").encode_ber() + TLV(0x84, name).encode_ber()
        elif command.p1 == 0x02 and len(command.data) == 2:  # noqa: PLR2004 - a file, by its FID
            fid = int.from_bytes(command.data, "big")
            self._file = self._find(lambda each: each.fid == fid)
            control = TLV(0x83, command.data).encode_ber()
        else:
            raise _RefusedError(StatusWord.INCORRECT_P1_P2)
        if command.p2 == 0x0C:  # noqa: PLR2004 - no answer is wanted
            return b"", StatusWord.OK
        return TLV(0x62, control).encode_ber()[: command.le or 0], StatusWord.OK

    def _read_binary(self, command: CommandAPDU) -> Answer:
        offset = command.p1 << 8 | command.p2
        if command.p1 & 0x80:
            sfi, offset = command.p1 & 0x1F, command.p2
            self._file = self._find(lambda each: each.sfi == sfi)
        file = self._file
        if file is None:
            raise _RefusedError(StatusWord.NO_CURRENT_FILE)
        self._check_access(file.access)
        if command.le is None:
            raise _RefusedError(StatusWord.WRONG_LENGTH)
        if offset >= len(file.content):
            raise _RefusedError(StatusWord.OFFSET_OUTSIDE_FILE)
        data = file.content[offset : offset + command.le]
        takes_all = command.le in {SHORT_LE_MAX, EXTENDED_LE_MAX}
        is_short = len(data) < command.le and not takes_all
        return data, StatusWord.END_OF_FILE if is_short else StatusWord.OK

    def _find(self, is_it: Callable[[CardFile], bool]) -> CardFile:
        for each in self._image.applications[self._application]:
            if is_it(each):
                return each
        raise _RefusedError(StatusWord.FILE_NOT_FOUND)

    def _check_access(self, access: Access) -> None:
        is_behind_channel = self._is_contactless and self._session is None
        if (
            access is Access.NEVER
            or (access is not Access.ALWAYS and is_behind_channel)
            or (access is Access.HOLDER and not self._is_pin_verified)
        ):
            raise _RefusedError(StatusWord.SECURITY_STATUS_NOT_SATISFIED)

    # PIN

    def _pin_status(self, command: CommandAPDU) -> Answer:
        self._check_pin_reference(command)
        if self._is_pin_verified:
            return b"", StatusWord.OK
        return b"", VERIFY_TRIES | self._pin_tries

    def _verify_pin(self, command: CommandAPDU) -> Answer:
        self._check_pin_reference(command)
        if not self._pin_tries:
            raise _RefusedError(StatusWord.AUTHENTICATION_BLOCKED)
        if len(command.data) != _PIN_BLOCK_SIZE:
            raise _RefusedError(StatusWord.WRONG_LENGTH)
        if not compare_digest(command.data, pin_block(self._pin)):
            self._pin_tries -= 1
            self._is_pin_verified = False
            return b"", VERIFY_TRIES | self._pin_tries
        self._pin_tries = PIN_TRIES_MAX
        self._is_pin_verified = True
        return b"", StatusWord.OK

    def _change_pin(self, command: CommandAPDU) -> Answer:
        old, new = command.data[:_PIN_BLOCK_SIZE], command.data[_PIN_BLOCK_SIZE:]
        if len(new) != _PIN_BLOCK_SIZE:
            raise _RefusedError(StatusWord.WRONG_LENGTH)
        answer = self._verify_pin(replace(command, data=old))
        digits = new.hex()[2 : 2 + (new[0] & 0x0F)]
        if answer[1] == StatusWord.OK:
            if len(digits) not in _PIN_SIZES or new != pin_block(digits):
                raise _RefusedError(StatusWord.DATA_INCORRECT)
            self._pin = digits
        return answer

    def _check_pin_reference(self, command: CommandAPDU) -> None:
        self._check_access(Access.FREE)
        if command.p2 != PIN_HOLDER:
            raise _RefusedError(StatusWord.REFERENCE_DATA_NOT_FOUND)

    # Authentication

    def _manage(self, command: CommandAPDU) -> Answer:
        objects = parse_ber(command.data)
        if (command.p1, command.p2) == (0x41, 0xA4):
            key, algorithm = find(objects, 0x84), find(objects, 0x80)
            if key != bytes((CARD_KEY,)):
                raise _RefusedError(StatusWord.REFERENCE_DATA_NOT_FOUND)
            if algorithm not in {bytes((ROLE_AUTHENTICATION,)), bytes((SESSION_KEYS,))}:
                raise _RefusedError(StatusWord.DATA_INCORRECT)
            self._algorithm = (CARD_KEY, algorithm[0])
        elif (command.p1, command.p2) == (0xC1, 0xA4):
            if find(objects, 0x80) != PACE_ECDH_GM_AES_128 or find(objects, 0x83) != bytes(
                (_KEY_CAN,)
            ):
                raise _RefusedError(StatusWord.REFERENCE_DATA_NOT_FOUND)
            self._forget_agreement()
            self._is_pace = True
        elif (command.p1, command.p2) == (0x81, 0xB6):
            self._issuer = find(objects, 0x83) or b""
            if self._issuer not in self._authorities:
                raise _RefusedError(StatusWord.REFERENCE_DATA_NOT_FOUND)
        else:
            raise _RefusedError(StatusWord.INCORRECT_P1_P2)
        return b"", StatusWord.OK

    def _internal_authenticate(self, command: CommandAPDU) -> Answer:
        self._check_access(Access.FREE)
        if self._algorithm != (CARD_KEY, ROLE_AUTHENTICATION):
            raise _RefusedError(StatusWord.CONDITIONS_NOT_SATISFIED)
        if len(command.data) != CHALLENGE_SIZE:
            raise _RefusedError(StatusWord.DATA_INCORRECT)
        value = (command.data + b"\0").rjust(COORDINATE_SIZE, b"\0")
        r, s = decode_dss_signature(self._key.sign(value, ec.ECDSA(Prehashed(SHA256()))))
        return (
            r.to_bytes(COORDINATE_SIZE, "big") + s.to_bytes(COORDINATE_SIZE, "big"),
            StatusWord.OK,
        )

    def _import_certificate(self, command: CommandAPDU) -> Answer:
        if (command.p1, command.p2) != (0x00, 0xBE):
            raise _RefusedError(StatusWord.INCORRECT_P1_P2)
        point = self._authorities.get(self._issuer)
        if point is None:
            raise _RefusedError(StatusWord.REFERENCE_DATA_NOT_FOUND)
        certificate = decode_certificate(TLV(_CERTIFICATE, command.data).encode_ber())
        try:
            verify_certificate(certificate, point)
        except CertificateError:
            raise _RefusedError(StatusWord.AUTHENTICATION_FAILED) from None
        if certificate.authority != self._issuer:
            raise _RefusedError(StatusWord.DATA_INCORRECT)
        if certificate.key_use == SIGNING_KEY and len(certificate.holder) == AUTHORITY_NAME_SIZE:
            self._authorities[certificate.holder] = certificate.point
        else:
            self._others[certificate.holder] = certificate.point
        return b"", StatusWord.OK

    def _list_public_keys(self, command: CommandAPDU) -> Answer:
        if (command.p1, command.p2) != (0x01, 0x00):
            raise _RefusedError(StatusWord.REFERENCE_DATA_NOT_FOUND)
        self._check_access(Access.FREE)
        root = TLV(0x4F, ROOT).encode_ber()
        entries = b""
        for usage, names in ((0xB6, self._authorities), (0xA4, self._others)):
            for name in names:
                template = TLV(usage, TLV(0x83, name).encode_ber()).encode_ber()
                entries += TLV(0xE0, root + template).encode_ber()
        return entries, StatusWord.OK

    def _general_authenticate(self, command: CommandAPDU) -> Answer:
        data = find(parse_ber(command.data), _DYNAMIC)
        if data is None:
            raise _RefusedError(StatusWord.DATA_INCORRECT)
        objects = parse_ber(data)
        is_chained = bool(command.cla & _CHAINED)
        if self._is_pace:
            tag, value = self._pace(objects[0] if objects else None, is_last=not is_chained)
        elif self._algorithm == (CARD_KEY, SESSION_KEYS) and len(objects) == 1:
            tag, value = self._agree(objects[0])
        else:
            raise _RefusedError(StatusWord.CONDITIONS_NOT_SATISFIED)
        answer = TLV(_DYNAMIC, TLV(tag, value).encode_ber()).encode_ber() if tag else b""
        return answer, StatusWord.OK

    def _forget_agreement(self) -> None:
        self._is_pace = False
        self._nonce = b""
        self._ephemeral: EphemeralKey | None = None
        self._generator = b""
        self._pending: tuple[SessionKeys, bytes, bytes] | None = None
        self._partner = b""

    def _pace(self, sent: TLV | None, *, is_last: bool) -> tuple[int, bytes]:
        """Do one step of PACE (ICAO 9303-11, 4.4)."""
        if sent is None and not is_last:
            self._nonce = self._random_bytes(NONCE_SIZE)
            return NONCE, encrypt_nonce(self._image.can, self._nonce)
        if sent is not None and sent.tag == MAP_TERMINAL and self._nonce and not is_last:
            key = EphemeralKey(self._random_bytes(COORDINATE_SIZE))
            self._generator = map_generator(self._nonce, key.multiply(sent.value))
            self._nonce = b""
            return MAP_CARD, key.public_point
        if sent is not None and sent.tag == AGREE_TERMINAL and self._generator and not is_last:
            key = EphemeralKey(self._random_bytes(COORDINATE_SIZE), self._generator)
            keys = derive_session_keys(key.shared_secret(sent.value))
            self._pending = (keys, key.public_point, sent.value)
            self._generator = b""
            return AGREE_CARD, key.public_point
        if sent is not None and sent.tag == TOKEN_TERMINAL and self._pending and is_last:
            keys, own, other = self._pending
            self._forget_agreement()
            if not compare_digest(sent.value, token_over(keys, own)):
                raise _RefusedError(StatusWord.AUTHENTICATION_FAILED)
            self._begin(keys)
            return TOKEN_CARD, token_over(keys, other)
        self._forget_agreement()
        raise _RefusedError(StatusWord.CONDITIONS_NOT_SATISFIED)

    def _agree(self, sent: TLV) -> tuple[int, bytes]:
        """Do one step of the mutual authentication with session keys."""
        if sent.tag == HOLDER:
            partner = self._others.get(sent.value)
            if partner is None:
                raise _RefusedError(StatusWord.REFERENCE_DATA_NOT_FOUND)
            self._partner = partner
            self._ephemeral = EphemeralKey(self._random_bytes(COORDINATE_SIZE))
            return EPHEMERAL, self._ephemeral.public_point
        if sent.tag == EPHEMERAL and self._ephemeral is not None:
            static = EphemeralKey(self._image.card_key)
            secret = static.shared_secret(sent.value) + self._ephemeral.shared_secret(self._partner)
            self._forget_agreement()
            self._begin(derive_session_keys(secret))
            return 0, b""
        raise _RefusedError(StatusWord.CONDITIONS_NOT_SATISFIED)

    def _begin(self, keys: SessionKeys) -> None:
        self._agreed, self._counter = keys, 0


def pin_block(pin: str) -> bytes:
    """Write a PIN as cards take it (ISO 9564-1:2017, format 2)."""
    return bytes.fromhex(f"2{len(pin):X}{pin}".ljust(2 * _PIN_BLOCK_SIZE, "F"))


def _encode(data: bytes, status_word: int) -> bytes:
    return data + int(status_word).to_bytes(2, "big")
