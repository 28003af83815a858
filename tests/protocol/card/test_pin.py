"""PINs in commands: written as cards want them, put where they belong, shown to nobody."""

import pytest

from protocol.card.errors import CardDataError
from protocol.card.pin import PINDigits, encode_pin, fill_pins, shown
from protocol.card.profiles import social_security_medical as medical
from protocol.card.script import PINFormat, PINKind, PINPlace

BCD_PLACE = PINPlace(5, PINKind.CURRENT, PINFormat.BCD)


def test_a_pin_is_written_as_the_card_wants_it() -> None:
    assert encode_pin(PINDigits("123456"), PINFormat.BCD).hex() == "123456"
    assert encode_pin(PINDigits("12345"), PINFormat.BCD).hex() == "12345f"
    assert encode_pin(PINDigits("123456"), PINFormat.BLOCK_2).hex() == "26123456ffffffff"
    assert encode_pin(PINDigits("123456789012"), PINFormat.BLOCK_2).hex() == "2c123456789012ff"
    with pytest.raises(CardDataError, match="form 3"):
        encode_pin(PINDigits("123456"), 3)


@pytest.mark.parametrize("typed", ["", "123", "1234567890123", "12a4", "１２３４", "12 4"])
def test_what_is_no_pin_is_refused(typed: str) -> None:
    with pytest.raises(CardDataError, match="4 to 12 digits"):
        PINDigits(typed)


def test_lc_counts_what_was_put_in() -> None:
    verify = medical.verify_pin()
    filled = fill_pins(verify.command, verify.pins, {PINKind.CURRENT: PINDigits("123456")})
    assert filled.hex() == "0020000003123456"
    change = medical.change_pin()
    pins = {PINKind.CURRENT: PINDigits("123456"), PINKind.NEW: PINDigits("6543210")}
    assert fill_pins(change.command, change.pins, pins).hex() == "805e010008123456ff6543210f"


def test_two_pins_at_one_place_stand_in_the_order_named() -> None:
    places = (
        PINPlace(5, PINKind.CURRENT, PINFormat.BLOCK_2),
        PINPlace(5, PINKind.NEW, PINFormat.BLOCK_2),
    )
    pins = {PINKind.CURRENT: PINDigits("1234"), PINKind.NEW: PINDigits("5678")}
    filled = fill_pins(bytes.fromhex("0024000100"), places, pins)
    assert filled.hex() == "0024000110241234ffffffffff245678ffffffffff"


@pytest.mark.parametrize(
    ("template", "place"),
    [
        ("002000", BCD_PLACE),
        ("00200000", BCD_PLACE),
        ("0020000003", BCD_PLACE),
        ("002000000000", BCD_PLACE),
        ("00D6000000", BCD_PLACE),
        ("0088000000", BCD_PLACE),
        ("0020000000", PINPlace(4, PINKind.CURRENT, PINFormat.BCD)),
        ("0020000000", PINPlace(6, PINKind.CURRENT, PINFormat.BCD)),
        ("0020000000", PINPlace(5, PINKind.NEW, PINFormat.BCD)),
        ("00200000FF" + "00" * 255, BCD_PLACE),
    ],
)
def test_a_pin_goes_into_no_other_command(template: str, place: PINPlace) -> None:
    with pytest.raises(CardDataError):
        fill_pins(bytes.fromhex(template), (place,), {PINKind.CURRENT: PINDigits("1234")})


def test_a_pin_is_not_shown() -> None:
    assert "1234" not in repr(PINDigits("1234"))
    assert shown(bytes.fromhex("0020000003123456")) == "0020000003******"
    assert shown(bytes.fromhex("805E010007123456FF654321")) == "805E010007" + "*" * 14
    assert shown(bytes.fromhex("0020000000")) == "0020000000"
    assert shown(bytes.fromhex("00A40000023F00")) == "00A40000023F00"
