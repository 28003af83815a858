"""Rules, alerts, runbooks and dashboards: of metrics that exist, and each alert with its page."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from cardserver.cli import CentreCommands, app
from cardserver.observe.dashboards import BOARDS, dashboards, expressions
from cardserver.observe.metrics import Metrics, known
from cardserver.observe.rules import FOLDER, RUNBOOKS, rules, runbooks_named
from cardserver.observe.runbooks import read_runbook, runbook_names

TESTS = Path(__file__).with_name("rules") / "alerts.test.yml"
NAME = re.compile(r"\b(cardserver[a-z0-9_:]+)\b")


def groups(name: str) -> list[dict[str, str]]:
    document = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def promtool(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(
        ["promtool", *arguments], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


RECORDS = {rule["record"] for rule in groups("recording.yml")}
ALERTS = groups("alerts.yml")


def test_promtool_finds_nothing_to_say_of_the_rules() -> None:
    for name in rules(RUNBOOKS):
        assert "SUCCESS" in promtool("check", "rules", str(FOLDER / name))


def test_promtool_finds_nothing_to_say_of_the_metrics() -> None:
    metrics = Metrics()
    metrics.answered("settle", 0, 5_000_000, {"commit": 100}, is_duplicate=False)
    metrics.felt("settle", 1, "M")
    assert promtool("check", "metrics", text=metrics.text().decode()) == ""


def test_every_alert_fires_when_it_should_and_not_when_it_should_not(tmp_path: Path) -> None:
    text = TESTS.read_text(encoding="utf-8").replace("RULES", str(FOLDER))
    file = tmp_path / "alerts.test.yml"
    file.write_text(text, encoding="utf-8")
    assert "SUCCESS" in promtool("test", "rules", str(file))


def test_every_alert_is_seen_to_fire_and_seen_not_to() -> None:
    document = yaml.safe_load(TESTS.read_text(encoding="utf-8"))
    checks = [check for test in document["tests"] for check in test["alert_rule_test"]]
    for alert in ALERTS:
        of_alert = [check["exp_alerts"] for check in checks if check["alertname"] == alert["alert"]]
        assert any(of_alert), alert["alert"]
    quiet = {check["alertname"] for check in checks if not check["exp_alerts"]}
    assert quiet | {"CertificateExpiresSoon", "CertificateExpiresNow"} == {
        alert["alert"] for alert in ALERTS
    }


@pytest.mark.parametrize("rule", [*ALERTS, *groups("recording.yml")], ids=str)
def test_rules_are_of_metrics_that_exist(rule: dict[str, str]) -> None:
    names = NAME.findall(rule["expr"])
    assert names
    for name in names:
        assert known(name) or name in RECORDS, name


def test_dashboards_are_of_metrics_that_exist() -> None:
    names = {name for one in expressions() for name in NAME.findall(one)}
    assert {name for name in names if not known(name) and name not in RECORDS} == set()
    assert len(names) > 20


def test_promtool_parses_every_expression_of_the_dashboards(tmp_path: Path) -> None:
    file = tmp_path / "dashboards.yml"
    file.write_text(
        yaml.safe_dump(
            {
                "groups": [
                    {
                        "name": "dashboards",
                        "rules": [
                            {"record": f"panel:number{index}", "expr": one}
                            for index, one in enumerate(expressions())
                        ],
                    }
                ]
            }
        ),
        encoding="utf-8",
    )
    assert "SUCCESS" in promtool("check", "rules", str(file))


def test_dashboards_are_grafanas() -> None:
    made = dashboards()
    assert set(made) == {f"{board.uid}.json" for board in BOARDS}
    for board in BOARDS:
        document = json.loads(made[f"{board.uid}.json"])
        assert document["uid"] == board.uid
        assert [panel["title"] for panel in document["panels"]] == [
            panel.title for panel in board.panels
        ]
        for shown, panel in zip(document["panels"], board.panels, strict=True):
            assert [target["expr"] for target in shown["targets"]] == [
                query.expression for query in panel.queries
            ]
            assert shown["datasource"]["uid"] == "${datasource}"
            assert re.search("[\u4e00-\u9fff]", panel.title), "and in Chinese"


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_names_a_runbook_that_is_about_it(alert: dict[str, dict[str, str]]) -> None:
    annotations = alert["annotations"]
    page = read_runbook(annotations["runbook_url"])
    assert f"`{alert['alert']}`" in page
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert annotations["summary"]
    assert re.search("[\u4e00-\u9fff]", annotations["summary_zh"])


@pytest.mark.parametrize("name", runbook_names())
def test_a_runbook_says_what_it_means_where_to_look_and_what_to_do(name: str) -> None:
    page = read_runbook(name)
    assert name in runbooks_named()
    english, chinese = page.split("## 中文")
    for heading in ("What it means.", "Look here", "Do this"):
        assert f"**{heading}**" in english
    for heading in ("含义。", "查看", "处理"):
        assert f"**{heading}**" in chinese
    assert english.count("\n1. ") == chinese.count("\n1. ")
    for linked in re.findall(r"\]\(([\w-]+\.md)\)", page):
        assert linked in runbook_names()
    for noun, action in re.findall(r"`cardserver ([a-z-]+)(?: ([a-z][a-z-]*))?", page):
        assert noun in CentreCommands.nouns, noun
        if action:
            done = CliRunner().invoke(app, [noun, action, "--help"])
            assert done.exit_code == 0, f"cardserver {noun} {action}"


def test_the_commands_write_what_grafana_and_prometheus_read(tmp_path: Path) -> None:
    for command in (["dashboards"], ["rules", "--runbooks", "https://centre.example/runbooks"]):
        done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "made")])
        assert done.exit_code == 0, done.output
    written = {path.name for path in (tmp_path / "made").iterdir()}
    assert written == {*dashboards(), "alerts.yml", "recording.yml"}
    text = (tmp_path / "made" / "alerts.yml").read_text(encoding="utf-8")
    pages = re.findall(r"runbook_url: https://centre\.example/runbooks/(\S+)", text)
    assert pages == runbooks_named()
    assert "SUCCESS" in promtool("check", "rules", str(tmp_path / "made" / "alerts.yml"))


def test_every_family_has_words_and_the_page_can_be_read_back() -> None:
    families = list(text_string_to_metric_families(Metrics().text().decode()))
    assert all(family.documentation.endswith(".") for family in families)
