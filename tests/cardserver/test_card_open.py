"""CARD_OPEN at a running centre: what it keeps, and what it refuses beyond the card's own proof."""

import dataclasses
import sqlite3

from cardserver.config import load_config
from cardserver.registry.identity_number import check_character
from cardserver.registry.person_store import set_person
from cardserver.registry.registry_store import Registry
from cardserver.registry.values import Actor
from ledger.database_store import Database
from protocol.card.profiles.social_security_keys import Algorithm
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MemberFound, MemberQuery, MessageType
from simulators.card.population_cards import find_card, iterate_cards
from simulators.card.social_security_card import CardData, RootKeys, print_card
from tests.cardserver.desk import Desk, Reader


def locked_card(desk: Desk) -> CardData:
    """A valid 3.00 card, whose holder file opens after external authentication only."""
    row = next(
        row
        for row in iterate_cards(desk.city.population)
        if (row["state"], row["version"]) == ("1", "3.00") and int(row["ends"]) > 20270101
        and Algorithm(int(row["algorithm"])) is not Algorithm.SSF33
    )  # fmt: skip
    return find_card(desk.city.population, row["card_no"])


def audited(desk: Desk) -> list[tuple[str, str, str]]:
    with sqlite3.connect(desk.config.database_url.removeprefix("sqlite:///")) as connection:
        return connection.execute(
            "SELECT action, subject, detail FROM audit WHERE action = 'external_auth'"
        ).fetchall()


async def test_the_centre_proving_itself_to_a_card_is_audited(desk: Desk) -> None:
    data = locked_card(desk)
    card = print_card(data, RootKeys.read(desk.city.keys, data.algorithm))
    async with desk.client(await desk.enrol("OPEN1")) as client:
        before = len(audited(desk))
        opening = await client.open_card(Reader(card))
        assert opening.answer.body.round_trips == 2
        assert opening.answer.body.holder_name == data.holder_name
        assert audited(desk)[before:] == [
            ("external_auth", f"card {data.card_no}", opening.answer.msgid)
        ]
        opening = await client.open_card(Reader(card), wants_holder=False)
        assert opening.answer.body.round_trips == 1
        assert len(audited(desk)) == before + 1


async def test_a_holder_file_of_someone_else_is_refused(desk: Desk) -> None:
    """The holder's file is not proven: a relay may put another person's in its place."""
    data = desk.card_data(0)
    other = desk.card_data(1)
    swapped = dataclasses.replace(
        data, holder_name=other.holder_name, holder_number=other.holder_number
    )
    card = print_card(swapped, RootKeys.read(desk.city.keys, data.algorithm))
    async with desk.client(await desk.enrol("OPEN1")) as client:
        opening = await client.open_card(Reader(card))
    assert opening.answer.code == ResponseCode.CARD_IDENTITY_MISMATCH
    assert opening.answer.body is None


async def test_a_card_from_before_a_change_of_number_is_still_its_persons(desk: Desk) -> None:
    data = desk.card_data(2)
    config = load_config(desk.city.config_file)
    database = Database.open(config.database_url, config.database_password)
    await database.start()
    person = await Registry(database).person_by_id_number(data.holder_number)
    assert person is not None
    digits = f"{data.holder_number[:14]}{(int(data.holder_number[14:17]) + 402) % 1000:03}"
    number = digits + check_character(digits)
    actor = Actor("tester", 0)
    await set_person(database, person.person_no, {"id_number": number}, actor, today=20261121)
    await database.close()
    card = print_card(data, RootKeys.read(desk.city.keys, data.algorithm))
    async with desk.client(await desk.enrol("OPEN2")) as client:
        opening = await client.open_card(Reader(card))
        assert opening.answer.code == ResponseCode.APPROVED
        for known in (number, data.holder_number):
            answer = await client.request(MessageType.MEMBER_QUERY, MemberQuery("02", known))
            assert isinstance(answer.body, MemberFound)
            assert answer.body.person.psn_no == str(person.person_no)
