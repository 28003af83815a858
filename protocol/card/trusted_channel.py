"""Mutual authentication with session keys between two owners of certified keys (gemSpec_COS: ELC).

The centre shows its chain of card-verifiable certificates and has the card check it; then both
send a key of this session. The secret hangs on both static and both ephemeral keys, so whoever can
talk over the channel has proven a static key: the card proves nothing before its first protected
answer is verified. Not here: certificates (`cv_certificate.py`), the channel
(`secure_messaging.py`).
"""

from collections.abc import Iterable, Sequence

from protocol.card.apdu import EXTENDED_LE_MAX, CommandAPDU, Instruction
from protocol.card.cv_certificate import HOLDER_NAME_SIZE, CVCertificate
from protocol.card.elliptic_curve import POINT_SIZE, KeyAgreement
from protocol.card.errors import CardDataError
from protocol.card.pace import dynamic, general_authenticate
from protocol.card.script import Script, Step
from protocol.card.secure_messaging import SecureMessaging, derive_session_keys
from protocol.card.status_word import StatusWord
from protocol.card.tlv import TLV, find, parse_ber

EPHEMERAL = 0x85
HOLDER = 0xC3
SESSION_KEYS = 0x54  # elcSessionkey4SM: the algorithm that ends with a secure channel
CARD_KEY = 0x09  # PrK.eGK.AUT_CVC.E256

_OK = (int(StatusWord.OK),)
_KEY = 0x83
_ENTRY = 0xE0
_VERIFICATION, _AUTHENTICATION = 0xB6, 0xA4


def list_public_keys() -> Script[frozenset[bytes]]:
    """Ask a card whose public keys it knows already: names of authorities and of cards.

    Raises:
        CardDataError: The list is malformed.
    """
    command = CommandAPDU(
        0x80, Instruction.GET_DATA, 0x01, 0x00, le=EXTENDED_LE_MAX, is_extended=True
    )
    (answer,) = yield (Step(command.encode(), _OK),)
    return decode_public_keys(answer[:-2])


def decode_public_keys(data: bytes) -> frozenset[bytes]:
    """Take the names out of a list of public keys.

    Raises:
        CardDataError: It is malformed.
    """
    names: set[bytes] = set()
    for entry in parse_ber(data):
        if entry.tag != _ENTRY:
            raise CardDataError(f"{entry.tag:02X} is no entry of a list of keys")
        for usage in (_VERIFICATION, _AUTHENTICATION):
            name = find(parse_ber(entry.value), usage, _KEY)
            if name is not None:
                names.add(name)
    return frozenset(names)


def missing_certificates(
    chain: Sequence[CVCertificate], known: Iterable[bytes]
) -> tuple[CVCertificate, ...]:
    """Leave out the beginning of a chain that a card does not need: it knows a later key."""
    names = set(known)
    for index in range(len(chain) - 1, -1, -1):
        if chain[index].holder in names:
            return tuple(chain[index + 1 :])
        if chain[index].authority in names:
            return tuple(chain[index:])
    raise CardDataError("the card knows no key from which the centre's chain begins")


def open_trusted_channel(
    chain: Sequence[CVCertificate],
    *,
    name: bytes,
    static: KeyAgreement,
    ephemeral: KeyAgreement,
    card_point: bytes,
) -> Script[SecureMessaging]:
    """Show a chain of certificates to a card, authenticate, and agree on a secure channel.

    Two batches: what is shown together with the request for the card's session key, and ours.

    Args:
        chain: From below the card's trusted root down to the centre's own certificate; without
            what the card knows already.
        name: Holder name in the centre's own certificate, 12 bytes.
        static: The key that it certifies.
        ephemeral: A key for this session.
        card_point: The public key in the card's own certificate, whose chain has been verified.

    Raises:
        CardDataError: An answer is malformed.
    """
    assert len(name) == HOLDER_NAME_SIZE
    answers = yield (
        Step(CommandAPDU(0x00, Instruction.SELECT, 0x04, 0x0C).encode(), _OK),
        Step(choose_key(CARD_KEY, SESSION_KEYS), _OK),
        *(step for each in chain for step in _show(each)),
        Step(general_authenticate(TLV(HOLDER, name).encode_ber(), is_last=False), _OK),
    )
    card_ephemeral = dynamic(answers[-1][:-2], EPHEMERAL, POINT_SIZE)
    secret = ephemeral.shared_secret(card_point) + static.shared_secret(card_ephemeral)
    value = TLV(EPHEMERAL, ephemeral.public_point).encode_ber()
    data = TLV(0x7C, value).encode_ber()
    yield (
        Step(CommandAPDU(0x00, Instruction.GENERAL_AUTHENTICATE, 0x00, 0x00, data).encode(), _OK),
    )
    return SecureMessaging(derive_session_keys(secret))


def choose_key(reference: int, algorithm: int) -> bytes:
    """MANAGE SECURITY ENVIRONMENT: choose a private key for authentication, and how it is used."""
    value = (
        TLV(0x84, bytes((reference,))).encode_ber() + TLV(0x80, bytes((algorithm,))).encode_ber()
    )
    return CommandAPDU(0x00, Instruction.MANAGE_SECURITY_ENVIRONMENT, 0x41, 0xA4, value).encode()


def _show(certificate: CVCertificate) -> tuple[Step, Step]:
    issuer = TLV(_KEY, certificate.authority).encode_ber()
    return (
        Step(
            CommandAPDU(0x00, Instruction.MANAGE_SECURITY_ENVIRONMENT, 0x81, 0xB6, issuer).encode(),
            _OK,
        ),
        Step(
            CommandAPDU(
                0x00, Instruction.PERFORM_SECURITY_OPERATION, 0x00, 0xBE, certificate.value
            ).encode(),
            _OK,
        ),
    )
