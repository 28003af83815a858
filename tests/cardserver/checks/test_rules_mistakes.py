"""Every mistake that a person can make in a rules file is refused, with its path and a sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cardserver.checks.rule_book import RuleBook, RulesError, RulesVersion, load_rules
from cardserver.checks.rule_table import in_words

SHIPPED = Path(__file__).parents[3] / "cardserver" / "checks" / "rules"
HEAD = """\
name = "test"
title_zh = "测试"
title_en = "Test"
begins = 2026-01-01

[[sources]]
title = "test"
supports = "all"
standing = "choice"
"""
QUANTITY = """\
[[rules]]
name = "much"
kind = "quantity"
action = "refuse"
override = "supervisor"
reason_zh = "过多"
reason_en = "too much"
med_types = ["11"]
items = { codes = ["XA10"], prefixes = ["XB"], except_codes = ["XB7"] }
most = 12
days = 7
"""
RULES = {
    "repeat": 'kind = "repeat"\ndays = 3\nsame_prefix = 5\nwhere = "here"\n',
    "person": 'kind = "person"\nfits = { sex = "male", age_from = 18, age_below = 60 }\n',
    "together": (
        'kind = "together"\nitems = { codes = ["A"] }\nwith_items = { codes = ["B"] }\ndays = 1\n'
    ),
    "travel": 'kind = "travel"\nspeed_kmh = 300\nkm_from = 50\ndays = 2\n',
    "overlap": 'kind = "overlap"\ndays_allowed = 1\n',
    "during": 'kind = "during_stay"\nwhere = "anywhere"\n',
    "readmission": 'kind = "readmission"\ndays = 7\n',
    "visits": 'kind = "visits"\nmost = 3\ndays = 1\ncount = "institutions"\n',
    "amount": 'kind = "amount"\nmost = 3000\ndays = 1\nitems = { kinds = ["drug"] }\n',
}
WARN = 'action = "warn"\nreason_zh = "理由"\nreason_en = "why"\n'
TEXT = (
    HEAD
    + QUANTITY
    + "".join(f'[[rules]]\nname = "{name}"\n{WARN}{rule}' for name, rule in RULES.items())
)
AT = {name: f"$.rules[{index}]" for index, name in enumerate(RULES, 1)}
FIRST = "$.rules[0]"


def mistakes(load: Callable[[], object]) -> list[tuple[str, str]]:
    with pytest.raises(RulesError) as caught:
        load()
    assert all(path in str(caught.value) for path, _ in caught.value.mistakes)
    return [(mistake.path, mistake.sentence) for mistake in caught.value.mistakes]


def test_the_text_of_these_tests_has_no_mistake() -> None:
    assert len(load_rules(TEXT).document.rules) == 10


@pytest.mark.parametrize(
    ("old", "new", "path", "words"),
    [
        # the file
        ("begins = ", "begin = ", "$.begin", "no such key"),
        ("begins = 2026-01-01", "", "$.begins", "missing"),
        ("begins = 2026-01-01", "begins = 20260101", "$.begins", "date"),
        ("begins = 2026-01-01", "begins = 2026-02-30", "$", "not TOML"),
        ("begins = 2026-01-01", "begins = 2026-01-01\nends = 2025-12-31", "$.ends", "before"),
        ('name = "test"', 'name = "Test"', "$.name", "lower-case"),
        ('name = "test"', f'name = "{"x" * 41}"', "$.name", "40"),
        ('standing = "choice"', 'standing = "sure"', "$.sources[0].standing", "sure"),
        (HEAD[HEAD.index("[[sources]]") :], "sources = []\n", "$.sources", "at least one"),
        (TEXT[len(HEAD) :], "[rules]\n", "$.rules", "array"),
        # what every rule says
        ('name = "much"', 'name = "so much"', f"{FIRST}.name", "lower-case"),
        ('name = "much"', 'name = "repeat"', f"{AT['repeat']}.name", "already"),
        ('name = "much"', "", f"{FIRST}.name", "missing"),
        ('kind = "quantity"', 'kind = "count"', f"{FIRST}.kind", "count"),
        ('kind = "quantity"\n', "", f"{FIRST}.kind", "missing"),
        ('action = "refuse"', 'action = "block"', f"{FIRST}.action", "block"),
        ('action = "refuse"', 'action = "warn"', f"{FIRST}.override", "warning"),
        ('"supervisor"', '"anyone"', f"{FIRST}.override", "anyone"),
        ('reason_zh = "过多"', 'reason_zh = " "', f"{FIRST}.reason_zh", "say why"),
        ('"too much"', f'"{"x" * 121}"', f"{FIRST}.reason_en", "121"),
        ('"too much"', '"too\\nmuch"', f"{FIRST}.reason_en", "one line"),
        ('reason_en = "too much"\n', "", f"{FIRST}.reason_en", "missing"),
        # conditions
        ('med_types = ["11"]', "med_types = []", f"{FIRST}.med_types", "empty"),
        ('med_types = ["11"]', 'med_types = ["11", "11"]', f"{FIRST}.med_types", "2 times"),
        ('med_types = ["11"]', 'med_types = ["OP"]', f"{FIRST}.med_types[0]", "medical type"),
        ('med_types = ["11"]', 'insutypes = ["31"]', f"{FIRST}.insutypes[0]", "three digits"),
        ('med_types = ["11"]', 'regions = ["1101"]', f"{FIRST}.regions[0]", "six digits"),
        ('med_types = ["11"]', 'person_types = ["x"]', f"{FIRST}.person_types[0]", "digits"),
        ('med_types = ["11"]', "levels = [4]", f"{FIRST}.levels[0]", "from 0 to 3"),
        ('med_types = ["11"]', 'sexes = ["man"]', f"{FIRST}.sexes[0]", "man"),
        ('med_types = ["11"]', 'institution_kinds = ["shop"]', f"{FIRST}.institution_kinds[0]",
         "shop"),
        ('med_types = ["11"]', "age_from = 131", f"{FIRST}.age_from", "from 0 to 130"),
        ('med_types = ["11"]', "age_from = 60\nage_below = 60", f"{FIRST}.age_below", "nobody"),
        ('med_types = ["11"]', 'earlier = "some"', f"{FIRST}.earlier", "some"),
        ("fits = {", 'earlier = "all"\nfits = {', f"{AT['person']}.earlier", "no such key"),
        # items
        ('codes = ["XA10"]', "codes = []", f"{FIRST}.items.codes", "empty"),
        ('codes = ["XA10"]', 'codes = [""]', f"{FIRST}.items.codes[0]", "1 to 40"),
        ('codes = ["XA10"]', 'codes = ["XB7"]', f"{FIRST}.items.codes[0]", "excepted"),
        ('codes = ["XA10"]', 'code = ["XA10"]', f"{FIRST}.items.code", "no such key"),
        ('except_codes = ["XB7"]', 'except_prefixes = ["X"]', f"{FIRST}.items.prefixes[0]",
         "excepted"),
        ('kinds = ["drug"]', 'kinds = ["medicine"]', f"{AT['amount']}.items.kinds[0]", "medicine"),
        ('kinds = ["drug"]', 'classes = ["D"]', f"{AT['amount']}.items.classes[0]", "D"),
        ('items = { codes = ["A"] }', 'items = { kinds = ["drug"] }',
         f"{AT['together']}.items", "codes or prefixes"),
        # quantity
        ("most = 12\n", "", FIRST, "exactly one"),
        ("most = 12\n", "most = 12\ncatalogue_days = 7\n", FIRST, "exactly one"),
        ("most = 12\n", "catalogue_days = 0\n", f"{FIRST}.catalogue_days", "from 1"),
        ("most = 12\n", 'catalogue_days = 7\nper = "rule"\n', f"{FIRST}.per", "own"),
        ("most = 12\n", "most = 1.23456\n", f"{FIRST}.most", "four decimals"),
        ("most = 12\n", "most = -1\n", f"{FIRST}.most", "not a quantity"),
        ("most = 12\n", "most = true\n", f"{FIRST}.most", "not a quantity"),
        ("most = 12\ndays = 7", "most = 12\ndays = 367", f"{FIRST}.days", "from 0 to 366"),
        ("most = 12\ndays = 7", "most = 12\ndays = 1.5", f"{FIRST}.days", "int"),
        ("most = 12\ndays = 7", "most = 12", f"{FIRST}.days", "missing"),
        # the other kinds
        ("days = 3\nsame", "days = 0\nsame", f"{AT['repeat']}.days", "from 1"),
        ("same_prefix = 5", "same_prefix = 0", f"{AT['repeat']}.same_prefix", "from 1"),
        ('where = "here"', 'where = "there"', f"{AT['repeat']}.where", "there"),
        ('{ sex = "male", age_from = 18, age_below = 60 }', "{}", f"{AT['person']}.fits",
         "say which"),
        ('{ sex = "male", age_from = 18, age_below = 60 }', '"file"', f"{AT['person']}.fits",
         "file"),
        ("age_from = 18, age_below = 60", "age_from = 18, age_below = 18",
         f"{AT['person']}.fits.age_below", "nobody"),
        ("speed_kmh = 300", "speed_kmh = 0", f"{AT['travel']}.speed_kmh", "from 1"),
        ("km_from = 50", "km_from = 20001", f"{AT['travel']}.km_from", "20000"),
        ("km_from = 50\ndays = 2", "km_from = 50\ndays = 0", f"{AT['travel']}.days", "from 1"),
        ("days_allowed = 1", "days_allowed = -1", f"{AT['overlap']}.days_allowed", "from 0"),
        ('where = "anywhere"', "days = 1", f"{AT['during']}.days", "no such key"),
        ('kind = "readmission"\ndays = 7', 'kind = "readmission"\ndays = -1',
         f"{AT['readmission']}.days", "from 0"),
        ("most = 3\n", "most = 0\n", f"{AT['visits']}.most", "from 1"),
        ('count = "institutions"', 'count = "persons"', f"{AT['visits']}.count", "persons"),
        ("most = 3000", "most = 0.001", f"{AT['amount']}.most", "two decimals"),
        ("most = 3000", 'most = 3000\nmeasure = "fund"', f"{AT['amount']}.items", "of a bill"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(old: str, new: str, path: str, words: str) -> None:
    assert old in TEXT
    found = mistakes(lambda: load_rules(TEXT.replace(old, new, 1)))
    assert path in [at for at, _ in found]
    assert words in next(sentence for at, sentence in found if at == path)


def test_all_mistakes_are_named_at_once() -> None:
    text = TEXT.replace("most = 12", "most = 12\nage_from = 200").replace('"too much"', '""')
    assert [path for path, _ in mistakes(lambda: load_rules(text))] == [
        f"{FIRST}.reason_en", f"{FIRST}.age_from",
    ]  # fmt: skip


def test_too_many_rules_are_refused() -> None:
    rule = QUANTITY.replace('"much"', '"much-{}"')
    text = HEAD + "".join(rule.replace("{}", str(number)) for number in range(201))
    ((path, sentence),) = mistakes(lambda: load_rules(text))
    assert path == "$.rules"
    assert "200" in sentence


def version(name: str, begins: str, rule: str = "much", ends: str = "") -> RulesVersion:
    text = (HEAD + QUANTITY).replace('"test"', f'"{name}"', 1).replace("2026-01-01", begins)
    ending = f"ends = {ends}\n\n" if ends else "\n"
    return load_rules(text.replace('"much"', f'"{rule}"').replace("\n\n", f"\n{ending}", 1))


def test_a_version_holds_until_the_next_begins_or_it_ends() -> None:
    first, second = version("a", "2026-01-01"), version("a", "2026-03-01", ends="2026-03-31")
    other = version("b", "2026-03-15", rule="other")
    book = RuleBook([other, second, first])
    found = {
        day: [book.of_day(day).path_of(rule.name) for rule in book.of_day(day).rules]
        for day in (20251231, 20260101, 20260228, 20260301, 20260331, 20260401)
    }
    assert found == {
        20251231: [],
        20260101: [f"{first.identity}/much"],
        20260228: [f"{first.identity}/much"],
        20260301: [f"{second.identity}/much"],
        20260331: [f"{second.identity}/much", f"{other.identity}/other"],
        20260401: [f"{other.identity}/other"],
    }


@pytest.mark.parametrize(
    ("versions", "path", "words"),
    [
        ([version("a", "2026-01-01"), version("b", "2026-02-01")], "$.rules[0].name", "both have"),
        ([version("a", "2026-01-01"), version("a", "2026-01-01", "x")], "$.begins", "same day"),
        (
            [version("a", "2026-01-01", ends="2026-02-01"), version("a", "2026-02-01")],
            "$.ends",
            "has not ended",
        ),
    ],
)
def test_versions_that_contradict_each_other_are_refused(
    versions: list[RulesVersion], path: str, words: str
) -> None:
    ((at, sentence),) = mistakes(lambda: RuleBook(versions))
    assert at == path
    assert words in sentence


def test_the_same_rule_may_stand_in_a_file_that_follows_another() -> None:
    versions = [version("a", "2026-01-01", ends="2026-01-31"), version("b", "2026-02-01")]
    assert len(RuleBook(versions).of_day(20260201).rules) == 1


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.toml")), ids=lambda file: file.stem)
def test_what_is_shipped_has_no_mistake_and_reads_well(file: Path) -> None:
    loaded = load_rules(file.read_text(encoding="utf-8"))
    assert RuleBook([loaded]).of_day(20261121).rules
    for rule in loaded.document.rules:
        words = in_words(rule)
        assert words.finds
        assert words.reason_zh
    supported = " ".join(source.supports for source in loaded.document.sources)
    assert "every limit" in supported
