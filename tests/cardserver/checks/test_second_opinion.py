"""For random rules and purchases, a second and simple implementation finds the same."""

import json
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardserver.checks.evaluation import TEXT_SIZE_MAX, evaluate
from cardserver.checks.lookback import Asked, lookback
from cardserver.checks.rule_book import load_rules
from cardserver.checks.values import (
    CheckedLine,
    CheckedPlace,
    ItemFacts,
    Occasion,
    Patient,
    Position,
    Situation,
)
from tests.cardserver.checks.second_opinion import findings

TODAY = 20260302
NOW_MS = 1_772_416_800_000
DAY_MS = 86_400_000
DAYS = (20260101, 20260201, 20260220, 20260226, 20260227, 20260228, 20260301, 20260302)
CODES = ("A1", "A12", "A2", "B1", "B12")
PLACES = (
    CheckedPlace(1, 1, 3), CheckedPlace(2, 2, 1), CheckedPlace(3, 3, 0), CheckedPlace(4, 3, 0)
)  # fmt: skip
POSITIONS = {
    1: Position(39_904_200, 116_407_400),
    2: Position(39_910_000, 116_500_000),
    3: Position(31_230_400, 121_473_700),
}
FACTS = {
    "A1": ItemFacts(1, 1, 0, 0, 0, 20_000),
    "A12": ItemFacts(2, 1, 2, 0, 0, 0),
    "A2": ItemFacts(1, 2, 0, 18, 60, 10_000),
    "B1": ItemFacts(3, 3, 1, 0, 14, 5_000),
}


def facts_of(item: str) -> ItemFacts:
    return FACTS.get(item, ItemFacts())


def subsets(values: tuple[object, ...]) -> st.SearchStrategy[list[object]]:
    return st.lists(st.sampled_from(values), min_size=1, unique=True)


ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "codes": subsets(CODES),
        "prefixes": subsets(("A", "A1", "B")),
        "classes": subsets(("A", "B", "C")),
        "kinds": subsets(("drug", "service", "consumable")),
    },
)
EXCEPT = st.fixed_dictionaries(
    {"prefixes": st.just(["A", "B"])},
    optional={"except_codes": subsets(("A1", "B12")), "except_prefixes": subsets(("A1", "B1"))},
)
ANY_ITEMS = st.one_of(ITEMS, EXCEPT)
NAMED_ITEMS = st.one_of(EXCEPT, st.fixed_dictionaries({"codes": subsets(CODES)}))
EARLIER = {"earlier": st.sampled_from(("alike", "all"))}
WHERE = {"where": st.sampled_from(("elsewhere", "here", "anywhere"))}
CONDITIONS = {
    "insutypes": subsets(("310", "390")),
    "med_types": subsets(("11", "21", "41")),
    "institution_kinds": subsets(("hospital", "community", "pharmacy")),
    "levels": subsets((0, 1, 2, 3)),
    "regions": subsets(("110000", "110100", "310000", "000000")),
    "person_types": subsets(("11", "12")),
    "sexes": subsets(("male", "female")),
    "age_from": st.integers(0, 60),
    "age_below": st.integers(61, 130),
}
LOOKS_BACK = st.integers(1, 9)
MAY_LOOK_BACK = st.integers(0, 9)
QUANTITIES = st.sampled_from((0, 1, "1.5", 2, 5, "7.25"))


def of_kind(
    kind: str, needed: dict[str, object], optional: dict[str, object]
) -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries({"kind": st.just(kind), **needed}, optional=optional)


