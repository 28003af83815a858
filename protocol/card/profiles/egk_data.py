"""What stands in the files of an eGK G2.1: serial number, versions, insurance data.

Insurance data is XML in ISO-8859-15, compressed, behind lengths and offsets (gemSpec_eGK_Fach_VSDM;
schema VSD 5.2). Compressed data is bounded while it is unpacked, XML is read without document type
and entities, and a file has exactly one form, so that no flipped bit goes unseen in what carries a
check sum. Not here: how the files are read (`egk.py`), what a person is entitled to.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, unique
from xml.etree import ElementTree as ET

from protocol.card.cv_certificate import ICCSN_SIZE
from protocol.card.errors import CardDataError
from protocol.card.tlv import TLV, parse_ber

PERSONAL_DATA_SIZE_MAX = 850
INSURANCE_DATA_SIZE_MAX = 1250
STATUS_SIZE = 25
XML_SIZE_MAX = 64 * 1024
"""Cards hold 1,250 bytes; real data unpacks to less than a tenth of this."""

NAMESPACE = "http://ws.gematik.de/fa/vsdm/vsd/v5.2"
SCHEMA_VERSION = "5.2.0"
ENCODING = "iso-8859-15"

_GZIP_HEADER_SIZE = 10
_GZIP_TRAILER_SIZE = 8
_GZIP_HEADER = bytes.fromhex("1F8B0800")
# Header fields that no check sum covers. Any two values differ in two bits or more, so that one
# flipped bit makes none of the others: no extra flags; Java old and new, Unix, Windows.
_GZIP_EXTRA_FLAGS = 0
_GZIP_SYSTEMS = frozenset({0x00, 0xFF, 0x03, 0x0A})
_TIME_MIN = 0x43B71B80  # 2006-01-01: no card is older
_TIME_MAX = 0x7FFFFFFF
_ABSENT = 0xFFFF
_OFFSETS_SIZE = 8
_ICCSN_HEALTH = "80276"
_KVNR_SIZE = 10
_DATE_SIZE = 8
_IK_SIZE = 9
_ROOT_PERSONAL = "UC_PersoenlicheVersichertendatenXML"
_ROOT_INSURANCE = "UC_AllgemeineVersicherungsdatenXML"
_ROOT_PROTECTED = "UC_GeschuetzteVersichertendatenXML"
_DECLARATION = re.compile(
    r"""\s*<\?xml\s+version=["']1\.0["']\s+encoding=["']([A-Za-z0-9._-]+)["']"""
    r"""(?:\s+standalone=["'](?:yes|no)["'])?\s*\?>"""
)


@unique
class DataStatus(Enum):
    """Whether the insurance data on the card is whole (EF.StatusVD)."""

    CONSISTENT = "0"
    UPDATE_IN_PROGRESS = "1"


@dataclass(frozen=True, slots=True)
class InsuranceDataStatus:
    """EF.StatusVD.

    Attributes:
        updated: When the data was written, local time of the service that wrote it.
        schema_version: Of the XML, as `5.2.0`.
        protocol_version: Of the update, in the same form.
    """

    status: DataStatus
    updated: datetime
    schema_version: str
    protocol_version: str


@dataclass(frozen=True, slots=True)
class Versions:
    """EF.Version2: what the card was built by.

    Attributes:
        product_type: Version of the object system, as `4.5.2`.
        product: Maker's name of the product, with its version.
        objects: All versions by their tag.
    """

    product_type: str
    product: str
    objects: tuple[tuple[int, bytes], ...]

    @property
    def generation(self) -> str:
        """The card's generation; empty where the object system is none of those known here."""
        major, minor, _ = (int(part) for part in self.product_type.split("."))
        if major == _OBJECT_SYSTEM_G2:
            return "G2.1" if minor >= _OBJECT_SYSTEM_G2_1 else "G2.0"
        return ""


