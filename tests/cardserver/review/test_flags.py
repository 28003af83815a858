"""Flags: what each kind finds, and every mistake in a rules file by its path."""

import datetime as dt
from importlib import resources

import pytest
from msgspec import msgpack

from cardserver.review.flagging import (
    Knowledge,
    ListAges,
    Settlement,
    flags_of,
    look_into,
)
from cardserver.review.months_store import flag_month, sample_month
from cardserver.review.population_store import Flagged, find_flagged
from cardserver.review.rule_file import (
    ReviewRulesError,
    load_review_rules,
    rules_of_month,
)
from cardserver.review.sampling import Place, rank
from cardserver.review.values import Source
from tests.cardserver.claims.fund import RETIRED, SHANGHAI, bill
from tests.cardserver.review.office import ACCEPTOR, MONTH, RULES, SEED, Office, day

HOUR_MS = 3_600_000
NOON = int(dt.datetime(2026, 11, 21, 12, tzinfo=SHANGHAI).timestamp() * 1000)  # a Saturday
SETTLED = Settlement(
    7, 1, 1, 11, "310", "11", 20261121, 20261121, NOON, 50_000, 20_000, 10, 2, 5, b""
)
KNOWLEDGE = Knowledge(
    seed=SEED,
    timezone=SHANGHAI,
    places={1: Place("H1", 1, 3), 2: Place("P1", 3, 0)},
    list_ages=ListAges([4, 5, 6], [NOON - 90 * HOUR_MS, NOON - 80 * HOUR_MS, NOON - 73 * HOUR_MS]),
    too_often={"f": frozenset({7})},
    refunded_days={3: 20261021},
)


def detail(
    *, warned: tuple[str, ...] = (), overridden: tuple[str, ...] = (), replaces: int = 0
) -> bytes:
    """Write what of a stored detail flags read, in its places."""
    lines = [("A1", "甲", 1, 1, 30_000), ("A2", "乙", 1, 1, 20_000)]
    made_up = ("310", "11", 50_000, True, "I", lines)
    checked = (warned, overridden, "") if warned or overridden else None
    return msgpack.encode(
        (made_up, [], [], [], "outpatient", 2026, 0, "", [], None, 0, checked, replaces)
    )


def flag(text: str) -> str:
    return f'{RULES}\n[[flags]]\nname = "f"\nreason_zh = "疑"\nreason_en = "doubt"\n{text}'


def finds(text: str, settlement: Settlement = SETTLED) -> bool:
    flags = load_review_rules(flag(text)).document.flags
    return flags_of(settlement, look_into(settlement), flags, KNOWLEDGE) == ("f",)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('kind = "amount"\nabove = "199.99"', True),
        ('kind = "amount"\nabove = 200', False),
        ('kind = "amount"\nmeasure = "total"\nabove = 499', True),
        ('kind = "amount"\nabove = 1\nfund_from = 200', True),
        ('kind = "amount"\nabove = 1\nfund_from = "200.01"', False),
        ('kind = "amount"\nabove = 1\nclearing_types = ["21"]', False),
        ('kind = "amount"\nabove = 1\nclearing_types = ["21", "11"]', True),
        ('kind = "amount"\nabove = 1\ninsutypes = ["390"]', False),
        ('kind = "amount"\nabove = 1\nmed_types = ["12"]', False),
        ('kind = "amount"\nabove = 1\ninstitution_kinds = ["pharmacy"]', False),
        ('kind = "amount"\nabove = 1\ninstitution_kinds = ["hospital"]\nlevels = [3]', True),
        ('kind = "amount"\nabove = 1\nlevels = [1, 2]', False),
        ('kind = "card"', False),
        ('kind = "list"\nhours_above = 72', True),  # overtaken for 73 hours
        ('kind = "list"\nhours_above = 73', False),
        ('kind = "time"\nweekdays = ["saturday"]', True),
        ('kind = "time"\nweekdays = ["sunday"]', False),
        ('kind = "time"\nhours = [12, 13]', True),
        ('kind = "time"\nhours = [13, 12]', False),
        ('kind = "time"\nhours = [22, 13]', True),
        ('kind = "time"\nweekdays = ["saturday"]\nhours = [22, 6]', False),
        ('kind = "late"\ndays_above = 0', False),
        ('kind = "often"\nmost = 3', True),
    ],
)
def test_what_a_flag_finds(text: str, found: bool) -> None:  # noqa: FBT001 - the expectation
    assert finds(text) is found