PER_ITEM = of_kind(
    "quantity", {"days": MAY_LOOK_BACK, "catalogue_days": st.integers(1, 4)},
    {"items": ANY_ITEMS, **EARLIER},
)  # fmt: skip
KINDS = st.one_of(
    PER_ITEM,
    of_kind(
        "quantity", {"days": MAY_LOOK_BACK, "most": QUANTITIES},
        {"items": ANY_ITEMS, "per": st.sampled_from(("item", "rule")), **EARLIER},
    ),
    of_kind(
        "repeat", {"days": LOOKS_BACK},
        {"items": ANY_ITEMS, "same_prefix": st.integers(1, 3), **WHERE, **EARLIER},
    ),
    of_kind("person", {"fits": st.just("catalogue")}, {"items": ANY_ITEMS}),
    of_kind(
        "person",
        {
            "fits": st.fixed_dictionaries(
                {"age_from": st.integers(0, 60)},
                optional={
                    "sex": st.sampled_from(("male", "female")), "age_below": st.integers(61, 99),
                },
            )
        },
        {"items": ANY_ITEMS},
    ),
    of_kind(
        "together", {"items": NAMED_ITEMS, "with_items": NAMED_ITEMS},
        {"days": MAY_LOOK_BACK, **EARLIER},
    ),
    of_kind(
        "travel", {"speed_kmh": st.integers(1, 400), "km_from": st.integers(1, 30)},
        {"days": LOOKS_BACK, **EARLIER},
    ),
    of_kind("overlap", {}, {"days_allowed": st.integers(0, 3), **WHERE, **EARLIER}),
    of_kind("during_stay", {}, WHERE),
    of_kind("readmission", {"days": MAY_LOOK_BACK}, {**WHERE, **EARLIER}),
    of_kind(
        "visits", {"most": st.integers(1, 4), "days": LOOKS_BACK},
        {"count": st.sampled_from(("settlements", "institutions")), **EARLIER},
    ),
    of_kind(
        "amount", {"most": st.sampled_from((0, 5, "12.34")), "days": MAY_LOOK_BACK},
        {"items": ANY_ITEMS, **EARLIER},
    ),
    of_kind(
        "amount",
        {"most": st.sampled_from((0, 3)), "days": MAY_LOOK_BACK, "measure": st.just("fund")},
        EARLIER,
    ),
)  # fmt: skip
RULES = st.lists(
    st.tuples(
        KINDS,
        # Most rules have few conditions, or nothing would ever be found.
        st.one_of(
            st.just({}),
            *(st.fixed_dictionaries({key: value}) for key, value in CONDITIONS.items()),
        ),
        st.sampled_from(("warn", "refuse")),
    ),
    min_size=1,
    max_size=6,
)


@st.composite
def occasions(draw: st.DrawFn, *, is_now: bool = False) -> Occasion:
    med_type = draw(st.sampled_from(("11", "21", "41")))
    day = TODAY if is_now else draw(st.sampled_from(DAYS))
    admitted = discharged = 0
    is_settled = True
    if med_type == "21":
        discharged = day
        admitted = draw(st.sampled_from([one for one in DAYS if one <= day]))
        if not is_now and draw(st.booleans()):
            is_settled, discharged = False, draw(st.sampled_from((99991231, day)))
    lines = draw(
        st.lists(
            st.builds(
                CheckedLine,
                st.sampled_from(CODES),
                st.sampled_from((5_000, 10_000, 20_000, 72_500)),
                st.integers(0, 900),
            ),
            min_size=1,
            max_size=4,
        )
    )
    return Occasion(
        claim_no=0 if is_now else draw(st.integers(1, 10**6)),
        time_ms=NOW_MS - (0 if is_now else draw(st.integers(0, 2 * DAY_MS))),
        day=day,
        insutype=draw(st.sampled_from(("310", "390"))),
        med_type=med_type,
        place=draw(st.sampled_from(PLACES)),
        is_card_present=draw(st.booleans()),
        lines=tuple(lines) if is_settled else (),
        total_fen=sum(line.gross_fen for line in lines),
        fund_pay_fen=draw(st.integers(0, 500)) if is_settled else 0,
        admitted=admitted,
        discharged=discharged,
        visit=draw(st.sampled_from(("", "7", "8"))) if admitted else "",
        is_settled=is_settled,
    )


SITUATIONS = st.builds(
    Situation,
    patient=st.builds(
        Patient,
        st.sampled_from(("11", "12")),
        st.sampled_from(("110105", "310115")),
        st.sampled_from((1, 2, 9)),
        st.integers(0, 100),
    ),
    now=occasions(is_now=True),
    past=st.lists(occasions(), max_size=8),
    facts_of=st.just(facts_of),
    positions=st.just(POSITIONS),
)


def random_items(chance: Random) -> dict[str, object]:
    some = {
        "codes": CODES, "prefixes": ("A", "A1", "B"), "classes": ("A", "B", "C"),
        "kinds": ("drug", "service", "consumable"), "except_prefixes": ("A12", "B1"),
    }  # fmt: skip
    keys = chance.sample(sorted(some), chance.choice((0, 1, 1, 2)))
    found = {key: chance.sample(some[key], chance.randint(1, len(some[key]))) for key in keys}
    if "except_prefixes" in found:  # a code that is named and excepted would be a mistake
        found.pop("codes", None)
        found["prefixes"] = ["A", "B"]
    return found