Entries = tuple[tuple[str, str], ...]
"""Every element with text of a document, in order: its path below the root, and the text."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where somebody lives or has a post-office box; what is absent is empty."""

    postal_code: str = field(repr=False)
    place: str = field(repr=False)
    country: str
    street: str = field(repr=False, default="")
    house_number: str = field(repr=False, default="")
    addition: str = field(repr=False, default="")
    box: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class PersonalData:
    """EF.PD: whose card it is.

    Attributes:
        kvnr: Insured person's number: a letter and nine digits, the last a check digit.
        birth_date: YYYYMMDD; zeros where a month or day is not known.
        sex: M, W, X or D.
        entries: All of the document.
    """

    kvnr: str = field(repr=False)
    given_name: str = field(repr=False)
    family_name: str = field(repr=False)
    prefix: str = field(repr=False)
    addition: str = field(repr=False)
    title: str = field(repr=False)
    birth_date: str = field(repr=False)
    sex: str
    street_address: Address | None
    box_address: Address | None
    entries: Entries = field(repr=False)

    @property
    def name(self) -> str:
        """The whole name, as it is said."""
        parts = (self.title, self.given_name, self.addition, self.prefix, self.family_name)
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Insurer:
    """Who pays: institution number of nine digits, country, name."""

    number: str
    country: str
    name: str


@dataclass(frozen=True, slots=True)
class ProtectedData:
    """EF.GVD or its copy in EF.VD: what not everybody may read."""

    copayment_status: str
    entries: Entries = field(repr=False)


@dataclass(frozen=True, slots=True)
class InsuranceData:
    """EF.VD: how somebody is insured.

    Attributes:
        begins: YYYYMMDD.
        ends: YYYYMMDD; empty where no end is set.
        billing_insurer: Who is billed, where it is another one.
        kind: Versichertenart: 1 member, 3 family, 5 pensioner; empty for private insurance.
        protected: The copy of EF.GVD; None where the card has none here.
        entries: All of the document.
    """

    begins: str
    ends: str
    insurer: Insurer
    billing_insurer: Insurer | None
    kind: str
    protected: ProtectedData | None
    entries: Entries = field(repr=False)


_OBJECT_SYSTEM_G2 = 4
_OBJECT_SYSTEM_G2_1 = 4
_TAG_VERSIONS = 0xEF
_TAG_PRODUCT_TYPE = 0xC1
_TAG_PRODUCT = 0xC2
_VERSION_SIZE = 3
_PRODUCT_SIZE = 16


def decode_serial_number(gdo: bytes) -> bytes:
    """Take the card's serial number, ICCSN, out of EF.GDO: `5A`, ten bytes of digits.

    Raises:
        CardDataError: The file is laid out otherwise, or the number is no health card's.
    """
    iccsn = gdo[2:]
    if gdo[:2] != bytes((0x5A, ICCSN_SIZE)) or len(iccsn) != ICCSN_SIZE:
        raise CardDataError("EF.GDO does not hold a serial number of ten bytes")
    digits = iccsn.hex()
    if not digits.isdecimal() or not digits.startswith(_ICCSN_HEALTH):
        raise CardDataError("the serial number is not of a German health card")
    return iccsn


def decode_versions(encoded: bytes) -> Versions:
    """Read EF.Version2.

    Raises:
        CardDataError: The file is laid out otherwise.
    """
    objects = parse_ber(encoded)
    if len(objects) != 1 or objects[0].tag != _TAG_VERSIONS:
        raise CardDataError("EF.Version2 does not hold one list of versions")
    inner = parse_ber(objects[0].value)
    written = TLV(_TAG_VERSIONS, b"".join(each.encode_ber() for each in inner)).encode_ber()
    if written != encoded:
        raise CardDataError("EF.Version2 is written in another form than the one form it has")
    found = {each.tag: each.value for each in inner}
    product_type = found.get(_TAG_PRODUCT_TYPE, b"")
    product = found.get(_TAG_PRODUCT, b"")
    if (
        len(found) != len(inner)
        or len(product_type) != _VERSION_SIZE
        or len(product) != _PRODUCT_SIZE
        or any(len(value) != _VERSION_SIZE for tag, value in found.items() if tag != _TAG_PRODUCT)
    ):
        raise CardDataError("EF.Version2 lacks a version, or one has another size")
    name, version = product[:-_VERSION_SIZE], product[-_VERSION_SIZE:]
    if not name.isascii() or not name.decode("ascii").isprintable():
        raise CardDataError("EF.Version2 names the product in no readable form")
    return Versions(
        product_type=_version(product_type),
        product=f"{name.decode('ascii').rstrip()} {_version(version)}",
        objects=tuple((each.tag, each.value) for each in inner),
    )


