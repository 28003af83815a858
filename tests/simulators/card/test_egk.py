"""A simulated health card answers as a real one does."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.card.elliptic_curve import EphemeralKey
from protocol.card.errors import CardDataError, StatusWordError
from protocol.card.pace import establish
from protocol.card.pin import PINDigits, fill_pins
from protocol.card.profiles import egk
from protocol.card.profiles.egk_data import decode_protected_data
from protocol.card.secure_messaging import SecureMessaging
from simulators.card.egk import EGKImage, SimulatedEGK, pin_block
from simulators.card.egk_image import ImageError, read_image
from simulators.card.egk_print import FICTITIOUS_EGK, CardAuthority, print_egk
from terminals.readers.channel import ReaderError, run_script
from terminals.readers.paced_channel import PacedChannel

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors"
SELECT_ROOT = "00A4040C07D2760001448000"
SELECT_HEALTH_CARE = "00A4040C06D27600000102"


@pytest.fixture(scope="module")
def image() -> EGKImage:
    return print_egk(FICTITIOUS_EGK, CardAuthority(Random(1).randbytes), Random(2).randbytes)


@pytest.fixture
def card(image: EGKImage) -> SimulatedEGK:
    return SimulatedEGK(image, random_bytes=Random(3).randbytes)


@pytest.fixture
def contactless(image: EGKImage) -> SimulatedEGK:
    return SimulatedEGK(image, is_contactless=True, random_bytes=Random(3).randbytes)


def _send(card: SimulatedEGK, *commands: str) -> str:
    answer = b""
    for command in commands:
        answer = card.transmit(bytes.fromhex(command))
    return answer.hex().upper()


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("00B0820000", "5A0A802760099999000000189000"),
        ("00B08200000000", "5A0A802760099999000000189000"),
        ("00B082000C", "5A0A802760099999000000189000"),
        ("00B082000D", "5A0A802760099999000000186282"),
        ("00B0820B02", "186282"),
        ("00B0820C01", "6B00"),
        ("00B0820002", "5A0A9000"),
        ("00B0830000", "6A82"),
        ("00B0000000", "6986"),
        ("00A4020C022F02", "9000"),
        ("00A4020C022F99", "6A82"),
        ("00A4040C06D27600000103", "6A82"),
        ("00A4040C", "9000"),
        ("00A4010C022F02", "6A86"),
        ("00A404040000", "6700"),
        ("0088000018" + "00" * 24 + "00", "6985"),
        ("002241A406840109800107", "6A80"),
        ("002241A406840108800100", "6A88"),
        ("80200001", "63C3"),
        ("80200002", "6A88"),
        ("0020000102", "6700"),
        ("00200001021234", "6700"),
        ("002281B60A83084445475858870222", "6A88"),
        ("1086000002" + "7C00" + "00", "6985"),
        ("00F0000000", "6D00"),
        ("90A4000000", "6E00"),
        ("0CB0820000", "6988"),
        ("00", "6700"),
    ],
)
def test_single_commands_are_answered(card: SimulatedEGK, command: str, wanted: str) -> None:
    assert _send(card, command) == wanted


def test_control_information_is_cut_where_le_is_short(card: SimulatedEGK) -> None:
    whole = _send(card, "00A4040400")
    assert whole.startswith("62")
    assert _send(card, "00A4040404") == whole[:8] + "9000"


def test_internal_authenticate_takes_a_nonce_of_24_bytes(card: SimulatedEGK) -> None:
    choose = "002241A406840109800100"
    assert len(_send(card, choose, "0088000018" + "AB" * 24 + "00")) == 2 * 66
    assert _send(card, choose, "0088000017" + "AB" * 23 + "00") == "6A80"


def test_the_pin_opens_protected_data_and_blocks(card: SimulatedEGK) -> None:
    verify = "0020000108"
    assert _send(card, SELECT_HEALTH_CARE, "00B0830000") == "6982"
    assert _send(card, verify + pin_block("654321").hex()) == "63C2"
    assert _send(card, "80200001") == "63C2"
    assert _send(card, verify + pin_block("123456").hex()) == "9000"
    assert _send(card, "80200001") == "9000"
    content = bytes.fromhex(_send(card, SELECT_HEALTH_CARE, "00B0830000"))
    assert decode_protected_data(content[:-2]).copayment_status == "0"
    card.reset()
    assert _send(card, "80200001") == "63C3"
    for left in (2, 1, 0):
        assert _send(card, verify + pin_block("1234567").hex()) == f"63C{left}"
    assert _send(card, verify + pin_block("123456").hex()) == "6983"
    card.reset()
    assert _send(card, verify + pin_block("123456").hex()) == "6983"


def test_a_pin_is_put_into_its_template(card: SimulatedEGK) -> None:
    (step,) = next(egk.verify_pin(3))
    command = fill_pins(step.command, step.pins, {1: PINDigits("123456")})
    assert command.hex().upper() == "002000010826123456FFFFFFFF"
    assert card.transmit(command) == b"\x90\x00"


# Through the air


def test_without_a_channel_little_is_told(contactless: SimulatedEGK) -> None:
    assert _send(contactless, "00B09C0000").startswith("3114")
    assert _send(contactless, "00B0910000").startswith("EF2B")
    for command in ("00B0820000", "00B0860000", "80200001", "80CA010000"):
        assert _send(contactless, command) == "6982"


def test_a_channel_ends_at_the_first_message_that_is_not_its(contactless: SimulatedEGK) -> None:
    channel = PacedChannel.open(contactless, "123123", Random(5).randbytes)
    assert channel.transmit(bytes.fromhex("00B0820000"))[-2:] == b"\x90\x00"
    assert _send(contactless, "00B0820000") == "6982"
    with pytest.raises(ReaderError, match="secure channel"):
        channel.transmit(bytes.fromhex("00B0820000"))


def test_a_command_is_not_taken_twice(contactless: SimulatedEGK) -> None:
    keys = (EphemeralKey(b"\1" * 32), b"\2" * 32)
    messaging: SecureMessaging = run_script(contactless, establish("123123", keys))
    command = messaging.protect(bytes.fromhex("00B0820000"))
    assert messaging.unprotect(contactless.transmit(command))[-2:] == b"\x90\x00"
    assert contactless.transmit(command) == b"\x69\x88"


def test_another_access_number_gets_nowhere(contactless: SimulatedEGK) -> None:
    with pytest.raises(StatusWordError) as refused:
        PacedChannel.open(contactless, "123124", Random(5).randbytes)
    assert refused.value.status_word == 0x6300
    with pytest.raises(CardDataError):
        PacedChannel.open(contactless, "12312", Random(5).randbytes)


def test_steps_of_pace_come_in_order_only(contactless: SimulatedEGK) -> None:
    choose = "0022C1A40F800A04007F00070202040202830102"
    start = "108600000000027C000000"
    point = EphemeralKey(b"\1" * 32).public_point.hex()
    mapping, agreeing = (f"10860000000045 7C43 {tag}41 {point} 0000" for tag in ("81", "83"))
    assert _send(contactless, start) == "6985"
    assert _send(contactless, choose, mapping) == "6985"
    assert _send(contactless, choose, start, agreeing) == "6985"
    assert _send(contactless, choose, start, mapping, mapping) == "6985"
    token = "0086000000000C7C0A850800000000000000000000"
    assert _send(contactless, choose, start, mapping, token) == "6985"
    assert _send(contactless, choose, start, mapping, agreeing, token) == "6300"
    bad = f"10860000000045 7C43 8141 04{'11' * 64} 0000"
    assert _send(contactless, choose, start, bad) == "6A80"


@given(st.lists(st.binary(max_size=40) | st.sampled_from(
    [bytes.fromhex(each) for each in (
        SELECT_ROOT, SELECT_HEALTH_CARE, "00B0810000", "0022C1A40F800A04007F00070202040202830102",
        "108600000000027C000000", "002241A406840109800154", "80CA0100000000",
    )]
), max_size=12))  # fmt: skip
@settings(max_examples=100)
def test_any_commands_are_answered(image: EGKImage, commands: list[bytes]) -> None:
    for is_contactless in (False, True):
        card = SimulatedEGK(image, is_contactless=is_contactless)
        for command in commands:
            assert len(card.transmit(command)) >= 2


# Images


@pytest.fixture
def published() -> Iterator[Path]:
    if not VECTORS.is_dir():
        pytest.skip("the independent vectors (../shared/vectors) are not on this machine")
    yield from (VECTORS / "egk-images").glob("*83_gema5.xml")


def test_a_published_image_is_a_card(published: Path) -> None:
    image = read_image(published)
    assert (image.can, image.pin) == ("123123", "123456")
    assert len(image.roots) == 2
    card = SimulatedEGK(image)
    assert _send(card, "00B0820000") == "5A0A802768831100001685839000"
    answer = _send(card, SELECT_HEALTH_CARE, "00B0810002")
    assert answer == "01919000"
    file = run_script(card, egk.open_card(), bytes(32))
    assert file.personal.kvnr == "X110639491"
    assert len(run_script(card, egk.read_holder_certificate())) == 859
    verify = "0020000108" + pin_block("123456").hex()
    content = _send(card, SELECT_ROOT, verify, SELECT_HEALTH_CARE, "00B0830000")
    assert decode_protected_data(bytes.fromhex(content)[:-2]) == file.insurance.protected


def test_other_files_are_no_images(tmp_path: Path) -> None:
    path = tmp_path / "card.xml"
    for text in ("", "<card/>", "<card><objectSystem/></card>"):
        path.write_text(text)
        with pytest.raises(ImageError, match="no image"):
            read_image(path)


def test_a_printed_card_agrees_with_its_row() -> None:
    row = FICTITIOUS_EGK.registry_row(card_no=1, person_no=2)
    assert bytes.fromhex(row["card_id"]) == b"X110540756"
    assert bytes.fromhex(row["issuer"]) == b"109500969\0\0\0"
    assert (row["identity"], row["version"], row["algorithm"]) == (
        "80276009999900000018", "G2.1", "4",
    )  # fmt: skip
