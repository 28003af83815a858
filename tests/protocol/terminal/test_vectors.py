"""The test vectors of `protocol/README.md`, read from that file, hold in both directions.

Read twice: by the room's own decoders, and by a small MessagePack reader of this file's own, which
shares nothing with them.
"""

import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.msgpack import Decoder, Encoder

from benchmarks.wire_size import measure
from protocol.terminal import messages, msgid
from protocol.terminal.bodies import (
    NIL,
    REPLY_BODIES,
    REQUEST_BODIES,
    STORED_TYPES,
    request_hash,
)
from protocol.terminal.codes import ResponseCode
from protocol.terminal.connection import NEED_DATA, CentreConnection, Limits
from protocol.terminal.errors import RemoteProtocolError
from protocol.terminal.frame import FrameReader, encode_frame
from protocol.terminal.messages import Message, Reply, Request

SPECIFICATION = Path(__file__).parents[3] / "protocol" / "README.md"
TEXT = SPECIFICATION.read_text(encoding="utf-8").partition("\n## Test vectors\n")[2]


@dataclass(frozen=True, slots=True)
class Vector:
    """One vector as it stands in the specification."""

    title: str
    value: list[object]
    frame: bytes
    request_hash: bytes
    is_decode_only: bool

    @property
    def kind(self) -> str:
        """The envelope's name, the title's first word."""
        return re.split(r"[ :]", self.title)[0]

    @property
    def body(self) -> str:
        """The body's name, the word after "with"."""
        return re.split(r"[ :]", self.title)[2]


def vectors() -> list[Vector]:
    found = []
    for part in re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]:
        title = part.splitlines()[0]
        value = re.search(r"```json\n(.*?)```", part, re.DOTALL)
        frame = re.search(r"```hex\n(.*?)```", part, re.DOTALL)
        if value is None or frame is None:
            continue
        digest = re.search(r"Request hash: `([0-9a-f]{64})`", part)
        found.append(
            Vector(
                title=title,
                value=unwrapped(json.loads(value[1])),
                frame=bytes.fromhex("".join(frame[1].split())),
                request_hash=bytes.fromhex(digest[1]) if digest else b"",
                is_decode_only="Decode only" in part,
            )
        )
    return found


def unwrapped(value: object) -> object:
    """Turn the JSON's `{"bin": hex}` into bytes."""
    if isinstance(value, dict):
        assert list(value) == ["bin"]
        return bytes.fromhex(value["bin"])
    return [unwrapped(item) for item in value] if isinstance(value, list) else value


def read(data: bytes, at: int = 0) -> tuple[object, int]:
    """Read one MessagePack value of the kinds that the specification uses; give it and its end."""
    first = data[at]
    at += 1
    if first <= 0x7F:
        return first, at
    if first >= 0xE0:
        return first - 256, at
    if 0x90 <= first <= 0x9F:
        return read_array(data, at, first & 15)
    if 0xA0 <= first <= 0xBF:
        return data[at : at + (first & 31)].decode(), at + (first & 31)
    if first in {0xC0, 0xC2, 0xC3}:
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], at
    numbers = {
        0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
        0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
    }  # fmt: skip
    if first in numbers:
        size = struct.calcsize(numbers[first])
        return struct.unpack_from(numbers[first], data, at)[0], at + size
    sizes = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4}
    count = int.from_bytes(data[at : at + sizes[first]], "big")
    at += sizes[first]
    if first in {0xDC, 0xDD}:
        return read_array(data, at, count)
    content = data[at : at + count]
    return (content if first <= 0xC6 else content.decode()), at + count


def read_array(data: bytes, at: int, count: int) -> tuple[list[object], int]:
    items = []
    for _ in range(count):
        item, at = read(data, at)
        items.append(item)
    return items, at


