"""What stands on an eGK: both published images decode, and no flipped bit passes for another."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.card.errors import CardDataError
from protocol.card.profiles import egk_data
from protocol.card.profiles.egk_data import (
    DataStatus,
    check_kvnr,
    decode_insurance_data,
    decode_personal_data,
    decode_protected_data,
    decode_serial_number,
    decode_status,
    decode_versions,
    pack_document,
    unpack_document,
)

NS = 'xmlns="http://ws.gematik.de/fa/vsdm/vsd/v5.2" CDM_VERSION="5.2.0"'
PERSON = (
    "<Versicherter><Versicherten_ID>X110639491</Versicherten_ID><Person>"
    "<Geburtsdatum>19900000</Geburtsdatum><Vorname>Zoë</Vorname><Nachname>Muster€</Nachname>"
    "<Geschlecht>W</Geschlecht></Person></Versicherter>"
)
DECODERS: dict[str, Any] = {
    "EF.GDO": decode_serial_number,
    "EF.PD": decode_personal_data,
    "EF.VD": decode_insurance_data,
    "EF.GVD": decode_protected_data,
    "EF.StatusVD": decode_status,
    "EF.Version2": decode_versions,
}


def _file(
    text: str, root: str = "UC_PersoenlicheVersichertendatenXML", attributes: str = NS
) -> bytes:
    xml = f'<?xml version="1.0" encoding="ISO-8859-15"?><{root} {attributes}>{text}</{root}>'
    return _packed(xml.encode("iso-8859-15"))


def _packed(xml: bytes) -> bytes:
    packed = pack_document(xml)
    return len(packed).to_bytes(2, "big") + packed


def test_the_first_image_decodes_completely(image: Any) -> None:
    files = image(83)
    assert decode_serial_number(files["EF.GDO"]).hex() == "80276883110000168583"
    person = decode_personal_data(files["EF.PD"])
    assert person.kvnr == "X110639491"
    assert person.name == "Kriemhild Amelie Abigail Hannelore Freifrau Bruser"
    assert (person.birth_date, person.sex) == ("19900717", "X")
    assert person.street_address is not None
    assert person.street_address.place == "Leipzig"
    assert person.box_address is None
    cover = decode_insurance_data(files["EF.VD"])
    assert (cover.begins, cover.ends, cover.kind) == ("20250407", "", "1")
    assert cover.insurer.number == "109500969"
    assert cover.billing_insurer == cover.insurer
    assert cover.protected == decode_protected_data(files["EF.GVD"])
    assert (
        dict(cover.entries)[
            "Versicherter/Zusatzinfos/ZusatzinfosGKV/Zusatzinfos_Abrechnung_GKV/WOP"
        ]
        == "98"
    )
    status = decode_status(files["EF.StatusVD"])
    assert status.status is DataStatus.CONSISTENT
    assert status.updated.isoformat() == "2025-04-07T10:01:58"
    assert (status.schema_version, status.protocol_version) == ("5.2.0", "3.0.4")
    versions = decode_versions(files["EF.Version2"])
    assert (versions.product_type, versions.product) == ("4.5.2", "EGK_G2.1 4.5.2")
    assert versions.generation == "G2.1"


def test_the_second_image_has_letters_beyond_ascii(image: Any) -> None:
    files = image(84)
    person = decode_personal_data(files["EF.PD"])
    assert person.name == "Dörthe Abigail Freifrau Dåmmer-Ørsted"
    assert person.street_address is not None
    assert person.street_address.street == "Neuwiesenstraße"
    assert len(person.entries) == 11
    assert decode_insurance_data(files["EF.VD"]).protected == decode_protected_data(files["EF.GVD"])


@pytest.mark.parametrize("number", [83, 84])
@pytest.mark.parametrize("name", ["EF.PD", "EF.VD", "EF.GVD"])
def test_every_flipped_bit_of_insurance_data_is_refused(image: Any, number: int, name: str) -> None:
    content = image(number)[name]
    for bit in range(len(content) * 8):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CardDataError):
            DECODERS[name](bytes(changed))


@pytest.mark.parametrize("number", [83, 84])
@pytest.mark.parametrize("name", ["EF.GDO", "EF.StatusVD", "EF.Version2"])
def test_a_flipped_bit_where_no_check_sum_is_shows(image: Any, number: int, name: str) -> None:
    """These files have no redundancy of their own: a flip is refused, or gives another value."""
    content = image(number)[name]
    right = DECODERS[name](content)
    for bit in range(len(content) * 8):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            assert DECODERS[name](bytes(changed)) != right, bit
        except CardDataError:
            continue


def test_a_document_comes_back() -> None:
    person = decode_personal_data(_file(PERSON))
    assert (person.given_name, person.family_name) == ("Zoë", "Muster€")
    assert person.street_address is None


@pytest.mark.parametrize("size", [0, 1, 5, 200, -1, -9])
def test_a_file_cut_short_is_refused(size: int) -> None:
    with pytest.raises(CardDataError):
        decode_personal_data(_file(PERSON)[:size])


def test_what_stands_behind_the_length_is_an_older_file() -> None:
    assert decode_personal_data(_file(PERSON) + b"old") == decode_personal_data(_file(PERSON))


def test_a_bomb_is_refused_in_bounded_memory() -> None:
    with pytest.raises(CardDataError, match="too long"):
        unpack_document(pack_document(b" " * 200_000_000)[:])


def test_padding_bits_have_to_be_zero() -> None:
    refused = 0
    for size in range(40):
        packed = bytearray(pack_document(bytes(range(size))))
        for bit in range(8):
            changed = bytearray(packed)
            changed[-9] ^= 1 << bit
            with pytest.raises(CardDataError):
                unpack_document(bytes(changed))
            refused += 1
        assert unpack_document(bytes(packed)) == bytes(range(size))
    assert refused == 320


@pytest.mark.parametrize(
    "xml",
    [
        b'<?xml version="1.0" encoding="ISO-8859-15"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b'<?xml version="1.0" encoding="UTF-8"?><a/>',
        b"<a/>",
        b"",
        b'<?xml version="1.0" encoding="ISO-8859-15"?><a>',
        b'<?xml version="1.0" encoding="ISO-8859-15"?><a/>',
        b'<?xml version="1.0" encoding="ISO-8859-15"?><a>&unknown;</a>',
    ],
)
def test_other_documents_are_refused(xml: bytes) -> None:
    with pytest.raises(CardDataError):
        decode_personal_data(_packed(xml))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X110639491", "X110639492"),
        ("X110639491", ""),
        ("19900000", "1990"),
        ("<Nachname>Muster€</Nachname>", ""),
        ("<Person>", "<Mensch>"),
    ],
)
def test_a_document_without_what_it_must_have_is_refused(old: str, new: str) -> None:
    text = PERSON.replace(old, new).replace(
        "</Person>", "</Mensch>" if "Mensch" in new else "</Person>"
    )
    with pytest.raises(CardDataError):
        decode_personal_data(_file(text))


def test_another_schema_is_refused() -> None:
    for attributes in (NS.replace("5.2.0", "5.1.0"), NS.replace("v5.2", "v5.1"), ""):
        with pytest.raises(CardDataError):
            decode_personal_data(_file(PERSON, attributes=attributes))


def test_insurance_data_may_lack_the_copy_and_an_end() -> None:
    cover = (
        "<Versicherter><Versicherungsschutz><Beginn>20200101</Beginn><Ende>20301231</Ende>"
        "<Kostentraeger><Kostentraegerkennung>109500969</Kostentraegerkennung>"
        "<Kostentraegerlaendercode>D</Kostentraegerlaendercode><Name>Kasse</Name>"
        "</Kostentraeger></Versicherungsschutz></Versicherter>"
    )
    packed = _file(cover, "UC_AllgemeineVersicherungsdatenXML")[2:]
    offsets = (8).to_bytes(2, "big") + (7 + len(packed)).to_bytes(2, "big")
    data = decode_insurance_data(offsets + b"\xff" * 4 + packed)
    assert (data.ends, data.protected, data.billing_insurer) == ("20301231", None, None)
    for wrong in (b"\xff\xff\0\0", b"\0\x08\0\x20", b"\0\0\0\0", b"\xff\xff\xff\xfe"):
        with pytest.raises(CardDataError):
            decode_insurance_data(offsets + wrong + packed)


@pytest.mark.parametrize("kvnr", ["X110540756", "X110639491", "X110630769"])
def test_check_digits_of_published_numbers_hold(kvnr: str) -> None:
    check_kvnr(kvnr)
    for digit in "0123456789":
        if digit != kvnr[-1]:
            with pytest.raises(CardDataError):
                check_kvnr(kvnr[:-1] + digit)


@pytest.mark.parametrize(
    "kvnr", ["", "X11054075", "x110540756", "Ä110540756", "X1105４0756", "1110540756"]
)
def test_other_numbers_are_refused(kvnr: str) -> None:
    with pytest.raises(CardDataError):
        check_kvnr(kvnr)


@given(st.binary(max_size=300), st.sampled_from(sorted(DECODERS)))
def test_garbage_is_refused_by_name(garbage: bytes, name: str) -> None:
    for content in (garbage, _packed(garbage) if garbage else b""):
        try:
            DECODERS[name](content)
        except CardDataError:
            continue


def test_the_writer_of_cards_has_one_form() -> None:
    assert pack_document(b"x")[:10] == bytes.fromhex("1F8B08000000000000FF")
    assert egk_data.XML_SIZE_MAX == 65536
