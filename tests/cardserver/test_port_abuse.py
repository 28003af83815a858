"""What is not a well-formed message in its place: named, or hung up on, and nobody else notices."""

import asyncio
import contextlib
import random
import socket
import struct

import msgspec
import pytest
from msgspec import Raw
from sqlalchemy import text as sql

from cardserver.commands.database import open_database
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import (
    Echo,
    Felt,
    Goodbye,
    MemberQuery,
    Message,
    MessageType,
    Relayed,
    RelayOutcome,
    Reply,
    SignOn,
)
from simulators.raw_terminal import Closed, Credentials, RawTerminal, frame
from tests.cardserver.desk import Desk

LIMIT = 262_144
SEED = 20_261_121


@pytest.fixture
async def credentials(desk: Desk) -> Credentials:
    return await desk.enrol("ABUSER")


def size(payload_size: int) -> bytes:
    return struct.pack(">I", payload_size)


def framed(payload: bytes) -> bytes:
    return size(len(payload)) + payload


def envelope(**changed: object) -> list[object]:
    """A request as plain values, so that each may be wrong."""
    fields: dict[str, object] = {
        "kind": 1, "exchange": 1, "type": 3, "msgid": "H11019900001202611210000000001",
        "sign_no": "", "terminal": "ABUSER", "operator": "", "card_session": b"",
        "list_version": 0, "time_left_ms": 1000, "sent_time_ms": 0, "trace": "", "body": [b"x"],
    }  # fmt: skip
    return list((fields | changed).values())


def pack(value: object) -> bytes:
    return framed(msgspec.msgpack.encode(value))


VIOLATIONS = {
    "a frame of zero bytes": (size(0), ResponseCode.MALFORMED_FRAME),
    "a frame above the limit, of which only the size is sent": (
        size(LIMIT + 1),
        ResponseCode.FRAME_TOO_LARGE,
    ),
    "a frame of four GiB": (b"\xff\xff\xff\xff", ResponseCode.FRAME_TOO_LARGE),
    "plain HTTP within TLS": (b"GET / HTTP/1.1\r\n\r\n", ResponseCode.FRAME_TOO_LARGE),
    "no MessagePack": (framed(b"\xc1"), ResponseCode.MALFORMED_MESSAGE),
    "MessagePack cut short": (framed(b"\x9d\x01\x01"), ResponseCode.MALFORMED_MESSAGE),
    "bytes left over": (
        framed(msgspec.msgpack.encode([5, 0, ""]) + b"\x00"),
        ResponseCode.MALFORMED_MESSAGE,
    ),
    "a map": (pack({"kind": 1}), ResponseCode.INVALID_FIELD),
    "a number": (pack(1), ResponseCode.INVALID_FIELD),
    "an empty array": (pack([]), ResponseCode.INVALID_FIELD),
    "an unknown kind": (pack([9, 1]), ResponseCode.INVALID_FIELD),
    "a text for a number": (pack(envelope(exchange="1")), ResponseCode.INVALID_FIELD),
    "a negative exchange": (pack(envelope(exchange=-1)), ResponseCode.INVALID_FIELD),
    "a msgid too long": (pack(envelope(msgid="H" * 31)), ResponseCode.INVALID_FIELD),
    "a card session too long": (
        pack(envelope(card_session=b"x" * 513)),
        ResponseCode.INVALID_FIELD,
    ),
    "text that is not UTF-8": (
        framed(msgspec.msgpack.encode([5, 0, "abcd"]).replace(b"abcd", b"\xff\xfe\xfd\xfc")),
        ResponseCode.MALFORMED_MESSAGE,
    ),
    "arrays in arrays, 200,000 deep": (framed(b"\x91" * 200_000), ResponseCode.INVALID_FIELD),
    "a body of arrays in arrays": (
        framed(msgspec.msgpack.encode(envelope(body=None))[:-1] + b"\x91" * 200_000 + b"\x01"),
        ResponseCode.MALFORMED_MESSAGE,
    ),
    "an array of four billion": (framed(b"\xdd\xff\xff\xff\xff"), ResponseCode.MALFORMED_MESSAGE),
    "a Relayed whose answers are four billion": (
        framed(b"\x96\x04\x01\x01\x00\xdd\xff\xff\xff\xff"),
        ResponseCode.INVALID_FIELD,
    ),
    "a bin of four GiB": (
        framed(b"\x93\x05\x00\xdb\xff\xff\xff\xff"),
        ResponseCode.MALFORMED_MESSAGE,
    ),
    "a Relayed to nothing": (
        frame(Relayed(1, 1, RelayOutcome.COMPLETED, (), 0)),
        ResponseCode.UNEXPECTED_MESSAGE,
    ),
    "a Reply": (
        pack([2, 1, 0, False, "2026-11-21", 0, 0, "", "", None]),
        ResponseCode.INVALID_FIELD,
    ),
    "a Relay": (pack([3, 1, 1, [], 0]), ResponseCode.INVALID_FIELD),
}


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_a_violation_is_named_and_ends_the_connection(
    desk: Desk, credentials: Credentials, name: str
) -> None:
    data, code = VIOLATIONS[name]
    async with desk.raw(credentials) as other, desk.raw(credentials) as abuser:
        await abuser.send_bytes(data)
        goodbye = await abuser.goodbye()
        assert goodbye.code == code, goodbye
        assert goodbye.detail
        reply = await other.reply_to(other.request(MessageType.ECHO, Echo(b"unaffected")))
        assert reply.code == ResponseCode.APPROVED


