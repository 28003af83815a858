"""Who may speak at the port at all: TLS, certificates, the registry, the number of connections."""

import asyncio
import datetime as dt
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from prometheus_client.parser import text_string_to_metric_families

from cardserver.authority import make_authority
from cardserver.authority import open_authority as read_authority
from cardserver.commands.database import acting_user, open_database
from cardserver.registry import administration_store as administration
from cardserver.registry.registry_store import Registry
from ledger.bulk_store import plain
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Echo, MessageType, SignOff
from simulators.raw_terminal import Closed, Credentials, RawTerminal, tls_context
from tests.cardserver.desk import HOSPITAL, Desk

REFUSED = (OSError, Closed)  # at the handshake, or at the first byte after it (TLS 1.3)


async def try_echo(desk: Desk, context: ssl.SSLContext, credentials: Credentials) -> None:
    async with RawTerminal.connect(desk.centre.port, context, credentials) as terminal:
        reply = await terminal.reply_to(terminal.request(MessageType.ECHO, Echo(b"hello")))
        assert reply.code == ResponseCode.APPROVED


async def goodbye_code(desk: Desk, context: ssl.SSLContext, credentials: Credentials) -> int:
    async with RawTerminal.connect(desk.centre.port, context, credentials) as terminal:
        return (await terminal.goodbye()).code


@pytest.fixture
async def credentials(desk: Desk) -> Credentials:
    return await desk.enrol("DOOR")


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x01\xc0", b"\x16"])
async def test_without_tls_nothing_is_said(desk: Desk, data: bytes) -> None:
    async with desk.unaffected():
        reader, writer = await asyncio.open_connection("127.0.0.1", desk.centre.port)
        writer.write(data)
        async with asyncio.timeout(10):
            answered = await reader.read(4096)
        writer.close()
    # At most a TLS alert (RFC 8446, 6): record type 21.
    assert answered == b"" or answered[0] == 21


async def test_tls_1_2_is_refused(desk: Desk, credentials: Credentials) -> None:
    context = tls_context(desk.city.authority_file, credentials, version=ssl.TLSVersion.TLSv1_2)
    with pytest.raises(OSError):  # noqa: PT011 - the alert, or a reset before it was read
        await try_echo(desk, context, credentials)


async def test_no_certificate_is_refused(desk: Desk, credentials: Credentials) -> None:
    with pytest.raises(REFUSED):
        await try_echo(desk, tls_context(desk.city.authority_file, None), credentials)


async def test_another_authoritys_certificate_is_refused(desk: Desk, tmp_path: Path) -> None:
    other = make_authority(tmp_path, name="Another Fund", now=dt.datetime.now(dt.UTC))
    forged = desk.issue(other, "DOOR")
    with pytest.raises(REFUSED):
        await try_echo(desk, tls_context(desk.city.authority_file, forged), forged)


async def test_an_expired_certificate_is_refused_and_counted_as_such(desk: Desk) -> None:
    authority = read_authority(desk.city.directory / "authority")
    begin = authority.certificate.not_valid_before_utc  # minutes ago
    expired = desk.issue(authority, "DOOR", expires=begin + dt.timedelta(seconds=1))
    before = await refused_as_expired(desk)
    with pytest.raises(REFUSED):
        await try_echo(desk, tls_context(desk.city.authority_file, expired), expired)
    assert await refused_as_expired(desk) == before + 1


async def test_a_connection_ends_with_its_certificate(desk: Desk) -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=4)
    credentials = await desk.enrol("ENDING", expires=soon)
    async with desk.raw(credentials, operator="c001") as terminal, asyncio.timeout(30):
        goodbye = await terminal.goodbye()
        assert goodbye.code == ResponseCode.TERMINAL_UNKNOWN
        assert goodbye.detail == "its certificate has ended"
    assert dt.datetime.now(dt.UTC) >= soon - dt.timedelta(seconds=1)  # it ends on a whole second


async def refused_as_expired(desk: Desk) -> float:
    _, text = await desk.page("/metrics")
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("reason") == "certificate_expired"
        and sample.name == "cardserver_connections_refused_total"
    )


async def test_when_an_earlier_terminals_certificate_ends_is_seen_as_it_connects(
    desk: Desk,
) -> None:
    credentials = await desk.enrol("EARLIER")
    certificate = x509.load_pem_x509_certificate(credentials.certificate_file.read_bytes())
    forget = "UPDATE terminal SET certificate_ends_ms = 0 WHERE code = 'EARLIER'"
    async with open_database(desk.config) as database:
        await database.execute(plain(forget, postgresql=forget, sqlite=forget)())
        await try_echo(desk, tls_context(desk.city.authority_file, credentials), credentials)
        registry = Registry(database)
        institution = await registry.institution_by_code(HOSPITAL)
        assert institution is not None
        async with asyncio.timeout(10):  # a later group writes it
            while True:
                known = await registry.terminal(institution.institution_no, "EARLIER")
                assert known is not None
                if known.certificate_ends_ms:
                    break
                await asyncio.sleep(0.05)
    assert known.certificate_ends_ms == certificate.not_valid_after_utc.timestamp() * 1000