def same(left: object, right: object) -> bool:
    """Compare strictly: in Python 1 equals True."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


VECTORS = vectors()
each = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.title)


def message_of(vector: Vector) -> Message:
    reader = FrameReader()
    reader.receive(vector.frame)
    payload = reader.next_frame()
    assert payload is not None
    assert not reader.is_mid_frame
    message: Message = Decoder(Message).decode(payload)
    return message


def test_every_envelope_and_body_has_a_vector() -> None:
    kinds = {vector.kind for vector in VECTORS}
    assert kinds == {"Request", "Reply", "Relay", "Relayed", "Goodbye"}
    bodies = {vector.body for vector in VECTORS if vector.kind in {"Request", "Reply"}}
    named = {body.__name__ for body in (*REQUEST_BODIES.values(), *REPLY_BODIES.values())}
    assert bodies == named | {"nil", "CheckRefused"}


@each
def test_a_reader_of_other_make_reads_what_is_written(vector: Vector) -> None:
    assert int.from_bytes(vector.frame[:4], "big") == len(vector.frame) - 4
    value, end = read(vector.frame, 4)
    assert end == len(vector.frame)
    assert same(value, vector.value)


@each
def test_what_is_written_encodes_to_the_frame(vector: Vector) -> None:
    assert encode_frame(Encoder().encode(vector.value)) == vector.frame


@each
def test_a_frame_decodes_to_its_envelope_and_back(vector: Vector) -> None:
    message = message_of(vector)
    assert type(message).__name__ == vector.kind
    if not vector.is_decode_only:
        assert encode_frame(Encoder().encode(message)) == vector.frame


@each
def test_a_body_decodes_to_its_struct_and_back(vector: Vector) -> None:
    message = message_of(vector)
    if not isinstance(message, Request | Reply):
        return
    if vector.body == "nil":
        assert bytes(message.body) == NIL
        return
    struct_ = getattr(messages, vector.body)
    body = Decoder(struct_).decode(message.body)
    if isinstance(message, Request):
        assert REQUEST_BODIES[message.type] is struct_
    if not vector.is_decode_only:
        assert Encoder().encode(body) == bytes(message.body)


@each
def test_the_request_hash_is_that_of_the_bytes_sent(vector: Vector) -> None:
    message = message_of(vector)
    if isinstance(message, Request):
        assert request_hash(message.type, message.body) == vector.request_hash
    else:
        assert vector.request_hash == b""


def test_a_repetition_differs_from_its_original_in_the_envelope_only() -> None:
    first, again = (vector for vector in VECTORS if vector.request_hash and is_first_msgid(vector))
    assert first.request_hash == again.request_hash
    assert first.frame != again.frame


def is_first_msgid(vector: Vector) -> bool:
    message = message_of(vector)
    return isinstance(message, Request) and message.msgid == "H11010100001202611210930070007"


@each
def test_what_a_vector_says_holds_together(vector: Vector) -> None:
    message = message_of(vector)
    if isinstance(message, Request):
        assert msgid.parse(message.msgid).institution == "H11010100001"
    if isinstance(message, Reply) and message.code == ResponseCode.SPLIT_CHANGED:
        assert vector.body in {"Previewed", "Refunded"}
    if isinstance(message, Reply) and message.code == ResponseCode.CHECK_REFUSED:
        assert vector.body == "CheckRefused"
    if isinstance(message, Reply) and message.duplicate:
        assert any(vector.body == REPLY_BODIES[type_].__name__ for type_ in STORED_TYPES)
    for split in splits_of(message, vector):
        assert split.total_fen == (
            split.fully_own_fen + split.over_limit_fen + split.pre_self_pay_fen
            + split.in_scope_fen
        )  # fmt: skip
        assert split.total_fen == (
            split.fund_pay_fen + split.person_part_fen + split.hospital_part_fen
        )
        assert split.fund_pay_fen == sum(layer.paid_fen for layer in split.layers)
        assert split.person_part_fen == (
            split.account_pay_fen + split.mutual_aid_fen + split.cash_fen
        )


def splits_of(message: Message, vector: Vector) -> list[messages.Split]:
    if isinstance(message, Reply) and vector.body in {"Previewed", "Settled"}:
        return [Decoder(getattr(messages, vector.body)).decode(message.body).split]
    if isinstance(message, Reply) and vector.body == "Refunded":
        refunded = Decoder(messages.Refunded).decode(message.body)
        return [refunded.given_back, *([refunded.remaining] if refunded.remaining else [])]
    return []


def test_missing_optional_fields_take_their_defaults() -> None:
    (older,) = (vector for vector in VECTORS if "an older terminal" in vector.title)
    message = message_of(older)
    assert isinstance(message, Request)
    assert message.felt_ms == 0
    preview = Decoder(messages.Preview).decode(message.body)
    assert preview.exception is None
    assert preview.wants_explanation
    assert preview.bill.admitted is None


def test_vectors_of_msgids_hold() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (valid; month (\d{6})|106.*?) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 5
    for text, _verdict, month in rows:
        if month:
            msgid.parse(text)
            assert msgid.month(text) == int(month)
        else:
            with pytest.raises(RemoteProtocolError) as caught:
                msgid.parse(text)
            assert caught.value.code is ResponseCode.INVALID_MSGID


def all_events(centre: CentreConnection) -> None:
    while centre.next_event() is not NEED_DATA:
        continue


REFUSED = re.findall(r"^\| `([0-9a-f]+)` \| (\d+) \|$", TEXT, re.MULTILINE)


def test_refused_frames_are_listed() -> None:
    assert {int(code) for _, code in REFUSED} >= {100, 101, 102, 105, 107, 110}


@pytest.mark.parametrize(("frame", "code"), REFUSED)
def test_refused_frames_are_refused_with_their_code(frame: str, code: str) -> None:
    centre = CentreConnection(Limits())
    centre.receive_data(bytes.fromhex(frame))
    with pytest.raises(RemoteProtocolError) as caught:
        all_events(centre)
    assert caught.value.code == int(code)


def test_the_vectors_are_of_this_version() -> None:
    assert messages.PROTOCOL_VERSION == 1
    text = SPECIFICATION.read_text(encoding="utf-8")
    assert "the specification of the wire protocol, version 1" in text


def test_sizes_stated_are_sizes_measured() -> None:
    rows = re.findall(
        r"^\| (?:this protocol|JSON.*?|ISO.*?) \| (\d+) \| ([\d.]+) \|$",
        SPECIFICATION.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    sizes = measure()
    measured = (sizes.frame, sizes.json, sizes.iso8583_ascii, sizes.iso8583_packed)
    assert [(int(size), ratio) for size, ratio in rows] == [
        (size, f"{sizes.frame / size:.2f}") for size in measured
    ]
    assert sizes.frame < sizes.json / 2
    assert sizes.frame < sizes.iso8583_packed < sizes.iso8583_ascii