def decode_status(encoded: bytes) -> InsuranceDataStatus:
    """Read EF.StatusVD.

    Raises:
        CardDataError: The file is laid out otherwise.
    """
    if len(encoded) != STATUS_SIZE:
        raise CardDataError(f"EF.StatusVD has {STATUS_SIZE} bytes, not {len(encoded)}")
    digits = encoded[1:15]
    try:
        status = DataStatus(encoded[:1].decode("ascii"))
        if not digits.isdigit():
            raise CardDataError("EF.StatusVD has a time that is not all digits")
        updated = datetime.strptime(digits.decode("ascii"), "%Y%m%d%H%M%S")  # noqa: DTZ007 - local
    except ValueError as malformed:
        raise CardDataError("EF.StatusVD holds no status or no time") from malformed
    return InsuranceDataStatus(
        status, updated, _packed_version(encoded[15:20]), _packed_version(encoded[20:25])
    )


def decode_personal_data(encoded: bytes) -> PersonalData:
    """Read EF.PD: length, compressed document.

    Raises:
        CardDataError: The file, the compression or the document is malformed.
    """
    root, entries = _document(_behind_length(encoded), _ROOT_PERSONAL)
    person = _child(root, "Versicherter/Person")
    kvnr = _text(root, "Versicherter/Versicherten_ID")
    check_kvnr(kvnr)
    birth_date = _text(person, "Geburtsdatum")
    if len(birth_date) != _DATE_SIZE or not _is_digits(birth_date):
        raise CardDataError("a date of birth has eight digits")
    return PersonalData(
        kvnr=kvnr,
        given_name=_text(person, "Vorname"),
        family_name=_text(person, "Nachname"),
        prefix=_optional(person, "Vorsatzwort"),
        addition=_optional(person, "Namenszusatz"),
        title=_optional(person, "Titel"),
        birth_date=birth_date,
        sex=_text(person, "Geschlecht"),
        street_address=_street_address(person),
        box_address=_box_address(person),
        entries=entries,
    )


def decode_insurance_data(encoded: bytes) -> InsuranceData:
    """Read EF.VD: four offsets, compressed document, compressed copy of EF.GVD.

    Raises:
        CardDataError: The file, the compression or a document is malformed.
    """
    if len(encoded) < _OFFSETS_SIZE:
        raise CardDataError("EF.VD is shorter than its offsets")
    begins, ends, copy_begins, copy_ends = (
        int.from_bytes(encoded[at : at + 2], "big") for at in range(0, _OFFSETS_SIZE, 2)
    )
    root, entries = _document(_between(encoded, begins, ends), _ROOT_INSURANCE)
    has_copy = (copy_begins, copy_ends) != (_ABSENT, _ABSENT)
    if has_copy and copy_begins <= ends:
        raise CardDataError("EF.VD has parts that overlap")
    cover = _child(root, "Versicherter/Versicherungsschutz")
    billing = cover.find(_path("Kostentraeger/AbrechnenderKostentraeger"))
    return InsuranceData(
        begins=_date_text(_text(cover, "Beginn")),
        ends=_date_text(_optional(cover, "Ende")),
        insurer=_insurer(_child(cover, "Kostentraeger")),
        billing_insurer=None if billing is None else _insurer(billing),
        kind=_optional(root, "Versicherter/Zusatzinfos/ZusatzinfosGKV/Versichertenart"),
        protected=(
            _protected_data(_between(encoded, copy_begins, copy_ends)) if has_copy else None
        ),
        entries=entries,
    )


