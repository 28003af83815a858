"""`cardserver checks`, as whoever keeps a fund's rules types it."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cardserver.checks.rule_book import load_rules
from cardserver.cli import app
from simulators.centre_process import City

RULE = """
[[rules]]
name = "{name}"
kind = "visits"
action = "warn"
reason_zh = "次数过多"
reason_en = "many"
most = 3
days = 1
"""
HEAD = """
name = "{name}"
title_zh = "规则"
title_en = "Rules"
begins = {begins}
[[sources]]
title = "test"
supports = "all"
standing = "choice"
"""


def run(*arguments: object, status: int = 0) -> Result:
    result = CliRunner().invoke(app, ["checks", *(str(one) for one in arguments)])
    assert result.exit_code == status, result.output
    return result


def write(folder: Path, name: str, rule: str = "many", begins: str = "2026-01-01") -> Path:
    file = folder / f"{name}-{begins}-{rule}.toml"
    text = HEAD.format(name=name, begins=begins) + RULE.format(name=rule)
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("centre") / "centre"
    assert CliRunner().invoke(app, ["init", str(directory)]).exit_code == 0
    return directory / "cardserver.toml"


def test_what_is_shipped_can_be_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(run("shipped").output, encoding="utf-8")
    identity = load_rules(file.read_text(encoding="utf-8")).identity
    assert run("check", file).output == f"{file}: {identity} 无误 no mistake\n"
    (shown,) = json.loads(run("show", file, "--json").output)
    assert shown["identity"] == identity
    kinds = {rule["kind"] for rule in shown["rules"]}
    assert kinds >= {"quantity", "repeat", "travel", "person", "overlap"}
    assert "主管可放行" in run("show", file).output


def test_mistakes_are_named_with_their_paths(tmp_path: Path) -> None:
    file = write(tmp_path, "a")
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("most = 3", "most = 0"), encoding="utf-8")
    assert "$.rules[0].most: 0 is not from 1" in run("check", file, status=1).output
    found = json.loads(run("check", file, "--json", status=1).output)
    assert [one["path"] for one in found["mistakes"]] == ["$.rules[0].most"]
    file.write_bytes(b"\xff")
    assert "not UTF-8" in run("check", file, status=1).output


def test_versions_are_kept_and_the_last_activated_applies(config: Path, tmp_path: Path) -> None:
    assert "没有启用的规则" in run("show", "--config", config).output
    first, again = write(tmp_path, "a"), write(tmp_path, "a", rule="more")
    for file in (first, again):
        assert "is activated" in run("activate", file, "--config", config).output
    later = write(tmp_path, "a", begins="2027-01-01")
    run("activate", later, "--config", config)
    listed = json.loads(run("list", "--config", config, "--json").output)
    assert [(one["begins"], one["is_in_force"]) for one in listed] == [
        (20260101, False), (20260101, True), (20270101, True),
    ]  # fmt: skip
    shown = json.loads(run("show", "--config", config, "--json").output)
    assert [[rule["name"] for rule in one["rules"]] for one in shown] == [["more"], ["many"]]
    assert "已替换 replaced" in run("list", "--config", config).output


def test_what_contradicts_rules_in_force_is_refused(config: Path, tmp_path: Path) -> None:
    run("activate", write(tmp_path, "b", rule="of-b"), "--config", config)
    other = write(tmp_path, "c", rule="of-b")
    run("check", other)  # by itself it is a rules file
    assert "both have a rule" in run("check", other, "--config", config, status=1).output
    run("activate", other, "--config", config, status=1)
    assert "c" not in [one["name"] for one in json.loads(
        run("list", "--config", config, "--json").output
    )]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("institution,latitude,longitude\n机构,39.9,116.4\n".encode("gb18030"), "not UTF-8"),
        (b'institution,latitude,longitude\n"H1,39.9,116.4\n', "not CSV"),
    ],
)
def test_places_that_are_no_csv_in_utf_8_are_refused_in_a_sentence(
    config: Path, tmp_path: Path, content: bytes, words: str
) -> None:
    file = tmp_path / "places.csv"
    file.write_bytes(content)
    result = run("places", file, "--config", config, status=1)
    assert result.stderr.startswith(f"cardserver: {file}: {words}: ")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("institution,lat,long\n", "header"),
        ("institution,latitude,longitude\n", "no rows"),
        ("institution,latitude,longitude\nH11019900001,39.9\n", "expected 3 fields"),
        ("institution,latitude,longitude\nH11019900001,91,116.4\n", "line 2: latitude"),
        ("institution,latitude,longitude\nH11019900001,39.9,1164\n", "line 2: longitude"),
        ("institution,latitude,longitude\nH11019900001,39,9\nH11019900001,39,9\n", "twice"),
        ("institution,latitude,longitude\nH99999999999,39,9\n", "no institution has the code"),
    ],
)
def test_a_mistake_in_places_is_named(
    config: Path, tmp_path: Path, rows: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "places.csv"
    file.write_text(rows, encoding="utf-8")
    result = run("places", file, "--config", config, status=1)
    assert words in result.output + capfd.readouterr().err


def test_institutions_are_placed_and_moved(city: City, tmp_path: Path) -> None:
    file = tmp_path / "places.csv"
    for latitude in ("39.9042", "-0.5"):
        file.write_text(
            f"institution,latitude,longitude\nH11019900001,{latitude},116.407400\n",
            encoding="utf-8",
        )
        said = run("places", file, "--config", city.config_file).output
        assert said == "1 institutions are placed\n"


def test_a_replay_wants_months_in_order(config: Path) -> None:
    run("replay", "--config", config, "--from", "2026-02", "--to", "2026-01", status=2)
    run("replay", "--config", config, "--from", "2026-13", "--to", "2026-13", status=2)
    said = run("replay", "--config", config, "--from", "2026-01", "--to", "2026-01", "--json")
    found = json.loads(said.stdout)
    assert found["settlements"] == 0