def random_rule(chance: Random) -> dict[str, object]:
    where = {"where": chance.choice(("elsewhere", "here", "anywhere"))}
    days, back = {"days": chance.randint(0, 9)}, {"days": chance.randint(1, 9)}
    items = {"items": random_items(chance)}
    named = {"codes": chance.sample(CODES, 3)}
    kinds: list[dict[str, object]] = [
        {"kind": "quantity", **items, **days, "most": chance.choice((0, 1, "1.5", 2, 5, "7.25")),
         "per": chance.choice(("item", "rule"))},
        {"kind": "quantity", **items, **days, "catalogue_days": chance.randint(1, 4)},
        {"kind": "repeat", **items, **back, **where, "same_prefix": chance.randint(1, 3)},
        {"kind": "person", **items, "fits": "catalogue"},
        {"kind": "person", **items, "fits": {"sex": chance.choice(("male", "female")),
                                             "age_from": 20, "age_below": 60}},
        {"kind": "together", **days, "items": named, "with_items": {"prefixes": ["A1", "B1"]}},
        {"kind": "travel", **back, "speed_kmh": chance.randint(1, 400),
         "km_from": chance.choice((1, 7, 8, 30))},
        {"kind": "overlap", **where, "days_allowed": chance.randint(0, 6)},
        {"kind": "during_stay", **where},
        {"kind": "readmission", **where, **days},
        {"kind": "visits", **back, "most": chance.randint(1, 4),
         "count": chance.choice(("settlements", "institutions"))},
        {"kind": "amount", **items, **days, "most": chance.choice((0, 5, "12.34"))},
        {"kind": "amount", **days, "most": chance.choice((0, 3)), "measure": "fund"},
    ]  # fmt: skip
    seldom = {"overlap", "readmission", "travel", "during_stay"}
    rare = [one for one in kinds if one["kind"] in seldom]
    rule = chance.choice([*kinds, *rare, *rare])
    if rule["kind"] not in {"person", "during_stay"}:
        rule["earlier"] = chance.choice(("alike", "all"))
    if chance.random() < 0.4:
        key, value = chance.choice((
            ("insutypes", ["310"]), ("med_types", ["21"]), ("med_types", ["11", "41"]),
            ("institution_kinds", ["hospital", "pharmacy"]), ("levels", [0, 3]),
            ("regions", ["110100"]), ("regions", ["310000", "110105"]), ("regions", ["000000"]),
            ("person_types", ["12"]), ("sexes", ["male"]), ("age_from", 40), ("age_below", 40),
        ))  # fmt: skip
        rule[key] = value
    return rule


def random_occasion(chance: Random, *, is_now: bool = False) -> Occasion:
    med_type = chance.choice(("11", "21", "21", "41"))
    day = TODAY if is_now else chance.choice(DAYS)
    admitted = discharged = 0
    is_settled = True
    if med_type == "21":
        discharged = day
        admitted = chance.choice([one for one in DAYS if one <= day])
        if not is_now and chance.random() < 0.4:
            is_settled, discharged = False, chance.choice((99991231, day))
    lines = tuple(
        CheckedLine(
            chance.choice(CODES), chance.choice((5_000, 10_000, 20_000, 72_500)),
            chance.choice((0, 1, 300, 900)),
        )
        for _ in range(chance.randint(1, 4))
    )  # fmt: skip
    return Occasion(
        claim_no=0, time_ms=NOW_MS - (0 if is_now else chance.choice((0, 5, 60)) * 60_000),
        day=day, insutype=chance.choice(("310", "390")), med_type=med_type,
        place=chance.choice(PLACES), is_card_present=chance.random() < 0.8,
        lines=lines if is_settled else (), total_fen=0,
        fund_pay_fen=chance.randint(0, 500) if is_settled else 0, admitted=admitted,
        discharged=discharged, visit=chance.choice(("", "7", "8")) if admitted else "",
        is_settled=is_settled,
    )  # fmt: skip


