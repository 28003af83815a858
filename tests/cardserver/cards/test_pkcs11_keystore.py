"""A token's own: what leaves it, what it refuses, and what becomes of a lost one."""

from collections.abc import Iterator

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.exceptions import AttributeSensitive, AttributeTypeInvalid

from cardserver.cards.keystore import KeyStoreError, NotGenuineError
from cardserver.cards.pkcs11_keystore import PKCS11KeyStore
from protocol.card.errors import AlgorithmUnsupportedError
from protocol.card.profiles.social_security_keys import Algorithm
from tests.cardserver.cards.made_up_keys import (
    ANSWERS,
    DAY,
    FACTOR,
    ORIGINAL,
    ROOT,
    SOFTHSM,
    TOKEN_PIN,
    answer_of,
    card,
    named,
)

NAME = named("IRK.3des.1")


@pytest.fixture
def token(softhsm_token: str) -> str:
    return softhsm_token


@pytest.fixture
def store(token: str) -> Iterator[PKCS11KeyStore]:
    store = PKCS11KeyStore(SOFTHSM, label=token, pin=TOKEN_PIN, is_administered=True)
    for record in store.records():
        store.destroy(record.name)
    yield store
    store.close()


def secret_keys(store: PKCS11KeyStore) -> list[pkcs11.SecretKey]:
    assert store._session is not None
    return list(store._session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY}))


def test_no_key_of_any_level_can_be_read_from_the_token(store: PKCS11KeyStore) -> None:
    store.import_key(NAME, ROOT, DAY)
    store.create(named("RKSSSE.3des.1"), DAY)
    proven = answer_of(store, card(Algorithm.TRIPLE_DES), ANSWERS[Algorithm.TRIPLE_DES])
    store.external_authentication(proven, factor=FACTOR, original=ORIGINAL)
    found = secret_keys(store)
    assert len(found) == 4  # two roots, a city's key of each; card and session keys are gone
    for key in found:
        assert key[Attribute.SENSITIVE]
        assert not key[Attribute.EXTRACTABLE]
        with pytest.raises((AttributeSensitive, AttributeTypeInvalid)):
            key[Attribute.VALUE]
    for key in found:
        if key[Attribute.TOKEN]:
            assert not key[Attribute.ENCRYPT]
            assert not key[Attribute.WRAP]
            assert not key[Attribute.MODIFIABLE]


def test_what_was_derived_does_not_pile_up(store: PKCS11KeyStore) -> None:
    store.import_key(NAME, ROOT, DAY)
    for index in range(30):
        with pytest.raises(NotGenuineError):
            answer_of(store, card(Algorithm.TRIPLE_DES, identity=bytes((index,)) * 8), bytes(8))
    assert len(secret_keys(store)) == 2


def test_sm4_is_refused_with_what_to_do(store: PKCS11KeyStore) -> None:
    for attempt in (
        lambda: store.create(named("IRK.sm4.1"), DAY),
        lambda: store.import_key(named("IRK.sm4.1"), ROOT, DAY),
        lambda: answer_of(store, card(Algorithm.SM4), bytes(8)),
    ):
        with pytest.raises(
            AlgorithmUnsupportedError, match="SM4 root keys go into a key store of encrypted files"
        ):
            attempt()


def test_a_key_that_the_token_would_give_out_is_refused(store: PKCS11KeyStore, token: str) -> None:
    assert store._session is not None
    loose = store._session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.DES2,
            Attribute.LABEL: str(NAME), Attribute.TOKEN: True, Attribute.SENSITIVE: False,
            Attribute.EXTRACTABLE: True, Attribute.VALUE: bytes(ROOT),
        }
    )  # fmt: skip
    try:
        with pytest.raises(KeyStoreError, match=r"would give out its key IRK\.3des\.1"):
            PKCS11KeyStore(SOFTHSM, label=token, pin=TOKEN_PIN)
    finally:
        loose.destroy()


def test_other_keys_of_the_token_are_left_alone(store: PKCS11KeyStore, token: str) -> None:
    assert store._session is not None
    other = store._session.generate_key(KeyType.AES, 256, label="someone else's", store=True)
    try:
        assert PKCS11KeyStore(SOFTHSM, label=token, pin=TOKEN_PIN).records() == []
    finally:
        other.destroy()


def test_serving_makes_and_destroys_nothing(store: PKCS11KeyStore, token: str) -> None:
    store.import_key(NAME, ROOT, DAY)
    serving = PKCS11KeyStore(SOFTHSM, label=token, pin=TOKEN_PIN)
    with pytest.raises(KeyStoreError, match="can't be made: SessionReadOnly"):
        serving.create(named("IRK.3des.2"), DAY)
    with pytest.raises(KeyStoreError, match="can't be destroyed"):
        serving.destroy(NAME)
    algorithm = Algorithm.TRIPLE_DES
    answer_of(serving, card(algorithm), ANSWERS[algorithm])


def test_a_lost_session_is_a_fault_once_and_opened_again(store: PKCS11KeyStore) -> None:
    store.import_key(NAME, ROOT, DAY)
    algorithm = Algorithm.TRIPLE_DES
    answer_of(store, card(algorithm), ANSWERS[algorithm])
    assert store._session is not None
    store._session.close()
    with pytest.raises(KeyStoreError, match="the token can't compute"):
        answer_of(store, card(algorithm), ANSWERS[algorithm])
    answer_of(store, card(algorithm), ANSWERS[algorithm])


@pytest.mark.parametrize(
    ("library", "label", "pin", "says"),
    [
        (SOFTHSM, "absent", TOKEN_PIN, "NoSuchToken"),
        ("/nowhere/lib.so", "tests", TOKEN_PIN, "nowhere"),
    ],
)
def test_a_token_that_is_not_there_is_said(
    token: str, library: str, label: str, pin: str, says: str
) -> None:
    assert token == "tests"
    with pytest.raises(KeyStoreError, match=says):
        PKCS11KeyStore(library, label=label, pin=pin)


def test_another_pin_opens_nothing(token: str) -> None:
    with pytest.raises(KeyStoreError, match="PinIncorrect"):
        PKCS11KeyStore(SOFTHSM, label=token, pin="00000000")


def test_a_key_made_by_another_program_has_no_day(store: PKCS11KeyStore) -> None:
    assert store._session is not None
    store._session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.DES2,
            Attribute.LABEL: str(NAME), Attribute.TOKEN: True, Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False, Attribute.DERIVE: True,
            Attribute.VALUE: bytes(ROOT),
        }
    )  # fmt: skip
    (record,) = store._find_roots().values()
    assert record.record.made is None
    algorithm = Algorithm.TRIPLE_DES
    answer_of(store, card(algorithm), ANSWERS[algorithm])
