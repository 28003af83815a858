"""Bytes of every message and body: round trip, extension, garbage."""

import datetime as dt
import tracemalloc
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw, Struct
from msgspec.msgpack import Decoder, Encoder

from protocol.terminal import messages
from protocol.terminal.bodies import (
    NIL,
    REPLY_BODIES,
    REQUEST_BODIES,
    decode_reply_body,
    decode_request_body,
    encode_body,
    request_hash,
)
from protocol.terminal.codes import ResponseCode
from protocol.terminal.connection import (
    NEED_DATA,
    CentreConnection,
    Limits,
    TerminalConnection,
)
from protocol.terminal.errors import RemoteProtocolError
from protocol.terminal.frame import encode_frame
from protocol.terminal.messages import (
    Goodbye,
    MemberQuery,
    MessageType,
    Relay,
    Relayed,
    Reply,
    Request,
)

KINDS = (Request, Reply, Relay, Relayed, Goodbye)
BODIES = sorted({*REQUEST_BODIES.values(), *REPLY_BODIES.values()}, key=lambda body: body.__name__)
ARRAYS = [
    struct
    for struct in vars(messages).values()
    if isinstance(struct, type) and issubclass(struct, Struct) and struct is not Struct
]
ECHO = Request(
    exchange=1, type=3, msgid="", sign_no="", terminal="", operator="", card_session=b"",
    list_version=0, time_left_ms=0, sent_time_ms=0, trace="", body=Raw(b"\x91\xc4\x00"),
)  # fmt: skip
GARBAGE = st.binary(max_size=200)
StructStrategy = Callable[[type[Struct]], st.SearchStrategy[Struct]]


def outcome_of(call: Callable[[], object]) -> object:
    """Give what the call returns, or the one error that it may raise."""
    try:
        return call()
    except RemoteProtocolError as error:
        return error


def assert_is_told(error: RemoteProtocolError) -> None:
    assert error.code.value // 100 == 1
    assert 1 <= len(error.detail) <= 200


def test_every_type_has_a_request_body_and_a_reply_body() -> None:
    assert set(REQUEST_BODIES) == set(MessageType)
    assert set(REPLY_BODIES) == set(MessageType)


def test_every_struct_is_a_frozen_array() -> None:
    for struct in ARRAYS:
        assert struct.__struct_config__.array_like
        assert struct.__struct_config__.frozen


@pytest.mark.parametrize("struct", ARRAYS, ids=lambda struct: struct.__name__)
def test_every_list_text_and_number_has_a_limit(struct: type[Struct]) -> None:
    for field in msgspec.inspect.type_info(struct).fields:
        options = getattr(field.type, "types", (field.type,))
        for option in options:
            match option:
                case msgspec.inspect.IntType(ge=low, le=high):
                    assert low is not None, field.name
                    assert high is not None, field.name
                case msgspec.inspect.StrType() | msgspec.inspect.BytesType():
                    assert option.max_length is not None, field.name
                case msgspec.inspect.VarTupleType():
                    assert option.max_length is not None, field.name
                    assert option.max_length <= 2000, field.name
                case msgspec.inspect.ListType() | msgspec.inspect.DictType():
                    pytest.fail(f"{field.name} is not an array of one type")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_messages_come_back(
    kind: type[Struct], structs: StructStrategy, data: st.DataObject
) -> None:
    message = data.draw(structs(kind))
    decoder = Decoder(messages.Message)
    assert decoder.decode(Encoder().encode(message)) == message


@pytest.mark.parametrize("type_", MessageType)
@given(data=st.data())
def test_bodies_come_back(type_: MessageType, structs: StructStrategy, data: st.DataObject) -> None:
    request = data.draw(structs(REQUEST_BODIES[type_]))
    assert decode_request_body(type_, encode_body(request)) == request
    reply = data.draw(structs(REPLY_BODIES[type_]))
    assert decode_reply_body(type_, ResponseCode.APPROVED, encode_body(reply)) == reply


@given(data=st.data())
def test_a_changed_split_carries_the_new_one(structs: StructStrategy, data: st.DataObject) -> None:
    new = data.draw(structs(messages.Previewed))
    body = encode_body(new)
    assert decode_reply_body(MessageType.SETTLE, ResponseCode.SPLIT_CHANGED, body) == new


@pytest.mark.parametrize("type_", [MessageType.PREVIEW, MessageType.SETTLE])
@given(data=st.data())
def test_what_checks_refuse_comes_with_the_reasons(
    structs: StructStrategy, type_: MessageType, data: st.DataObject
) -> None:
    found = data.draw(structs(messages.CheckRefused))
    assert decode_reply_body(type_, ResponseCode.CHECK_REFUSED, encode_body(found)) == found


