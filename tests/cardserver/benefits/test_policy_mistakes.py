"""Every mistake that a person can make in a policy is refused, with its path and a sentence."""

import re
from collections.abc import Callable

import pytest

from cardserver.benefits.policy import Policy, PolicyBook, PolicyError, load_policy

OUT = "$.outpatient"
IN = "$.inpatient"
DEDUCTIBLE = f"{OUT}.deductible.amounts[0]"
OWN_SHARE_ROW = f"{IN}.bands[0].ratios[3]"
OWN_SHARE = 'own_share = "60%", of_person_type = "11"'
LARGE_AMOUNT_CAP = 'measure = "paid"\nper = "year"\namounts = [{ amount = 400_000 }]'


def mistakes(text: str) -> list[tuple[str, str]]:
    with pytest.raises(PolicyError) as caught:
        load_policy(text)
    assert all(
        path in str(caught.value) and words in str(caught.value)
        for path, words in caught.value.mistakes
    )
    return [(mistake.path, mistake.sentence) for mistake in caught.value.mistakes]


@pytest.mark.parametrize(
    ("old", "new", "path", "words"),
    [
        # the file
        ("begins = ", "begin = ", "$.begin", "no such key"),
        ("begins = 2023-01-01", "", "$.begins", "missing"),
        ("begins = 2023-01-01", "begins = 20230101", "$.begins", "date"),
        ("begins = 2023-01-01", "begins = 2023-02-30", "$", "not TOML"),
        ("begins = 2023-01-01", "begins = 2023-01-01\nends = 2022-12-31", "$.ends", "before"),
        ('name = "beijing-employees"', 'name = "Beijing employees"', "$.name", "lower-case"),
        ('name = "beijing-employees"', f'name = "{"x" * 41}"', "$.name", "40"),
        ('["110000"]', '["Beijing"]', "$.regions[0]", "six digits"),
        ('["110000"]', "[]", "$.regions", "empty"),
        ('insutypes = ["310"]', 'insutypes = ["310", "310"]', "$.insutypes", "2 times"),
        ('standing = "recollection"', 'standing = "sure"', "$.sources[3].standing", "sure"),
        # the kinds of care
        (
            'med_types = ["11", "41"]',
            'med_types = ["21"]',
            f"{IN}.med_types[0]",
            "outpatient already",
        ),
        (
            'med_types = ["11", "41"]',
            'med_types = ["x"]',
            f"{OUT}.med_types[0]",
            "not a medical type",
        ),
        ('med_types = ["11", "41"]', "med_types = []", f"{OUT}.med_types", "empty"),
        ('"community", "pharmacy"]', '"clinic"]', f"{OUT}.institution_kinds[1]", "clinic"),
        ('bands_per = "admission"', 'bands_per = "month"', f"{IN}.bands_per", "month"),
        (
            'per = "year"\namounts = [\n',
            'per = "admission"\namounts = [\n',
            f"{OUT}.deductible.per",
            "no admissions",
        ),
        (
            "[outpatient.deductible]\n",
            "[outpatient.deductibles]\n",
            f"{OUT}.deductibles",
            "no such key",
        ),
        # amounts and ratios
        ("amount = 1800", "amount = -1800", f"{DEDUCTIBLE}.amount", "not an amount"),
        ("amount = 1800", "amount = 1800.005", f"{DEDUCTIBLE}.amount", "two decimals"),
        ("amount = 1800", "amount = true", f"{DEDUCTIBLE}.amount", "not an amount"),
        ('ratio = "70%"', 'ratio = "170%"', f"{OUT}.bands[0].ratios[0].ratio", "above 100%"),
        ('ratio = "70%"', 'ratio = "100.01%"', f"{OUT}.bands[0].ratios[0].ratio", "above 100%"),
        ('ratio = "70%"', "ratio = 0.7", f"{OUT}.bands[0].ratios[0].ratio", "not a percentage"),
        ('ratio = "70%"', "ratio = 70", f"{OUT}.bands[0].ratios[0].ratio", "not a percentage"),
        ('ratio = "70%"', 'ratio = "-70%"', f"{OUT}.bands[0].ratios[0].ratio", "not a percentage"),
        # bands
        ("to = 20_000", "to = 25_000", f"{OUT}.bands[1].from", "overlaps the band before"),
        ("to = 20_000", "to = 19_999.99", f"{OUT}.bands[1].from", "gap from 19999.99"),
        (
            "from = 0\nto = 20_000",
            "from = 1800\nto = 20_000",
            f"{OUT}.bands[0].from",
            "starts at 0",
        ),
        ("from = 0\nto = 20_000", "from = 0\nto = 0", f"{OUT}.bands[0].to", "not after its start"),
        ("from = 0\nto = 20_000", "from = 0", f"{OUT}.bands[0].to", "only the last band"),
        (
            "from = 20_000\n",
            "from = 20_000\nto = 50_000\n",
            f"{OUT}.bands[1].to",
            "the last band has no end",
        ),
        # rows
        ("age_below = 70", "age_below = 71", f"{OUT}.bands[0].ratios[2]", "overlaps row [1]"),
        (
            "age_below = 70",
            "age_below = 69",
            f"{OUT}.bands[0].ratios",
            "gap: no row applies to person type 12, hospital of level 0, med_type 11, age 69",
        ),
        (
            "age_from = 70",
            "age_from = 70, age_below = 60",
            f"{OUT}.bands[0].ratios[2].age_below",
            "reversed",
        ),
        ("age_from = 70", "age_from = 700", f"{OUT}.bands[0].ratios[2].age_from", "not an age"),
        (
            'institution_kinds = ["community"], ratio',
            "levels = [4], ratio",
            f"{OUT}.bands[0].ratios[3].levels[0]",
            "not among",
        ),
        (
            'person_types = ["11"], amount = 1800',
            'person_types = ["14"], amount = 1800',
            f"{DEDUCTIBLE}.person_types[0]",
            "not among",
        ),
        (
            'person_types = ["11"], amount = 1800',
            "person_types = [], amount = 1800",
            f"{DEDUCTIBLE}.person_types",
            "empty",
        ),
        (
            'person_types = ["11"], amount = 1800',
            "admission_from = 2, amount = 1800",
            f"{DEDUCTIBLE}.admission_from",
            "no admissions",
        ),
        (
            "admission_to = 1,",
            "admission_to = 0,",
            f"{IN}.deductible.amounts[0].admission_to",
            "from 1 to 20",
        ),
        (
            "admission_to = 1,",
            "admission_from = 3, admission_to = 1,",
            f"{IN}.deductible.amounts[0].admission_to",
            "reversed",
        ),
        ("admission_from = 2", "admission_from = 3", f"{IN}.deductible.amounts", "admission 2"),
        (
            "admission_from = 2",
            "admission_from = 1",
            f"{IN}.deductible.amounts[1]",
            "overlaps row [0]",
        ),
        (
            "amount = 650 },",
            "amount = 650 },\n{ age_from = 10, levels = [2], admission_from = 2, amount = 1 },",
            f"{IN}.deductible.amounts[2]",
            "overlaps row [1]",
        ),
        # own shares and formulas
        (OWN_SHARE, 'own_share = "60%"', f"{OWN_SHARE_ROW}", "belong together"),
        (
            OWN_SHARE,
            'own_share = "60%", of_person_type = "14"',
            f"{OWN_SHARE_ROW}.of_person_type",
            "not among",
        ),
        (
            OWN_SHARE,
            'own_share = "60%", of_person_type = "12"',
            f"{OWN_SHARE_ROW}.of_person_type",
            "own share of another",
        ),
        (OWN_SHARE, f'{OWN_SHARE}, ratio = "90%"', f"{OWN_SHARE_ROW}", "ratio and own_share"),
        (
            f'person_types = ["12"], {OWN_SHARE}',
            'person_types = ["12"]',
            f"{OWN_SHARE_ROW}",
            "none of them",
        ),
        (
            OWN_SHARE,
            'by_age = { base = "90%", from_age = 60, each_year = "1%", most = "80%" }',
            f"{OWN_SHARE_ROW}.by_age.most",
            "below the base",
        ),
        (
            OWN_SHARE,
            'by_age = { base = "90%", from_age = 160, each_year = "1%", most = "95%" }',
            f"{OWN_SHARE_ROW}.by_age.from_age",
            "not an age",
        ),
        # layers, caps, accounts
        ('field = "hifob_pay"', 'field = "hifp_pay"', f"{IN}.layers[0].field", "hifp_pay"),
        ('base = "left_over"', 'base = "leftover"', f"{IN}.layers[0].base", "leftover"),
        (
            LARGE_AMOUNT_CAP,
            LARGE_AMOUNT_CAP.replace("paid", "scope"),
            f"{IN}.layers[0].caps[0].measure",
            "scope",
        ),
        (
            '"deductible", "own_share"]\nmutual',
            '"deductible", "deductible"]\nmutual',
            f"{OUT}.account.pays",
            "2 times",
        ),
        (
            '"deductible", "own_share"]\nmutual',
            '"deductible", "everything"]\nmutual',
            f"{OUT}.account.pays[4]",
            "everything",
        ),
    ],
)
def test_a_mistake_in_beijings_file(
    beijing_text: str, old: str, new: str, path: str, words: str
) -> None:
    assert old in beijing_text
    found = mistakes(beijing_text.replace(old, new, 1))
    assert any(path == at and words in sentence for at, sentence in found), found


