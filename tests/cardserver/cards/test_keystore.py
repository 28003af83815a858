"""What a key store proves, computes, and refuses to load."""

import os
from pathlib import Path
from typing import Any

import pytest

from cardserver.cards.keystore import (
    CardKeyName,
    FileKeyStore,
    KeyStoreError,
    NotGenuineError,
    ProvenCard,
)
from protocol.card.errors import AlgorithmUnsupportedError
from protocol.card.profiles.social_security_keys import Algorithm

FACTOR = bytes.fromhex("1122334455667788")
ORIGINAL = bytes.fromhex("99AABBCCDDEEFF00")
IDENTITY = bytes.fromhex("8697159900BF7C7A")
# Computed from the standard's text, see tests/protocol/card/test_social_security_keys.py.
ANSWERS = {
    Algorithm.TRIPLE_DES: bytes.fromhex("698CE898313CC36F"),
    Algorithm.SM4: bytes.fromhex("2DE36924D57D5F48"),
}


def name(algorithm: Algorithm, region: str = "639900", identity: bytes = IDENTITY) -> CardKeyName:
    return CardKeyName(algorithm, region, identity)


def write(directory: Path, file: str, value: bytes = bytes(range(16)), mode: int = 0o600) -> None:
    path = directory / file
    path.write_bytes(value)
    path.chmod(mode)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for usage in ("IRK", "RKSSSE"):
        for algorithm in ("3des", "sm4"):
            write(tmp_path, f"{usage}.{algorithm}.1.key")
    return tmp_path


@pytest.fixture
def keys(directory: Path) -> FileKeyStore:
    return FileKeyStore(directory)


@pytest.mark.parametrize("algorithm", list(ANSWERS))
def test_the_right_answer_proves_a_card(keys: FileKeyStore, algorithm: Algorithm) -> None:
    proven = keys.internal_authentication(
        name(algorithm), factor=FACTOR, original=ORIGINAL, answer=ANSWERS[algorithm]
    )
    assert (proven.name, proven.key_version) == (name(algorithm), 1)
    # The same root is written for both usages here, so the centre's answer is the same one.
    answer = keys.external_authentication(proven, factor=FACTOR, original=ORIGINAL)
    assert answer == ANSWERS[algorithm]


@pytest.mark.parametrize(
    "wrong",
    [
        {"answer": bytes(8)},
        {"answer": b""},
        {"answer": ANSWERS[Algorithm.TRIPLE_DES] + b"\0"},
        {"factor": bytes(8)},
        {"original": bytes(8)},
        {"card": name(Algorithm.SM4)},
        {"card": name(Algorithm.TRIPLE_DES, region="639901")},
        {"card": name(Algorithm.TRIPLE_DES, identity=bytes(8))},
    ],
)
def test_any_other_answer_proves_nothing(keys: FileKeyStore, wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {
        "card": name(Algorithm.TRIPLE_DES),
        "factor": FACTOR,
        "original": ORIGINAL,
        "answer": ANSWERS[Algorithm.TRIPLE_DES],
    }
    arguments = right | wrong
    with pytest.raises(NotGenuineError):
        keys.internal_authentication(arguments.pop("card"), **arguments)


def test_the_centre_answers_a_proven_card_once(keys: FileKeyStore) -> None:
    algorithm = Algorithm.SM4
    proven = keys.internal_authentication(
        name(algorithm), factor=FACTOR, original=ORIGINAL, answer=ANSWERS[algorithm]
    )
    keys.external_authentication(proven, factor=FACTOR, original=ORIGINAL)
    with pytest.raises(KeyStoreError, match="before"):
        keys.external_authentication(proven, factor=FACTOR, original=ORIGINAL)


def test_an_older_version_of_the_root_still_proves_its_cards(directory: Path) -> None:
    write(directory, "IRK.3des.2.key", bytes(16))
    keys = FileKeyStore(directory)
    algorithm = Algorithm.TRIPLE_DES
    proven = keys.internal_authentication(
        name(algorithm), factor=FACTOR, original=ORIGINAL, answer=ANSWERS[algorithm]
    )
    assert proven.key_version == 1
    newer = ProvenCard(name(algorithm), 2)
    with pytest.raises(KeyStoreError, match="RKSSSE of version 2"):
        keys.external_authentication(newer, factor=FACTOR, original=ORIGINAL)


def test_ssf33_is_unsupported(keys: FileKeyStore) -> None:
    with pytest.raises(AlgorithmUnsupportedError):
        keys.internal_authentication(
            name(Algorithm.SSF33), factor=FACTOR, original=ORIGINAL, answer=bytes(8)
        )


def test_a_missing_root_is_a_fault_and_not_a_false_card(tmp_path: Path) -> None:
    write(tmp_path, "IRK.sm4.1.key")
    with pytest.raises(KeyStoreError, match=r"IRK\.3des"):
        FileKeyStore(tmp_path).internal_authentication(
            name(Algorithm.TRIPLE_DES), factor=FACTOR, original=ORIGINAL, answer=bytes(8)
        )


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(directory: Path, mode: int) -> None:
    write(directory, "IRK.3des.1.key", mode=mode)
    with pytest.raises(KeyStoreError, match="chmod 600"):
        FileKeyStore(directory)


@pytest.mark.parametrize(
    ("file", "size", "complaint"),
    [
        ("IRK.3des.1.key", 15, "15 bytes"),
        ("IRK.3des.1.key", 33, "33 bytes"),
        ("IRK.ssf33.1.key", 16, "not named"),
        ("XYZ.3des.1.key", 16, "not named"),
        ("IRK.3des.one.key", 16, "not named"),
        ("IRK.3des.key", 16, "not named"),
    ],
)
def test_a_file_that_is_no_root_key_is_refused(
    directory: Path, file: str, size: int, complaint: str
) -> None:
    write(directory, file, bytes(size))
    with pytest.raises(KeyStoreError, match=complaint):
        FileKeyStore(directory)


def test_a_directory_without_keys_is_refused(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "absent"):
        with pytest.raises(KeyStoreError, match="no root key"):
            FileKeyStore(directory)


def test_a_directory_with_more_versions_than_anyone_rotates_is_refused(tmp_path: Path) -> None:
    for version in range(9):
        write(tmp_path, f"IRK.sm4.{version}.key", os.urandom(16))
    with pytest.raises(KeyStoreError, match="more than 8 versions"):
        FileKeyStore(tmp_path)


def test_many_regions_keep_memory_bounded(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cardserver.cards.keystore._REGION_KEYS_MAX", 3)
    keys = FileKeyStore(directory)
    for region in range(639900, 639910):
        with pytest.raises(NotGenuineError):
            keys.internal_authentication(
                name(Algorithm.SM4, str(region)), factor=FACTOR, original=ORIGINAL, answer=bytes(8)
            )
    assert len(keys._region_keys) == 3


def test_keys_show_themselves_nowhere(keys: FileKeyStore) -> None:
    assert "CardKey" in repr(keys._roots)
    assert "\\x" not in repr(keys._roots)
