"""Encrypted files of root keys: what opens them, and what is refused of what lies on the disk."""

import datetime as dt
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from cardserver.cards.file_keystore import FileKeyStore, read_passphrase
from cardserver.cards.keystore import KeyStoreError, RootKeyName
from protocol.card.errors import AlgorithmUnsupportedError
from protocol.card.profiles.social_security_keys import CardKey

PASSPHRASE = b"made up for a test"
DAY = dt.date(2026, 11, 21)
ROOT = CardKey(range(16))
NAME = RootKeyName.parse("IRK.3des.1")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "store"
    store = FileKeyStore.make(directory, PASSPHRASE)
    store.import_key(NAME, ROOT, DAY)
    store.import_key(RootKeyName.parse("RKSSSE.3des.1"), CardKey(range(16, 32)), DAY)
    return directory


def refused(directory: Path, says: str, passphrase: bytes = PASSPHRASE) -> None:
    with pytest.raises(KeyStoreError, match=says):
        FileKeyStore(directory, passphrase)


def change(file: Path, **fields: Any) -> None:
    content = json.loads(file.read_bytes())
    assert fields.keys() <= content.keys()
    file.write_text(json.dumps(content | fields))


def test_no_byte_of_a_key_is_on_the_disk(directory: Path) -> None:
    for file in directory.iterdir():
        data = file.read_bytes()
        assert bytes(ROOT) not in data
        assert ROOT.hex() not in data.decode().lower()
        assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert oct(directory.stat().st_mode & 0o777) == "0o700"


@pytest.mark.parametrize("wrong", [b"", b"made up for a tesT", PASSPHRASE + b" "])
def test_another_passphrase_opens_nothing(directory: Path, wrong: bytes) -> None:
    refused(directory, "another passphrase", wrong)


def test_a_new_passphrase_opens_the_same_keys(directory: Path) -> None:
    store = FileKeyStore(directory, PASSPHRASE)
    before = {file.name: file.read_bytes() for file in directory.glob("*.key")}
    with pytest.raises(KeyStoreError, match="another passphrase"):
        store.change_passphrase(b"not the present one", b"made up for another test")
    with pytest.raises(KeyStoreError, match="fewer than 16"):
        store.change_passphrase(PASSPHRASE, b"too short")
    store.change_passphrase(PASSPHRASE, b"made up for another test")
    refused(directory, "another passphrase")
    assert FileKeyStore(directory, b"made up for another test").records() == store.records()
    assert {file.name: file.read_bytes() for file in directory.glob("*.key")} == before


def test_a_short_passphrase_makes_no_store(tmp_path: Path) -> None:
    with pytest.raises(KeyStoreError, match="fewer than 16"):
        FileKeyStore.make(tmp_path / "new", b"fifteen letters")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620])
@pytest.mark.parametrize("name", ["store.json", "IRK.3des.1.key"])
def test_a_file_that_is_open_to_others_is_refused(directory: Path, name: str, mode: int) -> None:
    (directory / name).chmod(mode)
    refused(directory, "chmod 600")


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777])
def test_a_directory_that_is_open_to_others_is_refused(directory: Path, mode: int) -> None:
    directory.chmod(mode)
    refused(directory, "chmod 700")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
@pytest.mark.parametrize("name", [".", "store.json", "IRK.3des.1.key"])
def test_a_file_of_another_user_is_refused(directory: Path, name: str) -> None:
    os.chown(directory / name, 65534, 65534)
    refused(directory, "belongs to user 65534")


def test_a_renamed_key_is_refused(directory: Path) -> None:
    (directory / "IRK.3des.1.key").rename(directory / "IRK.3des.2.key")
    refused(directory, "it was renamed")


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "IRK.3des.2"},
        {"check_value": "DDADA2"},
        {"made": "2026-11-20"},
        {"nonce": "AAAAAAAAAAAAAAAA"},
        {"encrypted": "AAAA"},
    ],
)
def test_a_changed_key_is_refused(directory: Path, fields: dict[str, str]) -> None:
    file = directory / "IRK.3des.1.key"
    change(file, **fields)
    if "name" in fields:
        file.rename(directory / "IRK.3des.2.key")
    refused(directory, "was changed")


def test_any_flipped_bit_is_refused(directory: Path) -> None:
    """Of key or header: a refusal, never another key."""
    records = FileKeyStore(directory, PASSPHRASE).records()
    for name, step in (("IRK.3des.1.key", 3), ("store.json", 17)):
        file = directory / name
        good = file.read_bytes()
        for index in range(0, len(good), step):
            bad = bytearray(good)
            bad[index] ^= 1 << index % 8
            file.write_bytes(bad)
            try:
                assert FileKeyStore(directory, PASSPHRASE).records() == records
            except (KeyStoreError, AlgorithmUnsupportedError):
                continue
            # Only base64's unused last bits may change without changing what they stand for.
            assert chr(good[index + 1]) in '="', (name, index)
        file.write_bytes(good)


def test_a_key_of_another_store_is_refused(directory: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    FileKeyStore.make(other, PASSPHRASE)
    shutil.copy(directory / "IRK.3des.1.key", other)
    refused(other, "of another store")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("store.json", "{}", "can't be understood"),
        ("store.json", "", "can't be understood"),
        ("IRK.3des.1.key", "", "no encrypted root key"),
        ("IRK.3des.1.key", "\0" * 16, "no encrypted root key"),
        ("IRK.3des.key", "{}", "no encrypted root key"),
    ],
)
def test_what_is_no_file_of_a_store_is_refused(
    directory: Path, name: str, content: str, says: str
) -> None:
    (directory / name).touch(mode=0o600)
    (directory / name).write_text(content)
    refused(directory, says)


@pytest.mark.parametrize("n", [2**14 + 1, 2**13, 2**21, 0, -1])
def test_a_header_that_would_take_too_little_or_too_much_work_is_refused(
    directory: Path, n: int
) -> None:
    change(directory / "store.json", scrypt_n=n)
    refused(directory, "can't be understood")


def test_a_directory_that_is_no_store_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "absent", "can't be read")
    tmp_path.chmod(0o700)
    refused(tmp_path, "is no key store")
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "not a directory")


def test_a_directory_in_use_is_left_alone(directory: Path) -> None:
    before = {file: file.read_bytes() for file in directory.iterdir()}
    with pytest.raises(KeyStoreError, match="not empty"):
        FileKeyStore.make(directory, PASSPHRASE)
    assert {file: file.read_bytes() for file in directory.iterdir()} == before


def test_a_passphrase_is_read_from_a_file_of_its_owners_only(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(PASSPHRASE + b"\n")
    file.chmod(0o600)
    assert read_passphrase(file) == PASSPHRASE
    file.chmod(0o640)
    with pytest.raises(KeyStoreError, match="chmod 600"):
        read_passphrase(file)
    with pytest.raises(KeyStoreError, match="does not exist"):
        read_passphrase(tmp_path / "absent")