def test_unknown_keys_at_every_depth(beijing_text: str) -> None:
    keys = "^name ^title_en supports med_types bands_per own_share levels age_from measure base"
    for key in f"{keys} mutual_aid_pays".split():
        text = re.sub(rf"({key})( =)", r"\1_x\2", beijing_text, count=1, flags=re.MULTILINE)
        assert text != beijing_text
        [(path, sentence)] = mistakes(text)
        assert path.endswith(f"{key.lstrip('^')}_x"), path
        assert sentence == "no such key is known here"


def test_all_mistakes_are_told_at_once(beijing_text: str) -> None:
    text = beijing_text.replace("to = 30_000", "to = 31_000").replace('"110000"', '"11"')
    assert [path for path, _ in mistakes(text)] == ["$.regions[0]", f"{IN}.bands[1].from"]


def test_no_rules_and_no_sources() -> None:
    found = mistakes("""
name = "x"
title_zh = "x"
title_en = "x"
regions = ["110000"]
insutypes = ["310"]
person_types = ["11"]
begins = 2020-01-01
sources = []
""")
    assert [path for path, _ in found] == ["$.sources", "$"]


def test_layers_that_would_pay_twice(inpatient_text: Callable[..., str]) -> None:
    found = mistakes(
        inpatient_text("""
bands = [{ from = 0, ratios = [{ ratio = "80%" }] }]
[[inpatient.layers]]
field = "cvlserv_pay"
base = "own_share"
ratios = [{ ratio = "50%" }]
caps = [{ measure = "in_scope", per = "admission", amounts = [{ amount = 1 }] }]
[[inpatient.layers]]
field = "hifob_pay"
base = "left_over"
ratios = [{ ratio = "50%" }]
[[inpatient.layers]]
field = "hifob_pay"
base = "own_share"
ratios = [{ ratio = "50%" }]
""")
    )
    assert [path for path, _ in found] == [
        f"{IN}.layers",
        f"{IN}.layers[1].base",
    ]


