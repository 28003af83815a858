"""A worker's copy of the revocation list: exact beside a set, and current beside the database."""

import hashlib
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardserver.cards.revocations import Revocations, RevokedKeys
from cardserver.cards.trust_anchors import load_trust_anchors
from cardserver.registry import administration_store as administration
from cardserver.registry.revocation_store import (
    PAGE_ROWS,
    Revocation,
    card_subject,
    certificate_subject,
    changes_since,
    list_age,
    list_changes,
    list_version,
)
from cardserver.registry.values import Actor, RevocationKind, RevocationReason
from ledger.database_store import Database
from ledger.scripts import Script
from protocol.card.cv_certificate import CertificateError, CVCertificate
from simulators.card.egk_print import CardAuthority

LAST = 2**64 - 1
# Few places, so that numbers push each other along, also around the table's end.
crowded = st.sampled_from([1, 2, 3, 2**53, 2**54, 2**54 + 1, LAST - 2, LAST - 1, LAST])
keys_of_any_kind = crowded | st.integers(1, LAST)


@given(st.lists(st.tuples(st.booleans(), keys_of_any_kind)))
def test_the_table_is_a_set(changes: list[tuple[bool, int]]) -> None:
    table, model = RevokedKeys(), set[int]()
    for is_added, key in changes:
        if is_added:
            table.add(key)
            model.add(key)
        else:
            table.discard(key)
            model.discard(key)
        assert len(table) == len(model)
    for _, key in changes:
        assert (key in table) == (key in model)


def test_the_table_grows_and_forgets_as_a_set_does() -> None:
    random = Random(20261121)
    table, model = RevokedKeys(), set[int]()
    for _ in range(30_000):
        key = random.choice((random.getrandbits(64) | 1, random.getrandbits(8) << 56 | 1))
        table.add(key)
        model.add(key)
        if random.random() < 0.4:
            gone = random.choice((key, random.getrandbits(8) << 56 | 1))
            table.discard(gone)
            model.discard(gone)
    assert len(table) == len(model)
    assert all(key in table for key in model)
    absent = {random.getrandbits(64) | 1 for _ in range(30_000)} - model
    assert not any(key in table for key in absent)
    for key in model:
        table.discard(key)
    assert len(table) == 0
    assert not any(key in table for key in model)


def revoked(number: int, reason: RevocationReason = RevocationReason.LOST) -> Revocation:
    return Revocation(RevocationKind.CARD, number.to_bytes(16, "big"), number, reason)


def test_numbers_in_a_row_never_meet() -> None:
    revocations = Revocations()
    revocations.take_up([revoked(number) for number in range(2, 20_001, 2)])
    assert revocations.cards_count == 10_000
    for number in range(1, 20_002):
        assert revocations.is_card_revoked(number) == (number % 2 == 0 and number <= 20_000)


def test_a_certificate_is_found_by_its_fingerprint() -> None:
    revocations = Revocations()
    one, other = (hashlib.sha256(text).digest() for text in (b"one", b"other"))
    entry = Revocation(
        RevocationKind.CERTIFICATE, certificate_subject(one), 0, RevocationReason.WITHDRAWN
    )
    revocations.take_up([entry, entry])
    assert (revocations.certificates_count, revocations.is_certificate_revoked(one)) == (1, True)
    assert not revocations.is_certificate_revoked(other)


def test_a_card_is_named_by_what_its_key_proves() -> None:
    """In Python and, for other languages, here: the list goes to terminals."""
    identity = bytes.fromhex("8697159900BF7C7A")
    data = b"\x00".join((b"card", b"social_security_card", b"639900", identity))
    subject = card_subject("social_security_card", "639900", identity)
    assert subject == hashlib.sha256(data).digest()[:16]


async def change(database: Database, *changes: Revocation, now_ms: int = 1) -> int:
    def script() -> Script[int]:
        return list_changes(changes, now_ms=now_ms)

    return await database.transact(script)


async def test_what_changed_is_taken_up_and_nothing_twice(database: Database) -> None:
    revocations = Revocations()
    assert not await revocations.catch_up(database)
    assert await change(database, revoked(1), revoked(2)) == 1
    assert await change(database, revoked(3)) == 2
    assert await revocations.catch_up(database)
    assert (revocations.version, revocations.cards_count) == (2, 3)
    assert not await revocations.catch_up(database)
    assert await change(database, revoked(1, RevocationReason.NOT_REVOKED)) == 3
    assert await change(database, revoked(2, RevocationReason.REPLACED)) == 4
    pages = [page async for page in changes_since(database, 2)]
    assert [(reached, [one.card_no for one in page]) for reached, page in pages] == [(4, [1, 2])]
    assert await revocations.catch_up(database)
    assert not revocations.is_card_revoked(1)
    assert revocations.is_card_revoked(2)
    assert (revocations.version, revocations.cards_count) == (4, 2)
    assert await list_version(database) == 4


