"""The script against a transcript, and against answers that no card should give."""

from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.card.apdu import decode_command
from protocol.card.catalogue import find_opening
from protocol.card.errors import CardDataError, CardProtocolError
from protocol.card.profiles import social_security_card as ssc
from protocol.card.profiles.social_security_keys import Algorithm
from protocol.card.script import Script, challenge_size, fill_challenge
from protocol.card.status_word import StatusWord, bytes_available, exact_length, tries_left

T = TypeVar("T")

ATR = bytes.fromhex("3B6D000000814E43238697159900BF7C7A")
NO_HOLDER = ("", "", "", "")
NO_CHALLENGES = ("", "")
# The standard's fictitious card (parts 2 and 6), its answers put together by hand; the last
# answer is the authentication of test_social_security_keys.py.
TRANSCRIPT = (
    "6F1C840F7378312E73682EC9E7BBE1B1A3D5CFA50988011E9F0C038601019000",
    "0110639900D15600000500BF7C7A48FB49669000",
    "0201339000",
    "0304312E30309000",
    "040C6399000000000000000000009000",
    "0504201010019000",
    "0604202010019000",
    "07095830303030303031399000",
    "9000",
    "698CE898313CC36F9000",
)
HOLDER = (
    "08123131313131313139383130313031313131309000",
    "091ED5C5C8FD00000000000000000000000000000000000000000000000000009000",
)


def play(script: Script[T], *answers: tuple[str, ...]) -> T:
    """Drive a script by a transcript."""
    next(script)
    for each in answers:
        try:
            script.send(tuple(bytes.fromhex(answer) for answer in each))
        except StopIteration as stop:
            value: T = stop.value
            return value
    raise AssertionError("the script wants more than the transcript has")


def opened(
    changes: dict[int, str] | None = None,
    holder: tuple[str, ...] = (*HOLDER, "", ""),
    challenges: tuple[str, ...] = NO_CHALLENGES,
) -> ssc.OpenedFile:
    answers = list(TRANSCRIPT)
    for index, answer in (changes or {}).items():
        answers[index] = answer
    return play(ssc.open_card(), (*answers, *holder, *challenges))


def test_the_standards_card_is_read() -> None:
    file = opened()
    assert file.algorithm is Algorithm.TRIPLE_DES
    assert file.card_id.hex().upper() == "639900D15600000500BF7C7A48FB4966"
    assert (file.region, file.card_class, file.version) == ("639900", "3", "1.00")
    assert (file.begins, file.ends, file.card_number) == (20101001, 20201001, "X00000019")
    assert file.authentication.hex().upper() == "698CE898313CC36F"
    assert file.external_challenges is None
    assert file.holder is not None
    assert (file.holder.name, file.holder.number) == ("张三", "111111198101011110")
    assert ssc.identity(ATR).hex().upper() == "8697159900BF7C7A"


def test_nothing_personal_is_shown() -> None:
    shown = repr(opened())
    for secret in ("X00000019", "111111198101011110", "张三", "D156"):
        assert secret not in shown


def test_a_version_3_card_gives_challenges() -> None:
    file = opened({3: "0304332E30309000"}, NO_HOLDER, ("11" * 8 + "9000", "22" * 8 + "9000"))
    assert file.version == "3.00"
    assert file.holder is None
    assert file.external_challenges == (b"\x11" * 8, b"\x22" * 8)


@pytest.mark.parametrize("status_word", ["6982", "6A82", "6A83"])
def test_a_holder_file_that_is_refused_is_no_fault(status_word: str) -> None:
    assert opened(holder=(status_word, status_word, "", "")).holder is None
    assert opened(holder=("", "", HOLDER[0], status_word)).holder is None


@pytest.mark.parametrize(
    ("answer", "state", "tries"),
    [
        ("9000", ssc.PINState.NOT_REQUIRED, -1),
        ("63C6", ssc.PINState.REQUIRED, 6),
        ("63C0", ssc.PINState.BLOCKED, 0),
        ("6983", ssc.PINState.BLOCKED, 0),
        ("6D00", ssc.PINState.UNKNOWN, -1),
        ("6700", ssc.PINState.UNKNOWN, -1),
    ],
)
def test_the_pin_probe_is_understood(answer: str, state: ssc.PINState, tries: int) -> None:
    file = opened({8: answer})
    assert (file.pin_state, file.pin_tries) == (state, tries)


@pytest.mark.parametrize(
    ("region", "algorithm"), [("110000", Algorithm.SSF33), ("639900", Algorithm.TRIPLE_DES)]
)
def test_a_directory_that_declares_no_cipher_means_one(region: str, algorithm: Algorithm) -> None:
    file = opened(
        {
            0: "6F16840F7378312E73682EC9E7BBE1B1A3D5CFA50388011E9000",
            1: f"0110{region}D15600000500BF7C7A48FB49669000",
        }
    )
    assert file.algorithm is algorithm


@pytest.mark.parametrize(
    ("index", "answer"),
    [
        (0, "6F1C840F7378312E73682EC9E7BBE1B1A3D5CFA50988011E9F0C038601049000"),
        (0, "6F1C84009000"),
        (1, "0210639900D15600000500BF7C7A48FB49669000"),
        (1, "010F639900D15600000500BF7C7A48FB499000"),
        (1, "0110FFFFFFD15600000500BF7C7A48FB49669000"),
        (2, "0201019000"),
        (3, "9000"),
        (5, "05042010A0019000"),
        (7, "0709583030303030303139" + "01009000"),
        (9, "698CE898313CC39000"),
    ],
)
def test_answers_of_another_layout_are_refused(index: int, answer: str) -> None:
    with pytest.raises(CardDataError):
        opened({index: answer})


