"""Rules tried on stored settlements find what they would have found at the counter."""

from random import Random

from cardserver.checks.rule_book import load_rules
from cardserver.checks.values import Finding
from cardserver.claims.checks_replay import ChecksTally, Found, Replay, StoredSettlement, read_from
from cardserver.claims.checks_replay_store import read_settlements
from cardserver.claims.replay_store import person_ranges
from protocol.terminal.codes import ResponseCode
from tests.cardserver.claims.fund import COMMUNITY, HOSPITAL, PERSON, RETIRED, TODAY, Counter
from tests.cardserver.claims.test_checking import (
    HEAD,
    MANY,
    REPEAT,
    checked_by,
    one_a1,
    settle,
    settled,
)

RULES_TEXT = REPEAT.replace("refuse", "warn").replace('override = "supervisor"\n', "") + MANY
RULES = load_rules(HEAD + RULES_TEXT)


async def replayed(counter: Counter, first_day: int, last_day: int) -> list[list[Found]]:
    replay = Replay(
        RULES.document.rules, counter.rules.catalogue, {}, first_day=first_day, last_day=last_day
    )
    found: list[list[Found]] = []

    def take(rows: list[StoredSettlement]) -> None:
        found.extend(replay.try_person(rows))

    for persons in await person_ranges(counter.database, claims_max=5):
        await read_settlements(
            counter.database,
            persons,
            from_day=read_from(first_day),
            last_day=last_day,
            take=take,
        )
    return found


async def test_a_replay_finds_what_the_counter_found(counter: Counter) -> None:
    checked_by(counter, RULES_TEXT)
    chance = Random(20261121)
    said: dict[int, list[tuple[str, str]]] = {}
    standing: list[tuple[str, int]] = []
    for _ in range(25):
        person, place = chance.choice((PERSON, RETIRED)), chance.choice((HOSPITAL, COMMUNITY))
        outcome = settled(await settle(counter, one_a1(chance.randint(1, 2)), place, person=person))
        said[int(outcome.setl_id)] = [(one.rule, one.text_zh) for one in outcome.warnings]
        standing.append((outcome.setl_id, place))
        if chance.random() < 0.3:
            setl_id, at = standing.pop(chance.randrange(len(standing)))
            assert (await counter.cancel(setl_id, place=at)).code == ResponseCode.APPROVED
        counter.clock.ms += chance.randrange(10_000_000)
    found = await replayed(counter, TODAY, 20261231)
    assert len(found) == 25
    again = {one[0].settled.claim_no: [named(each.finding) for each in one] for one in found if one}
    assert again == {number: texts for number, texts in said.items() if texts}
    assert again


def named(finding: Finding) -> tuple[str, str]:
    return finding.rule, finding.text_zh


async def test_earlier_months_are_known_and_not_reported(counter: Counter) -> None:
    for _ in range(3):
        settled(await settle(counter, one_a1()))
    counter.clock.ms += 86_400_000
    settled(await settle(counter, one_a1()))
    (found,) = await replayed(counter, TODAY + 1, TODAY + 1)
    assert [one.finding.rule for one in found] == ["many"]
    tally = ChecksTally()
    tally.take(found)
    assert (tally.settlements, tally.refused, tally.warned) == (1, 0, 1)
    rule = tally.rules["many"]
    assert (rule.findings, len(rule.settlements), rule.persons) == (1, 1, {PERSON})
    assert (rule.total_fen, rule.fund_pay_fen) == (100, 0)
