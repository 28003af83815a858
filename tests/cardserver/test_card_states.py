"""A card's and its holder's state at a running centre: refused from the next request on."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from cardserver.commands.database import open_database
from cardserver.registry.administration_store import CardChange, change_card
from cardserver.registry.revocation_store import Revocation, card_subject, list_changes
from cardserver.registry.values import Actor, RevocationKind, RevocationReason
from ledger.bulk_store import plain
from ledger.database_store import Database
from ledger.scripts import Script
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Eligibility, MemberQuery, MessageType, Preview
from simulators.postgres import PostgreSQLCluster
from tests.cardserver.desk import Desk, Reader, open_card, settle_of
from tests.in_process import command


async def set_state(desk: Desk, number: str, change: str, *, check: bool = True) -> str:
    done = await command(
        "cardserver", "card", "state", "--config", str(desk.city.config_file), number, change,
        check=check,
    )  # fmt: skip
    return done.output + done.errors


async def codes(client: Any, token: bytes, settle: Any, desk: Desk) -> list[int]:
    """Ask for all that moves or shows money, with a card session that was opened before."""
    bill = settle.bill
    previewed = await client.request(
        MessageType.PREVIEW, Preview(bill, None, wants_explanation=False), card_session=token
    )
    settled = await client.request(MessageType.SETTLE, settle, card_session=token)
    opened = await client.open_card(Reader(desk.card()))
    return [previewed.code, settled.code, opened.answer.code]


async def eligibility(client: Any, token: bytes) -> Any:
    return await client.request(
        MessageType.ELIGIBILITY, Eligibility("", "310", "11", None),
        card_session=token,
    )  # fmt: skip


async def until(ask: Callable[[], Awaitable[Any]], is_so: Callable[[Any], bool]) -> Any:
    """Ask until an answer is as it should be, for five seconds."""
    for _ in range(100):
        answer = await ask()
        if is_so(answer):
            return answer
        await asyncio.sleep(0.05)
    raise TimeoutError


async def test_a_card_is_refused_and_taken_again_from_the_next_request_on(desk_with: Any) -> None:
    desk = await desk_with()
    number = desk.card_data().card_number
    async with desk.client(await desk.enrol("S1")) as client:
        token = await open_card(client, desk.card())
        bill = desk.bill()
        shown = await client.request(
            MessageType.PREVIEW, Preview(bill, None, wants_explanation=False), card_session=token
        )
        settle = settle_of(bill, shown.body.split)
        first = shown.reply.list_version
        revoked, fine = ResponseCode.CARD_REVOKED, ResponseCode.APPROVED
        for change in ("lost", "frozen"):
            assert "is lost" in await set_state(desk, number, "lost")
            if change == "frozen":
                assert "is frozen" in await set_state(desk, number, "frozen")
            assert await codes(client, token, settle, desk) == [revoked] * 3
            await set_state(desk, number, "found" if change == "lost" else "released")
            again = await client.request(
                MessageType.PREVIEW, Preview(bill, None, wants_explanation=False),
                card_session=token,
            )  # fmt: skip
            assert again.code == fine
        assert "can't be found" in await set_state(desk, number, "found", check=False)
        await set_state(desk, number, "replaced")
        assert await codes(client, token, settle, desk) == [revoked] * 3
        assert "can't be found" in await set_state(desk, number, "found", check=False)
        answer = await until(lambda: eligibility(client, token), lambda one: one.code == revoked)
        assert answer.reply.list_version == first + 6


async def test_the_deceased_are_refused_from_the_next_request_on(desk_with: Any) -> None:
    desk = await desk_with()
    data = desk.card_data()
    async with desk.client(await desk.enrol("S1")) as client:
        token = await open_card(client, desk.card())
        bill = desk.bill()
        shown = await client.request(
            MessageType.PREVIEW, Preview(bill, None, wants_explanation=False), card_session=token
        )
        text = (
            "UPDATE person SET deceased_date = 20260101"
            f" WHERE person_no = (SELECT person_no FROM card WHERE card_no = {data.card_no})"
        )
        async with open_database(desk.config) as database:
            await database.execute(plain("a death", postgresql=text, sqlite=text)())
        found = await codes(client, token, settle_of(bill, shown.body.split), desk)
        assert found == [ResponseCode.PERSON_DECEASED] * 3


async def test_the_registry_decides_a_settlement_whatever_the_list_says(desk_with: Any) -> None:
    """A list that is wrong, or not yet up to date, refuses no settlement of a valid card."""
    desk = await desk_with()
    data = desk.card_data()
    wrong = Revocation(
        RevocationKind.CARD,
        card_subject("social_security_card", data.region, data.identity),
        data.card_no,
        RevocationReason.LOST,
    )

    def script() -> Script[int]:
        return list_changes([wrong], now_ms=1)

    async with open_database(desk.config) as database:
        version = await database.transact(script)
    async with desk.client(await desk.enrol("S1")) as client:
        await until(lambda: client.echo(b""), lambda one: one.reply.list_version == version)
        token = await open_card(client, desk.card())
        assert (await desk.settle(client, token, desk.bill())).is_approved


async def test_what_a_terminal_held_and_its_age_are_kept_with_the_settlement(
    desk_with: Any,
) -> None:
    desk = await desk_with()
    credentials = await desk.enrol("S1")
    async with desk.client(credentials) as client:
        held = (await client.echo(b"")).reply.list_version
        await set_state(desk, desk.card_data(1).card_number, "lost")
        token = await open_card(client, desk.card())
        bill = desk.bill()
        shown = await client.request(
            MessageType.PREVIEW, Preview(bill, None, wants_explanation=False), card_session=token
        )
    async with desk.raw(credentials, operator="c001") as terminal:
        request = msgspec.structs.replace(
            terminal.request(
                MessageType.SETTLE, settle_of(bill, shown.body.split), card_session=token
            ),
            list_version=held,  # as a terminal says that fetched the list
        )
        assert (await terminal.reply_to(request)).code == ResponseCode.APPROVED
    await set_state(desk, desk.card_data(1).card_number, "found")
    said = await command(
        "cardserver", "claim", "--config", str(desk.city.config_file), "--json",
        request.msgid,
    )  # fmt: skip
    (found,) = json.loads(said.output)
    assert found["claim"]["list_version"] == held
    text = f"SELECT made_time_ms FROM revocation_version WHERE version = {held + 1}"
    async with open_database(desk.config) as database:
        ((overtaken_ms,),) = await database.fetch(plain("when", postgresql=text, sqlite=text)())
    assert found["claim"]["list_age_ms"] == found["recorded_time_ms"] - overtaken_ms > 0


async def test_a_revoked_certificate_is_not_admitted(desk_with: Any) -> None:
    desk = await desk_with(sign_on={"recheck_ms": 400})
    credentials = await desk.enrol("S1")
    data = credentials.certificate_file.read_bytes()
    fingerprint = x509.load_pem_x509_certificate(data).fingerprint(hashes.SHA256()).hex()
    arguments = ("revocation", "certificate", "--config", str(desk.city.config_file))
    async with desk.raw(credentials, operator="c001") as connected:
        done = await command("cardserver", *arguments, str(credentials.certificate_file), "revoked")
        assert fingerprint in done.output
        await asyncio.sleep(2)
        # Whoever was connected before serves no longer either, nor signs on anew.
        query = MemberQuery(certificate_type="03", certificate_number="X1")
        reply = await connected.reply_to(connected.request(MessageType.MEMBER_QUERY, query))
        assert reply.code == ResponseCode.TERMINAL_DISABLED
        signed_on = await connected.sign_on("c001", desk.password)
        assert signed_on.code == ResponseCode.TERMINAL_DISABLED
    async with desk.raw(credentials) as terminal:
        goodbye = await terminal.goodbye()
        assert goodbye.code == ResponseCode.TERMINAL_DISABLED
    await command("cardserver", *arguments, fingerprint, "restored")
    await asyncio.sleep(2)
    async with desk.client(credentials):
        pass
    other = hashlib.sha256(b"").hexdigest()[:-1]
    refused = await command("cardserver", *arguments, other, "revoked", check=False)
    assert "neither a SHA-256 in hex nor a readable file" in refused.errors


async def test_a_certificate_that_is_revoked_serves_no_longer(desk_with: Any) -> None:
    desk = await desk_with(sign_on={"recheck_ms": 300})
    credentials = await desk.enrol("S1")
    number = desk.card_data().holder_number
    async with desk.client(credentials) as client:
        query = MemberQuery("02", number)
        assert (await client.exchange(MessageType.MEMBER_QUERY, query)).is_approved
        await command(
            "cardserver", "revocation", "certificate", "--config", str(desk.city.config_file),
            str(credentials.certificate_file), "revoked",
        )  # fmt: skip
        answer = await until(
            lambda: client.exchange(MessageType.MEMBER_QUERY, query),
            lambda one: not one.is_approved,
        )
        assert answer.code == ResponseCode.TERMINAL_DISABLED


async def test_the_imported_city_is_on_the_list(desk: Desk) -> None:
    done = await command(
        "cardserver", "revocation", "show", "--json", "--config", str(desk.city.config_file)
    )
    said = json.loads(done.output)
    text = (
        "SELECT count(*) FROM card c JOIN person p ON p.person_no = c.person_no"
        " WHERE c.state <> 1 OR p.deceased_date IS NOT NULL"
    )
    async with open_database(desk.config) as database:
        ((count,),) = await database.fetch(plain("count", postgresql=text, sqlite=text)())
    assert count > 0
    assert said["cards"] == count
    assert said["version"] >= 1


async def test_changes_at_once_get_versions_in_a_row(
    postgres_cluster: PostgreSQLCluster, fresh_postgres_url: str
) -> None:
    """On PostgreSQL, where several may commit at once: no version is seen before a smaller one."""
    assert postgres_cluster
    database = Database.open(fresh_postgres_url)
    await database.start()
    columns = (
        "card_no, profile, identity, region, card_number, card_id, person_no, version, algorithm,"
        " card_class, issuer, begins, ends, state"
    )
    add = (
        f"INSERT INTO card ({columns}) SELECT n, 'p', decode(lpad(n::text, 16, '0'), 'hex'), '1',"
        " n::text, '', n, '1.00', 1, '1', '', 1, 2, 1 FROM generate_series(1, 40) n"
    )
    await database.execute(plain("cards", postgresql=add, sqlite="")())
    people = (
        "INSERT INTO person (person_no, id_number, name, sex, birth_date, family_no, employer_no)"
        " SELECT n, n::text, 'n', 1, 1, 0, 0 FROM generate_series(1, 40) n"
    )
    await database.execute(plain("people", postgresql=people, sqlite="")())
    await asyncio.gather(
        *(change_card(database, str(n), CardChange.LOST, Actor("t", n)) for n in range(1, 41))
    )
    text = "SELECT array_agg(version ORDER BY version) FROM revocation"
    ((versions,),) = await database.fetch(plain("versions", postgresql=text, sqlite="")())
    assert list(versions) == list(range(1, 41))
    await database.close()
