"""The simulated card keeps its access conditions and answers as the standard says (part 5)."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.card.profiles.social_security_card import (
    KEY_EXTERNAL,
    SSSE_NAME,
    external_authenticate,
    internal_authenticate,
    select_ssse,
)
from protocol.card.profiles.social_security_keys import (
    Algorithm,
    CardKey,
    authentication_data,
    card_key,
    message_authentication_code,
    session_key,
)
from protocol.card.profiles.social_security_medical import DIRECTORY_NAME
from simulators.card.file_system import (
    PIN,
    BinaryFile,
    DedicatedFile,
    RecordFile,
    all_of,
    always,
    any_of,
    key,
    never,
    pin,
)
from simulators.card.simulated_card import SimulatedCard
from simulators.card.social_security_card import (
    FICTITIOUS,
    CardData,
    RootKeys,
    print_card,
)

ROOTS = RootKeys(CardKey(range(16)), CardKey(range(16, 32)))
KEY = CardKey(range(16))
NAME = b"test"


def send(card: SimulatedCard, command: str | bytes) -> str:
    data = bytes.fromhex(command) if isinstance(command, str) else command
    return card.transmit(data).hex().upper()


def ssc(**changes: object) -> SimulatedCard:
    data: CardData = replace(FICTITIOUS, **changes)  # type: ignore[arg-type]  # a row of changes
    return print_card(data, ROOTS, Random(1).randbytes)


def small_card() -> SimulatedCard:
    """A card with one directory that holds one file of each kind."""
    return SimulatedCard(
        atr=b"\x3b\x00",
        algorithm=Algorithm.SM4,
        directories=(
            DedicatedFile(
                fid=0xDF01,
                name=NAME,
                fci=b"",
                files=(
                    RecordFile(0xEF01, 1, [b"\x01\x01A", b"\x02\x01B"], always, key(1)),
                    RecordFile(0xEF02, 2, [], always, always, cyclic_max=2),
                    BinaryFile(0xEF03, 3, bytearray(b"0123456789"), pin, all_of(pin, key(1))),
                    BinaryFile(0xEF04, 4, bytearray(b"free"), any_of(pin, always), never),
                ),
                external_keys={1: KEY},
            ),
        ),
        pin=PIN("1234", 3),
        random_bytes=Random(2).randbytes,
    )


def selected() -> SimulatedCard:
    card = small_card()
    assert send(card, "00A4040004" + NAME.hex()) == "9000"
    return card


def authenticate(card: SimulatedCard, reference: int = 1) -> str:
    factor = bytes.fromhex(send(card, "0084000008")[:-4])
    session = session_key(Algorithm.SM4, KEY, factor)
    answer = authentication_data(Algorithm.SM4, session, bytes(8))
    return send(card, bytes((0x00, 0x82, 0x00, reference, 0x10)) + answer + bytes(8))


def test_an_answer_to_data_is_fetched_by_get_response() -> None:
    card = ssc()
    assert send(card, select_ssse()) == "611E"
    assert send(card, "00C0000005") == "6C1E"
    assert send(card, "00C000001E").startswith("6F1C840F" + SSSE_NAME.hex().upper())
    assert send(card, "00C000001E") == "6985", "it waits once"
    assert send(card, select_ssse() + b"\0").startswith("6F1C"), "with Le it comes at once"


def test_an_answer_waits_for_the_very_next_command_only() -> None:
    card = ssc()
    send(card, select_ssse())
    send(card, "0084000008")
    assert send(card, "00C000001E") == "6985"


def test_records_are_read_by_number_and_by_identifier() -> None:
    card = ssc()
    send(card, select_ssse())
    number = "0709583030303030303139" + "9000"
    assert send(card, "00B2072C0B") == number
    assert send(card, "00B207280B") == number
    assert send(card, "00B2072C00") == "6C0B"
    assert send(card, "00B2072C0C") == "6C0B"
    assert send(card, "00B2082C00") == "6A83"
    assert send(card, "00B2002C00") == "6A83"
    assert send(card, "00B2092800") == "6A83"
    assert send(card, "00B2012E00") == "6A86"
    assert send(card, "00B2017C00") == "6A82"
    assert send(card, "00B2014400") == "6981", "file 8 is not of records"


def test_the_medical_directory_wants_the_pin() -> None:
    card = ssc(pin="123456")
    select_medical = bytes((0x00, 0xA4, 0x04, 0x00, len(DIRECTORY_NAME))) + DIRECTORY_NAME
    assert send(card, select_medical).startswith("61")
    assert send(card, "00B281280A") == "6982"
    assert send(card, "0020000003123456") == "9000"
    assert send(card, "00B281280A") == "8108" + "3331300000000000" + "9000"
    send(card, select_medical)
    assert send(card, "00B281280A") == "6982", "what was proven ends with another selection"


def test_internal_authentication_wants_its_directory_and_its_length() -> None:
    card = ssc()
    command = internal_authenticate(factor=bytes(8), original=bytes(8))
    assert send(card, command) == "6986"
    send(card, select_ssse())
    assert send(card, "0088000105" + "00" * 5) == "6A88"
    assert send(card, "0088000008" + "00" * 8) == "6700"
    assert send(card, command) == "6108"
    assert send(card, bytes.fromhex("0088000011") + bytes(16) + b"\1") == "6108"


@pytest.mark.parametrize("algorithm", [Algorithm.TRIPLE_DES, Algorithm.SM4])
def test_external_authentication_opens_the_holders_file_of_version_3(algorithm: Algorithm) -> None:
    card = ssc(version="3.00", algorithm=algorithm)
    send(card, select_ssse())
    assert send(card, "00B2083014") == "6982"
    factor = bytes.fromhex(send(card, "0084000008")[:-4])
    own = card_key(
        algorithm, ROOTS.external, region=FICTITIOUS.region, identity=FICTITIOUS.identity
    )
    answer = authentication_data(algorithm, session_key(algorithm, own, factor), bytes(8))
    command = external_authenticate(authentication=answer, original=bytes(8))
    assert command[3] == KEY_EXTERNAL
    assert send(card, command) == "9000"
    assert send(card, "00B2083014").endswith("9000")
    assert send(card, command) == "6985", "a challenge is good for one authentication"
    card.reset()
    send(card, select_ssse())
    assert send(card, "00B2083014") == "6982"


def test_a_wrong_external_authentication_costs_a_try_and_the_last_one_blocks() -> None:
    card = selected()
    for left in range(14, -1, -1):
        send(card, "0084000008")
        assert send(card, "0082000110" + "00" * 16) == f"63C{left:X}"
    send(card, "0084000008")
    assert send(card, "0082000110" + "00" * 16) == "6983"


def test_a_right_external_authentication_gives_the_tries_back() -> None:
    card = selected()
    send(card, "0084000008")
    assert send(card, "0082000110" + "00" * 16) == "63CE"
    assert authenticate(card) == "9000"
    send(card, "0084000008")
    assert send(card, "0082000110" + "00" * 16) == "63CE"


def test_an_unknown_key_is_not_found() -> None:
    assert authenticate(selected(), reference=9) == "6A88"


def test_the_pin_counts_blocks_and_changes() -> None:
    card = selected()
    assert send(card, "0020000000") == "63C3"
    assert send(card, "00200000021111") == "63C2"
    assert send(card, "00200000021234") == "9000"
    assert send(card, "0020000000") == "9000"
    assert send(card, "805E0100051234FF5678") == "9000"
    assert send(card, "00200000021234") == "63C2"
    assert send(card, "00200000025678") == "9000"
    assert send(card, "805E010003123456") == "6A80"
    for left in (2, 1, 0):
        assert send(card, "00200000020000") == f"63C{left}"
    assert send(card, "00200000025678") == "6983"
    assert send(card, "0020000000") == "6983"
    assert send(card, "805E0100055678FF1234") == "6983"


def test_records_are_updated_by_whoever_may() -> None:
    card = selected()
    assert send(card, "00DC010C03010143") == "6982"
    assert authenticate(card) == "9000"
    assert send(card, "00DC010C03010143") == "9000"
    assert send(card, "00B2010C03") == "0101439000"
    assert send(card, "00DC010C0401024444") == "6700"


def test_a_cyclic_file_keeps_the_newest() -> None:
    card = selected()
    for value in ("AA", "BB", "CC"):
        assert send(card, "00DC000001"[:6] + "1001" + value) == "9000"
    assert send(card, "00B2011401") == "CC9000"
    assert send(card, "00B2021401") == "BB9000"
    assert send(card, "00B2031401") == "6A83"


def test_a_mac_is_checked_and_used_once() -> None:
    card = selected()
    assert authenticate(card) == "9000"
    factor = bytes.fromhex(send(card, "0084000008")[:-4])
    session = session_key(Algorithm.SM4, KEY, factor)
    head = bytes.fromhex("04DC010C07010143")
    mac = message_authentication_code(Algorithm.SM4, session, head)
    assert send(card, head + bytes(4)) == "9302"
    assert send(card, head + mac) == "6988", "its challenge is used up"
    factor = bytes.fromhex(send(card, "0084000008")[:-4])
    mac = message_authentication_code(Algorithm.SM4, session_key(Algorithm.SM4, KEY, factor), head)
    assert send(card, head + mac) == "9000"
    assert send(card, "00B2010C03") == "0101439000"


def test_binary_files_are_read_and_written_within_their_bounds() -> None:
    card = selected()
    assert send(card, "00B0830005") == "6982"
    assert send(card, "00200000021234") == "9000"
    assert send(card, "00B0830004") == "303132339000"
    assert send(card, "00B0830204") == "323334359000"
    assert send(card, "00B0830814") == "38396282"
    assert send(card, "00B0830800") == "38399000"
    assert send(card, "00B0830A01") == "6B00"
    assert send(card, "00B00002"[:8] + "02") == "32339000", "the file stays current"
    assert send(card, "00D6830002AAAA") == "6982"
    assert authenticate(card) == "9000"
    assert send(card, "00D6830802AAAA") == "9000"
    assert send(card, "00D6830902AAAA") == "6A84"
    assert send(card, "00B0830802") == "AAAA9000"
    assert send(card, "00D684000141") == "6982"
    assert send(card, "00B0840004") == "667265659000"
    assert send(card, "00B0810001") == "6981"


def test_files_are_selected_by_identifier() -> None:
    card = selected()
    assert send(card, "00A4020002EF04") == "9000"
    assert send(card, "00B0000004") == "667265659000"
    assert send(card, "00A4020002EF77") == "6A82"
    assert send(card, "00A4000002DF01") == "9000"
    assert send(card, "00A40000023F00") == "9000"
    assert send(card, "00B0840004") == "6986"
    assert send(card, "00A4090002DF01") == "6A86"
    assert send(card, "00A4040003616263") == "6A82"


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("00", "6700"),
        ("00A404000F73", "6700"),
        ("80A4040000", "6E00"),
        ("00FE000000", "6D00"),
        ("0084000005", "6700"),
        ("00B2010C", "6C03"),
        ("0082000110" + "00" * 16, "6985"),
    ],
)
def test_what_is_wrong_is_said(command: str, answer: str) -> None:
    assert send(selected(), command) == answer


@given(st.lists(st.binary(max_size=30), max_size=20))
def test_whatever_is_sent_is_answered(commands: list[bytes]) -> None:
    card = selected()
    for command in commands:
        assert len(card.transmit(command)) >= 2


def test_data_that_does_not_fit_its_field_is_not_printed() -> None:
    for changes in ({"card_number": "X000000190"}, {"holder_name": "张" * 26}):
        with pytest.raises(ValueError, match="holds"):
            ssc(**changes)


def test_a_card_shows_nothing_of_its_holder() -> None:
    for secret in ("张三", "111111198101011110", "X00000019"):
        assert secret not in repr(FICTITIOUS)
