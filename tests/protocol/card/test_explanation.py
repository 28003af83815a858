"""Commands and answers in words that are right, and never a PIN among them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.card.explanation import explain_command, explain_data, explain_status
from protocol.card.status_word import StatusWord


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("00A404000F7378312E73682EC9E7BBE1B1A3D5CF", "SELECT, by name 社会保障 SSSE"),
        ("00A40000023F00", "SELECT, file 3F00"),
        ("00B2072C0B", "READ RECORD, number 07, file 05, Le 11"),
        ("00B2093020", "READ RECORD, identifier 09, file 06, Le 32"),
        ("0020000000", "VERIFY, PIN 00, asks for its state and takes no try"),
        ("0020000003123456", "VERIFY, PIN 00"),
        ("00B0820800", "READ BINARY, file 02, offset 8, Le 256"),
        ("0088000010" + "00" * 16, "INTERNAL AUTHENTICATE, key 00"),
        ("0CB0840000", "READ BINARY, file 04, offset 0, Le 256, secured"),
        ("0084000008", "GET CHALLENGE, Le 8"),
        ("00FF0000", "instruction FF"),
        ("00A4", "not a command: a command has at least 4 bytes, not 2"),
    ],
)
def test_a_command_is_named(command: str, words: str) -> None:
    assert explain_command(bytes.fromhex(command)).startswith(words)


def test_every_status_word_has_words() -> None:
    for word in StatusWord:
        assert explain_status(word) != explain_status(0x1234)
    assert "30 bytes wait" in explain_status(0x611E)
    assert "256 bytes" in explain_status(0x6C00)
    assert "3 tries left" in explain_status(0x63C3)


def test_data_objects_are_a_tree() -> None:
    lines = explain_data(
        bytes.fromhex("6F1C840F7378312E73682EC9E7BBE1B1A3D5CFA50988011E9F0C03860103")
    )
    assert lines == (
        "6F file control information",
        "  84 name of the directory: 7378312E73682EC9E7BBE1B1A3D5CF '社会保障 SSSE'",
        "  A5 proprietary template",
        "    88 short file identifier of the directory file: 1E",
        "    9F0C issuer's data",
        "      86 algorithm, or public key: 03",
    )


def test_records_and_texts_are_read() -> None:
    assert explain_data(bytes.fromhex("091E" + "D5C5C8FD" + "00" * 26)) == (
        "09 姓名 name: D5C5C8FD" + "00" * 26 + " '张三'",
    )
    assert explain_data("เลข".encode("tis-620")) == ()
    assert explain_data(b"4.5.2 of a card") == ("text '4.5.2 of a card'",)
    assert explain_data(b"") == ()
    assert explain_data(bytes.fromhex("A1B2C3D4E5F60718")) == ()


@given(st.binary(max_size=300))
def test_any_bytes_have_words_or_none(data: bytes) -> None:
    for line in (*explain_data(data), explain_command(data)):
        assert line.isprintable()


@given(st.text(alphabet="0123456789", min_size=6, max_size=12))
def test_a_pin_is_in_no_words(pin: str) -> None:
    digits = bytes.fromhex(pin + "F" * (len(pin) % 2))
    for head in ("00200000", "805E0100", "00240001", "0C200000", "842C0000"):
        command = bytes.fromhex(head) + bytes((len(digits),)) + digits
        words = explain_command(command)
        assert digits.hex().upper() not in words
        assert pin not in words