async def test_what_is_wrong_within_an_envelope_is_refused_and_the_connection_goes_on(
    desk: Desk, credentials: Credentials
) -> None:
    async with desk.raw(credentials) as terminal:
        for type_, body, code in (
            (9999, Raw(b"\xc0"), ResponseCode.UNKNOWN_MESSAGE_TYPE),
            (0, Raw(b"\xc0"), ResponseCode.UNKNOWN_MESSAGE_TYPE),
            (MessageType.ECHO, Raw(b"\xc0"), ResponseCode.INVALID_FIELD),
            (MessageType.ECHO, Raw(b"\x91\xa1x"), ResponseCode.INVALID_FIELD),
            (MessageType.ECHO, Raw(b"\x91\x91\xc4\x01x"), ResponseCode.INVALID_FIELD),
            (MessageType.ECHO, Echo(bytes(4097)), ResponseCode.INVALID_FIELD),
            (MessageType.SETTLE, Echo(b"x"), ResponseCode.INVALID_FIELD),
            (MessageType.SETTLE, encode_body_of([[1] * 8, 1, 1, 1]), ResponseCode.INVALID_FIELD),
            (
                MessageType.SIGN_ON,
                encode_body_of(["c001", "x", 1, "", [1] * 50_000]),
                ResponseCode.INVALID_FIELD,
            ),
            (MessageType.ECHO, Raw(nested(500)), ResponseCode.INVALID_FIELD),
        ):
            reply = await terminal.reply_to(terminal.request(type_, body))
            assert reply.code == code, (type_, reply)
            assert bytes(reply.body) == b"\xc0"
            assert reply.detail_en
        for msgid in (
            "", "x", "H11019900001", "H11019900001202613210000000001",
            "H11019900002202611210000000001", "h11019900001202611210000000001",
        ):  # fmt: skip
            reply = await terminal.reply_to(
                terminal.request(MessageType.ECHO, Echo(b""), msgid=msgid)
            )
            assert reply.code == ResponseCode.INVALID_MSGID, msgid
        other = terminal.request(MessageType.ECHO, Echo(b""), terminal="T9")
        assert (await terminal.reply_to(other)).code == ResponseCode.TERMINAL_MISMATCH
        reply = await terminal.reply_to(terminal.request(MessageType.ECHO, Echo(b"goes on")))
        assert reply.code == ResponseCode.APPROVED


