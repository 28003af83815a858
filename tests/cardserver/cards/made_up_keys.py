"""Root keys and answers of nobody's cards, for the tests of key stores."""

import datetime as dt

from cardserver.cards.keystore import CardKeyName, KeyStore, ProvenCard, RootKeyName
from protocol.card.profiles.social_security_keys import Algorithm, CardKey
from simulators.softhsm import LIBRARY, PIN

SOFTHSM = str(LIBRARY)
TOKEN_PIN = PIN
PASSPHRASE = b"made up for a test"
DAY = dt.date(2026, 11, 21)
DES = Algorithm.TRIPLE_DES
ROOT = CardKey(range(16))
OTHER_ROOT = CardKey(range(16, 32))
FACTOR = bytes.fromhex("1122334455667788")
ORIGINAL = bytes.fromhex("99AABBCCDDEEFF00")
IDENTITY = bytes.fromhex("8697159900BF7C7A")
# Computed from the standard's text, see tests/protocol/card/test_social_security_keys.py.
ANSWERS = {
    Algorithm.TRIPLE_DES: bytes.fromhex("698CE898313CC36F"),
    Algorithm.SM4: bytes.fromhex("2DE36924D57D5F48"),
}
# `openssl enc -des-ede` and `-sm4-ecb` of a block of zeros, the first three bytes.
CHECK_VALUES = {
    Algorithm.TRIPLE_DES: bytes.fromhex("DDADA1"),
    Algorithm.SM4: bytes.fromhex("1E9634"),
}


def card(algorithm: Algorithm, region: str = "639900", identity: bytes = IDENTITY) -> CardKeyName:
    return CardKeyName(algorithm, region, identity)


def named(text: str) -> RootKeyName:
    return RootKeyName.parse(text)


def answer_of(store: KeyStore, name: CardKeyName, answer: bytes) -> ProvenCard:
    return store.internal_authentication(name, factor=FACTOR, original=ORIGINAL, answer=answer)
