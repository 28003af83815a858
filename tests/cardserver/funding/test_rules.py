"""Funding rules: each mistake by its path, effective dates, exact division."""

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cardserver.checks.rule_book import RulesError
from cardserver.funding.division import (
    Insured,
    NotDivided,
    Paid,
    age_on,
    allotment_rule,
    allotted,
    date_of,
    divide,
    interest_of,
    rounded,
)
from cardserver.funding.rules import FundingRules, load_rules, shipped_rules
from cardserver.funding.rules_document import InterestRule, Ratio

TO_ACCOUNT = "$.contributions[0].account"
HEAD = """
name = "r"
title_zh = "规则"
title_en = "rules"
begins = {begins}
sources = ["made up"]
"""
CONTRIBUTION = '[[contributions]]\nname = "c"\ninsutype = "310"\n'
ALLOTMENT = '[[allotments]]\nname = "a"\ntitle_zh = "划拨"\ntitle_en = "given"\ninsutype = "310"\n'
INTEREST = '[interest]\ninsutype = "310"\nrate = "1%"\nsource_zh = "源"\nsource_en = "source"\n'


def rules(*parts: str, begins: str = "2026-01-01") -> str:
    return HEAD.format(begins=begins) + "".join(parts)


def paths(text: str) -> set[str]:
    with pytest.raises(RulesError) as caught:
        load_rules(text)
    return {mistake.path for mistake in caught.value.mistakes}


def test_the_shipped_rules_have_no_mistake() -> None:
    document = load_rules(shipped_rules()).document
    assert [rule.name for rule in document.allotments] == ["retired-70", "retired"]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("name = [", "$"),
        (rules("colour = 1\n"), "$.colour"),
        (rules(begins="2026-01-02"), "$.begins"),
        (rules(CONTRIBUTION, CONTRIBUTION), "$.contributions[1].name"),
        (rules(CONTRIBUTION, CONTRIBUTION.replace('"c"', '"d"')), "$.contributions[1]"),
        (rules(CONTRIBUTION.replace('"310"', '"31"')), "$.contributions[0].insutype"),
        (rules(CONTRIBUTION, "age_from = 131\n"), "$.contributions[0].age_from"),
        (rules(CONTRIBUTION, "age_from = 70\nage_below = 60\n"), "$.contributions[0].age_below"),
        (rules(CONTRIBUTION, "person_types = []\n"), "$.contributions[0].person_types"),
        (rules(CONTRIBUTION, 'regions = ["11"]\n'), "$.contributions[0].regions[0]"),
        (rules(CONTRIBUTION, 'account = {of_base = "101%"}\n'), f"{TO_ACCOUNT}.of_base"),
        (rules(CONTRIBUTION, "account = {of_base = 0.02}\n"), f"{TO_ACCOUNT}.of_base"),
        (rules(CONTRIBUTION, 'account = {of_base = "1/0"}\n'), f"{TO_ACCOUNT}.of_base"),
        (
            rules(
                CONTRIBUTION, 'employer_ratio = "9%"\npersonal_ratio = "2%"\n',
                'account = {of_base = "12%"}\n',
            ),
            "$.contributions[0].account",
        ),
        (rules(CONTRIBUTION, "base_least = 2\nbase_most = 1\n"), "$.contributions[0].base_most"),
        (rules(CONTRIBUTION, "base_least = 2.001\n"), "$.contributions[0].base_least"),
        (rules(ALLOTMENT), "$.allotments[0]"),
        (rules(ALLOTMENT, "monthly = 0\n"), "$.allotments[0].monthly"),
        (rules(ALLOTMENT, 'share = "2%"\n'), "$.allotments[0].of"),
        (rules(ALLOTMENT, 'share = "2%"\nof = "amount"\n'), "$.allotments[0].amount"),
        (rules(ALLOTMENT, "monthly = 1\nleast = 1\n"), "$.allotments[0]"),
        (rules(ALLOTMENT, "monthly = 1\n", 'source = "cash"\n'), "$.allotments[0].source"),
        (rules(INTEREST, "year_days = 366\n"), "$.interest.year_days"),
        (rules(INTEREST.replace('"源"', '""')), "$.interest.source_zh"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_its_path(text: str, path: str) -> None:
    assert path in paths(text)


def test_a_version_holds_until_the_next_begins() -> None:
    book = FundingRules(
        load_rules(rules(CONTRIBUTION, begins=begins)) for begins in ("2026-07-01", "2026-01-01")
    )
    assert book.of_month(202512) is None
    found = [book.of_month(month) for month in (202601, 202606, 202607, 203001)]
    assert [one and one.begins for one in found] == [20260101, 20260101, 20260701, 20260701]


def test_rates_of_a_year_begin_where_their_version_does() -> None:
    book = FundingRules(
        load_rules(rules(INTEREST.replace("1%", rate), begins=begins))
        for begins, rate in (("2025-03-01", "1%"), ("2026-07-01", "2%"), ("2027-02-01", "3%"))
    )
    assert [(day, rule.rate) for day, rule in book.interest_rates(2026)] == [
        (20260101, Fraction(1, 100)), (20260701, Fraction(2, 100)),
    ]  # fmt: skip
    assert [day for day, _ in book.interest_rates(2025)] == [20250301]
    assert book.interest_rates(2024) == []


def test_a_version_without_interest_ends_the_rate_of_the_one_before() -> None:
    book = FundingRules(
        [
            load_rules(rules(INTEREST, begins="2025-03-01")),
            load_rules(rules(CONTRIBUTION, begins="2026-07-01")),
        ]
    )
    assert [(day, rule.rate) for day, rule in book.interest_rates(2026)] == [
        (20260101, Fraction(1, 100)), (20260701, 0),
    ]  # fmt: skip
    # 360.00 for the 181 days of the half-year, and nothing after it.
    assert interest_of(book.interest_rates(2026), 2026, 36_000, {}) == 181
    assert book.interest_rates(2027) == []


ACTIVE, RETIRED = Insured("310", "11", "110199"), Insured("310", "12", "110199")
SHIPPED = load_rules(shipped_rules()).document


@pytest.mark.parametrize(
    ("insured", "paid", "expected"),
    [
        (ACTIVE, Paid(1_000_000, 90_000, 20_000), 20_000),
        (ACTIVE, Paid(1_000_033, 90_003, 20_001), 20_001),  # within a fen of 90,002.97, 20,000.66
        (ACTIVE, Paid(1_000_000, 90_002, 20_000), NotDivided.EMPLOYER_PART),
        (ACTIVE, Paid(1_000_000, 90_000, 19_998), NotDivided.PERSONAL_PART),
        (ACTIVE, Paid(399_999, 36_000, 8_000), NotDivided.BASE_BELOW),
        (ACTIVE, Paid(3_600_001, 324_000, 72_000), NotDivided.BASE_ABOVE),
        (RETIRED, Paid(500_000, 45_000, 0), 0),
        (Insured("390", "14", "110199"), Paid(0, 0, 38_000), NotDivided.NO_RULE),
    ],
)
def test_the_shipped_rules_divide(insured: Insured, paid: Paid, expected: object) -> None:
    assert divide(SHIPPED, insured, 45, paid) == expected


@pytest.mark.parametrize(
    ("birth_date", "expected"),
    [(19561101, 11_000), (19561102, 10_000), (19560229, 11_000)],
)
def test_age_is_full_years_on_the_first_day(birth_date: int, expected: int) -> None:
    rule = allotment_rule(SHIPPED, [RETIRED], age_on(birth_date, 20261101))
    assert rule is not None
    assert allotted(rule, 0, 0) == expected


RATIOS = st.builds(lambda a, b: Ratio(min(a, b), max(a, b)), st.integers(0, 500),
                   st.integers(1, 500))  # fmt: skip


@given(RATIOS, st.integers(0, 10**12))
def test_rounding_is_to_the_nearest_fen_half_up(ratio: Ratio, amount_fen: int) -> None:
    exact = Fraction(ratio * amount_fen)
    half_up, down = rounded(exact, "half_up"), rounded(exact, "down")
    assert Fraction(-1, 2) < half_up - exact <= Fraction(1, 2)
    assert 0 <= exact - down < 1


@given(
    st.lists(RATIOS, min_size=3, max_size=3), st.sampled_from(["half_up", "down"]),
    st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7),
)  # fmt: skip
def test_a_divided_contribution_adds_up(
    shares: list[Ratio], rounding: str, base: int, employer: int, personal: int
) -> None:
    text = rules(
        CONTRIBUTION, f'rounding = "{rounding}"\n',
        "account = {" + ", ".join(
            f'{key} = "{ratio.numerator}/{ratio.denominator}"'
            for key, ratio in zip(("of_base", "of_employer", "of_personal"), shares, strict=True)
        ) + "}\n",
    )  # fmt: skip
    found = divide(load_rules(text).document, ACTIVE, 40, Paid(base, employer, personal))
    exact = shares[0] * base + shares[1] * employer + shares[2] * personal
    if isinstance(found, NotDivided):
        assert found is NotDivided.ABOVE_PAID
        assert exact > employer + personal - 1
    else:
        assert 0 <= found <= employer + personal
        assert abs(found - exact) < 1


