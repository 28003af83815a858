"""The medical directory's layouts, and answers that no card should give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.card.apdu import decode_command
from protocol.card.errors import CardDataError
from protocol.card.profiles import social_security_medical as medical
from protocol.card.profiles.social_security_medical import LogRecord, MedicalRecords
from protocol.card.script import Batch, Script

NOT_FOUND = bytes.fromhex("6A83")
OK = b"\x90\x00"
# Put together by hand: number 7, settlement, terminal, time, 12.00, 3.00, 45.00 yuan.
LOG_BYTES = bytes.fromhex("000732110101000001" + "20261101093000" + "000004B0" + "0000012C00001194")


def batch_of(script: Script[MedicalRecords]) -> Batch:
    batch = next(script)
    script.close()
    return batch


def play(answers: tuple[bytes, ...]) -> MedicalRecords:
    script = medical.read_freely()
    next(script)
    try:
        script.send(answers)
    except StopIteration as stop:
        read: MedicalRecords = stop.value
        return read
    raise AssertionError("the script wants another batch")


def answers(**changes: str) -> tuple[bytes, ...]:
    """Answer that nothing is there, but for records by tag or by `log` and `mark` numbers."""
    batch = batch_of(medical.read_freely())
    said = [OK, *(NOT_FOUND,) * (len(batch) - 1)]
    tags = list(medical.ITEMS)
    for name, record in changes.items():
        if name.startswith("log"):
            index = 1 + len(tags) + int(name[3:]) - 1
        elif name.startswith("mark"):
            index = len(batch) - medical.MARKS_MAX + int(name[4:]) - 1
        else:
            index = 1 + tags.index(int(name[1:], 16))
        said[index] = bytes.fromhex(record) + OK
    return tuple(said)


def test_a_batch_fits_the_wire() -> None:
    for script in (medical.read_freely(), medical.read_with_pin(), medical.change_pin_and_read()):
        assert len(batch_of(script)) <= 64
    commands = [step.command for step in batch_of(medical.read_freely())]
    assert decode_command(commands[0]).data.hex().upper() == "D15600000503"
    assert len(set(commands)) == len(commands)


def test_no_script_verifies_a_pin_twice() -> None:
    for script in (medical.read_freely(), medical.read_with_pin(), medical.change_pin_and_read()):
        verified = [
            place.kind
            for step in batch_of(script)
            for place in step.pins
            if step.command[1] == 0x20
        ]
        assert len(verified) == len(set(verified))


def test_items_are_read_by_their_coding() -> None:
    read = play(
        answers(
            t81="8108" + "3331300000000000",
            t84="8403" + "110100",
            t8C="8C01" + "1F",
            t80="8004" + "20101001",
            t83="8309" + "B1B1BEA9D2BBD4BA00",
            t8D="8D02" + "BEEF",
        )
    )
    assert read.items == {
        0x81: "310", 0x84: "110100", 0x8C: "1", 0x80: "20101001", 0x83: "北京一院", 0x8D: "BEEF",
    }  # fmt: skip


def test_the_log_is_read_newest_first_and_blank_records_are_none() -> None:
    record = LogRecord(7, "2", "110101000001", "20261101093000", 1200, 300, 4500)
    assert record.encode() == LOG_BYTES
    read = play(answers(log1=LOG_BYTES.hex(), log2="00" * 28, log3="FF" * 28, mark1="010203"))
    assert read.log == (record,)
    assert read.marks == (b"\x01\x02\x03",)


@pytest.mark.parametrize(
    "change",
    [
        {"t81": "8208" + "3331300000000000"},
        {"t81": "8107" + "33313000000000"},
        {"t81": "8108" + "33313000000000"},
        {"t84": "8403" + "1A0100"},
        {"t83": "8309" + "B1B1BEA9D2BBD4BA81"},
        {"t83": "8309" + "010203040506070809"},
        {"t8D": "8D"},
        {"t8D": ""},
        {"log1": LOG_BYTES.hex()[:-2]},
        {"log1": "0007" + "32" + "11010100000A" + LOG_BYTES.hex()[18:]},
        {"mark1": "0102"},
    ],
)
def test_a_record_that_is_none_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(CardDataError):
        play(answers(**change))


@given(st.lists(st.binary(max_size=40), min_size=35, max_size=35), st.booleans())
def test_any_answers_are_records_or_refused(said: list[bytes], are_approved: bool) -> None:  # noqa: FBT001 - a test's parameter
    ends = OK if are_approved else NOT_FOUND
    try:
        read = play(tuple(each + ends for each in said))
    except CardDataError:
        return
    assert all(text.isprintable() for text in read.items.values())


@given(st.data())
def test_a_mutated_card_is_read_or_refused(data: st.DataObject) -> None:
    said = list(
        answers(t81="8108" + "3331300000000000", t83="8309B1B1BEA9D2BBD4BA00",
                log1=LOG_BYTES.hex(), mark1="010203")
    )  # fmt: skip
    index = data.draw(st.integers(0, len(said) - 1))
    changed = bytearray(said[index])
    position = data.draw(st.integers(0, len(changed) - 1))
    changed[position] ^= 1 << data.draw(st.integers(0, 7))
    said[index] = bytes(changed)
    try:
        play(tuple(said))
    except CardDataError:
        return
