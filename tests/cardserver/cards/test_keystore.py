"""What every key store proves, computes and refuses: the same for files and for a token."""

import inspect
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cardserver.cards import keystore
from cardserver.cards.file_keystore import FileKeyStore
from cardserver.cards.keystore import (
    KeyStoreError,
    NotGenuineError,
    ProvenCard,
    RootKeyName,
    RootKeyStore,
    check_key_value,
)
from cardserver.cards.pkcs11_keystore import PKCS11KeyStore
from protocol.card.errors import AlgorithmUnsupportedError
from protocol.card.profiles.social_security_keys import (
    Algorithm,
    CardKey,
    authentication_data,
    card_key,
    session_key,
)
from tests.cardserver.cards.made_up_keys import (
    ANSWERS,
    CHECK_VALUES,
    DAY,
    DES,
    FACTOR,
    ORIGINAL,
    OTHER_ROOT,
    PASSPHRASE,
    ROOT,
    SOFTHSM,
    TOKEN_PIN,
    answer_of,
    card,
    named,
)

Make = Callable[[], RootKeyStore]


@pytest.fixture(params=["files", "token"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Opens one store, empty at first, as often as it is called."""
    opened: list[RootKeyStore] = []

    def open_files() -> RootKeyStore:
        directory = tmp_path / "store"
        opened.append(
            FileKeyStore(directory, PASSPHRASE)
            if directory.exists()
            else FileKeyStore.make(directory, PASSPHRASE)
        )
        return opened[-1]

    def open_token() -> RootKeyStore:
        label = request.getfixturevalue("softhsm_token")
        store = PKCS11KeyStore(SOFTHSM, label=label, pin=TOKEN_PIN, is_administered=True)
        if not opened:  # what the test before left behind
            for record in store.records():
                store.destroy(record.name)
        opened.append(store)
        return store

    yield open_files if request.param == "files" else open_token
    for store in opened:
        store.close()


@pytest.fixture
def keys(reopen: Make) -> RootKeyStore:
    """A store with the same root of both usages, in each cipher that it can compute."""
    store = reopen()
    for algorithm in store.algorithms:
        for usage in keystore.USAGES:
            store.import_key(RootKeyName(usage, algorithm, 1), ROOT, DAY)
    return store


def test_the_right_answer_proves_a_card(keys: RootKeyStore) -> None:
    for algorithm in keys.algorithms:
        proven = answer_of(keys, card(algorithm), ANSWERS[algorithm])
        assert (proven.name, proven.key_version) == (card(algorithm), 1)
        # The same root is there for both usages, so the centre's answer is the same one.
        answer = keys.external_authentication(proven, factor=FACTOR, original=ORIGINAL)
        assert answer == ANSWERS[algorithm]


def test_both_stores_compute_what_the_standard_says_for_many_cards(keys: RootKeyStore) -> None:
    for index in range(20):
        region, identity = f"{110100 + index % 7}", os.urandom(8)
        factor, original = os.urandom(8), os.urandom(8)
        for algorithm in keys.algorithms:
            key = card_key(algorithm, ROOT, region=region, identity=identity)
            wanted = authentication_data(algorithm, session_key(algorithm, key, factor), original)
            keys.internal_authentication(
                card(algorithm, region, identity), factor=factor, original=original, answer=wanted
            )


@pytest.mark.parametrize(
    "wrong",
    [
        {"answer": bytes(8)},
        {"answer": b""},
        {"answer": ANSWERS[DES] + b"\0"},
        {"factor": bytes(8)},
        {"original": bytes(8)},
        {"card": card(DES, region="639901")},
        {"card": card(DES, identity=bytes(8))},
    ],
)
def test_any_other_answer_proves_nothing(keys: RootKeyStore, wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {
        "card": card(DES), "factor": FACTOR, "original": ORIGINAL, "answer": ANSWERS[DES],
    }  # fmt: skip
    with pytest.raises(NotGenuineError):
        keys.internal_authentication(**(right | wrong))


def test_the_centre_answers_a_proven_card_once(keys: RootKeyStore) -> None:
    proven = answer_of(keys, card(DES), ANSWERS[DES])
    keys.external_authentication(proven, factor=FACTOR, original=ORIGINAL)
    with pytest.raises(KeyStoreError, match="before"):
        keys.external_authentication(proven, factor=FACTOR, original=ORIGINAL)


def test_cards_of_an_older_root_are_proven_after_a_rotation(
    keys: RootKeyStore, reopen: Make
) -> None:
    keys.create(named("IRK.3des.2"), DAY)
    for store in (keys, reopen()):
        proven = answer_of(store, card(DES), ANSWERS[DES])
        assert proven.key_version == 1
        answer = store.external_authentication(proven, factor=FACTOR, original=ORIGINAL)
        assert answer == ANSWERS[DES]
    with pytest.raises(KeyStoreError, match=r"no root key RKSSSE\.3des\.2"):
        keys.external_authentication(ProvenCard(card(DES), 2), factor=FACTOR, original=ORIGINAL)


def test_the_newest_root_is_tried_first_and_the_oldest_can_be_destroyed(
    keys: RootKeyStore, reopen: Make
) -> None:
    # The same value again under a newer version: that one proves the card.
    keys.import_key(named("IRK.3des.10"), ROOT, DAY)
    assert answer_of(keys, card(DES), ANSWERS[DES]).key_version == 10
    keys.destroy(named("IRK.3des.10"))
    assert answer_of(keys, card(DES), ANSWERS[DES]).key_version == 1
    keys.import_key(named("IRK.3des.2"), OTHER_ROOT, DAY)
    keys.destroy(named("IRK.3des.1"))
    for store in (keys, reopen()):
        with pytest.raises(NotGenuineError):
            answer_of(store, card(DES), ANSWERS[DES])
    with pytest.raises(KeyStoreError, match=r"no root key IRK\.3des\.1"):
        keys.destroy(named("IRK.3des.1"))


def test_what_is_shown_of_a_key_is_name_check_value_and_day(
    keys: RootKeyStore, reopen: Make
) -> None:
    for store in (keys, reopen()):
        records = store.records()
        assert [record.name for record in records] == sorted(record.name for record in records)
        assert {record.name.usage for record in records} == set(keystore.USAGES)
        for record in records:
            assert record.check_value == CHECK_VALUES[record.name.algorithm]
            assert record.made == DAY


def test_a_created_key_is_like_no_other_and_is_there_when_opened_again(reopen: Make) -> None:
    store = reopen()
    made = {store.create(named(f"IRK.3des.{version}"), DAY).check_value for version in (1, 2, 3)}
    assert len(made) == 3
    assert store.records() == reopen().records()


def test_ssf33_is_refused_by_name(keys: RootKeyStore) -> None:
    with pytest.raises(AlgorithmUnsupportedError, match="SSF33 has no public definition"):
        answer_of(keys, card(Algorithm.SSF33), bytes(8))
    with pytest.raises(AlgorithmUnsupportedError, match="SSF33"):
        keys.create(named("IRK.ssf33.1"), DAY)


def test_a_missing_root_is_a_fault_and_not_a_false_card(reopen: Make) -> None:
    store = reopen()
    assert store.records() == []
    with pytest.raises(KeyStoreError, match=r"no root key IRK\.3des"):
        answer_of(store, card(DES), bytes(8))


def test_no_key_is_written_over(keys: RootKeyStore) -> None:
    for change in (keys.create, lambda name, day: keys.import_key(name, OTHER_ROOT, day)):
        with pytest.raises(KeyStoreError, match="already"):
            change(named("IRK.3des.1"), DAY)
    answer_of(keys, card(DES), ANSWERS[DES])


def test_more_versions_than_anyone_rotates_through_are_refused(reopen: Make) -> None:
    store = reopen()
    for version in range(1, 9):
        store.create(named(f"IRK.3des.{version}"), DAY)
    with pytest.raises(KeyStoreError, match="more than 8 versions"):
        store.create(named("IRK.3des.9"), DAY)
    store.create(named("RKSSSE.3des.9"), DAY)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (bytes(15), "16 bytes"),
        (bytes(24), "16 bytes"),
        (bytes(16), "the same"),
        (b"\x01" * 16, "the same"),
        (b"\x00\x01" * 8, "the same"),  # the same but for parity bits
        (bytes(range(8)) * 2, "single DES"),
    ],
)
def test_what_is_no_key_is_refused(reopen: Make, value: bytes, says: str) -> None:
    store = reopen()
    with pytest.raises(KeyStoreError, match=says):
        store.import_key(named("IRK.3des.1"), CardKey(value), DAY)
    assert store.records() == []


def test_equal_halves_are_a_key_of_sm4() -> None:
    check_key_value(Algorithm.SM4, CardKey(bytes(range(8)) * 2))


def test_many_regions_keep_memory_bounded(
    keys: RootKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{type(keys).__module__}.REGION_KEYS_MAX", 3)
    for region in range(639900, 639910):
        with pytest.raises(NotGenuineError):
            answer_of(keys, card(DES, str(region)), bytes(8))
    held = keys._region_keys  # type: ignore[attr-defined]
    assert len(held) == 3
    answer_of(keys, card(DES), ANSWERS[DES])  # of a region that was dropped


def test_a_store_shows_no_key(keys: RootKeyStore) -> None:
    """No attribute's text holds a root, and no method of the contract returns one."""
    text = repr(vars(keys)) + repr(keys.records())
    assert ROOT.hex() not in text.lower()
    assert "\\x00\\x01\\x02" not in text
    for name, method in inspect.getmembers(RootKeyStore, inspect.isfunction):
        assert inspect.signature(method).return_annotation is not CardKey, name


@pytest.mark.parametrize(
    "text", ["", "IRK", "IRK.3des", "IRK.3des.0", "IRK.3des.256", "IRK.3des.one", "XYZ.3des.1",
             "IRK.des.1", "IRK.3des.1.key", "IRK.3des.１"],
)  # fmt: skip
def test_what_is_no_name_of_a_key_is_refused(text: str) -> None:
    with pytest.raises(KeyStoreError, match="is not named"):
        RootKeyName.parse(text)
