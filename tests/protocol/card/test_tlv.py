"""Data objects survive their encoding; garbage is an error and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.card.errors import CardDataError
from protocol.card.tlv import TLV, find, parse_ber, parse_simple

ONE_BYTE_TAGS = st.integers(1, 0xFE).filter(lambda tag: tag & 0x1F != 0x1F)
TWO_BYTE_TAGS = st.builds(lambda first, second: first << 8 | second,
                          st.sampled_from([0x1F, 0x5F, 0x7F, 0x9F, 0xBF, 0xDF]),
                          st.integers(0x01, 0x7F))  # fmt: skip
BER = st.builds(TLV, ONE_BYTE_TAGS | TWO_BYTE_TAGS, st.binary(max_size=400))
SIMPLE = st.builds(TLV, st.integers(1, 0xFE), st.binary(max_size=400))
FCI = bytes.fromhex("6F1C840F7378312E73682EC9E7BBE1B1A3D5CFA50988011E9F0C03860103")


@given(st.lists(BER, max_size=5))
def test_ber_objects_survive_their_encoding(objects: list[TLV]) -> None:
    assert parse_ber(b"".join(each.encode_ber() for each in objects)) == tuple(objects)


@given(st.lists(SIMPLE, max_size=5))
def test_simple_objects_survive_their_encoding(objects: list[TLV]) -> None:
    assert parse_simple(b"".join(each.encode_simple() for each in objects)) == tuple(objects)


@given(st.lists(BER, min_size=1, max_size=3), st.data())
def test_a_cut_ends_in_an_error_or_between_objects(objects: list[TLV], data: st.DataObject) -> None:
    whole = b"".join(each.encode_ber() for each in objects)
    cut = data.draw(st.integers(0, len(whole) - 1))
    try:
        parsed = parse_ber(whole[:cut])
    except CardDataError:
        return
    assert parsed == tuple(objects[: len(parsed)])


@given(st.binary(max_size=60))
def test_garbage_is_objects_or_an_error(data: bytes) -> None:
    for parse in (parse_ber, parse_simple):
        try:
            objects = parse(data)
            find(objects, 0x6F, 0xA5)
        except CardDataError:
            continue
        assert all(isinstance(each, TLV) for each in objects)


def test_a_path_leads_through_templates() -> None:
    """The FCI of the social security directory (part 2)."""
    objects = parse_ber(FCI)
    assert find(objects, 0x6F, 0x84) == b"sx1.sh." + "社会保障".encode("gbk")
    assert find(objects, 0x6F, 0xA5, 0x88) == b"\x1e"
    assert find(objects, 0x6F, 0xA5, 0x9F0C, 0x86) == b"\x03"
    assert find(objects, 0x6F, 0xA5, 0x9F0D) is None
    assert find(objects, 0x70, 0xA5) is None
    assert objects[0].is_constructed
    assert not parse_ber(objects[0].value)[0].is_constructed


def test_a_second_template_of_the_same_tag_is_searched_too() -> None:
    objects = parse_ber(bytes.fromhex("A503840101A503880102"))
    assert find(objects, 0xA5, 0x88) == b"\x02"


@pytest.mark.parametrize(
    "text",
    ["84", "8480", "84 84 00000001 00", "84 82 01", "9F", "1F 80 01 00", "9F 81 81 81 01 00"],
)
def test_forms_that_are_not_allowed(text: str) -> None:
    with pytest.raises(CardDataError):
        parse_ber(bytes.fromhex(text))


@pytest.mark.parametrize(
    "text", ["01", "0102AA", "00 00", "FF 00", "01 FF", "01 FF 00", "01FF0002AA"]
)
def test_simple_objects_that_are_not_allowed(text: str) -> None:
    with pytest.raises(CardDataError):
        parse_simple(bytes.fromhex(text))