async def test_garbage_ends_the_connection_and_nothing_else(
    desk: Desk, credentials: Credentials
) -> None:
    chance = random.Random(SEED)
    async with desk.unaffected():
        for _ in range(60):
            async with desk.raw(credentials) as abuser:
                valid = frame(abuser.request(MessageType.ECHO, Echo(b"valid")))
                garbage = chance.randbytes(chance.choice([1, 3, 4, 5, 100, 5000, 200_000]))
                kind = chance.randrange(4)
                if kind == 0:
                    data = garbage
                elif kind == 1:
                    data = valid + garbage
                elif kind == 2:
                    data = framed(garbage)
                else:  # a valid frame with some of its bytes changed
                    wrong = bytearray(valid)
                    for _ in range(chance.randint(1, 8)):
                        wrong[chance.randrange(len(wrong))] = chance.randrange(256)
                    data = bytes(wrong)
                with contextlib.suppress(OSError):  # hung up on while it was sending
                    await abuser.send_bytes(data)
                    await ends(abuser)


async def ends(terminal: RawTerminal) -> None:
    """Hear the centre out until it says Goodbye, hangs up, or waits for more (0.8 s, then 109)."""
    try:
        while True:
            heard = await terminal.hear()
            if isinstance(heard, Goodbye):
                assert 100 <= heard.code < 200
            if isinstance(heard, Reply):
                terminal.writer.write_eof() if terminal.writer.can_write_eof() else None
                return
    except Closed:
        return


async def test_a_frame_cut_off_is_forgotten_with_its_connection(
    desk: Desk, credentials: Credentials
) -> None:
    for cut in (1, 4, 5, 50):
        async with desk.raw(credentials) as abuser:
            whole = frame(abuser.request(MessageType.ECHO, Echo(b"never whole")))
            await abuser.send_bytes(whole[:cut])
    async with desk.raw(credentials) as terminal:
        reply = await terminal.reply_to(terminal.request(MessageType.ECHO, Echo(b"whole")))
        assert reply.code == ResponseCode.APPROVED


async def test_a_byte_at_a_time_works(desk: Desk, credentials: Credentials) -> None:
    async with desk.raw(credentials) as terminal:
        request = terminal.request(MessageType.ECHO, Echo(b"slow but sure"))
        for byte in frame(request):
            await terminal.send_bytes(bytes([byte]))
            await asyncio.sleep(0.001)
        reply = await terminal.hear()
        assert isinstance(reply, Reply)
        assert reply.code == ResponseCode.APPROVED


async def test_valid_frames_before_garbage_are_answered(
    desk: Desk, credentials: Credentials
) -> None:
    async with desk.raw(credentials) as terminal:
        request = terminal.request(MessageType.ECHO, Echo(b"first"))
        await terminal.send_bytes(frame(request))
        assert isinstance(await terminal.hear(), Reply)
        await terminal.send_bytes(framed(b"\xc1"))
        assert (await terminal.goodbye()).code == ResponseCode.MALFORMED_MESSAGE


async def test_an_exchange_number_in_use_is_a_violation(
    desk: Desk, credentials: Credentials
) -> None:
    async with desk.raw(credentials) as terminal:
        # A wrong password takes the centre a while, so that its exchange is still in flight.
        slow = terminal.request(
            MessageType.SIGN_ON, SignOn("nobody", "x", 1, "", (1,)), exchange=7, operator="nobody"
        )
        await terminal.say(slow, terminal.request(MessageType.ECHO, Echo(b""), exchange=7))
        assert (await terminal.goodbye()).code == ResponseCode.EXCHANGE_IN_USE


async def test_too_many_in_flight_is_a_violation(desk: Desk, credentials: Credentials) -> None:
    async with desk.unaffected(), desk.raw(credentials) as terminal:
        requests: list[Message] = [
            terminal.request(MessageType.ECHO, Echo(b"")) for _ in range(2000)
        ]
        with contextlib.suppress(OSError):
            await terminal.say(*requests)
        assert (await terminal.goodbye()).code == ResponseCode.TOO_MANY_IN_FLIGHT