@pytest.mark.parametrize("alpn", [(), ("http/1.1",), ("cardserver/2", "h2")])
async def test_another_protocol_is_told_so(
    desk: Desk, credentials: Credentials, alpn: Sequence[str]
) -> None:
    context = tls_context(desk.city.authority_file, credentials, alpn=alpn)
    assert await goodbye_code(desk, context, credentials) == ResponseCode.UNSUPPORTED_VERSION


async def test_a_terminal_that_the_registry_does_not_know_is_told_so(desk: Desk) -> None:
    authority = read_authority(desk.city.directory / "authority")
    for unknown in (
        desk.issue(authority, "NOBODY"),
        desk.issue(authority, "DOOR", institution="H99999999999"),
    ):
        context = tls_context(desk.city.authority_file, unknown)
        assert await goodbye_code(desk, context, unknown) == ResponseCode.TERMINAL_UNKNOWN


async def test_a_servers_certificate_is_no_terminals(desk: Desk) -> None:
    server = Credentials(
        HOSPITAL, "DOOR", desk.city.directory / "server.crt", desk.city.directory / "server.key"
    )
    with pytest.raises(REFUSED):  # its usage is that of a server (RFC 5280, 4.2.1.12)
        await try_echo(desk, tls_context(desk.city.authority_file, server), server)


async def test_a_disabled_terminal_is_told_so(desk: Desk) -> None:
    credentials = await desk.enrol("DISABLED")
    context = tls_context(desk.city.authority_file, credentials)
    await try_echo(desk, context, credentials)
    async with open_database(desk.config) as database:
        institution = await Registry(database).institution_by_code(HOSPITAL)
        assert institution is not None
        terminal = await Registry(database).terminal(institution.institution_no, "DISABLED")
        assert terminal is not None
        await administration.set_terminal_active(
            database, terminal.terminal_no, acting_user(), is_active=False
        )
    assert await goodbye_code(desk, context, credentials) == ResponseCode.TERMINAL_DISABLED


async def test_a_replaced_certificate_is_told_so_and_serves_no_longer(desk: Desk) -> None:
    old = await desk.enrol("RENEWED")
    async with desk.raw(old, operator="c001") as terminal:
        new = await desk.enrol("RENEWED")
        context = tls_context(desk.city.authority_file, old)
        assert await goodbye_code(desk, context, old) == ResponseCode.CERTIFICATE_REPLACED
        await asyncio.sleep(0.5)  # a sign-on that was seen is believed for 0.4 seconds here
        reply = await terminal.reply_to(terminal.request(MessageType.SIGN_OFF, SignOff()))
        assert reply.code == ResponseCode.CERTIFICATE_REPLACED
    await try_echo(desk, tls_context(desk.city.authority_file, new), new)


async def test_connections_above_the_limit_are_told_so(narrow_desk: Desk) -> None:
    desk = narrow_desk
    credentials = await desk.enrol("MANY")
    context = tls_context(desk.city.authority_file, credentials)
    async with desk.raw(credentials) as first, desk.raw(credentials), desk.raw(credentials):
        for _ in range(3):
            assert await goodbye_code(desk, context, credentials) == ResponseCode.BUSY
        reply = await first.reply_to(first.request(MessageType.ECHO, Echo(b"still here")))
        assert reply.code == ResponseCode.APPROVED
    async with asyncio.timeout(5):  # until the centre has noticed that they left
        while True:
            try:
                await try_echo(desk, context, credentials)
                break
            except Closed:
                await asyncio.sleep(0.05)


async def test_hundreds_of_half_open_handshakes_hold_up_nobody(desk: Desk) -> None:
    before_kib = desk.resident_kib()
    async with desk.unaffected():
        half_open = [
            await asyncio.open_connection("127.0.0.1", desk.centre.port) for _ in range(400)
        ]
        for _, writer in half_open[::2]:
            writer.write(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello, no more
        await asyncio.sleep(0.2)
        grown_kib = desk.resident_kib() - before_kib
        async with asyncio.timeout(10):  # the handshake's time is 3 seconds here
            left = [await reader.read() for reader, _ in half_open]
        for _, writer in half_open:
            writer.close()
    assert all(data == b"" or data[0] == 21 for data in left)
    assert grown_kib < 400 * 64


async def test_too_many_handshakes_cost_the_oldest_their_place(narrow_desk: Desk) -> None:
    desk = narrow_desk
    async with desk.unaffected():
        half_open = [
            await asyncio.open_connection("127.0.0.1", desk.centre.port) for _ in range(100)
        ]
        async with asyncio.timeout(10):
            gone = [await reader.read() for reader, _ in half_open[:80]]
        for _, writer in half_open:
            writer.close()
    assert gone == [b""] * 80
