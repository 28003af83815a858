"""Taiwanese and Thai cards at a running centre: what the fund's configuration lets them do."""

import csv
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cardserver.config import ConfigError, load_config
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Bill, Eligibility, MessageType, Preview, ProofLevel
from simulators.card import taiwan_nhi, thai_nhso
from simulators.card.population_cards import iterate_cards
from simulators.card.taiwan_nhi import TaiwanNHICard
from simulators.card.thai_nhso import ThaiNHSOCard
from simulators.centre_process import CentreProcess, City
from tests.cardserver.desk import Desk, Reader, settle_of
from tests.in_process import command

LOOK_UP = '\n[cards.unverified]\nmay = "look_up"\n'
SETTLE = """
[cards.unverified]
may = "settle"
[[cards.unverified.care]]
med_types = ["11"]
total_max_fen = 100000
[[cards.unverified.care]]
med_types = ["41", "14"]
total_max_fen = 5000
"""


@dataclass
class Foreign:
    """A centre where two insured people have foreign cards."""

    desk: Desk
    taiwanese: taiwan_nhi.CardData
    thai: thai_nhso.CardData

    def cards(self) -> tuple[TaiwanNHICard, ThaiNHSOCard]:
        return TaiwanNHICard(self.taiwanese), ThaiNHSOCard(self.thai)


def person_no_of(city: City, card_no: int) -> int:
    return next(
        int(row["person_no"])
        for row in iterate_cards(city.population)
        if row["card_no"] == str(card_no)
    )


async def register(city: City, rows: list[dict[str, str]]) -> None:
    folder = city.directory / "foreign"
    folder.mkdir(exist_ok=True)
    with (folder / "cards.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    await command(
        "cardserver", "registry", "import", "--config", str(city.config_file), str(folder)
    )


@pytest.fixture
async def foreign(city: City) -> AsyncIterator[Callable[[str], Awaitable[Foreign]]]:
    started: list[CentreProcess] = []

    async def start(policy: str) -> Foreign:
        with city.config_file.open("a", encoding="utf-8") as file:
            file.write(policy)
        process = CentreProcess(city.config_file)
        desk = Desk(city, process)
        first, second = desk.card_data(0), desk.card_data(1)
        made = Foreign(
            desk,
            replace(taiwan_nhi.FICTITIOUS, birth_date=first.birth_date),
            replace(thai_nhso.FICTITIOUS, birth_date=second.birth_date),
        )
        await register(
            city,
            [
                made.taiwanese.registry_row(
                    card_no=900_001, person_no=person_no_of(city, first.card_no)
                ),
                made.thai.registry_row(
                    card_no=900_002, person_no=person_no_of(city, second.card_no)
                ),
            ],
        )
        started.append(process)
        await process.start()
        return made

    yield start
    for process in started:
        await process.stop()


async def test_by_default_they_are_not_opened(foreign: Any) -> None:
    made = await foreign("")
    async with made.desk.client(await made.desk.enrol("F1")) as client:
        for card in made.cards():
            opening = await client.open_card(Reader(card))
            assert opening.answer.code == ResponseCode.CARD_PROOF_TOO_WEAK
            assert opening.answer.body is None
            assert "不受理" in opening.answer.reply.detail_zh
            assert "not taken here" in opening.answer.reply.detail_en


async def test_they_may_look_up_and_no_more(foreign: Any) -> None:
    made = await foreign(LOOK_UP)
    async with made.desk.client(await made.desk.enrol("F1")) as client:
        for card, name in zip(made.cards(), ("王小明", "นายทดสอบ ตัวอย่าง"), strict=True):
            opening = await client.open_card(Reader(card))
            body = opening.answer.body
            assert opening.answer.is_approved
            assert body.proof is ProofLevel.UNVERIFIED_CARD
            assert body.holder_name == name
            assert body.round_trips == 1
            assert "未验证" in opening.answer.reply.detail_zh
            assert "UNVERIFIED" in opening.answer.reply.detail_en
            found = await client.request(
                MessageType.ELIGIBILITY, Eligibility("", "310", "11"),
                card_session=body.card_session,
            )  # fmt: skip
            assert found.body.is_entitled
            bill = made.desk.bill(1)
            for message, asked in (
                (MessageType.PREVIEW, Preview(bill)),
                (MessageType.SETTLE, settle_of(bill, _nothing())),
            ):
                answer = await client.request(message, asked, card_session=body.card_session)
                assert answer.code == ResponseCode.CARD_PROOF_TOO_WEAK
                assert "仅可查询" in answer.reply.detail_zh
                assert "look up only" in answer.reply.detail_en