def day_by_day(
    rates: list[tuple[int, InterestRule]], year: int, opening_fen: int, moves: dict[int, int]
) -> Fraction:
    """Interest as a clerk would add it up, one day after the other."""
    held, total = opening_fen, Fraction(0)
    for ordinal in range(date_of(year * 10_000 + 101).toordinal(),
                         date_of((year + 1) * 10_000 + 101).toordinal()):  # fmt: skip
        day = date_of(year * 10_000 + 101).fromordinal(ordinal)
        number = day.year * 10_000 + day.month * 100 + day.day
        held += moves.get(number, 0)
        rule = next((rule for begins, rule in reversed(rates) if begins <= number), None)
        if rule is not None:
            balance_fen = held if rule.balance == "daily" else opening_fen
            total += Fraction(rule.rate * balance_fen, rule.year_days)
    return total


DAYS = st.dates(min_value=date_of(20240101), max_value=date_of(20241231)).map(
    lambda day: day.year * 10_000 + day.month * 100 + day.day
)


@given(
    st.integers(0, 10**7), st.dictionaries(DAYS, st.integers(0, 10**6), max_size=6),
    st.lists(st.tuples(DAYS, RATIOS, st.sampled_from(["daily", "opening"]),
                       st.sampled_from([360, 365])), max_size=3,
             unique_by=lambda one: one[0]),
)  # fmt: skip
@example(100, {20240229: 50, 20241231: 7}, [(20240101, Ratio(1, 3), "daily", 360)])
def test_interest_is_what_adding_up_each_day_gives(
    opening_fen: int, moves: dict[int, int], spans: list[tuple[int, Ratio, str, int]]
) -> None:
    rates = [
        (day, InterestRule(insutype="310", rate=rate, balance=balance, year_days=days,  # type: ignore[arg-type]
                           source_zh="源", source_en="source"))
        for day, rate, balance, days in sorted(spans, key=lambda one: one[0])
    ]  # fmt: skip
    exact = day_by_day(rates, 2024, opening_fen, moves)
    assert interest_of(rates, 2024, opening_fen, moves) == rounded(exact, "half_up")
