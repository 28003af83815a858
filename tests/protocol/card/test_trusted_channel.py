"""Mutual authentication: as recorded, and with a simulated card up to reading over the channel."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from protocol.card.cv_certificate import (
    CertificateError,
    CVCertificate,
    decode_certificate,
    verify_chain,
)
from protocol.card.elliptic_curve import EphemeralKey
from protocol.card.errors import CardDataError, StatusWordError
from protocol.card.profiles import egk
from protocol.card.script import Script
from protocol.card.secure_messaging import SecureMessaging, SecureMessagingError, protected
from protocol.card.tlv import TLV
from protocol.card.trusted_channel import (
    decode_public_keys,
    list_public_keys,
    missing_certificates,
    open_trusted_channel,
)
from simulators.card.egk import SimulatedEGK
from simulators.card.egk_print import FICTITIOUS_EGK, CardAuthority, print_egk
from terminals.readers.channel import run_script

NAME = bytes.fromhex("000A80276009999900000034")
CARD_NONCE = bytes(range(24))


class RecordedKey:
    """A key of which only the public part is published."""

    def __init__(self, public_point: bytes) -> None:
        self.public_point = public_point

    def shared_secret(self, point: bytes) -> bytes:
        assert len(point) == 65
        return bytes(32)


def test_a_channel_is_opened_as_recorded(trace: Any, play: Any) -> None:
    _, tape = trace("trusted-channel")
    chain = [
        decode_certificate(TLV(0x7F21, command[5:]).encode_ber())
        for command, _ in tape
        if command[:4] == bytes.fromhex("002A00BE")
    ]
    assert len(chain) == 3
    own = RecordedKey(tape[-1][0][-65:])
    card = EphemeralKey(b"\1" * 32).public_point

    def script() -> Script[SecureMessaging]:
        known = yield from list_public_keys()
        return (
            yield from open_trusted_channel(
                missing_certificates(chain, known),
                name=bytes.fromhex("000A80276001011699902101"),
                static=own,
                ephemeral=own,
                card_point=card,
            )
        )

    assert isinstance(play(script(), tape), SecureMessaging)


def test_a_card_lists_the_keys_that_it_knows(trace: Any) -> None:
    _, tape = trace("trusted-channel")
    names = decode_public_keys(tape[0][1][:-2])
    assert len(names) == 8
    assert bytes.fromhex("4445475858870222") in names
    with pytest.raises(CardDataError):
        decode_public_keys(tape[0][1][1:-2])


@pytest.fixture
def authority() -> CardAuthority:
    return CardAuthority(Random(1).randbytes)


@pytest.fixture
def card(authority: CardAuthority) -> SimulatedEGK:
    return SimulatedEGK(print_egk(FICTITIOUS_EGK, authority, Random(2).randbytes))


def _open(
    card: SimulatedEGK, authority: CardAuthority, static: EphemeralKey, chain: list[CVCertificate]
) -> SecureMessaging:
    point = run_script(card, egk.open_card(), bytes(32)).certificate.point
    known = run_script(card, list_public_keys())
    script = open_trusted_channel(
        missing_certificates(chain, known),
        name=NAME,
        static=static,
        ephemeral=EphemeralKey(Random(5).randbytes(32)),
        card_point=point,
    )
    assert authority.certificate in chain
    return run_script(card, script)


def test_both_ends_agree_and_read(card: SimulatedEGK, authority: CardAuthority) -> None:
    static = EphemeralKey(b"\7" * 32)
    own = authority.certify(NAME, b"\7" * 32, begins=20250101, ends=20301231)
    messaging = _open(card, authority, static, [authority.certificate, own])
    file = run_script(card, protected(messaging, egk.open_card_whole(CARD_NONCE)))
    assert file.personal.kvnr == FICTITIOUS_EGK.kvnr
    # The card keeps what it was shown: the second time its own end is known already.
    known = run_script(card, list_public_keys())
    assert missing_certificates([authority.certificate, own], known) == ()


def test_a_copy_of_a_card_can_not_talk_over_the_channel(authority: CardAuthority) -> None:
    image = print_egk(FICTITIOUS_EGK, authority, Random(2).randbytes)
    genuine = SimulatedEGK(image)
    point = run_script(genuine, egk.open_card(), bytes(32)).certificate.point
    own = authority.certify(NAME, b"\7" * 32, begins=20250101, ends=20301231)

    copy = SimulatedEGK(replace(image, card_key=b"\x09" * 32))
    script = open_trusted_channel(
        [authority.certificate, own],
        name=NAME,
        static=EphemeralKey(b"\7" * 32),
        ephemeral=EphemeralKey(b"\5" * 32),
        card_point=point,
    )
    messaging = run_script(copy, script)  # nothing is proven yet
    with pytest.raises((SecureMessagingError, StatusWordError)):
        run_script(copy, protected(messaging, egk.open_card_whole(CARD_NONCE)))


def test_a_card_refuses_a_chain_that_does_not_hold(
    card: SimulatedEGK, authority: CardAuthority
) -> None:
    stranger = CardAuthority(Random(9).randbytes)
    own = stranger.certify(NAME, b"\7" * 32, begins=20250101, ends=20301231)
    with pytest.raises(StatusWordError):
        _open(card, authority, EphemeralKey(b"\7" * 32), [authority.certificate, own])


def test_a_chain_that_begins_nowhere_is_refused(authority: CardAuthority) -> None:
    with pytest.raises(CardDataError):
        missing_certificates([authority.certificate], [b"DEGXX\x87\x02\x22"])
    with pytest.raises(CertificateError):
        verify_chain(authority.certificate, (), {}, today=20261121)