@pytest.mark.parametrize(
    ("text", "settlement", "found"),
    [
        ('kind = "card"', SETTLED._replace(card_no=0, proof=0), True),
        ('kind = "card"\nhow = "unverified"', SETTLED._replace(card_no=0, proof=0), False),
        ('kind = "card"\nhow = "unverified"', SETTLED._replace(proof=1), True),
        ('kind = "card"\nhow = "absent"', SETTLED._replace(proof=1), False),
        ('kind = "list"\nhours_above = 72', SETTLED._replace(list_version=6), False),
        ('kind = "list"\nhours_above = 72', SETTLED._replace(list_version=0), True),
        ('kind = "late"\ndays_above = 30', SETTLED._replace(care_date=20261021), True),
        ('kind = "late"\ndays_above = 31', SETTLED._replace(care_date=20261021), False),
        ('kind = "often"\nmost = 3', SETTLED._replace(claim_no=8), False),
        ('kind = "refund"', SETTLED._replace(detail=detail()), False),
        ('kind = "refund"\ndays_from = 31', SETTLED._replace(detail=detail(replaces=3)), True),
        ('kind = "refund"\ndays_from = 32', SETTLED._replace(detail=detail(replaces=3)), False),
        ('kind = "checks"', SETTLED._replace(detail=detail()), False),
        ('kind = "checks"', SETTLED._replace(detail=detail(warned=("c@2026-01-01#a/x",))), True),
        ('kind = "checks"\nfound = "overridden"',
         SETTLED._replace(detail=detail(warned=("c@2026-01-01#a/x",))), False),
        ('kind = "checks"\nfound = "overridden"\nrules = ["x"]',
         SETTLED._replace(detail=detail(overridden=("c@2026-01-01#a/x",))), True),
        ('kind = "checks"\nrules = ["y"]',
         SETTLED._replace(detail=detail(overridden=("c@2026-01-01#a/x",))), False),
        ('kind = "item"\ncodes = ["A1"]\nabove = 299', SETTLED._replace(detail=detail()), True),
        ('kind = "item"\ncodes = ["A1"]\nabove = 300', SETTLED._replace(detail=detail()), False),
        ('kind = "item"\nprefixes = ["A"]\nabove = 499', SETTLED._replace(detail=detail()), True),
        ('kind = "item"\nprefixes = ["B"]', SETTLED._replace(detail=detail()), False),
    ],
)  # fmt: skip
def test_what_a_flag_finds_in(text: str, settlement: Settlement, found: bool) -> None:  # noqa: FBT001
    assert finds(text, settlement) is found


def test_of_a_share_so_many_are_drawn_whatever_else_is_found() -> None:
    text = 'kind = "amount"\nabove = 1\nshare = "25%"'
    numbers = range(1, 4_001)
    found = [number for number in numbers if finds(text, SETTLED._replace(claim_no=number))]
    assert found == [number for number in numbers if rank(SEED, number, flag="f") < 2**62]
    assert 900 < len(found) < 1_100


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ('share = "50%"', 'share = "101%"', "$.sampling.share"),
        ('share = "50%"', "share = 50", "$.sampling.share"),
        ("minimum = 1", "minimum = -1", "$.sampling.minimum"),
        ('begins = "2026-01"', 'begins = "2026-13"', "$.begins"),
        ('name = "test"', 'name = "Test"', "$.name"),
        ("appeal_days = 15", "appeal_days = 0", "$.times.appeal_days"),
        ("hold_hours = 8", "hold_hours = 8\nother = 1", "$.times.other"),
        ('code = "A-1"', 'code = "条款"', "$.articles[0].code"),
        ('title_en = "charged above the price"', 'title_en = ""', "$.articles[0].title_en"),
        ("[times]", '[[sampling.strata]]\nshare = "5%"\nminimum = 1\n[times]',
         "$.sampling.strata[0]"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_its_path(old: str, new: str, path: str) -> None:
    assert old in RULES
    with pytest.raises(ReviewRulesError) as caught:
        load_review_rules(RULES.replace(old, new, 1))
    assert [mistake.path for mistake in caught.value.mistakes] == [path]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('kind = "time"', "$.flags[0]"),
        ('kind = "time"\nhours = [5, 5]', "$.flags[0].hours"),
        ('kind = "time"\nweekdays = ["caturday"]', "$.flags[0].weekdays[0]"),
        ('kind = "item"', "$.flags[0]"),
        ('kind = "item"\nprefixes = [""]', "$.flags[0].prefixes"),
        ('kind = "often"\nmost = 0', "$.flags[0].most"),
        ('kind = "amount"\nabove = 1\nlevels = [4]', "$.flags[0].levels[0]"),
        ('kind = "amount"\nabove = 1\nshare = "0%"', "$.flags[0].share"),
        ('kind = "amount"\nabove = 1\nclearing_types = []', "$.flags[0].clearing_types"),
        ('kind = "magic"', "$.flags[0]"),
    ],
)
def test_a_mistake_in_a_flag_is_named_by_its_path(text: str, path: str) -> None:
    with pytest.raises(ReviewRulesError) as caught:
        load_review_rules(flag(text))
    assert caught.value.mistakes[0].path.startswith(path)


