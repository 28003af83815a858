"""Cards are made as a TOML file orders them; what it gets wrong is named."""

from pathlib import Path

import pytest

from protocol.card.catalogue import find_opening
from protocol.card.profiles import social_security_card as ssc
from protocol.card.profiles import social_security_medical as medical
from protocol.card.profiles.social_security_keys import (
    Algorithm,
    CardKey,
    authentication_data,
    card_key,
    session_key,
)
from simulators.card.card_orders import CardOrder, FaultOrder, OrderError, make_card, read_orders
from simulators.card.faults import FaultKind
from simulators.card.transcript import RecordingCard
from terminals.readers.channel import BatchOutcome, ReaderError, run_batch, run_script

CHALLENGE = bytes(range(16))
EVERYTHING = """
keys = "keys"

[[card]]
version = "3.00"
algorithm = "sm4"
pin = "624815"
pin_tries = 0
region = "110100"
serial = "0A0B0C0D"
card_number = "A00000001"
holder_name = "欧阳震华"
holder_number = "111111198101011110"
timing = "fast-chip"
fault = [{ kind = "slow", at = 1, ms = 1 }, { kind = "bit_flip", match = "00B209", bit = 3 }]

[[card]]
slot = 2
medical = { 83 = "北京一院" }
log = [{ sequence = 7, kind = "1", terminal = "110101000001", time = "20261101093000" }]

[[card]]
slot = 3
is_contactless = true
is_clone = true

[[card]]
slot = 4
profile = "egk"

[[card]]
slot = 5
profile = "thai_nhso"

[[card]]
slot = 6
profile = "taiwan_nhi"
holder = { name = "王小明" }
"""


def ordered(tmp_path: Path, text: str) -> tuple[CardOrder, ...]:
    path = tmp_path / "cards.toml"
    path.write_text(text, encoding="utf-8")
    return read_orders(path).card


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir()
    for usage in ("IRK", "RKSSSE"):
        for algorithm in ("3des", "sm4"):
            (folder / f"{usage}.{algorithm}.1.key").write_bytes(bytes(range(16)))
    return folder


def test_every_order_is_a_card(tmp_path: Path, keys: Path) -> None:
    orders = ordered(tmp_path, EVERYTHING)
    assert [order.slot for order in orders] == [1, 2, 3, 4, 5, 6]
    profiles = []
    for order in orders:
        opening = find_opening(make_card(order, keys).card.atr)
        assert opening is not None
        profiles.append(opening.profile)
        assert opening.profile == order.profile
    assert len(set(profiles)) == 4


def test_a_card_is_what_was_ordered(tmp_path: Path, keys: Path) -> None:
    made = make_card(ordered(tmp_path, EVERYTHING)[0], keys)
    assert "A00000001" in made.name
    file = run_script(made.card, ssc.open_card(), CHALLENGE)
    assert file.card_id.hex().upper() == "110100D1560000050A0B0C0D48FB4966"
    assert file.pin_state is ssc.PINState.BLOCKED
    assert file.algorithm is Algorithm.SM4
    identity = ssc.identity(made.card.atr)
    assert identity.hex().upper().endswith("11010A0B0C0D")
    key = card_key(Algorithm.SM4, CardKey(bytes(range(16))), region="110100", identity=identity)
    assert file.authentication == authentication_data(
        Algorithm.SM4, session_key(Algorithm.SM4, key, CHALLENGE[8:]), CHALLENGE[:8]
    )


def test_the_medical_directory_is_as_ordered(tmp_path: Path, keys: Path) -> None:
    made = make_card(ordered(tmp_path, EVERYTHING)[1], keys)
    records = run_script(made.card, medical.read_freely())
    assert records.items[0x83] == "北京一院"
    assert [(each.sequence, each.kind) for each in records.log] == [(7, "1")]


def test_a_wrong_key_is_not_the_funds(keys: Path) -> None:
    said = {
        run_batch(make_card(order, keys).card, ssc.OPENING, CHALLENGE).answers[9]
        for order in (CardOrder(), CardOrder(is_wrong_key=True), CardOrder(is_clone=True))
    }
    assert len(said) == 3


def test_a_recording_is_a_card(tmp_path: Path, keys: Path) -> None:
    with RecordingCard(make_card(CardOrder(), keys).card, tmp_path / "tape.txt") as recording:
        recording.reset()
        answers = run_batch(recording, ssc.OPENING, CHALLENGE).answers
    (order,) = ordered(tmp_path, '[[card]]\nreplay = "tape.txt"\n')
    ran = run_batch(make_card(order, None).card, ssc.OPENING, bytes(16))
    assert (ran.outcome, ran.answers) == (BatchOutcome.COMPLETED, answers)


def test_faults_befall_the_made_card() -> None:
    order = CardOrder(fault=(FaultOrder(FaultKind.MUTE, ms=1),))
    with pytest.raises(ReaderError):
        make_card(order, None).card.transmit(ssc.select_ssse())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "card"),
        ("[[card]]\nslto = 1\n", "slto"),
        ("[[card]]\nslot = 9\n", "slot"),
        ("[[card]]\n[[card]]\n", "two cards are ordered for one slot"),
        ("[[card]]\nversion = '4.00'\n", "version"),
        ("[[card]]\nfault = [{ kind = 'melts' }]\n", "melts"),
        ("[[card]\n", "can't be read"),
    ],
)
def test_what_a_file_gets_wrong_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(OrderError, match=complaint):
        ordered(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("number = 'B1'", "belong together"),
        ("number = 'B1'\npopulation = 'nowhere'", "absent"),
        ("replay = 'nowhere.txt'", "nowhere.txt"),
        ("profile = 'egk'\nimage = 'nowhere.xml'", "nowhere.xml"),
        ("fault = [{ kind = 'status_word' }]", "2 bytes"),
        ("medical = { FF = '1' }", "no data item"),
        ("medical = { 84 = '1234567' }", "84"),
        ("profile = 'thai_nhso'\nholder = { nmae = 'x' }", "nmae"),
        ("profile = 'thai_nhso'\nholder = { name = 1 }", "name"),
    ],
)
def test_what_can_not_be_made_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    (order,) = ordered(tmp_path, f"[[card]]\n{text}\n")
    with pytest.raises(OrderError, match=complaint):
        make_card(order, None)
