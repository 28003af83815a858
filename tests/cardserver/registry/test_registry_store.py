"""What requests read of the registry, and how sign-ons and wrong passwords are kept."""

import asyncio
import csv
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cardserver.catalogue.catalogue import Catalogue
from cardserver.catalogue.catalogue_store import catch_up
from cardserver.registry import administration_store as administration
from cardserver.registry.administration_store import AdministrationError, CardChange
from cardserver.registry.import_store import FileResult
from cardserver.registry.passwords import (
    NO_PASSWORD,
    PasswordError,
    hash_password,
    is_hash,
    verify_password,
)
from cardserver.registry.registry_store import Registry
from cardserver.registry.values import Actor, CardState, InsuranceState
from cardserver.watch_store import terminals_ending
from ledger.bulk_store import plain
from ledger.database_store import Database

LoadFolder = Callable[[Database, Path], Awaitable[dict[str, FileResult]]]
ACTOR = Actor("tester", 1_800_000_000_000)
DAY = 20260101


@pytest.fixture
async def registry(database: Database, made_up_village: Path, load_folder: LoadFolder) -> Registry:
    await load_folder(database, made_up_village)
    return Registry(database)


def rows(directory: Path, name: str) -> list[dict[str, str]]:
    with (directory / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


async def audit(database: Database) -> list[tuple[object, ...]]:
    text = "SELECT action, subject, detail FROM audit ORDER BY recorded_time_ms, seal_no, line"
    return await database.fetch(plain(text, postgresql=text, sqlite=text)())


async def open_sign_on(registry: Registry, **changes: object) -> int:
    values = {
        "sign_no": "s1",
        "terminal_no": 1,
        "operator_no": 1001,
        "begins_time_ms": 5,
        "ends_time_ms": 10,
        "business_date": DAY,
        "wants_stages": True,
        **changes,
    }
    return await registry.open_sign_on(**values)  # type: ignore[arg-type]


# --- cards and persons --------------------------------------------------------------------------


async def test_a_card_is_found_by_what_it_proves_and_by_number(
    registry: Registry, made_up_village: Path
) -> None:
    for row in rows(made_up_village, "cards")[:50]:
        identity = bytes.fromhex(row["identity"])
        card = await registry.card_by_identity("social_security_card", row["region"], identity)
        assert card is not None
        assert card == await registry.card_by_number(row["card_number"])
        assert card == await registry.card_by_no(int(row["card_no"]))
        assert card.identity == identity
        assert card.card_id.hex().upper() == row["card_id"]
        assert (card.version, card.algorithm) == (row["version"], int(row["algorithm"]))
        assert card.state == CardState(int(row["state"]))
        assert row["card_number"] not in repr(card)


async def test_one_byte_another_region_or_profile_finds_no_card(
    registry: Registry, made_up_village: Path
) -> None:
    row = rows(made_up_village, "cards")[0]
    identity = bytes.fromhex(row["identity"])
    other = bytes([identity[0] ^ 1]) + identity[1:]
    assert await registry.card_by_identity("social_security_card", row["region"], other) is None
    assert await registry.card_by_identity("social_security_card", "639900", identity) is None
    assert await registry.card_by_identity("egk", row["region"], identity) is None
    assert await registry.card_by_number("Z00000000") is None
    assert await registry.card_by_no(0) is None


async def test_a_person_is_found_by_number_and_identity_number(
    registry: Registry, made_up_village: Path
) -> None:
    for row in rows(made_up_village, "persons")[:200]:
        person = await registry.person(int(row["person_no"]))
        assert person is not None
        assert person == await registry.person_by_id_number(row["id_number"].lower())
        assert (person.name, person.birth_date) == (row["name"], int(row["birth_date"]))
        assert person.deceased_date == (int(row["deceased_date"] or 0) or None)
        assert row["name"] not in repr(person)
        assert row["id_number"] not in repr(person)
    assert await registry.person(1) is None
    assert await registry.person_by_id_number("111111198101011110") is None


async def test_insurances_in_force_come_first(registry: Registry, made_up_village: Path) -> None:
    of_person: dict[int, int] = {}
    for row in rows(made_up_village, "insurances"):
        number = int(row["person_no"])
        of_person[number] = of_person.get(number, 0) + 1
    is_mixed = False
    for number, count in of_person.items():
        if count == 1:
            continue
        insurances = await registry.insurances(number)
        assert len(insurances) == count
        states = [one.state for one in insurances]
        assert states == sorted(states)
        is_mixed |= {InsuranceState.IN_FORCE, InsuranceState.PAUSED} <= set(states)
    assert is_mixed
    assert await registry.insurances(1) == []


async def test_mutual_aid_comes_from_someone_else_of_the_family(
    registry: Registry, made_up_village: Path
) -> None:
    payers = {
        row["family_no"]: int(row["payer_person_no"]) for row in rows(made_up_village, "families")
    }
    seen = set()
    for row in rows(made_up_village, "persons")[:300]:
        person = await registry.person(int(row["person_no"]))
        assert person is not None
        payer = payers.get(row["family_no"], 0)
        expected = 0 if payer == person.person_no else payer
        assert await registry.mutual_aid_payer(person) == expected
        seen.add((row["family_no"] != "0", expected != 0))
    assert seen == {(False, False), (True, False), (True, True)}


async def test_reads_of_one_moment_get_each_their_own(
    registry: Registry, made_up_village: Path
) -> None:
    numbers = [int(row["person_no"]) for row in rows(made_up_village, "persons")[:300]]
    found = await asyncio.gather(*(registry.person(number) for number in [*numbers, 1]))
    assert [None if one is None else one.person_no for one in found] == [*numbers, None]


# --- rules as data ------------------------------------------------------------------------------


@pytest.mark.usefixtures("registry")
async def test_the_catalogue_by_item(database: Database, made_up_village: Path) -> None:
    catalogue = await catch_up(database, Catalogue())
    written = rows(made_up_village, "catalogue")
    assert len(catalogue) == len(written)
    for row in written:
        item = catalogue.find(row["item"], level=3, day=DAY)
        assert item is not None
        assert item.name == row["name"]
        assert item.price_limit_microyuan == (int(row["price_limit_microyuan"] or 0) or None)


async def test_of_one_policy_and_day_the_last_activation_applies(database: Database) -> None:
    registry = Registry(database)
    for moment, texts in enumerate((["a1", "b1"], ["a2"], ["a1"])):
        policies = [(text[0], DAY, text) for text in texts]
        await administration.activate_policies(database, policies, Actor("tester", moment))
        expected = {0: ["a1", "b1"], 1: ["a2", "b1"], 2: ["a1", "b1"]}[moment]
        assert await registry.policies() == expected
    await administration.activate_policies(database, [("a", DAY + 1, "later")], ACTOR)
    assert await registry.policies() == ["a1", "later", "b1"]
    assert len(await audit(database)) == 5


# --- terminals and sign-ons ---------------------------------------------------------------------


async def test_a_terminal_and_its_next_certificate(database: Database, registry: Registry) -> None:
    institution = await registry.institution_by_code("H11019900001")
    assert institution is not None
    assert institution.is_active
    one, two = bytes(32), bytes([1]) * 32
    first = await administration.enrol_terminal(database, institution, "T1", one, ACTOR, ends_ms=5)
    other = await administration.enrol_terminal(database, institution, "T2", one, ACTOR, ends_ms=5)
    again = await administration.enrol_terminal(database, institution, "T1", two, ACTOR, ends_ms=7)
    assert (first, other, again) == ((1, True), (2, True), (1, False))
    terminal = await registry.terminal(institution.institution_no, "T1")
    assert terminal is not None
    assert (terminal.certificate_sha256, terminal.certificate_ends_ms) == (two, 7)
    assert terminal.is_active
    assert terminal == await registry.terminal_by_no(1)
    await administration.set_terminal_active(database, 1, ACTOR, is_active=False)
    disabled = await registry.terminal_by_no(1)
    assert disabled is not None
    assert not disabled.is_active
    assert await registry.terminal(institution.institution_no, "T9") is None
    assert await registry.institution_by_code("H00000000000") is None
    listed = await administration.list_terminals(database)
    assert [(row.code, row.is_active, row.certificate_ends_ms) for row in listed] == [
        ("T1", False, 7), ("T2", True, 5),
    ]  # fmt: skip
    # Of those in use: T1 is disabled.
    assert [await terminals_ending(database, before_ms) for before_ms in (4, 5, 9)] == [0, 1, 1]
    assert [row[0] for row in await audit(database)] == [
        "terminal enrolled", "terminal enrolled", "terminal certificate", "terminal disabled",
    ]  # fmt: skip


async def test_a_sign_on_tells_the_present_state_of_all_it_rests_on(
    database: Database, registry: Registry
) -> None:
    institution = await registry.institution_by_code("H11019900001")
    assert institution is not None
    await administration.enrol_terminal(database, institution, "T1", bytes(32), ACTOR, ends_ms=5)
    assert await open_sign_on(registry) == DAY
    assert await open_sign_on(registry, sign_no="s2") == DAY  # the same working day
    found = await registry.sign_on("s1")
    assert found is not None
    assert (found.terminal.code, found.operator.code) == ("T1", "c001")
    assert (found.begins_time_ms, found.ends_time_ms) == (5, 10)
    assert found.institution_is_active
    text = "UPDATE institution SET state = 2 WHERE institution_no = 1"
    await database.execute(plain(text, postgresql=text, sqlite=text)())
    operator = await registry.operator(1, "c001")
    assert operator is not None
    await administration.set_operator_active(database, operator, ACTOR, is_active=False)
    await registry.close_sign_on("s1", ends_time_ms=7)
    found = await registry.sign_on("s1")
    assert found is not None
    assert not found.institution_is_active
    assert not found.operator.is_active
    assert found.ends_time_ms == 7
    assert await registry.sign_on("s9") is None
    several = await asyncio.gather(*(registry.sign_on(number) for number in ("s2", "s9", "s1")))
    assert [one and one.sign_no for one in several] == ["s2", None, "s1"]


async def test_five_wrong_passwords_lock_and_a_right_one_forgives(registry: Registry) -> None:
    for _ in range(4):
        assert not await registry.record_failure(1001, failures_max=5)
    await open_sign_on(registry)
    for _ in range(4):
        assert not await registry.record_failure(1001, failures_max=5)
    operator = await registry.operator(1, "c001")
    assert operator is not None
    assert operator.is_active
    assert await registry.record_failure(1001, failures_max=5)
    operator = await registry.operator_by_no(1001)
    assert operator is not None
    assert not operator.is_active


async def test_a_sign_on_that_was_under_way_does_not_unlock(registry: Registry) -> None:
    for _ in range(5):
        await registry.record_failure(1001, failures_max=5)
    await open_sign_on(registry)
    operator = await registry.operator_by_no(1001)
    assert operator is not None
    assert not operator.is_active


async def test_wrong_passwords_at_once_are_all_counted(registry: Registry) -> None:
    locked = await asyncio.gather(
        *(registry.record_failure(1001, failures_max=5) for _ in range(8))
    )
    assert sorted(locked) == [False] * 4 + [True] * 4
    assert not await registry.record_failure(99, failures_max=5)  # no such operator


# --- administration -----------------------------------------------------------------------------


async def test_a_lost_card_is_known_at_once_and_the_change_is_kept(
    database: Database, registry: Registry, made_up_village: Path
) -> None:
    row = next(row for row in rows(made_up_village, "cards") if row["state"] == "1")
    number = row["card_number"]
    changed = await administration.change_card(database, number, CardChange.LOST, ACTOR)
    assert changed == (CardState.VALID, CardState.LOST)
    card = await registry.card_by_number(number)
    assert card is not None
    assert card.state is CardState.LOST
    assert await audit(database) == [
        ("card lost", f"card {row['card_no']}", "by tester: was valid")
    ]


@pytest.mark.parametrize(
    ("changes", "last"),
    [
        ([CardChange.LOST, CardChange.FOUND], CardState.VALID),
        ([CardChange.FROZEN, CardChange.RELEASED], CardState.VALID),
        ([CardChange.LOST, CardChange.REPLACED], CardState.REPLACED),
        ([CardChange.LOST, CardChange.FROZEN, CardChange.LOST], CardState.LOST),
    ],
)
async def test_what_may_happen_to_a_card(
    database: Database,
    registry: Registry,
    made_up_village: Path,
    changes: list[CardChange],
    last: CardState,
) -> None:
    row = next(row for row in rows(made_up_village, "cards") if row["state"] == "1")
    for change in changes:
        await administration.change_card(database, row["card_number"], change, ACTOR)
    card = await registry.card_by_number(row["card_number"])
    assert card is not None
    assert card.state is last


@pytest.mark.parametrize(
    "changes",
    [
        [CardChange.FOUND],
        [CardChange.RELEASED],
        [CardChange.LOST, CardChange.LOST],
        [CardChange.FROZEN, CardChange.FOUND],
        *([CardChange.REPLACED, change] for change in CardChange),
    ],
)
async def test_what_may_not_happen_to_a_card(
    database: Database, registry: Registry, made_up_village: Path, changes: list[CardChange]
) -> None:
    row = next(row for row in rows(made_up_village, "cards") if row["state"] == "1")
    for change in changes[:-1]:
        await administration.change_card(database, row["card_number"], change, ACTOR)
    before = await registry.card_by_number(row["card_number"])
    entries = await audit(database)
    with pytest.raises(AdministrationError, match="so it can't be"):
        await administration.change_card(database, row["card_number"], changes[-1], ACTOR)
    assert await registry.card_by_number(row["card_number"]) == before
    assert await audit(database) == entries


async def test_an_unknown_card_is_not_changed(database: Database) -> None:
    with pytest.raises(AdministrationError, match="no card"):
        await administration.change_card(database, "Z00000000", CardChange.LOST, ACTOR)


async def test_an_operator_is_added_once_and_gets_new_passwords(
    database: Database, registry: Registry
) -> None:
    institution = await registry.institution_by_code("H11019900002")
    settings = {"code": "c009", "name": "李雷", "role": "cashier", "password_hash": "one"}
    number = await administration.add_operator(
        database, institution=institution, actor=ACTOR, **settings
    )
    with pytest.raises(AdministrationError, match="already"):
        await administration.add_operator(
            database, institution=institution, actor=ACTOR, **settings
        )
    elsewhere = await administration.add_operator(
        database, institution=None, actor=ACTOR, **settings
    )
    assert (number, elsewhere) == (1_000_001, 1_000_002)
    operator = await registry.operator(0, "c009")
    assert operator is not None
    assert operator.operator_no == elsewhere
    for _ in range(5):
        await registry.record_failure(elsewhere, failures_max=5)
    await administration.set_password(database, operator, "two", ACTOR)
    operator = await registry.operator_by_no(elsewhere)
    assert operator is not None
    assert (operator.password_hash, operator.is_active) == ("two", True)
    assert not await registry.record_failure(elsewhere, failures_max=5)  # counted anew


# --- passwords ----------------------------------------------------------------------------------


async def test_a_password_is_verified_and_salted() -> None:
    one, two = hash_password("correct horse"), hash_password("correct horse")
    assert one != two
    assert "correct" not in one
    assert is_hash(one)
    assert await verify_password(one, "correct horse")
    assert not await verify_password(one, "correct horse ")
    assert not await verify_password(one, "")


@pytest.mark.parametrize("password_hash", ["", NO_PASSWORD, "garbage", "$argon2id$v=19$"])
async def test_what_is_no_hash_verifies_nothing(password_hash: str) -> None:
    assert not await verify_password(password_hash, password_hash)


@pytest.mark.parametrize("password", ["", "short", "x" * 129])
def test_a_password_too_short_or_too_long_is_not_taken(password: str) -> None:
    with pytest.raises(PasswordError, match="8 to 128"):
        hash_password(password)


def test_what_counts_as_a_hash() -> None:
    assert is_hash(NO_PASSWORD)
    assert not is_hash("")
    assert not is_hash("plain text")
