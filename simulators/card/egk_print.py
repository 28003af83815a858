"""How a made-up eGK is printed: a made-up authority, data of nobody, keys drawn now.

Not here: the card (`egk.py`), published images (`egk_image.py`).
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from protocol.card.cv_certificate import (
    AUTHENTICATION_KEY,
    SIGNING_KEY,
    CVCertificate,
    decode_certificate,
    encode_body,
    encode_certificate,
)
from protocol.card.elliptic_curve import COORDINATE_SIZE, ORDER, EphemeralKey
from protocol.card.profiles.egk import (
    HEALTH_CARE,
    PROFILE,
    ROOT,
    SFI_AUTHORITY_CERTIFICATE,
    SFI_CARD_CERTIFICATE,
    SFI_HOLDER_CERTIFICATE,
    SFI_INSURANCE_DATA,
    SFI_PERSONAL_DATA,
    SFI_SERIAL_NUMBER,
    SFI_STATUS,
    SFI_VERSIONS,
    SIGNATURES,
)
from protocol.card.profiles.egk_data import ENCODING, NAMESPACE, SCHEMA_VERSION, pack_document
from protocol.card.tlv import TLV
from simulators.card.egk import Access, CardFile, EGKImage

CARD_ACCESS = bytes.fromhex("31143012060A04007F0007020204020202010202010D")
ATR = bytes.fromhex("3BD096FF81B1FE451F032E")
_ROLE = bytes.fromhex("2A8214004C048118")
_ALL_FLAGS = b"\xff" * 7
_AUTHORITY_FLAGS = b"\x80" + bytes(6)
_NO_FLAGS = bytes(7)
_CARD_NAME = bytes.fromhex("0009")
_VERSIONS = (
    bytes.fromhex("EF2BC003020000C103040502C210")
    + b"MADE_UP_G2.1 "
    + bytes.fromhex("040502C403010000C503020000C703010000")
)
_GENERATION = "G2.1"
_ALGORITHM = 4  # as the registry numbers it: ECDSA on brainpoolP256r1
_ISSUER_SIZE = 12
_UPDATED = b"20260105093000"
_SCHEMA = bytes.fromhex("0050020000")
_PROTOCOL = bytes.fromhex("0030000004")


ROOT_NAME = b"XXMUP" + bytes.fromhex("990124")
AUTHORITY_NAME = b"XXMUP" + bytes.fromhex("110125")


@dataclass(frozen=True, slots=True)
class EGKData:
    """What is printed and written on one card.

    Attributes:
        iccsn: Twenty digits.
        kvnr: A letter and nine digits.
        birth_date: YYYYMMDD.
        insurer: Nine digits.
        begins: Of the card's certificate, YYYYMMDD.
        ends: Likewise.
        can: Six digits.
    """

    iccsn: str
    kvnr: str = field(repr=False)
    given_name: str = field(repr=False)
    family_name: str = field(repr=False)
    birth_date: int = field(repr=False)
    sex: str
    insurer: str
    insurer_name: str
    begins: int
    ends: int
    can: str = field(repr=False, default="123123")
    pin: str = field(repr=False, default="123456")

    def registry_row(self, *, card_no: int, person_no: int) -> dict[str, str]:
        """Write the row of `cards.csv` that this card agrees with."""
        return {
            "card_no": str(card_no),
            "profile": PROFILE,
            "identity": self.iccsn,
            "region": "",
            "card_number": self.iccsn,
            "card_id": self.kvnr.encode("ascii").hex(),
            "person_no": str(person_no),
            "version": _GENERATION,
            "algorithm": str(_ALGORITHM),
            "card_class": "3",
            "issuer": self.insurer.encode("ascii").ljust(_ISSUER_SIZE, b"\0").hex(),
            "begins": str(self.begins),
            "ends": str(self.ends),
            "state": "1",
            "historical": "",
        }


FICTITIOUS_EGK = EGKData(
    iccsn="80276009999900000018",
    kvnr="X110540756",
    given_name="Erika",
    family_name="Mustermann",
    birth_date=19640812,
    sex="W",
    insurer="109500969",
    insurer_name="Krankenkasse Musterstadt",
    begins=20250101,
    ends=20301231,
)
"""The holder is the one of German specimens, who does not exist."""


class CardAuthority:
    """A made-up root and, below it, an authority that certifies cards.

    Args:
        random_bytes: Where its keys come from.
        begins: First day of both, YYYYMMDD.
        ends: Last day.
        root_name: Eight bytes.
        name: Of the authority below, likewise.
    """

    def __init__(
        self,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        *,
        begins: int = 20240101,
        ends: int = 20331231,
        root_name: bytes = ROOT_NAME,
        name: bytes = AUTHORITY_NAME,
    ) -> None:
        self.root_name = root_name
        self.name = name
        self._root = random_bytes(COORDINATE_SIZE)
        self._key = random_bytes(COORDINATE_SIZE)
        self._x509_key = _private(random_bytes(COORDINATE_SIZE))
        self.root = self._certify(
            self._root, self.root_name, self.root_name, self._root, _ALL_FLAGS, begins, ends
        )
        self.certificate = self._certify(
            self._root, self.root_name, self.name, self._key, _AUTHORITY_FLAGS, begins, ends
        )
        self._x509_name = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, "Made-up EGK-CA TEST-ONLY")]
        )
        self.holder_authority = self._certify_holder(
            self._x509_name, self._x509_key, begins, ends, is_authority=True
        )

    def cross_certify(self, other: CVCertificate) -> CVCertificate:
        """Certify another root's key by this root."""
        body = encode_body(
            authority=self.root_name,
            holder=other.holder,
            key_use=SIGNING_KEY,
            point=other.point,
            role=_ROLE,
            flags=_ALL_FLAGS,
            begins=other.begins,
            ends=other.ends,
        )
        return _signed(body, self._root)

    def certify(
        self, name: bytes, private: bytes, *, begins: int, ends: int, flags: bytes = _NO_FLAGS
    ) -> CVCertificate:
        """Certify a key for authentication: a card's, or the centre's own."""
        return self._certify(self._key, self.name, name, private, flags, begins, ends)

    def certify_holder(self, data: EGKData, private: bytes) -> bytes:
        """Make the X.509 certificate of a card's holder."""
        unit = NameOID.ORGANIZATIONAL_UNIT_NAME
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
                x509.NameAttribute(unit, data.insurer),
                x509.NameAttribute(unit, data.kvnr),
                x509.NameAttribute(
                    NameOID.COMMON_NAME, f"{data.given_name} {data.family_name} TEST-ONLY"
                ),
            ]
        )
        certificate = self._certify_holder(
            subject, _private(private), data.begins, data.ends, is_authority=False
        )
        return certificate.public_bytes(Encoding.DER)

    def _certify_holder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        begins: int,
        ends: int,
        *,
        is_authority: bool,
    ) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._x509_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_moment(begins))
            .not_valid_after(_moment(ends) + timedelta(days=1, seconds=-1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(self._x509_key, SHA256())
        )

    def _certify(
        self,
        signer: bytes,
        signer_name: bytes,
        name: bytes,
        private: bytes,
        flags: bytes,
        begins: int,
        ends: int,
    ) -> CVCertificate:
        is_card = flags == _NO_FLAGS or len(name) > len(signer_name)
        body = encode_body(
            authority=signer_name,
            holder=name,
            key_use=AUTHENTICATION_KEY if is_card else SIGNING_KEY,
            point=EphemeralKey(private).public_point,
            role=_ROLE,
            flags=flags,
            begins=begins,
            ends=ends,
        )
        return _signed(body, signer)


def print_egk(
    data: EGKData,
    authority: CardAuthority,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> EGKImage:
    """Make the contents of a card."""
    key = random_bytes(COORDINATE_SIZE)
    iccsn = bytes.fromhex(data.iccsn)
    certificate = authority.certify(_CARD_NAME + iccsn, key, begins=data.begins, ends=data.ends)
    protected = pack_document(_protected_document())
    insurance = pack_document(_insurance_document(data))
    copy_begins = 8 + len(insurance)
    offsets = (8, copy_begins - 1, copy_begins, copy_begins + len(protected) - 1)
    return EGKImage(
        atr=ATR,
        applications={
            ROOT: (
                CardFile(0x011C, 0x1C, CARD_ACCESS, Access.ALWAYS),
                CardFile(0x2F02, SFI_SERIAL_NUMBER, TLV(0x5A, iccsn).encode_ber(), Access.FREE),
                CardFile(0x2F11, SFI_VERSIONS, _VERSIONS, Access.ALWAYS),
                CardFile(
                    0x2F07,
                    SFI_AUTHORITY_CERTIFICATE,
                    authority.certificate.encode(),
                    Access.FREE,
                ),
                CardFile(0x2F06, SFI_CARD_CERTIFICATE, certificate.encode(), Access.FREE),
            ),
            HEALTH_CARE: (
                CardFile(
                    0xD001,
                    SFI_PERSONAL_DATA,
                    _with_length(pack_document(_personal_document(data))),
                    Access.FREE,
                ),
                CardFile(
                    0xD002,
                    SFI_INSURANCE_DATA,
                    b"".join(each.to_bytes(2, "big") for each in offsets) + insurance + protected,
                    Access.FREE,
                ),
                CardFile(0xD003, 0x03, _with_length(protected), Access.HOLDER),
                CardFile(0xD00C, SFI_STATUS, b"0" + _UPDATED + _SCHEMA + _PROTOCOL, Access.FREE),
            ),
            SIGNATURES: (
                CardFile(
                    0xC504,
                    SFI_HOLDER_CERTIFICATE,
                    authority.certify_holder(data, random_bytes(COORDINATE_SIZE)),
                    Access.FREE,
                ),
            ),
        },
        card_key=key,
        can=data.can,
        pin=data.pin,
        roots={authority.root_name: authority.root.point},
    )


def _signed(body: bytes, signer: bytes) -> CVCertificate:
    r, s = decode_dss_signature(_private(signer).sign(body, ec.ECDSA(SHA256())))
    signature = r.to_bytes(COORDINATE_SIZE, "big") + s.to_bytes(COORDINATE_SIZE, "big")
    return decode_certificate(encode_certificate(body, signature))


def _personal_document(data: EGKData) -> bytes:
    person = _elements(
        Geburtsdatum=f"{data.birth_date:08d}",
        Vorname=data.given_name,
        Nachname=data.family_name,
        Geschlecht=data.sex,
    )
    return _document(
        "UC_PersoenlicheVersichertendatenXML",
        f"<Versicherter>{_elements(Versicherten_ID=data.kvnr)}<Person>{person}"
        "<StrassenAdresse><Postleitzahl>99999</Postleitzahl><Ort>Musterstadt</Ort>"
        "<Land><Wohnsitzlaendercode>D</Wohnsitzlaendercode></Land></StrassenAdresse>"
        "</Person></Versicherter>",
    )


def _insurance_document(data: EGKData) -> bytes:
    insurer = _elements(
        Kostentraegerkennung=data.insurer, Kostentraegerlaendercode="D", Name=data.insurer_name
    )
    return _document(
        "UC_AllgemeineVersicherungsdatenXML",
        f"<Versicherter><Versicherungsschutz>{_elements(Beginn=str(data.begins))}"
        f"<Kostentraeger>{insurer}</Kostentraeger></Versicherungsschutz>"
        "<Zusatzinfos><ZusatzinfosGKV><Versichertenart>1</Versichertenart></ZusatzinfosGKV>"
        "</Zusatzinfos></Versicherter>",
    )


def _protected_document() -> bytes:
    return _document(
        "UC_GeschuetzteVersichertendatenXML",
        "<Zuzahlungsstatus><Status>0</Status></Zuzahlungsstatus>",
    )


def _elements(**texts: str) -> str:
    for text in texts.values():
        if set(text) & set("<>&"):
            raise ValueError(f"{text!r} can't be written into a document")
    return "".join(f"<{name}>{text}</{name}>" for name, text in texts.items())


def _document(root: str, content: str) -> bytes:
    text = (
        f'<?xml version="1.0" encoding="ISO-8859-15"?><{root} xmlns="{NAMESPACE}"'
        f' CDM_VERSION="{SCHEMA_VERSION}">{content}</{root}>'
    )
    return text.encode(ENCODING)


def _with_length(packed: bytes) -> bytes:
    return len(packed).to_bytes(2, "big") + packed


def _private(number: bytes) -> ec.EllipticCurvePrivateKey:
    point = EphemeralKey(number).public_point
    key = ec.derive_private_key(_reduced(number), ec.BrainpoolP256R1())
    assert key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) == point
    return key


def _reduced(number: bytes) -> int:
    return int.from_bytes(number, "big") % ORDER


def _moment(day: int) -> datetime:
    return datetime(day // 10_000, day // 100 % 100, day % 100, tzinfo=UTC)
