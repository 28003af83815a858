"""The picture of a replay, in both languages, or in English where no font has Chinese."""

from pathlib import Path

import pytest
from msgspec import json

from cardserver.benefits.values import Case
from cardserver.claims import replay_plot
from cardserver.claims.replay import PersonReplayed, ReplayedClaim
from cardserver.claims.replay_report import Report, Tally, report_of

CASE = Case("310", "11", "12", 66, 2, 1, "110105", 20260302)


@pytest.fixture
def report() -> Report:
    claim = ReplayedClaim(
        1, 1, 202603, "outpatient", CASE, 100_000, (("hifp_pay", 50_000),), 50_000, 50_000,
        (("hifp_pay", 40_000), ("hifmi_pay", 30_000)), 70_000, 30_000, True, False,  # noqa: FBT003 - its fields
    )  # fmt: skip
    tally = Tally()
    row = tally.take(PersonReplayed(7, [claim], [], [], []))
    assert row == (7, "12", 1, 100_000, 50_000, 70_000)
    return report_of(
        tally, ["draft@2027-01-01"], first_month=202603, last_month=202603, institutions={}
    )


def test_the_font_that_setup_installs_has_chinese(report: Report, tmp_path: Path) -> None:
    assert replay_plot.chinese_font() == "WenQuanYi Micro Hei"
    replay_plot.draw(report, tmp_path / "zh.png")  # a glyph that is missing would be a warning
    assert (tmp_path / "zh.png").stat().st_size > 10_000


def test_without_such_a_font_it_is_in_english(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_plot, "_FONTS", ("No Such Font",))
    assert replay_plot.chinese_font() is None
    replay_plot.draw(report, tmp_path / "en.png")
    assert (tmp_path / "en.png").stat().st_size > 10_000


def test_the_program_draws_the_report_of_a_folder(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report.json").write_bytes(json.encode(report))
    monkeypatch.setattr("sys.argv", ["replay_plot", str(tmp_path)])
    replay_plot.main()
    assert (tmp_path / "replay.png").read_bytes().startswith(b"\x89PNG")
