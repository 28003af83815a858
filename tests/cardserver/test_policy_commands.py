"""`cardserver policy`, as someone who drafts rules types it."""

import fcntl
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import get_args

import pytest
from click.testing import Result
from msgspec import Struct
from msgspec.structs import fields
from typer.testing import CliRunner

from benchmarks.replay import make_claims
from cardserver.benefits import policy_document
from cardserver.benefits.circumstances import Circumstances, circumstances, tables_of
from cardserver.benefits.plan import PlanExclusion
from cardserver.benefits.policy import load_policy
from cardserver.benefits.policy_cases import Atom, Dimension, Interval, Side, dimensions, where_of
from cardserver.benefits.policy_document import KINDS, Rows
from cardserver.benefits.policy_table import rows_value
from cardserver.benefits.policy_words import _CODES, _KEYS, _VALUES
from cardserver.benefits.values import Case
from cardserver.cli import app
from cardserver.config import load_config
from simulators.postgres import PostgreSQLCluster
from tests.cities import ON_SQLITE

FOLDER = Path(__file__).parents[2] / "cardserver" / "benefits" / "policies"
BEIJING = FOLDER / "beijing_employees.toml"
Write = Callable[..., Path]


def run(*arguments: object, status: int = 0) -> Result:
    result = CliRunner().invoke(app, ["policy", *(str(one) for one in arguments)])
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the shipped policy with some of its text replaced."""
    numbers = itertools.count(1)

    def written(*pairs: tuple[str, str]) -> Path:
        text = BEIJING.read_text(encoding="utf-8")
        for before, after in pairs:
            assert before in text
            text = text.replace(before, after)
        file = tmp_path / f"draft{next(numbers)}.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return written


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new centre, where the shipped policies are activated."""
    directory = tmp_path_factory.mktemp("centre") / "centre"
    assert CliRunner().invoke(app, ["init", str(directory)]).exit_code == 0
    return directory / "cardserver.toml"


# --- check --------------------------------------------------------------------------------------


def test_every_shipped_policy_can_be_activated_beside_the_others() -> None:
    files = sorted(FOLDER.glob("*.toml"))
    output = run("check", *files).output
    assert output.count("无误 no mistake") == len(files)


def test_each_mistake_is_named_with_its_file_path_and_sentence(write: Write) -> None:
    good = write(("begins = 2023-01-01", "begins = 2027-01-01"))
    bad = write(('"70%"', '"170%"'))
    worse = write(("from = 20_000", "from = 21_000"), ("amount = 1300 },\n]", "amount = -1 },\n]"))
    output = run("check", good, bad, worse, status=1).output
    assert f"{bad}: $.outpatient.bands[0].ratios[0].ratio: a ratio of 170% is above 100%" in output
    assert f"{worse}: $.outpatient.deductible.amounts[1].amount: " in output
    assert f"{good}: beijing-employees@2027-01-01#" in output


def test_all_mistakes_of_a_file_are_named_at_once(write: Write) -> None:
    file = write(("from = 20_000", "from = 21_000"), ("from = 40_000", "from = 39_000"))
    found = json.loads(run("check", file, "--json", status=1).output)
    mistakes = {one["path"]: one["sentence"] for one in found["files"][0]["mistakes"]}
    assert "there is a gap from 20000.00" in mistakes["$.outpatient.bands[1].from"]
    assert "overlaps the band before" in mistakes["$.inpatient.bands[2].from"]
    assert found["together"] == []


def test_files_are_checked_together_too(write: Write) -> None:
    other = write(('name = "beijing-employees"', 'name = "rival"'))
    found = json.loads(run("check", BEIJING, other, "--json", status=1).output)
    assert [one["mistakes"] for one in found["files"]] == [[], []]
    assert "their dates overlap" in found["together"][0]["sentence"]
    assert found["together"][0]["path"] == "$.begins"


def test_a_draft_is_checked_beside_what_is_in_force(write: Write, config: Path) -> None:
    rival = write(('name = "beijing-employees"', 'name = "rival"'))
    assert "overlap" in run("check", rival, "--config", config, status=1).output
    # One that takes the place of a version, or follows it, does not contradict it.
    changed = write(("amount = 1800", "amount = 1700"))
    assert "beijing-employees@2023-01-01" in run("check", changed, "--config", config).output
    later = write(("begins = 2023-01-01", "begins = 2027-01-01"))
    run("check", later, "--config", config)