@pytest.mark.parametrize(
    "code",
    sorted(
        set(ResponseCode)
        - {ResponseCode.APPROVED, ResponseCode.SPLIT_CHANGED, ResponseCode.CHECK_REFUSED}
    ),
)
def test_other_refusals_carry_nothing(code: ResponseCode) -> None:
    assert decode_reply_body(MessageType.SETTLE, code, NIL) is None


def test_an_approval_without_its_body_is_refused() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_reply_body(MessageType.SETTLE, ResponseCode.APPROVED, NIL)
    assert caught.value.code is ResponseCode.INVALID_FIELD


@pytest.mark.parametrize("struct", ARRAYS, ids=lambda struct: struct.__name__)
@given(data=st.data())
def test_elements_appended_by_a_newer_version_are_ignored(
    struct: type[Struct], structs: StructStrategy, data: st.DataObject
) -> None:
    value = data.draw(structs(struct))
    elements = msgspec.msgpack.decode(Encoder().encode(value))
    longer = Encoder().encode([*elements, {"new": [1, None]}, "more"])
    assert Decoder(struct).decode(longer) == value


@pytest.mark.parametrize("struct", ARRAYS, ids=lambda struct: struct.__name__)
@given(data=st.data())
def test_optional_elements_left_out_by_an_older_version_take_their_defaults(
    struct: type[Struct], structs: StructStrategy, data: st.DataObject
) -> None:
    value = data.draw(structs(struct))
    fields = msgspec.inspect.type_info(struct).fields
    optional = [field for field in fields if not field.required]
    assert fields[len(fields) - len(optional) :] == tuple(optional)
    elements = msgspec.msgpack.decode(Encoder().encode(value))
    for left_out in range(1, len(optional) + 1):
        decoded = Decoder(struct).decode(Encoder().encode(elements[:-left_out]))
        defaults = {field.name: field.default for field in optional[-left_out:]}
        assert decoded == msgspec.structs.replace(value, **defaults)
    if len(elements) > len(optional):
        with pytest.raises(msgspec.ValidationError):
            Decoder(struct).decode(Encoder().encode(elements[: len(elements) - len(optional) - 1]))


@given(payload=GARBAGE)
@example(payload=b"\xc1")
@example(payload=b"\x91" * 100_000)
@example(payload=b"\x93\x05\x00\xa2\xff\xfe")
@example(payload=b"\x93\x05\x00\xa3\xed\xa0\x80")
@example(payload=b"\xdd\xff\xff\xff\xff")
@example(payload=b"\xc6\xff\xff\xff\xff")
@example(payload=Encoder().encode(ECHO)[:-3] + b"\x91" * 100_000)
@example(payload=Encoder().encode(ECHO)[:-3] + b"\x81\x01" * 100_000)
def test_garbage_gives_a_message_or_one_error(payload: bytes) -> None:
    for connection in (CentreConnection(Limits()), TerminalConnection(Limits())):
        if not payload:
            continue
        connection.receive_data(encode_frame(payload))
        outcome = outcome_of(connection.next_event)
        if isinstance(outcome, RemoteProtocolError):
            assert_is_told(outcome)
        else:
            assert isinstance(outcome, KINDS)


@given(stream=st.binary(max_size=400), cuts=st.lists(st.integers(1, 40), min_size=1))
def test_a_stream_of_garbage_byte_by_byte_equals_all_at_once(
    stream: bytes, cuts: list[int]
) -> None:
    def outcome(pieces: list[bytes]) -> list[object]:
        connection = CentreConnection(Limits(frame_size_max=64))
        seen: list[object] = []
        try:
            for piece in pieces:
                connection.receive_data(piece)
                while (event := connection.next_event()) is not NEED_DATA:
                    seen.append(event)
        except RemoteProtocolError as error:
            seen.append((error.code, error.detail))
        return seen

    pieces = []
    position = 0
    for index in range(len(stream)):
        size = cuts[index % len(cuts)]
        pieces.append(stream[position : position + size])
        position += size
    assert outcome([stream]) == outcome([bytes([byte]) for byte in stream]) == outcome(pieces)


@given(data=st.data())
def test_mutated_messages_give_a_message_or_one_error(
    structs: StructStrategy, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    payload = bytearray(Encoder().encode(data.draw(structs(kind))))
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, len(payload) - 1))
        change = data.draw(st.sampled_from(("set", "cut", "double")))
        if change == "set":
            payload[index] = data.draw(st.integers(0, 255))
        elif change == "cut" and len(payload) > 1:
            del payload[index]
        else:
            payload[index:index] = payload[: index + 1]
    for connection in (CentreConnection(Limits()), TerminalConnection(Limits())):
        connection.receive_data(encode_frame(bytes(payload)))
        outcome = outcome_of(connection.next_event)
        assert isinstance(outcome, (*KINDS, RemoteProtocolError))