def random_situation(chance: Random) -> Situation:
    return Situation(
        Patient(
            chance.choice(("11", "12")), chance.choice(("110105", "310115")),
            chance.choice((1, 2, 9)), chance.choice((5, 13, 14, 18, 39, 40, 59, 60, 61)),
        ),
        random_occasion(chance, is_now=True),
        [random_occasion(chance) for _ in range(chance.randint(0, 6))],
        facts_of,
        POSITIONS,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_both_find_the_same_in_many(seed: int) -> None:
    chance = Random(seed)
    found_by: Counter[str] = Counter()
    for _ in range(1_000):
        rules = [(random_rule(chance), {}, "warn") for _ in range(3)]
        text = text_of(rules)
        situation = random_situation(chance)
        found = evaluate(load_rules(text).document.rules, situation, today=TODAY)
        assert [(one.rule, one.line) for one in found] == findings(text, situation, TODAY), text
        for one in found:
            found_by[str(rules[int(one.rule.removeprefix("rule-"))][0]["kind"])] += 1
    assert len(found_by) == 10
    assert min(found_by.values()) >= 10, found_by


def text_of(rules: list[tuple[dict[str, object], dict[str, object], str]]) -> str:
    """Write a rules file; JSON's lists, words and numbers are TOML's as well."""
    text = (
        'name = "random"\ntitle_zh = "随机"\ntitle_en = "Random"\nbegins = 2026-01-01\n'
        '[[sources]]\ntitle = "test"\nsupports = "all"\nstanding = "choice"\n'
    )
    for index, (kind, conditions, action) in enumerate(rules):
        text += f'[[rules]]\nname = "rule-{index}"\naction = "{action}"\n'
        text += 'reason_zh = "理由"\nreason_en = "reason"\n'
        for key, value in {**conditions, **kind}.items():
            if isinstance(value, dict):
                inner = ", ".join(f"{one} = {json.dumps(each)}" for one, each in value.items())
                text += f"{key} = {{ {inner} }}\n"
            else:
                text += f"{key} = {json.dumps(value)}\n"
    return text


@settings(max_examples=500)
@given(rules=RULES, situation=SITUATIONS)
def test_both_find_the_same(
    rules: list[tuple[dict[str, object], dict[str, object], str]], situation: Situation
) -> None:
    text = text_of(rules)
    version = load_rules(text)
    found = evaluate(version.document.rules, situation, today=TODAY)
    assert [(one.rule, one.line) for one in found] == findings(text, situation, TODAY)
    actions = {f"rule-{index}": action for index, (_, _, action) in enumerate(rules)}
    for one in found:
        assert one.is_refusal is (actions[one.rule] == "refuse")
        assert one.text_zh.startswith("理由")
        assert one.text_en.startswith("reason")
        assert max(len(one.text_zh), len(one.text_en)) <= TEXT_SIZE_MAX


def test_nothing_that_was_not_asked_for_is_missed() -> None:
    """What lies before the days that `lookback` asks for changes no finding."""
    chance = Random(20260302)
    left_out = found = 0
    for _ in range(5_000):
        rules = load_rules(text_of([(random_rule(chance), {}, "warn")])).document.rules
        situation = random_situation(chance)
        now = situation.now
        asked = Asked(
            now.insutype, now.med_type, now.admitted, [line.item for line in now.lines],
            now.is_card_present,
        )  # fmt: skip
        wanted = lookback(rules, asked, today=TODAY, facts_of=facts_of)
        # A stay is settled on its last day or later.
        kept = [
            one
            for one in situation.past
            if (0 < wanted.first_day <= one.day if one.is_settled else wanted.needs_stays)
        ]
        # That a discharged stay is known to the visits as well, or not, is no matter of days.
        known = [one for one in situation.past if one.is_settled or wanted.needs_stays]
        less = Situation(situation.patient, now, kept, facts_of, POSITIONS)
        all_known = Situation(situation.patient, now, known, facts_of, POSITIONS)
        expected = evaluate(rules, all_known, today=TODAY)
        assert evaluate(rules, less, today=TODAY) == expected
        left_out += len(known) - len(kept)
        found += len(expected)
    assert left_out > 1_000
    assert found > 500


@settings(max_examples=100)
@given(rules=RULES, situation=SITUATIONS, data=st.data())
def test_findings_do_not_depend_on_the_order_of_what_was_read(
    rules: list[tuple[dict[str, object], dict[str, object], str]],
    situation: Situation,
    data: st.DataObject,
) -> None:
    version = load_rules(text_of(rules))
    other = Situation(
        situation.patient, situation.now, data.draw(st.permutations(situation.past)), facts_of,
        POSITIONS,
    )  # fmt: skip
    first, second = (
        [(one.rule, one.line) for one in evaluate(version.document.rules, each, today=TODAY)]
        for each in (situation, other)
    )
    assert first == second