def test_what_is_no_text_or_no_file_is_said_so(tmp_path: Path, config: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in run("check", tmp_path / "binary.toml", status=1).output
    for asked in (
        ("show", tmp_path / "binary.toml"),
        ("diff", BEIJING, tmp_path / "binary.toml"),
        ("activate", tmp_path / "binary.toml", "--config", config),
    ):
        assert run(*asked, status=1).stderr.startswith("cardserver: $: this is not UTF-8: ")
    run("check", tmp_path / "absent.toml", status=2)
    run("show", tmp_path / "absent.toml", status=2)


# --- show ---------------------------------------------------------------------------------------


def test_a_policy_is_shown_in_chinese_and_in_english() -> None:
    output = run("show", BEIJING).output
    for words in (
        "北京市职工基本医疗保险", "起付线", "1,800元", "0–20,000元", "20,000元以上",
        "大额互助 hifob_pay", "400,000元", "依据", "个人账户可支付：全自费、超限价",
    ):  # fmt: skip
        assert words in output
    assert "│ 退休，二级 │ 92.2% │ 95.2% │ 98.2% │" in " ".join(output.split())
    english = run("show", BEIJING, "--lang", "en").output
    for words in (
        "Beijing employees' basic medical insurance", "above 20,000", "retired; level 2",
        "stay 2 of the year and later", "the personal account may pay", "large-amount scheme",
    ):  # fmt: skip
        assert words in english
    assert "…" not in output + english  # nothing was cut off for want of a terminal


def test_every_shipped_policy_can_be_shown_and_differs_from_none_of_itself() -> None:
    for file in sorted(FOLDER.glob("*.toml")):
        policy = load_policy(file.read_text(encoding="utf-8"))
        for language in ("zh", "en"):
            output = run("show", file, "--language", language).output
            assert policy.document.regions[0] in output
        run("diff", file, file)


WIDE = """
name = "made-up-residents"
title_zh = "试验居民"
title_en = "Made-up residents"
regions = ["110100"]
insutypes = ["390"]
person_types = ["14"]
begins = 2026-01-01
cash_rounding = "jiao"
sources = [{ title = "made up", supports = "all", standing = "recollection" }]
diseases = [
    { code = "M01", title_zh = "糖尿病", title_en = "Diabetes" },
    { code = "M02", title_zh = "尿毒症", title_en = "Uraemia" },
]
[outpatient]
med_types = ["11"]
institution_kinds = ["hospital", "community"]
bands_per = "year"
excluded = [
    { designated = false, levels = [3], reason_zh = "须先到签约机构", reason_en = "go to yours first" },
]
bands = [{ from = 0, ratios = [{ designated = true, ratio = "60%" }, { designated = false, ratio = "40%" }] }]
caps = [{ measure = "paid", per = "year", amounts = [{ amount = 400 }] }]
[inpatient]
med_types = ["21"]
institution_kinds = ["hospital"]
transfers = "one_stay"
bands_from = "deductible"
[inpatient.deductible]
per = "admission"
amounts = [{ levels = [0, 1], amount = 200 }, { levels = [2, 3], amount = 800 }]
[[inpatient.bands]]
from = 0
ratios = [
    { referrals = ["local", "referred", "emergency"], ratio = "75%" },
    { referrals = ["unreferred"], ratio = "55%" },
]
[[inpatient.layers]]
field = "hifmi_pay"
base = ["deductible", "own_share"]
bands = [{ from = 0, to = 50_000, ratios = [{ ratio = "60%" }] }, { from = 50_000, ratios = [{ ratio = "70%" }] }]
deductible = { per = "year", amounts = [{ amount = 14_000 }] }
[[inpatient.layers]]
field = "maf_pay"
base = "own_share"
only_for = [{ age_from = 80 }]
ratios = [{ ratio = "50%" }]
caps = [{ measure = "paid", per = "year", amounts = [{ amount = "30000.50" }] }]
[[special]]
name = "chronic"
title_zh = "门诊慢特病"
title_en = "Chronic diseases"
med_types = ["14"]
institution_kinds = ["hospital", "community"]
diseases = ["M01", "M02"]
items = ["XA10*", "XB0001"]
[[special.bands]]
from = 0
ratios = [{ diseases = ["M01"], ratio = "70%" }, { diseases = ["M02"], ratio = "85%" }]
[[special.caps]]
measure = "paid"
per = "year"
amounts = [{ diseases = ["M01"], amount = 3000 }, { diseases = ["M02"], amount = 60_000 }]
"""  # noqa: E501 - as someone writes it


def test_whatever_the_language_has_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "wide.toml"
    file.write_text(WIDE, encoding="utf-8")
    run("check", file)
    squeezed = " ".join(run("show", file).output.split())
    for words in (
        "三级，非定点机构 │ 须先到签约机构", "│ 定点机构 │ 60%", "│ 非定点机构 │ 40%",
        "│ 本地、已转诊、急诊 │ 75%", "│ 未转诊 │ 55%", "│ 糖尿病 M01 │ 70%",
        "尿毒症 M02 │ 60,000元", "专项待遇：门诊慢特病", "│ 80岁及以上 │ 是 │",
        "金额: 30,000.50元", "目录项目: XA10*、XB0001", "补充层：大病保险 hifmi_pay",
        "现金舍入: 角，余数由机构承担", "50,000元以上", "无级别、一级 │ 200元",
    ):  # fmt: skip
        assert words in squeezed, words
    squeezed = " ".join(run("show", file, "--lang", "en").output.split())
    for words in (
        "at the designated institution │ 60%", "go to yours first", "not referred │ 55%",
        "Uraemia (M02) │ 60,000", "special scheme: Chronic diseases", "80 and older │ yes",
    ):  # fmt: skip
        assert words in squeezed, words


def test_every_key_and_value_of_the_language_has_words() -> None:
    classes = [one for one in vars(policy_document).values() if isinstance(one, type)]
    structs = [one for one in classes if issubclass(one, Struct) and one is not Struct]
    said = [(field.name, field.type) for struct in structs for field in fields(struct)]
    ends = ("_from", "_below", "_to", "_zh", "_en", "_amount")  # told by what they belong to
    without = {name for name, _ in said if name not in _KEYS and not name.endswith(ends)}
    without |= {
        value
        for name, type_ in said
        for value in literals(type_)
        if value not in _VALUES and (name, value) not in _CODES
    }
    assert without == set()


def literals(type_: object) -> set[str]:
    found: set[str] = set()
    for argument in get_args(type_):
        found |= {argument} if isinstance(argument, str) else literals(argument)
    return found


def test_whatever_the_language_has_is_compared(tmp_path: Path) -> None:
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text(WIDE, encoding="utf-8")
    text = WIDE
    for before, after in (
        ('ratio = "40%"', 'ratio = "45%"'),
        ('["local", "referred", "emergency"]', '["local", "referred"]'),
        ('["unreferred"]', '["unreferred", "emergency"]'),
        ('["XA10*", "XB0001"]', '["XA10*", "XC0002"]'),
        ("amount = 60_000", "amount = 65_000"),
        ("age_from = 80", "age_from = 75"),
        ('cash_rounding = "jiao"', 'cash_rounding = "fen"'),
        ("designated = false, levels = [3], reason", "levels = [3], designated = false, reason"),
    ):
        assert before in text
        text = text.replace(before, after)
    new.write_text(text, encoding="utf-8")
    found = json.loads(run("diff", old, new, "--json", status=1).output)
    assert {
        (one["path"], one["who_en"], one["before"], one["after"]) for one in found["changes"]
    } == {
        ("$.cash_rounding", "every case", "the jiao, the institution bears the rest", "the fen"),
        ("$.outpatient.bands", "elsewhere than at the designated institution", "40%", "45%"),
        ("$.inpatient.bands", "emergency", "75%", "55%"),
        ("$.inpatient.layers[maf_pay].only_for", "75 to 79 years old", "none", "yes"),
        ("$.special[chronic].items", "every case", "XB0001", "XC0002"),
        ("$.special[chronic].caps[paid/year].amounts", "Uraemia (M02)", "60,000", "65,000"),
    }


def atom_of(dimension: Dimension, case: Circumstances) -> Atom:
    """Where a case stands among what rows tell apart."""
    value = {
        "person_types": case.person_type,
        "institution_kinds": KINDS[case.institution_kind - 1],
        "levels": case.level,
        "med_types": case.med_type,
        "age": case.age,
        "admission": case.admission,
        "referrals": case.referral,
        "designated": case.designated,
        "diseases": case.disease,
    }[dimension.name]
    (atom,) = (
        atom
        for atom in dimension.atoms
        if atom == value or (isinstance(atom, Interval) and atom.start <= value < atom.end)  # type: ignore[operator]
    )
    return atom


def said_of(rows: Sequence[Rows], side: Side, case: Circumstances) -> tuple[str, int]:
    found = dimensions([rows], [side])
    value = rows_value(rows, where_of(found, tuple(atom_of(one, case) for one in found)))
    assert value is not None
    return value.kind, value.number


def test_the_tables_say_what_bills_are_divided_by() -> None:
    """What is shown is what the plan says that adjudication takes, for every kind of case."""
    texts = [file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.toml"))]
    seen: Counter[str] = Counter()
    for policy in map(load_policy, [*texts, WIDE]):
        document = policy.document
        for name, (path, rules) in document.care().items():
            side = rules, document
            rows = [row for table in tables_of(path, rules) for row in table.rows]
            for case in circumstances(rules, document.person_types, [*rows, *rules.excluded]):
                plan = policy.plans[name].find(
                    Case(
                        document.insutypes[0], case.med_type, case.person_type, case.age,
                        case.institution_kind, case.level, document.regions[0], 20260101,
                        case.referral, case.disease, case.designated,
                    ),
                    case.admission,
                )  # fmt: skip
                if isinstance(plan, PlanExclusion):
                    seen["excluded"] += 1
                    continue
                assert plan is not None
                for band, made in zip(rules.bands, plan.bands, strict=True):
                    kind, number = said_of(band.ratios, side, case)
                    assert kind == "text" or number == made.ratio_e8
                    seen[kind] += 1
                if rules.deductible is not None:
                    assert plan.deductible is not None
                    amount = ("amount", plan.deductible.amount_fen)
                    assert said_of(rules.deductible.amounts, side, case) == amount
                    seen["amount"] += 1
                for cap, limit in zip(rules.caps, plan.caps, strict=True):
                    assert said_of(cap.amounts, side, case) == ("amount", limit.amount_fen)
                    seen["cap"] += 1
    assert all(seen[kind] for kind in ("ratio", "amount", "cap", "excluded")), seen


# --- diff ---------------------------------------------------------------------------------------


def test_a_difference_says_for_whom_which_amounts_and_how_much(write: Write) -> None:
    new = write(('own_share = "60%"', 'own_share = "50%"'), ("amount = 1800", "amount = 1600"))
    output = run("diff", BEIJING, new, status=1).output
    assert "门诊和药店 · 起付线 · 金额：在职，由1,800元改为1,600元（-200元）" in output
    assert (
        "住院 · 统筹基金分段支付 · 30,000–40,000元：退休，二级，由95.2%改为96%（+0.8个百分点）"
    ) in output
    english = run("diff", BEIJING, new, "--lang", "en", status=1).output
    assert "retired; level 2: from 95.2% to 96% (+0.8 points)" in english
    found = json.loads(run("diff", BEIJING, new, "--json", status=1).output)
    first = found["changes"][0]
    assert (first["path"], first["who_en"], first["before"], first["after"], first["step"]) == (
        "$.outpatient.deductible.amounts", "active", "1,800", "1,600", -20_000,
    )  # fmt: skip
    assert len(found["changes"]) == 1 + 3 + 3 + 2


def test_bands_are_compared_by_amounts_not_by_their_number(write: Write) -> None:
    new = write(("from = 20_000", "from = 25_000"), ("to = 20_000", "to = 25_000"))
    found = json.loads(run("diff", BEIJING, new, "--json", status=1).output)
    assert {one["part_en"].split(", by band, ")[1] for one in found["changes"]} == {
        "20,000 to 25,000"
    }
    assert {(one["who_en"], one["before"], one["after"]) for one in found["changes"]} == {
        ("active; hospital or pharmacy", "60%", "70%"),
        ("active; community centre", "60%", "90%"),
        ("retired; hospital or pharmacy; under 70", "80%", "85%"),
        ("retired; 70 and older", "80%", "90%"),
        ("retired; community centre; under 70", "80%", "90%"),
    }


def test_the_same_rules_in_other_words_do_not_differ(write: Write) -> None:
    row = '{ person_types = ["11"], levels = [0, 1], ratio = "95%" },'
    split = (
        '{ person_types = ["11"], levels = [1], ratio = "95.00%" },\n'
        '    { person_types = ["11"], levels = [0], ratio = "95%" }, # the same'
    )
    output = run("diff", BEIJING, write((row, split))).output
    assert "两者规则相同" in output


def test_what_only_one_of_them_has_is_told(write: Write) -> None:
    cap = '[[outpatient.caps]]\nmeasure = "paid"\nper = "year"\namounts = [{ amount = 5000 }]\n\n'
    new = write(("[outpatient.account]", f"{cap}[outpatient.account]"))
    found = json.loads(run("diff", BEIJING, new, "--json", status=1).output)
    assert [(one["path"], one["before"], one["after"]) for one in found["changes"]] == [
        ("$.outpatient.caps[paid/year].measure", "none", "what is paid"),
        ("$.outpatient.caps[paid/year].per", "none", "the year"),
        ("$.outpatient.caps[paid/year].amounts", "none", "5,000"),
    ]


# --- list, activate, and versions by name -------------------------------------------------------


def test_versions_are_listed_and_can_be_shown_and_compared(write: Write, tmp_path: Path) -> None:
    directory = tmp_path / "centre"
    assert CliRunner().invoke(app, ["init", str(directory)]).exit_code == 0
    config = directory / "cardserver.toml"
    first = load_policy(BEIJING.read_text(encoding="utf-8")).identity
    replacing = write(("amount = 1800", "amount = 1700"))
    following = write(("amount = 1800", "amount = 1500"), ("begins = 2023", "begins = 2027"))
    for file in (replacing, following):
        assert "is activated" in run("activate", file, "--config", config).output
    listed = [
        one
        for one in json.loads(run("list", "--config", config, "--json").output)
        if one["name"] == "beijing-employees"
    ]
    assert [(one["begins"], one["is_in_force"]) for one in listed] == [
        ("2023-01-01", False), ("2023-01-01", True), ("2027-01-01", True),
    ]  # fmt: skip
    assert listed[0]["identity"] == first
    assert all(len(one["sha256"]) == 64 for one in listed)
    output = run("list", "--config", config).output
    assert "已替换 replaced" in output
    assert first.split("#")[1] in output
    # name@date is the version in force; with its hash, just that one.
    now = "beijing-employees@2023-01-01"
    assert "1,700元" in run("show", now, "--config", config).output
    assert "1,800元" in run("show", first, "--config", config).output
    output = run("diff", now, "beijing-employees@2027-01-01", "--config", config, status=1).output
    assert "由1,700元改为1,500元" in output
    assert "1,700" in run("diff", first, replacing, "--config", config, status=1).output


def test_a_version_that_nobody_knows_is_refused_with_those_there_are(config: Path) -> None:
    output = run("show", "beijing-employees@1999-01-01", "--config", config, status=1).output
    assert "no version beijing-employees@1999-01-01" in output
    assert "beijing-employees@2023-01-01#" in output
    assert "--config" in run("show", "beijing-employees@2023-01-01", status=1).output


# --- replay -------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def city(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A centre where three hundred persons settled ten bills each, in the months to October."""
    options = []
    if request.param == "postgresql":
        cluster: PostgreSQLCluster = request.getfixturevalue("postgres_cluster")
        options = ["--database", cluster.create_database("replayed")]
    directory = tmp_path_factory.mktemp("city") / "centre"
    made = CliRunner().invoke(app, ["init", str(directory), *options])
    assert made.exit_code == 0, made.output
    config = directory / "cardserver.toml"
    assert make_claims(load_config(config).database_url, 300) == 3_000
    yield config
    if request.param == "postgresql":
        cluster.drop_database("replayed")


@pytest.mark.parametrize("city", ON_SQLITE, indirect=True)
def test_a_draft_is_tried_by_several_processes(city: Path, write: Write, tmp_path: Path) -> None:
    draft = write(("amount = 1300 },\n]", "amount = 1000 },\n]"))  # of retired outpatients
    out = tmp_path / "out"
    output = run(
        "replay", "--config", city, "--policy", draft, "--from", "2026-01", "--to", "2026-12",
        "--jobs", 2, "--out", out, "--control",
    ).output  # fmt: skip
    assert "重算结算: 3,000" in output
    assert "对照核验: 3,000" in output
    assert "a second and core 每核每秒" in output
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["difference_count"] == report["unreplayed_count"] == 0
    active, retired = report["person_types"]
    assert (active["gaining_count"], active["losing_count"], active["same_count"]) == (0, 0, 225)
    assert (retired["gaining_count"], retired["losing_count"]) == (75, 0)
    assert report["fund_after_fen"] - report["fund_before_fen"] == retired["gained_fen"] > 0
    assert (
        report["person_before_fen"] - report["person_after_fen"]
        == report["fund_after_fen"] - report["fund_before_fen"]
    )
    # Each gains at most the 300 yuan that the deductible is lower by.
    rows = (out / "persons.csv").read_text(encoding="utf-8-sig").splitlines()
    assert rows[0] == "psn_no,psn_type,settlements,total,fund_before,fund_after,gain"
    assert len(rows) == 301
    gained = [float(row.rsplit(",", 1)[1]) for row in rows[1:]]
    assert 0 < max(gained) <= 300
    assert round(sum(gained) * 100) == retired["gained_fen"]
    assert (out / "control.csv").read_text(encoding="utf-8-sig").splitlines() == [
        "setl_id,policy,difference"
    ]
    for name in ("layers", "person_types", "institution_levels", "institutions", "months",
                 "schemes", "bands", "not_replayed"):  # fmt: skip
        assert (out / f"{name}.csv").stat().st_size
    assert (out / "replay.png").read_bytes().startswith(b"\x89PNG")
    # One process comes to the same.
    run(
        "replay", "--config", city, "--policy", draft, "--from", "2026-01", "--to", "2026-12",
        "--jobs", 1, "--out", tmp_path / "one", "--lang", "en",
    )  # fmt: skip
    alone = json.loads((tmp_path / "one" / "report.json").read_text(encoding="utf-8"))
    counts = {"control_count": 0, "claim_count": 0}
    assert {**alone, **counts} == {**report, **counts}


def test_a_control_alone_needs_no_draft_and_draws_no_picture(city: Path, tmp_path: Path) -> None:
    arguments = ("replay", "--config", city, "--from", "2026-02", "--to", "2026-03")
    output = run(*arguments, "--out", tmp_path / "out", "--control", "--lang", "en").output
    assert "compared with the version that decided: 600" in output
    assert not (tmp_path / "out" / "replay.png").exists()
    run(*arguments, "--out", tmp_path / "out", status=2)


@pytest.mark.parametrize(
    ("first", "last"), [("2026-13", "2026-12"), ("2026-02", "2026-01"), ("202601", "2026-02")]
)
def test_months_that_are_none_are_refused(
    config: Path, tmp_path: Path, first: str, last: str
) -> None:
    run(
        "replay", "--config", config, "--policy", BEIJING, "--from", first, "--to", last,
        "--out", tmp_path, status=2,
    )  # fmt: skip


def test_a_draft_with_a_mistake_is_refused_with_its_path(
    config: Path, write: Write, tmp_path: Path
) -> None:
    arguments = ("--config", config, "--from", "2026-01", "--to", "2026-12", "--out", tmp_path)
    bad = write(('"70%"', '"170%"'))
    output = run("replay", "--policy", bad, *arguments, status=1).output
    assert "$.outpatient.bands[0].ratios[0].ratio" in output
    rival = write(('name = "beijing-employees"', 'name = "rival"'))
    output = run("replay", "--policy", BEIJING, "--policy", rival, *arguments, status=1).output
    assert "overlap" in output


def test_an_interrupt_ends_all_processes_and_says_so(tmp_path: Path) -> None:
    directory = tmp_path / "centre"
    assert CliRunner().invoke(app, ["init", str(directory)]).exit_code == 0
    config = directory / "cardserver.toml"
    make_claims(load_config(config).database_url, 1_500)
    persons = tmp_path / "out" / "persons.csv"
    persons.parent.mkdir()
    os.mkfifo(persons)
    with os.fdopen(os.open(persons, os.O_RDONLY | os.O_NONBLOCK), "rb") as rows:
        # Nobody reads it until the signal is sent, and it holds not nearly 1,500 persons: the
        # replay can't end before.
        assert fcntl.fcntl(rows, fcntl.F_SETPIPE_SZ, 4096) <= 16_384
        process = subprocess.Popen(
            [sys.executable, "-m", "cardserver", "policy", "replay", "--config", str(config),
             "--policy", str(BEIJING), "--from", "2026-01", "--to", "2026-12", "--jobs", "2",
             "--out", str(persons.parent), "--control"],
            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        while not (persons.parent / "control.csv").exists():  # the last that it opens
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        os.set_blocking(rows.fileno(), True)
        rows.read()  # until it is closed
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in output + errors