def decode_protected_data(encoded: bytes) -> ProtectedData:
    """Read EF.GVD: length, compressed document.

    Raises:
        CardDataError: The file, the compression or the document is malformed.
    """
    return _protected_data(_behind_length(encoded))


def check_kvnr(kvnr: str) -> None:
    """Check an insured person's number, its letter taken as two digits, by its check digit.

    Raises:
        CardDataError: It is none.
    """
    letter, digits = kvnr[:1], kvnr[1:]
    if len(kvnr) != _KVNR_SIZE or not "A" <= letter <= "Z" or not _is_digits(digits):
        raise CardDataError("an insured person's number is a letter and nine digits")
    weighted = f"{ord(letter) - ord('A') + 1:02d}{digits[:-1]}"
    total = 0
    for index, digit in enumerate(weighted):
        product = int(digit) * (1 + index % 2)
        total += product // 10 + product % 10
    if total % 10 != int(digits[-1]):
        raise CardDataError("an insured person's number has a wrong check digit")


def pack_document(xml: bytes) -> bytes:
    """Compress a document as it stands on a card: what whoever writes a card does."""
    packer = zlib.compressobj(level=9, wbits=-zlib.MAX_WBITS)
    packed = packer.compress(xml) + packer.flush()
    trailer = zlib.crc32(xml).to_bytes(4, "little") + len(xml).to_bytes(4, "little")
    return _GZIP_HEADER + bytes(5) + b"\xff" + packed + trailer


def unpack_document(packed: bytes) -> bytes:
    """Decompress a document: one member, bounded, and in the one form that it has.

    Bits that stand for nothing (RFC 1951 pads the last byte) have to be zero.

    Raises:
        CardDataError: It is cut short, too long, has something behind it, or its check sum is
            wrong.
    """
    header, body = packed[:_GZIP_HEADER_SIZE], packed[_GZIP_HEADER_SIZE:-_GZIP_TRAILER_SIZE]
    if len(packed) <= _GZIP_HEADER_SIZE + _GZIP_TRAILER_SIZE or header[:4] != _GZIP_HEADER:
        raise CardDataError("compressed data does not begin as it must")
    written = int.from_bytes(header[4:8], "little")
    if (
        (written and not _TIME_MIN <= written <= _TIME_MAX)
        or header[8] != _GZIP_EXTRA_FLAGS
        or header[9] not in _GZIP_SYSTEMS
    ):
        raise CardDataError("compressed data has a header that no writer of cards makes")
    xml = _inflate(body)
    if xml is None:
        raise CardDataError("compressed data is cut short, too long, or damaged")
    last = body[-1]
    if last and _inflate(body[:-1] + bytes((last ^ 1 << last.bit_length() - 1,))) == xml:
        raise CardDataError("compressed data is padded with something else than zeros")
    trailer = zlib.crc32(xml).to_bytes(4, "little") + len(xml).to_bytes(4, "little")
    if packed[-_GZIP_TRAILER_SIZE:] != trailer:
        raise CardDataError("compressed data does not have its check sum")
    return xml


def _inflate(body: bytes) -> bytes | None:
    """Decompress; None where that goes wrong, is too much, or leaves something over."""
    unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        xml = unpacker.decompress(body, XML_SIZE_MAX)
    except zlib.error:
        return None
    if not unpacker.eof or unpacker.unused_data:
        return None
    return xml


def _behind_length(encoded: bytes) -> bytes:
    size = int.from_bytes(encoded[:2], "big")
    if len(encoded) < 2 + size:
        raise CardDataError(f"a file announces {size} bytes and holds {max(len(encoded) - 2, 0)}")
    return encoded[2 : 2 + size]