async def test_as_many_in_flight_as_allowed_are_all_answered(
    desk: Desk, credentials: Credentials
) -> None:
    async with desk.raw(credentials) as terminal:
        for _ in range(20):
            requests = [terminal.request(MessageType.ECHO, Echo(bytes(4000))) for _ in range(8)]
            await terminal.say(*requests)
            heard = [await terminal.hear() for _ in requests]
            assert {reply.exchange for reply in heard if isinstance(reply, Reply)} == {
                request.exchange for request in requests
            }


async def test_after_its_goodbye_nothing_of_the_terminal_counts(
    desk: Desk, credentials: Credentials
) -> None:
    async with desk.raw(credentials) as terminal:
        await terminal.say(Goodbye(0, ""), terminal.request(MessageType.ECHO, Echo(b"too late")))
        with pytest.raises(Closed):
            await terminal.hear()


async def test_a_frame_that_takes_too_long_is_told_so(desk: Desk, credentials: Credentials) -> None:
    async with desk.unaffected(), desk.raw(credentials) as terminal:
        whole = frame(terminal.request(MessageType.ECHO, Echo(bytes(4000))))
        goodbye: asyncio.Task[Goodbye] = asyncio.create_task(terminal.goodbye())
        for byte in whole:  # 0.8 seconds are allowed here: a byte now and then does not renew them
            if goodbye.done():
                break
            with contextlib.suppress(OSError):
                await terminal.send_bytes(bytes([byte]))
            await asyncio.sleep(0.05)
        assert (await goodbye).code == ResponseCode.TOO_SLOW


async def test_a_busy_terminal_is_never_too_slow(desk: Desk, credentials: Credentials) -> None:
    """Every packet ends within a frame; no frame takes long."""
    async with desk.raw(credentials) as terminal:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + 2.0  # twice the time of a frame and the sweeper's
        rest = b""
        sent = heard = 0
        while loop.time() < ends_at:
            stream = rest + frame(terminal.request(MessageType.ECHO, Echo(b"busy")))
            sent += 1
            await terminal.send_bytes(stream[:-5])
            rest = stream[-5:]
            await asyncio.sleep(0.02)
            while sent - heard > 1:
                assert isinstance(await terminal.hear(), Reply)
                heard += 1
        assert heard > 20


async def test_silence_is_ended_by_a_goodbye(narrow_desk: Desk) -> None:
    silent, speaking = await narrow_desk.enrol("SILENT"), await narrow_desk.enrol("SPEAKING")
    async with narrow_desk.raw(silent) as one, narrow_desk.raw(speaking) as other:
        goodbye = asyncio.create_task(one.goodbye())
        for _ in range(17):  # 3.4 seconds; the centre's patience is 2.5
            reply = await other.reply_to(other.request(MessageType.ECHO, Echo(b"still here")))
            assert reply.code == ResponseCode.APPROVED
            await asyncio.sleep(0.2)
        assert (await goodbye).code == ResponseCode.TOO_SLOW


async def test_who_never_reads_replies_is_broken_off(narrow_desk: Desk) -> None:
    desk = narrow_desk
    credentials = await desk.enrol("DEAF")
    before_kib = desk.resident_kib()

    def broken_off() -> int:
        return desk.log().count("does not read its replies")

    async def ask_without_listening() -> None:
        """Ask, within what is allowed in flight, until the centre has had enough."""
        async with desk.raw(credentials) as terminal:
            plug = terminal.writer.get_extra_info("socket")
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            terminal.writer.transport.pause_reading()
            for _ in range(2000):
                if broken_off() == 2:
                    return
                echoes = [terminal.request(MessageType.ECHO, Echo(bytes(4096))) for _ in range(8)]
                with contextlib.suppress(TimeoutError, OSError):
                    async with asyncio.timeout(0.1):
                        await terminal.say(*echoes)
                await asyncio.sleep(0.01)

    async with desk.unaffected(), asyncio.timeout(60):
        await asyncio.gather(*(ask_without_listening() for _ in range(2)))
        grown_kib = desk.resident_kib() - before_kib
    # Of each: the replies allowed in flight, and the buffers for writing and reading.
    assert grown_kib < 2 * (1024 * 4 + 1536)
    assert broken_off() == 2


