"""Checks at the counter beside visits: who lies in hospital, and what a visit's lines were."""

import datetime as dt
from dataclasses import replace

from cardserver.checks.counter_checks import CounterChecks
from cardserver.checks.rule_book import RuleBook, load_rules
from protocol.terminal.codes import ResponseCode
from tests.cardserver.claims.fund import COMMUNITY, RETIRED, bill
from tests.cardserver.visits.ward import SETTLED, Ward, changed

RULES = """
name = "stays"
title_zh = "住院"
title_en = "Stays"
begins = 2026-01-01
[[sources]]
title = "test"
supports = "all"
standing = "choice"
[[rules]]
name = "in-hospital"
kind = "during_stay"
action = "warn"
reason_zh = "住院期间"
reason_en = "during a stay"
[[rules]]
name = "again"
kind = "readmission"
action = "warn"
reason_zh = "再入院"
reason_en = "admitted again"
where = "anywhere"
days = 7
[[rules]]
name = "much"
kind = "quantity"
action = "warn"
reason_zh = "过多"
reason_en = "too much"
items = { codes = ["A1"] }
most = 2
days = 10
earlier = "all"
"""


def checked(ward: Ward) -> None:
    book = RuleBook([load_rules(RULES)])
    ward.rules = replace(ward.rules, checks=CounterChecks(book))


async def warned(ward: Ward, *, place: int = COMMUNITY, **of: int) -> list[tuple[str, str]]:
    """Settle an outpatient's bill, and say what was warned of."""
    outcome = await ward.settle(bill(("L1", 100)), place=place, **of)
    assert outcome.code == ResponseCode.APPROVED
    return [(one.rule, one.text_zh) for one in SETTLED.decode(outcome.body).warnings]


async def test_an_outpatient_who_lies_in_hospital_elsewhere(ward: Ward) -> None:
    checked(ward)
    stay = await ward.admitted(dt.date(2026, 11, 18))
    assert await warned(ward) == [
        ("in-hospital", "住院期间（2026-11-18起住院，2026-11-21门诊或购药）")
    ]
    assert await warned(ward, place=1) == []  # where they lie
    assert await warned(ward, person=RETIRED) == []
    await ward.charged(stay, (dt.date(2026, 11, 19), 50_000))
    changed(await ward.discharge(stay, dt.date(2026, 11, 21)))
    assert await warned(ward) == []  # the day of discharge is no day inside the stay


async def test_a_stay_with_outpatient_bills_in_it(ward: Ward) -> None:
    ward.go_to(2026, 11, 12)
    checked(ward)
    assert await warned(ward) == []
    ward.go_to(2026, 11, 20)
    stay = await ward.admitted(dt.date(2026, 11, 10))
    await ward.charged(stay, (dt.date(2026, 11, 11), 50_000))
    changed(await ward.discharge(stay, dt.date(2026, 11, 19)))
    found = (await ward.settled(stay)).warnings
    assert [(one.rule, one.text_zh) for one in found] == [
        ("in-hospital", "住院期间（2026-11-10起住院，2026-11-12门诊或购药）")
    ]


async def test_a_visits_lines_were_bought_and_its_parts_are_one_stay(ward: Ward) -> None:
    checked(ward)
    ward.go_to(2026, 11, 18)
    stay = await ward.admitted(dt.date(2026, 11, 16))
    await ward.charged(stay, (dt.date(2026, 11, 16), 100), (dt.date(2026, 11, 17), 100))
    assert (await ward.settled(stay, dt.date(2026, 11, 17))).warnings == ()
    await ward.charged(stay, (dt.date(2026, 11, 18), 100))
    changed(await ward.discharge(stay, dt.date(2026, 11, 18)))
    last = (await ward.settled(stay)).warnings
    assert [one.text_en for one in last] == [
        "too much (A1 1 now, 2 before within 10 days, limit 2)"
    ]
    ward.go_to(2026, 11, 25)
    other = await ward.admitted(dt.date(2026, 11, 20), number="ZY2")
    await ward.charged(other, (dt.date(2026, 11, 21), 100))
    changed(await ward.discharge(other, dt.date(2026, 11, 22)))
    found = (await ward.settled(other)).warnings
    assert [one.rule for one in found] == ["again", "much"]
    assert found[0].text_zh == "再入院（2026-11-18出院，2天后再入院）"