@pytest.mark.parametrize("type_", MessageType)
@given(payload=GARBAGE, data=st.data())
@example(payload=b"\x91" * 100_000, data=None)
@example(payload=b"\xdd\xff\xff\xff\xff", data=None)
@example(payload=b"\x91\xa2\xff\xff", data=None)
@example(payload=b"", data=None)
def test_garbage_bodies_give_a_body_or_one_error(
    type_: MessageType, payload: bytes, structs: StructStrategy, data: st.DataObject | None
) -> None:
    if data is not None:
        body = bytearray(encode_body(data.draw(structs(REQUEST_BODIES[type_]))))
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        payload = data.draw(st.sampled_from((payload, bytes(body))))
    for decoded_of in (
        lambda: decode_request_body(type_, payload),
        lambda: decode_reply_body(type_, 0, payload),
        lambda: decode_reply_body(type_, ResponseCode.SPLIT_CHANGED, payload),
    ):
        decoded = outcome_of(decoded_of)
        if isinstance(decoded, RemoteProtocolError):
            assert_is_told(decoded)
        else:
            assert isinstance(decoded, Struct)


@given(type_=st.integers(0, 2**16 - 1), body=GARBAGE)
def test_an_unknown_type_is_named(type_: int, body: bytes) -> None:
    if type_ in set(MessageType):
        return
    with pytest.raises(RemoteProtocolError) as caught:
        decode_request_body(type_, body)
    assert caught.value.code is ResponseCode.UNKNOWN_MESSAGE_TYPE


@pytest.mark.parametrize(
    "payload",
    [
        b"\xdd\xff\xff\xff\xff" * 100,
        b"\x9b\x02\x01\x00\xc2\xaa2024-01-01\x00\x00\xa0\xa0\xc0\xdd\xff\xff\xff\xff",
        b"\x96\x04\x01\x01\x00\xdd\xff\xff\xff\xff",
        Encoder().encode(ECHO)[:-3] + b"\xdf\xff\xff\xff\xff",
        Encoder().encode(ECHO)[:-3] + b"\xdd\x00\xff\xff\xff" + b"\xc0" * 1000,
    ],
)
def test_an_announced_size_costs_no_memory(payload: bytes) -> None:
    tracemalloc.start()
    try:
        for connection in (CentreConnection(Limits()), TerminalConnection(Limits())):
            connection.receive_data(encode_frame(payload))
            with pytest.raises(RemoteProtocolError):
                connection.next_event()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


@given(data=st.data())
def test_the_hash_tells_types_and_bodies_apart(
    structs: StructStrategy, data: st.DataObject
) -> None:
    body = encode_body(data.draw(structs(messages.Cancel)))
    assert request_hash(22, body) == request_hash(22, bytes(body))
    assert request_hash(22, body) != request_hash(25, body)
    assert request_hash(22, body) != request_hash(22, bytes(body) + b"\xc0")
    assert len(request_hash(22, body)) == 32


def test_a_body_keeps_its_bytes_through_an_envelope() -> None:
    # 1 as uint16: allowed, though no encoder of ours writes it; the hash is over what was sent.
    odd = Raw(b"\x92\xc4\x00\xcd\x00\x01")
    request = msgspec.structs.replace(ECHO, body=odd)
    connection = CentreConnection(Limits())
    connection.receive_data(TerminalConnection(Limits()).send(request))
    event = connection.next_event()
    assert isinstance(event, Request)
    assert bytes(event.body) == bytes(odd)


def test_a_reply_of_two_thousand_lines_fits_a_frame() -> None:
    split = messages.Split(*[10**10] * 6, (messages.Layer("hifp_pay", 10**10),), *[10**10] * 6)
    # 10^13 is the highest price limit that a catalogue's row may name.
    line = messages.LineSplit(2, 10**13, 10_000, 0, 10**10, 10**10, 10**10)
    body = messages.Previewed("1" * 20, split, (line,) * 2000, 10**10)
    reply = Reply(
        exchange=2**32 - 1, code=0, duplicate=False, business_date=dt.date(2026, 11, 21),
        centre_time_ms=2**41, list_version=2**32 - 1, detail_zh="", detail_en="",
        body=encode_body(body),
    )  # fmt: skip
    assert len(Encoder().encode(reply)) <= Limits().frame_size_max
    assert decode_reply_body(MessageType.PREVIEW, 0, reply.body) == body


@pytest.mark.parametrize("character", ["\x00", "\n", "\x1f", "\x7f"])
def test_names_hold_no_control_characters(character: str) -> None:
    body = encode_body(MemberQuery("02", f"11{character}22"))
    with pytest.raises(RemoteProtocolError) as raised:
        decode_request_body(MessageType.MEMBER_QUERY, body)
    assert raised.value.code is ResponseCode.INVALID_FIELD
    assert character not in raised.value.detail


def test_a_password_is_shown_nowhere() -> None:
    body = messages.SignOn("c001", "correct horse", 1, "counter 1.0", (1,))
    for shown in (repr(body), str(body), f"{[body]}", str(body.__rich_repr__())):
        assert "c001" in shown
        assert "correct horse" not in shown