async def test_two_hundred_megabytes_of_abuse_leave_memory_where_it_was(
    desk: Desk, credentials: Credentials
) -> None:
    chance = random.Random(SEED)
    noise = chance.randbytes(LIMIT)

    async def abuse(kind: int) -> int:
        """One connection; the number of bytes that were taken from us."""
        sent = 0
        with contextlib.suppress(OSError, Closed):
            async with desk.raw(credentials) as abuser:
                request = abuser.request(MessageType.ECHO, Raw(b"\xc4\x01x"))
                padded = msgspec.structs.replace(request, body=Raw(pack_bin(LIMIT - 200)))
                for turn in range(16):
                    data = (
                        frame(msgspec.structs.replace(padded, exchange=turn)),
                        framed(noise[: LIMIT - 1]),
                        size(LIMIT) + noise[:-1],
                        frame(msgspec.structs.replace(request, body=Raw(nested(60_000)))),
                    )[kind]
                    await abuser.send_bytes(data)
                    sent += len(data)
                    if kind == 0:
                        assert isinstance(await abuser.hear(), Reply)
        return sent

    async def in_turn(kinds: list[int]) -> int:
        return sum([await abuse(kind) for kind in kinds])

    await in_turn([0, 1, 2, 3])  # what is kept once is kept
    before_kib = desk.resident_kib()
    async with desk.unaffected():
        kinds = [0] * 40 + [1, 2, 3] * 40
        chance.shuffle(kinds)
        sent = sum(await asyncio.gather(*(in_turn(kinds[part::16]) for part in range(16))))
    assert sent > 200_000_000
    assert desk.resident_kib() - before_kib < 32 * 1024


def pack_bin(length: int) -> bytes:
    return b"\xc6" + size(length) + bytes(length)


def encode_body_of(value: object) -> Raw:
    return Raw(msgspec.msgpack.encode(value))


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\xc0"


async def test_names_that_look_like_statements_are_only_names(
    desk: Desk, credentials: Credentials
) -> None:
    async with desk.raw(credentials, operator="c001") as terminal:
        for number in ("' OR 1=1 --", "%", "1; DROP TABLE person", "", "张" * 40):
            reply = await terminal.reply_to(
                terminal.request(MessageType.MEMBER_QUERY, MemberQuery("02", number))
            )
            assert reply.code == ResponseCode.PERSON_UNKNOWN, number


async def test_nothing_is_kept_under_what_is_no_msgid(desk: Desk, credentials: Credentials) -> None:
    odd = ("H11019900001202611\0", "H11019900001-00001000000000001", "H11019900001２０２６１１000")
    async with desk.raw(credentials) as terminal:
        for text in odd:
            refused = terminal.request(MessageType.SETTLE, Echo(b"x"), msgid=text)
            assert (await terminal.reply_to(refused)).code == ResponseCode.INVALID_FIELD
            telling = msgspec.structs.replace(
                terminal.request(MessageType.ECHO, Echo(b"x")),
                felt=Felt(MessageType.SETTLE, text, 0, 1, 1),
            )
            assert (await terminal.reply_to(telling)).code == ResponseCode.APPROVED
    await asyncio.sleep(1.5)  # the writer writes such notes after a second at the latest
    async with open_database(desk.config) as database:
        for table in ("request_stage", "request_felt"):
            kept = await database.report(
                lambda connection, table=table: (
                    connection.execute(sql(f"SELECT msgid FROM {table}")).scalars().all()
                )
            )
            assert not set(odd) & set(kept), table