def test_a_month_has_the_rules_that_began_last() -> None:
    early = load_review_rules(RULES)
    later = load_review_rules(RULES.replace("2026-01", "2026-07"))
    assert rules_of_month([early, later], 202606) is early
    assert rules_of_month([later, early], 202607) is later
    assert rules_of_month([early, later], 202512) is None


def test_the_shipped_rules_are_rules() -> None:
    folder = resources.files("cardserver.review") / "rules"
    rules = load_review_rules((folder / "review.toml").read_text(encoding="utf-8"))
    assert len(rules.document.flags) >= 10
    assert rules.terms.second_above_fen == 5_000_000


# --- a month, on both databases -----------------------------------------------------------------

_FLAGS = """
[[flags]]
name = "large"
kind = "amount"
reason_zh = "金额大"
reason_en = "much"
above = 900
[[flags]]
name = "often"
kind = "often"
reason_zh = "次数多"
reason_en = "often"
where = "institution"
most = 2
[[flags]]
name = "rest"
kind = "refund"
reason_zh = "退费"
reason_en = "refunded"
[[flags]]
name = "seldom"
kind = "often"
reason_zh = "次数多"
reason_en = "often"
med_types = ["12"]
most = 1
"""


async def test_flags_become_cases(office: Office) -> None:
    first = await office.settle(190_000)
    second = await office.settle(100_000)
    third = await office.settle(200_000)
    other = await office.settle(400_000, person=RETIRED, place=2)
    undone = await office.settle(500_000, person=RETIRED, place=2)
    await office.counter.cancel(str(undone), place=2)
    await office.open(RULES + _FLAGS)
    expected = {third: "large often", other: "large"}
    made = await flag_month(
        office.database, MONTH, ACCEPTOR, now_ms=office.counter.clock.ms, timezone=SHANGHAI
    )
    assert (made.found, made.opened) == (2, 2)
    for number in (first, second, third, other, undone):
        wanted = f"claim_no = {number} AND flags = '{expected.get(number, '')}'"
        assert await office.count("review_case", wanted) == (number in expected), number
    # The same again opens nothing; the sample adds to what is there.
    office.at(day(2026, 12, 2))
    now_ms = office.counter.clock.ms
    again = await flag_month(office.database, MONTH, ACCEPTOR, now_ms=now_ms, timezone=SHANGHAI)
    assert (again.found, again.opened) == (2, 0)
    await sample_month(office.database, MONTH, ACCEPTOR, now_ms=now_ms, timezone=SHANGHAI)
    both = (Source.SAMPLED | Source.FLAGGED).value
    assert await office.count("review_case", f"claim_no = {other} AND sources = {both}") == 1
    assert await office.count("review_case", f"flags = 'large often' AND claim_no = {third}") == 1


async def test_a_month_is_read_as_it_goes_by(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read at once is bounded: three settlements come in chunks of two and one."""
    monkeypatch.setattr("cardserver.review.population_store.CHUNK_ROWS", 2)
    for fen in (300_000, 310_000, 320_000):
        await office.counter.settle(bill(("A1", fen), uses_account=False))
    found: list[Flagged] = []
    chunks: list[int] = []
    await find_flagged(
        office.database,
        MONTH,
        load_review_rules(RULES + _FLAGS).document.flags,
        seed=SEED,
        timezone=SHANGHAI,
        on_found=found.append,
        on_progress=chunks.append,
    )
    assert chunks == [2, 1]
    assert {name for one in found for name in one.flags} == {"large", "often"}
