"""Mistakes in what the shipped policies do not use: each with its path and a sentence."""

import pytest

from cardserver.benefits.policy import PolicyError, load_policy
from tests.cardserver.benefits.made_up_policies import (
    HEAD,
    INPATIENT,
    LAYERS,
    OUTPATIENT,
    REFERRALS,
    SPECIAL,
    STAYS,
)

IN = "$.inpatient"
OUT = "$.outpatient"
CHRONIC = "$.special[0]"
VISITS = HEAD + OUTPATIENT
TOGETHER = 'counts_with = ["outpatient"], amounts = [{ amount = 2500 }]'
DEDUCTIBLE = 'per = "year", counts_with = ["outpatient"], amounts = [{ amount = 300'
FILED = "items_filed = true"
BASE = '["deductible", "own_share", "pre_self_pay"]'
HALF = 'ratios = [{ ratio = "50%" }]'
AID = 'field = "maf_pay"'
TWO_ROWS = """ratios = [
    { person_types = ["12"], ratio = "5%" },
    { person_types = ["11"], ratio = "5%" },
]"""
ANEW = 'deductible = { per_year_anew = true, per = "year", amounts = [{ amount = 1 }] }'
DISCHARGE = STAYS.replace('stay_across_years = "year_end"', "")

SPECIAL_MISTAKES = [
    ('"M039", "M016"]', '"M039", "M777"]', f"{CHRONIC}.diseases[1]", "[[diseases]]"),
    ('"M039", "M016"]', '"M039"]', "$.diseases[1]", "no special scheme"),
    ('"M039", "M016"]', '"M039", "M039"]', f"{CHRONIC}.diseases", "2 times"),
    ('code = "M016"', 'code = "M039"', "$.diseases", "2 times"),
    ('code = "M016"', 'code = "高"', "$.diseases[1].code", "not a code"),
    ('name = "severe"', 'name = "chronic"', "$.special", "2 times"),
    ('name = "severe"', 'name = "Severe"', "$.special[1].name", "lower-case"),
    ('name = "severe"', 'name = "a_name_that_is_long"', "$.special[1].name", "16"),
    ('name = "severe"', 'name = "hifmi_pay"', "$.special[1].name", "itself uses"),
    ('name = "severe"', "", "$.special[1].name", "missing"),
    ('["M005"]', '["M005", "M016"]', "$.special[1].med_types[0]", "M016 belongs to special[0]"),
    ('["1403"]', '["11"]', "$.special[2].med_types[0]", "belongs to outpatient"),
    ('["1403"]', '["14"]', "$.special[2].med_types[0]", "belongs to special[0]"),
    ('"XC*"', '"X*C"', f"{CHRONIC}.items[0]", "* at its end"),
    ('"XC*"', '"*"', f"{CHRONIC}.items[0]", "* at its end"),
    ('"XC*"', '"XD01"', f"{CHRONIC}.items", "2 times"),
    ('["M039"], amount', '["M005"], amount', f"{CHRONIC}.caps[0].amounts[0].diseases[0]", "among"),
    ('["M039"], amount', '["M016"], amount', f"{CHRONIC}.caps[0].amounts", "disease M039"),
    ('[{ ratio = "50%"', '[{ diseases = ["M039"], ratio = "50%"',
     f"{OUT}.bands[0].ratios[0].diseases[0]", "those covered: none"),
    (TOGETHER, TOGETHER.replace("out", "in"), f"{CHRONIC}.caps[1].counts_with[0]",
     "not a kind of care"),
    (TOGETHER, TOGETHER.replace("outpatient", "chronic"), f"{CHRONIC}.caps[1].counts_with[0]",
     "itself"),
    (f'per = "year", {TOGETHER}', f'per = "bill", {TOGETHER}', f"{CHRONIC}.caps[1].counts_with",
     "of other rows"),
    (DEDUCTIBLE, DEDUCTIBLE.replace("outpatient", "special"),
     f"{CHRONIC}.deductible.counts_with[0]", "not a kind of care"),
    (DEDUCTIBLE, DEDUCTIBLE.replace("year", "bill"), f"{CHRONIC}.deductible.counts_with",
     "goes with per"),
    (FILED, f'{FILED}\nentitled_by = "day"', "$.special[2].entitled_by", "no stays"),
    (FILED, f'{FILED}\nbands_per = "admission"', "$.special[2].bands_per", "no admissions"),
    (FILED, f'{FILED}\ncare = "home"', "$.special[2].care", "home"),
]  # fmt: skip