async def test_they_settle_named_care_up_to_an_amount(foreign: Any) -> None:
    made = await foreign(SETTLE)
    desk = made.desk
    async with desk.client(await desk.enrol("F1")) as client:
        for card in made.cards():
            opening = await client.open_card(Reader(card))
            token = opening.answer.body.card_session
            assert "11 不超过 1000.00 元；41、14 不超过 50.00 元" in opening.answer.reply.detail_zh
            assert (
                "11 up to 1000.00 yuan; 41, 14 up to 50.00 yuan" in opening.answer.reply.detail_en
            )
            bill = _priced(desk.bill(1), 100_000)
            shown = await client.request(MessageType.PREVIEW, Preview(bill), card_session=token)
            assert shown.is_approved
            assert "UNVERIFIED" in shown.reply.detail_en
            msgid = client.msgid()
            settled = await client.request(
                MessageType.SETTLE, settle_of(bill, shown.body.split), card_session=token,
                msgid=msgid,
            )  # fmt: skip
            assert settled.is_approved
            assert "UNVERIFIED" in settled.reply.detail_en
            said = await command(
                "cardserver", "claim", msgid, "--config", str(desk.city.config_file), "--json"
            )
            (claim,) = msgspec.json.decode(said.output)
            assert claim["claim"]["proof"] == ProofLevel.UNVERIFIED_CARD
            for too_much in (
                _priced(desk.bill(1), 100_001),
                msgspec.structs.replace(_priced(desk.bill(1), 5_001), med_type="41"),
                msgspec.structs.replace(_priced(desk.bill(1), 100), med_type="21"),
            ):
                for message, asked in (
                    (MessageType.PREVIEW, Preview(too_much)),
                    (MessageType.SETTLE, settle_of(too_much, _nothing())),
                ):
                    answer = await client.request(message, asked, card_session=token)
                    assert answer.code == ResponseCode.CARD_PROOF_TOO_WEAK


async def test_a_card_that_proves_itself_is_not_touched_by_it(foreign: Any) -> None:
    made = await foreign("")
    async with made.desk.client(await made.desk.enrol("F1")) as client:
        opening = await client.open_card(Reader(made.desk.card(2)))
        assert opening.answer.body.proof is ProofLevel.GENUINE_CARD
        assert (opening.answer.reply.detail_zh, opening.answer.reply.detail_en) == ("", "")
        settled = await made.desk.settle(
            client, opening.answer.body.card_session, made.desk.bill(1)
        )
        assert (settled.is_approved, settled.reply.detail_en) == (True, "")


async def test_another_date_of_birth_than_the_persons_is_refused(foreign: Any) -> None:
    made = await foreign(LOOK_UP)
    year, day = divmod(made.thai.birth_date, 10_000)
    async with made.desk.client(await made.desk.enrol("F1")) as client:
        for birth_date, code in (
            (made.thai.birth_date - 10_000, ResponseCode.CARD_IDENTITY_MISMATCH),
            ((year - 1) * 10_000, ResponseCode.CARD_IDENTITY_MISMATCH),
            (year * 10_000, ResponseCode.APPROVED),
            (year * 10_000 + day // 100 * 100, ResponseCode.APPROVED),
        ):
            card = ThaiNHSOCard(replace(made.thai, birth_date=birth_date))
            opening = await client.open_card(Reader(card))
            assert opening.answer.code == code


async def test_a_card_with_an_unknown_atr_is_found_by_its_application(foreign: Any) -> None:
    made = await foreign(LOOK_UP)
    async with made.desk.client(await made.desk.enrol("F1")) as client:
        card = TaiwanNHICard(replace(made.taiwanese, atr=bytes.fromhex("3B6500002063CB6600")))
        opening = await client.open_card(Reader(card))
        assert opening.answer.is_approved, opening.answer.reply
        assert opening.answer.body.profile == "taiwan_nhi"
        assert opening.answer.body.round_trips == 2


@pytest.mark.parametrize(
    "section",
    [
        '[cards.unverified]\nmay = "everything"\n',
        '[cards.unverified]\nmay = "settle"\n',
        '[cards.unverified]\n[[cards.unverified.care]]\nmed_types = ["11"]\ntotal_max_fen = 1\n',
        SETTLE + "unknown = 1\n",
        SETTLE.replace("100000", "-1"),
    ],
)
def test_a_policy_that_says_nothing_clear_is_refused(
    made_city: City, tmp_path: Path, section: str
) -> None:
    file = tmp_path / "cardserver.toml"
    text = made_city.config_file.read_text(encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    load_config(file)
    file.write_text(f"{text}\n{section}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"\$\.cards\.unverified"):
        load_config(file)


class _Split:
    """Amounts that nobody was shown."""

    fund_pay_fen = account_pay_fen = mutual_aid_fen = cash_fen = 0


def _nothing() -> Any:
    return _Split()


def _priced(bill: Bill, total_fen: int) -> Bill:
    """Have a bill's only line cost this."""
    line = msgspec.structs.replace(
        bill.lines[0], price_microyuan=total_fen * 10_000, quantity_e4=10_000, gross_fen=total_fen
    )
    return msgspec.structs.replace(bill, total_fen=total_fen, lines=(line,))