def test_more_rows_than_anyone_means(inpatient_text: Callable[..., str]) -> None:
    rows = '{ ratio = "80%" }, ' * 201
    found = mistakes(inpatient_text(f"bands = [{{ from = 0, ratios = [{rows}] }}]"))
    assert found == [(f"{IN}.bands[0].ratios", "it has 201 rows; 200 is the limit")]


# --- versions and places ---------------------------------------------------------------------

RULES = 'bands = [{ from = 0, ratios = [{ ratio = "80%" }] }]'


@pytest.fixture
def version(outpatient_text: Callable[..., str]) -> Callable[..., Policy]:
    def make(
        begins: str, ends: str = "", *, name: str = "test-city", region: str = "130100"
    ) -> Policy:
        dates = f"begins = {begins}\n" + (f"ends = {ends}\n" if ends else "")
        text = outpatient_text(RULES).replace("begins = 2020-01-01\n", dates)
        return load_policy(text.replace("test-city", name).replace("130100", region))

    return make


def test_versions_follow_each_other(version: Callable[..., Policy]) -> None:
    first, second = version("2020-01-01"), version("2023-07-01", "2025-12-31")
    book = PolicyBook([second, first])
    found = [
        book.find("310", "130100", "11", date)
        for date in (20191231, 20200101, 20230630, 20230701, 20251231, 20260101)
    ]
    assert found == [None, first, first, second, second, None]
    assert book.find("390", "130100", "11", 20210101) is None
    assert book.find("310", "130100", "21", 20210101) is None