def _between(encoded: bytes, begins: int, ends: int) -> bytes:
    """Cut out a part of EF.VD; its end is the index of its last byte."""
    if not _OFFSETS_SIZE <= begins <= ends < len(encoded):
        raise CardDataError("EF.VD has a part outside of itself")
    return encoded[begins : ends + 1]


def _document(packed: bytes, root_name: str) -> tuple[ET.Element, Entries]:
    """Unpack and read a document; document types and entities are refused before it is parsed."""
    text = unpack_document(packed).decode(ENCODING)
    declaration = _DECLARATION.match(text)
    if declaration is None or declaration[1].lower() != ENCODING:
        raise CardDataError("a document is not declared to be in ISO-8859-15")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise CardDataError("a document has a document type")
    try:
        root = ET.fromstring(text[declaration.end() :])  # noqa: S314 - no document type, bounded
    except ET.ParseError as malformed:
        raise CardDataError("a document is not well-formed") from malformed
    if root.tag != f"{{{NAMESPACE}}}{root_name}":
        raise CardDataError(f"a document is not {root_name} of schema 5.2")
    if root.get("CDM_VERSION") != SCHEMA_VERSION:
        raise CardDataError("a document is of another version of its schema")
    return root, tuple(_entries(root, ""))


def _entries(element: ET.Element, path: str) -> Iterator[tuple[str, str]]:
    for child in element:
        name = path + child.tag.rpartition("}")[2]
        if len(child):
            yield from _entries(child, name + "/")
        else:
            yield name, (child.text or "").strip()


def _protected_data(packed: bytes) -> ProtectedData:
    root, entries = _document(packed, _ROOT_PROTECTED)
    return ProtectedData(_optional(root, "Zuzahlungsstatus/Status"), entries)


def _insurer(element: ET.Element) -> Insurer:
    number = _text(element, "Kostentraegerkennung")
    if len(number) != _IK_SIZE or not _is_digits(number):
        raise CardDataError("an insurer's number has nine digits")
    return Insurer(number, _optional(element, "Kostentraegerlaendercode"), _text(element, "Name"))


def _street_address(person: ET.Element) -> Address | None:
    found = person.find(_path("StrassenAdresse"))
    if found is None:
        return None
    return Address(
        postal_code=_optional(found, "Postleitzahl"),
        place=_optional(found, "Ort"),
        country=_optional(found, "Land/Wohnsitzlaendercode"),
        street=_optional(found, "Strasse"),
        house_number=_optional(found, "Hausnummer"),
        addition=_optional(found, "Anschriftenzusatz"),
    )


def _box_address(person: ET.Element) -> Address | None:
    found = person.find(_path("PostfachAdresse"))
    if found is None:
        return None
    return Address(
        postal_code=_optional(found, "Postleitzahl"),
        place=_optional(found, "Ort"),
        country=_optional(found, "Land/Wohnsitzlaendercode"),
        box=_optional(found, "Postfach"),
    )


def _child(element: ET.Element, path: str) -> ET.Element:
    found = element.find(_path(path))
    if found is None:
        raise CardDataError(f"a document lacks {path}")
    return found


def _text(element: ET.Element, path: str) -> str:
    text = _optional(element, path)
    if not text:
        raise CardDataError(f"a document lacks {path}")
    return text


def _optional(element: ET.Element, path: str) -> str:
    return (element.findtext(_path(path)) or "").strip()


def _path(path: str) -> str:
    return "/".join(f"{{{NAMESPACE}}}{name}" for name in path.split("/"))


def _date_text(text: str) -> str:
    if text and (len(text) != _DATE_SIZE or not _is_digits(text)):
        raise CardDataError("a date has eight digits")
    return text


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _version(value: bytes) -> str:
    return ".".join(str(part) for part in value)


def _packed_version(value: bytes) -> str:
    """Read a version of three, three and four decimal digits."""
    digits = value.hex()
    if not digits.isdecimal():
        raise CardDataError("a version has nibbles that are no digits")
    return ".".join(str(int(part)) for part in (digits[:3], digits[3:6], digits[6:]))