LAYER_MISTAKES = [
    (BASE, '["deductible", "deductible"]', f"{IN}.layers[1].base", "2 times"),
    (BASE, "[]", f"{IN}.layers[1].base", "empty"),
    (BASE, '["fully_own"]', f"{IN}.layers[1].base[0]", "fully_own"),
    (AID, 'field = "cvlserv_pay"', f"{IN}.layers", "2 times"),
    (AID, f'{AID}\naccumulator = "inpatient"', f"{IN}.layers[3].accumulator", "kind of care"),
    (AID, f'{AID}\naccumulator = "hifob_pay"', f"{IN}.layers[3].accumulator", "of hifob_pay"),
    (AID, f'{AID}\naccumulator = "Aid"', f"{IN}.layers[3].accumulator", "lower-case"),
    (HALF, "", f"{IN}.layers[2]", "neither"),
    (HALF, f"{HALF}\nbands = [{{ from = 0, {HALF} }}]", f"{IN}.layers[2]", "both"),
    ("from = 1000, ratios", "from = 999, ratios", f"{IN}.layers[1].bands[1].from", "overlaps"),
    ("from = 1000, ratios", "from = 1001, ratios", f"{IN}.layers[1].bands[1].from", "gap"),
    ('"70%"', '"107%"', f"{IN}.layers[1].bands[1].ratios[0].ratio", "above 100%"),
    ('{ person_types = ["15"], amount = 1000 },', "", f"{IN}.layers[1].deductible.amounts",
     "gap: no row applies to person type 15"),
    (HALF, f'{HALF}\nbands_from = "deductible"', f"{IN}.layers[2].bands_from", "no deductible"),
    ('only_for = [{ person_types = ["12"]', 'only_for = [{ person_types = ["16"]',
     f"{IN}.layers[2].only_for[0].person_types[0]", "not among"),
    (HALF, TWO_ROWS, f"{IN}.layers[2].ratios[1]", "never apply"),
    (HALF, 'ratios = [{ person_types = ["12"], own_share = "50%", of_person_type = "11" }]',
     f"{IN}.layers[2].ratios[0].of_person_type", "0 rows apply"),
    ('base = "own_share"', 'base = "left_over"', f"{IN}.layers[2].base", "cannot follow"),
    ('"in_scope", per = "year"', '"in_scope", per = "year", counts_with = ["inpatient"]',
     f"{IN}.layers[3].caps[0].counts_with[0]", "not a layer's row"),
]  # fmt: skip

