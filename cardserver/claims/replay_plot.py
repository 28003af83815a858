"""The picture of a replay: `python -m cardserver.claims.replay_plot FOLDER` draws its report.

A program of its own, since loading the drawing library takes longer than most commands do.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from msgspec import json

from cardserver.benefits.policy_words import Words, value_words
from cardserver.claims.replay_report import PLOT_FILE, REPORT_FILE, Report, band_words

_FONTS = (
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Noto Sans CJK SC", "Source Han Sans SC",
    "Microsoft YaHei", "PingFang SC", "SimHei",
)  # fmt: skip
_BEFORE, _AFTER, _GAIN, _LOSS, _SAME = "#7f8fa6", "#2f6db0", "#2e8b57", "#c0504d", "#bbbbbb"
_TEN_THOUSAND_YUAN_FEN = 1_000_000
_MAX_BARS = 12
_WIDTH = 0.4


def main() -> None:
    """Draw the report of the folder that is named."""
    folder = Path(sys.argv[1])
    report = json.decode((folder / REPORT_FILE).read_bytes(), type=Report)
    draw(report, folder / PLOT_FILE)


def draw(report: Report, file: Path) -> None:
    """Draw a report: fund by layer, persons by type, institutions by level, persons by gain."""
    mpl.use("Agg")
    font = chinese_font()
    mpl.rcParams["axes.unicode_minus"] = False
    if font is not None:
        mpl.rcParams["font.family"] = [font, "DejaVu Sans"]
    text = _Text(has_chinese=font is not None)
    figure = Figure(figsize=(14, 10), layout="constrained")
    axes = figure.subplots(2, 2)
    figure.suptitle(
        text.of("政策试算", "What if")
        + f": {', '.join(report.drafts)}\n{report.first_month} – {report.last_month}, "
        + text.of(
            f"{report.replayed_count:,}笔结算，基金支付变化 {_signed(report)} 元",
            f"{report.replayed_count:,} settlements, the funds pay {_signed(report)} yuan",
        )
    )
    _layers(axes[0][0], report, text)
    _persons(axes[0][1], report, text)
    _levels(axes[1][0], report, text)
    _bands(axes[1][1], report, text)
    figure.savefig(file, dpi=110)


def chinese_font() -> str | None:
    """Return the name of a font that has Chinese; None where there is none."""
    for name in _FONTS:
        try:
            font_manager.findfont(name, fallback_to_default=False)
        except ValueError:
            continue
        return name
    return None


class _Text:
    """Both languages, or English alone where no font has Chinese."""

    def __init__(self, *, has_chinese: bool) -> None:
        self._has_chinese = has_chinese

    def of(self, zh: str, en: str) -> str:
        """Return a text for a title or an axis."""
        return f"{zh} / {en}" if self._has_chinese else en

    def label(self, words: Words) -> str:
        """Return a text for a bar, on two lines."""
        return f"{words.zh}\n{words.en}" if self._has_chinese else words.en


def _signed(report: Report) -> str:
    return f"{(report.fund_after_fen - report.fund_before_fen) / 100:+,.2f}"


def _layers(axes: Axes, report: Report, text: _Text) -> None:
    lines = report.layers
    _pairs(
        axes,
        [text.label(value_words("field", line.field)) for line in lines],
        [line.before_fen for line in lines],
        [line.after_fen for line in lines],
        text,
    )
    axes.set_title(text.of("各基金支付", "What each fund pays"))
    axes.set_xlabel(text.of("基金", "fund"))


def _levels(axes: Axes, report: Report, text: _Text) -> None:
    lines = report.levels
    _pairs(
        axes,
        [text.label(_place(line.kind, line.level)) for line in lines],
        [line.before_fen for line in lines],
        [line.after_fen for line in lines],
        text,
    )
    axes.set_title(text.of("按机构级别的基金支付", "What the funds pay, by institution level"))
    axes.set_xlabel(text.of("机构类别与级别", "kind and level of institution"))


def _pairs(
    axes: Axes, labels: Sequence[str], before: Sequence[int], after: Sequence[int], text: _Text
) -> None:
    places = range(len(labels[:_MAX_BARS]))
    for shift, amounts, colour, name in (
        (-_WIDTH / 2, before, _BEFORE, text.of("现行", "as decided")),
        (_WIDTH / 2, after, _AFTER, text.of("试算", "under the draft")),
    ):
        axes.bar(
            [place + shift for place in places],
            [fen / _TEN_THOUSAND_YUAN_FEN for fen in amounts[:_MAX_BARS]],
            _WIDTH, color=colour, label=name,
        )  # fmt: skip
    for place, old, new in zip(places, before, after, strict=False):
        axes.annotate(
            f"{(new - old) / 100:+,.0f}",
            (place, max(old, new) / _TEN_THOUSAND_YUAN_FEN),
            ha="center", va="bottom", fontsize=8, color=_GAIN if new >= old else _LOSS,
        )  # fmt: skip
    axes.set_xticks(list(places), labels[:_MAX_BARS], fontsize=8)
    axes.set_ylabel(text.of("万元（柱上为变化，元）", "10,000 yuan (above: change in yuan)"))
    if labels:
        axes.legend(fontsize=8)


def _persons(axes: Axes, report: Report, text: _Text) -> None:
    lines = report.person_types
    labels = [text.label(value_words("person_types", line.person_type)) for line in lines]
    places = list(range(len(lines)))
    bottoms = [0] * len(lines)
    for counts, colour, name in (
        ([line.gaining_count for line in lines], _GAIN, text.of("受益", "gain")),
        ([line.losing_count for line in lines], _LOSS, text.of("受损", "lose")),
        ([line.same_count for line in lines], _SAME, text.of("不变", "as before")),
    ):
        axes.bar(places, counts, 0.6, bottom=bottoms, color=colour, label=name)
        bottoms = [low + count for low, count in zip(bottoms, counts, strict=True)]
    axes.set_xticks(places, labels)
    axes.set_title(text.of("受益与受损人数", "Persons who gain and lose"))
    axes.set_xlabel(text.of("人员类别", "person type"))
    axes.set_ylabel(text.of("人数", "persons"))
    if lines:
        axes.legend(fontsize=8)


def _bands(axes: Axes, report: Report, text: _Text) -> None:
    bands = report.bands
    middle = len(bands) // 2
    colours = [
        _LOSS if index < middle else _SAME if index == middle else _GAIN
        for index in range(len(bands))
    ]
    axes.bar(range(len(bands)), [band.person_count for band in bands], 0.8, color=colours)
    axes.set_xticks(
        range(len(bands)),
        [band_words(band) for band in bands],
        rotation=30, fontsize=8, ha="right",
    )  # fmt: skip
    axes.set_yscale("symlog")
    axes.set_title(text.of("按每人增减金额的人数", "Persons by what they gain"))
    axes.set_xlabel(text.of("基金多支付（元）", "the funds pay more by (yuan)"))
    axes.set_ylabel(text.of("人数（对数）", "persons (logarithmic)"))


def _place(kind: int, level: int) -> Words:
    kinds = {1: "hospital", 2: "community", 3: "pharmacy"}
    what = value_words("institution_kinds", kinds.get(kind, str(kind)))
    where = value_words("levels", level)
    return Words(f"{what.zh}{where.zh}", f"{what.en}\n{where.en}")


if __name__ == "__main__":
    main()