@pytest.mark.parametrize("size", [PAGE_ROWS - 1, PAGE_ROWS, PAGE_ROWS + 1, 2 * PAGE_ROWS])
async def test_a_version_larger_than_a_page_comes_whole(database: Database, size: int) -> None:
    await change(database, revoked(10**9))
    await change(database, *(revoked(number) for number in range(1, size + 1)))
    revocations = Revocations()
    assert await revocations.catch_up(database)
    assert (revocations.version, revocations.cards_count) == (2, size + 1)


async def test_changes_while_a_list_is_read_are_taken_up_next_time(database: Database) -> None:
    await change(database, *(revoked(number) for number in range(1, 2 * PAGE_ROWS + 1)))
    revocations = Revocations()
    version = 0
    async for reached, page in changes_since(database, 0):
        if not version:  # one that was read, one that was not, and a new one
            await change(
                database,
                revoked(1, RevocationReason.NOT_REVOKED),
                revoked(2 * PAGE_ROWS, RevocationReason.NOT_REVOKED),
                revoked(10**9),
            )
        revocations.take_up(page)
        version = reached
    revocations.version = version
    await revocations.catch_up(database)
    assert revocations.version == 2
    assert not revocations.is_card_revoked(1)
    assert not revocations.is_card_revoked(2 * PAGE_ROWS)
    assert revocations.is_card_revoked(10**9)
    assert revocations.cards_count == 2 * PAGE_ROWS - 1


async def test_the_age_of_a_list_counts_from_when_it_was_overtaken(database: Database) -> None:
    assert await database.fetch_script(list_age(0, at_ms=500)) == 0
    await change(database, revoked(1), now_ms=1_000)
    await change(database, revoked(2), now_ms=4_000)
    for version, at_ms, age_ms in ((0, 5_000, 4_000), (1, 5_000, 1_000), (2, 5_000, 0),
                                   (1, 3_000, 0), (9, 5_000, 0)):  # fmt: skip
        assert await database.fetch_script(list_age(version, at_ms=at_ms)) == age_ms


async def test_a_certificate_is_revoked_and_restored_with_an_audit(database: Database) -> None:
    fingerprint = hashlib.sha256(b"a certificate").digest()
    revocations = Revocations()
    for is_revoked, version in ((True, 1), (False, 2)):
        done = await administration.change_certificate(
            database, fingerprint, Actor("tester", 7), is_revoked=is_revoked
        )
        assert done == version
        await revocations.catch_up(database)
        assert revocations.is_certificate_revoked(fingerprint) is is_revoked


def withdrawn(certificate: CVCertificate, *, is_revoked: bool = True) -> Revocation:
    return Revocation(
        RevocationKind.CERTIFICATE,
        certificate_subject(hashlib.sha256(certificate.encode()).digest()),
        0,
        RevocationReason.WITHDRAWN if is_revoked else RevocationReason.NOT_REVOKED,
    )


def test_a_revoked_certificate_ends_every_chain_over_it(tmp_path: Path) -> None:
    """A card's own, its authority's, a cross certificate, a root; restored, they hold again."""
    old, new = (
        CardAuthority(Random(1).randbytes),
        CardAuthority(Random(2).randbytes, root_name=b"DENEW" + bytes.fromhex("110126")),
    )
    cross = new.cross_certify(old.root)
    for name, certificate in (("new", new.root), ("cross", cross)):
        (tmp_path / f"{name}.cvc").write_bytes(certificate.encode())
    anchors = load_trust_anchors(tmp_path)
    card = old.certify(bytes(12), Random(3).randbytes(32), begins=20250101, ends=20301231)
    for version, revoked_one in enumerate((card, old.certificate, cross, new.root), 1):
        anchors.verify_card(card, old.certificate, today=20261121)
        anchors.revocations.take_up([withdrawn(revoked_one)])
        anchors.revocations.version = 2 * version
        with pytest.raises(CertificateError):
            anchors.verify_card(card, old.certificate, today=20261121)
        anchors.revocations.take_up([withdrawn(revoked_one, is_revoked=False)])
        anchors.revocations.version = 2 * version + 1
    anchors.verify_card(card, old.certificate, today=20261121)