def test_a_name_that_is_no_text_is_refused() -> None:
    file = opened(holder=(HOLDER[0], "091E" + "FF" * 30 + "9000", "", ""))
    assert file.holder is not None
    assert file.holder.name_continues
    with pytest.raises(CardDataError, match="GB18030"):
        _ = file.holder.name


def test_a_name_cut_within_a_character_is_put_together() -> None:
    name = "一二三四五六七八九十一二三四A五六"
    data = name.encode("gb18030")
    file = opened(holder=(HOLDER[0], "091E" + data[:30].hex() + "9000", "", ""))
    assert file.holder is not None
    extension = data[30:].ljust(20, b"\0").hex()
    whole = play(ssc.read_name_extension(file.holder), ("4E14" + extension + "9000",))
    assert whole.name == name
    same = play(ssc.read_name_extension(file.holder), ("6A83",))
    assert same == file.holder


def test_a_locked_holder_is_read_after_external_authentication() -> None:
    script = ssc.read_locked_holder(authentication=b"\1" * 8, original=b"\2" * 8)
    batch = next(script)
    assert batch[0].command.hex() == "0082000a10" + "01" * 8 + "02" * 8
    script.close()
    holder = play(
        ssc.read_locked_holder(authentication=b"\1" * 8, original=b"\2" * 8),
        ("9000", *HOLDER, "6A83"),
    )
    assert holder.name == "张三"


def test_the_opening_is_what_the_standard_says() -> None:
    commands = [step.command.hex().upper() for step in ssc.OPENING]
    assert commands[0] == "00A404000F7378312E73682EC9E7BBE1B1A3D5CF"
    assert commands[1] == "00B2012C12"
    assert commands[7] == "00B2072C0B"
    assert commands[8] == "0020000000"
    assert commands[9] == "0088000010" + "00" * 16
    assert commands[10] == "00B2083014"
    assert commands[-2:] == ["0084000008", "0084000008"]
    for step in ssc.OPENING:
        decode_command(step.command)


def test_challenge_bytes_go_where_the_card_wants_them() -> None:
    assert challenge_size(ssc.OPENING) == ssc.CHALLENGE_SIZE == 16
    filled = fill_challenge(ssc.OPENING, bytes(range(32)))
    # Factor [8:16] first, then original [0:8].
    assert filled[9].command.hex() == "0088000010" + "08090a0b0c0d0e0f" + "0001020304050607"
    assert all(not step.spans for step in filled)
    assert challenge_size(filled) == 0


@given(st.lists(st.binary(max_size=40), min_size=16, max_size=16))
def test_garbage_is_refused_and_nothing_else(answers: list[bytes]) -> None:
    script = ssc.open_card()
    next(script)
    with pytest.raises((CardProtocolError, StopIteration)):
        script.send(tuple(answers))


@given(st.integers(0, 15), st.integers(0, 40), st.integers(0, 255))
def test_one_wrong_byte_is_read_or_refused(index: int, position: int, value: int) -> None:
    answers = [bytes.fromhex(each) for each in (*TRANSCRIPT, *HOLDER, "", "", "", "")]
    answer = bytearray(answers[index])
    if position < len(answer):
        answer[position] = value
    answers[index] = bytes(answer)
    script = ssc.open_card()
    next(script)
    with pytest.raises((CardDataError, StopIteration)):
        script.send(tuple(answers))


@pytest.mark.parametrize("text", ["3B6800005448204E49442036", "3B6D0000"])
def test_an_atr_of_other_length_has_no_identity(text: str) -> None:
    with pytest.raises(CardDataError):
        ssc.identity(bytes.fromhex(text))


def test_status_words_carry_numbers() -> None:
    assert [bytes_available(each) for each in (0x6108, 0x6100, 0x9000)] == [8, 256, None]
    assert [exact_length(each) for each in (0x6C12, 0x6C00, 0x6112)] == [18, 256, None]
    assert [tries_left(each) for each in (0x63C0, 0x63CF, 0x6300)] == [0, 15, None]
    assert StatusWord.OK == 0x9000


HISTORICAL = "00814E43238697159900BF7C7A"


@pytest.mark.parametrize(
    ("atr", "number"),
    [
        ("3B6D0000" + HISTORICAL, 1),
        # As PC/SC names a contactless card, its check byte last; and the card's own ATS.
        ("3B8D8001" + HISTORICAL + "87", 5),
        ("127880A002" + HISTORICAL, 5),
        ("117880A002" + HISTORICAL, 5),
    ],
)
def test_a_card_is_the_same_over_contacts_and_through_the_air(atr: str, number: int) -> None:
    opening = find_opening(bytes.fromhex(atr))
    assert opening is not None
    assert (opening.profile, opening.number) == (ssc.PROFILE, number)
    assert ssc.historical_bytes(bytes.fromhex(atr)).hex().upper() == HISTORICAL
    assert ssc.identity(bytes.fromhex(atr)).hex().upper() == "8697159900BF7C7A"


@pytest.mark.parametrize("atr", ["127880A003" + HISTORICAL, "3B8D8001" + HISTORICAL])
def test_another_header_is_another_card(atr: str) -> None:
    assert find_opening(bytes.fromhex(atr)) is None


def test_a_contactless_card_is_asked_for_its_answers() -> None:
    for contact, contactless in zip(ssc.OPENING, ssc.OPENING_CONTACTLESS, strict=True):
        one, other = decode_command(contact.command), decode_command(contactless.command)
        assert (one.ins, one.p1, one.p2, one.data) == (other.ins, other.p1, other.p2, other.data)
        assert other.le is not None or not other.data