OTHER_MISTAKES = [
    (REFERRALS, '"local", "referred"], amount', '"local", "flown"], amount',
     f"{IN}.deductible.amounts[0].referrals[1]", "flown"),
    (REFERRALS, '{ referrals = ["emergency"], ratio = "70%" },', "", f"{IN}.bands[0].ratios",
     "emergency"),
    (REFERRALS, "designated = false, ratio", "designated = true, ratio", f"{IN}.bands[0].ratios[1]",
     "overlaps"),
    (REFERRALS, "age_below = 18", "age_from = 20\nage_below = 18", f"{IN}.excluded[0].age_below",
     "reversed"),
    (REFERRALS, "age_below = 18", "age_below = 0", f"{IN}.excluded[0]", "never apply"),
    (REFERRALS, 'reason_zh = "未成年人须转诊"', "", f"{IN}.excluded[0].reason_zh", "missing"),
    (STAYS, 'entitled_by = "day"', 'entitled_by = "hour"', f"{IN}.entitled_by", "hour"),
    (STAYS, '"year_end"', '"never"', f"{IN}.stay_across_years", "never"),
    (DISCHARGE, "deductible = { per", "deductible = { per_year_anew = true, per",
     f"{IN}.deductible.per_year_anew", "one year"),
    (VISITS, "bands = ", f"{ANEW}\nbands = ", f"{OUT}.deductible.per_year_anew", "goes with per"),
    (VISITS, "bands = ", 'transfers = "one_stay"\nbands = ', f"{OUT}.transfers", "no stays"),
    (VISITS, "bands = ", 'institution_bears = ["fully_own"]\nbands = ',
     f"{OUT}.institution_bears[0]", "fully_own"),
    (VISITS, "bands = ", "account = [{ levels = [3], pays = [] }]\nbands = ", f"{OUT}.account",
     "gap"),
    (VISITS, "bands = ", 'account = { pays = ["cash"] }\nbands = ', f"{OUT}.account.pays[0]",
     "cash"),
    (VISITS, '["11", "41"]', '["1"]', f"{OUT}.med_types[0]", "as 11, 14"),
    (VISITS, "begins", 'rounding = "up"\nbegins', "$.rounding", "up"),
    (VISITS, "begins", 'cash_rounding = "yuan"\nbegins', "$.cash_rounding", "yuan"),
    (HEAD + INPATIENT, "bands_per", 'bands_from = "top"\nbands_per', f"{IN}.bands_from", "top"),
]  # fmt: skip


def mistakes(text: str) -> list[tuple[str, str]]:
    with pytest.raises(PolicyError) as caught:
        load_policy(text)
    return [(mistake.path, mistake.sentence) for mistake in caught.value.mistakes]


@pytest.mark.parametrize(
    ("text", "old", "new", "path", "words"),
    [
        *((SPECIAL, *mistake) for mistake in SPECIAL_MISTAKES),
        *((LAYERS, *mistake) for mistake in LAYER_MISTAKES),
        *OTHER_MISTAKES,
    ],
)
def test_a_mistake_in_a_made_up_policy(
    text: str, old: str, new: str, path: str, words: str
) -> None:
    load_policy(text)
    assert old in text
    found = mistakes(text.replace(old, new, 1))
    assert any(path == at and words in sentence for at, sentence in found), found


def test_a_special_scheme_may_have_stays() -> None:
    text = SPECIAL.replace(FILED, f'{FILED}\ncare = "inpatient"\nbands_per = "admission"')
    assert load_policy(text).has_stays("special_drugs")
    assert not load_policy(SPECIAL).has_stays("special_drugs")


def test_a_table_of_more_cases_than_can_be_tried() -> None:
    codes = [f"D{number}" for number in range(800)]
    diseases = ", ".join(f'{{ code = "{code}", title_zh = "x", title_en = "x" }}' for code in codes)
    ages = ", ".join(
        f'{{ age_from = {age}, age_below = {age + 1}, ratio = "4%" }}' for age in range(130)
    )
    rules = f"""
{HEAD}
diseases = [{diseases}]
[[special]]
name = "many"
title_zh = "x"
title_en = "x"
med_types = ["14"]
institution_kinds = ["hospital"]
diseases = [{", ".join(f'"{code}"' for code in codes)}]
bands = [{{ from = 0, ratios = [{ages}, {{ diseases = ["D0"], age_from = 130, ratio = "3%" }},
    {{ diseases = [{", ".join(f'"{code}"' for code in codes[1:])}], age_from = 130, ratio = "2%" }}
] }}]
"""
    assert mistakes(rules) == [
        ("$.special[0].bands[0].ratios", "its rows tell more than 100000 cases apart")
    ]