def test_the_nearest_place_decides(version: Callable[..., Policy]) -> None:
    province = version("2020-01-01", name="province", region="130000")
    city = version("2022-01-01", name="city")
    district = version("2022-01-01", name="district", region="130102")
    book = PolicyBook([province, city, district])
    assert book.find("310", "130102", "11", 20230101) is district
    assert book.find("310", "130104", "11", 20230101) is city
    assert book.find("310", "130104", "11", 20210101) is province
    assert book.find("310", "139999", "11", 20230101) is province
    assert book.find("310", "110000", "11", 20230101) is None


@pytest.mark.parametrize(
    ("one", "other", "path", "words"),
    [
        (("2020-01-01",), ("2020-01-01", "2021-01-01"), "$.begins", "begin on the same day"),
        (("2020-01-01", "2023-07-01"), ("2023-07-01",), "$.ends", "has not ended"),
    ],
)
def test_versions_that_overlap(
    version: Callable[..., Policy],
    one: tuple[str, ...],
    other: tuple[str, ...],
    path: str,
    words: str,
) -> None:
    with pytest.raises(PolicyError, match=words) as caught:
        PolicyBook([version(*one), version(*other)])
    assert caught.value.mistakes[0].path == path


def test_two_names_that_overlap(version: Callable[..., Policy]) -> None:
    old, new = version("2020-01-01"), version("2024-01-01", name="other")
    with pytest.raises(PolicyError, match=r"test-city.*other.*dates overlap"):
        PolicyBook([old, new])
    closing = version("2023-01-01", "2023-12-31")
    book = PolicyBook([old, closing, new])
    assert book.find("310", "130100", "11", 20230601) is closing
    assert book.find("310", "130100", "11", 20240601) is new


def test_identity_names_the_version_and_its_text(beijing_text: str) -> None:
    one, other = load_policy(beijing_text), load_policy(beijing_text + "\n# a remark\n")
    assert re.fullmatch(r"beijing-employees@2023-01-01#[0-9a-f]{12}", one.identity)
    assert one.identity != other.identity
    assert len(one.identity) <= 80
    assert (one.begins, one.ends, one.name) == (20230101, 99991231, "beijing-employees")


def test_a_policy_says_to_which_care_a_medical_type_belongs(beijing_text: str) -> None:
    policy = load_policy(beijing_text)
    assert [policy.care_of(each) for each in ("11", "41", "21", "99")] == [
        "outpatient",
        "outpatient",
        "inpatient",
        None,
    ]


def test_a_claim_names_the_version_that_decided_it(beijing_text: str) -> None:
    old, new = (load_policy(beijing_text.replace("2023-01-01", day)) for day in
                ("2023-01-01", "2025-01-01"))  # fmt: skip
    book = PolicyBook([old, new])
    assert book.by_identity(old.identity) is old
    assert book.by_identity(new.identity) is new
    assert book.by_identity("beijing-employees@2024-01-01#000000000000") is None


def test_digits_are_ascii(outpatient_text: Callable[..., str]) -> None:
    text = outpatient_text(RULES)
    for before, after, path in (
        ("130100", "１３０１００", "$.regions[0]"),
        ('"80%"', '"８０%"', "$.outpatient.bands[0].ratios[0].ratio"),
    ):
        assert before in text
        with pytest.raises(PolicyError) as caught:
            load_policy(text.replace(before, after))
        assert caught.value.mistakes[0].path == path


def test_a_version_ends_with_what_it_alone_had_rules_for(
    version: Callable[..., Policy], beijing_text: str
) -> None:
    """What the next version leaves out, a place or a medical type, is covered no longer."""
    both = version("2020-01-01", region='130100", "130200')
    book = PolicyBook([both, version("2023-07-01")])
    assert book.find("310", "130200", "11", 20230630) is both
    assert book.find("310", "130200", "11", 20230701) is None
    outpatient = load_policy(beijing_text)
    pharmacies_left_out = load_policy(
        beijing_text.replace('med_types = ["11", "41"]', 'med_types = ["11"]').replace(
            "begins = 2023-01-01", "begins = 2025-01-01"
        )
    )
    book = PolicyBook([outpatient, pharmacies_left_out])
    assert book.find("310", "110000", "41", 20241231) is outpatient
    assert book.find("310", "110000", "41", 20250101) is None
    # The province's rules hold again where the city's version no longer has any.
    province = version("2020-01-01", name="province", region="130000")
    book = PolicyBook([province, both, version("2023-07-01")])
    assert book.find("310", "130200", "11", 20230701) is province
