"""A replay's report on the terminal: who pays, who gains and who loses, as tables.

Not here: the command (`replay.py`), the files (`cardserver/claims/replay_report.py`).
"""

from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cardserver.benefits.policy_words import Words, value_words
from cardserver.claims.replay_report import Report, band_words

_KINDS = {1: "hospital", 2: "community", 3: "pharmacy"}

Say = Callable[[str, str], str]


def print_named(console: Console, named: list[str], report: Report) -> None:
    """Print settlements that someone must look at, and how many more there are."""
    for line in named:
        console.print(line, markup=False, soft_wrap=True)
    total = report.difference_count + report.refused_count + report.unreplayed_count
    if total > len(named):
        console.print(f"... and {total - len(named):,} more, in the files 其余见文件")


def print_report(console: Console, report: Report, index: int) -> None:
    """Print a report in Chinese (0) or English (1)."""

    def say(zh: str, en: str) -> str:
        return Words(zh, en)[index]

    console.print(
        f"{report.first_month} – {report.last_month}  " + ", ".join(report.drafts), markup=False
    )
    replayed, *others = _counts(report, say)
    for name, count in (replayed, *(one for one in others if one[1])):
        console.print(f"{name}: {count:,}")
    if not report.drafts:
        return
    for table in _tables(report, say, index):
        for column in table.columns[1:]:
            column.justify = "right"
        console.print(table)


def _counts(report: Report, say: Say) -> tuple[tuple[str, int], ...]:
    return (
        (say("重算结算", "settlements replayed"), report.replayed_count),
        (say("已撤销（不计）", "undone, which count for nothing"), report.undone_count),
        (say("草案未涉及", "without rules in the draft"), report.uncovered_count),
        (say("草案不予支付", "refused by the draft"), report.refused_count),
        (say("未能重算", "could not be replayed"), report.unreplayed_count),
        (say("草案所需备案当时未查", "need filings not looked up then"), report.asking_count),
        (say("对照核验", "compared with the version that decided"), report.control_count),
        (say("对照不一致", "of these differ"), report.difference_count),
    )


def _tables(report: Report, say: Say, index: int) -> Iterator[Table]:
    head = (say("现行", "as decided"), say("试算", "under the draft"), say("变化", "difference"))
    fund = _table(say("支付（元）", "who pays (yuan)"), "", *head)
    for name, before, after in (
        (say("基金合计", "all funds"), report.fund_before_fen, report.fund_after_fen),
        (say("个人负担", "patients"), report.person_before_fen, report.person_after_fen),
        *(
            (f"  {value_words('field', one.field)[index]}", one.before_fen, one.after_fen)
            for one in report.layers
        ),
    ):
        fund.add_row(escape(name), *_three(before, after))
    yield fund
    persons = _table(
        say("按人员类别", "by person type"), say("人员类别", "person type"), say("受益", "gain"),
        say("受损", "lose"), say("不变", "as before"), *head,
    )  # fmt: skip
    for line in report.person_types:
        persons.add_row(
            escape(value_words("person_types", line.person_type)[index]),
            f"{line.gaining_count:,}", f"{line.losing_count:,}", f"{line.same_count:,}",
            *_three(line.before_fen, line.after_fen),
        )  # fmt: skip
    yield persons
    levels = _table(
        say("按机构级别", "by institution level"), say("机构", "institutions"),
        say("级别", "level"), say("家数", "how many"), say("结算", "settlements"), *head,
    )  # fmt: skip
    for place in report.levels:
        kind = _KINDS.get(place.kind, str(place.kind))
        levels.add_row(
            value_words("institution_kinds", kind)[index],
            value_words("levels", place.level)[index],
            f"{place.institution_count:,}", f"{place.claim_count:,}",
            *_three(place.before_fen, place.after_fen),
        )  # fmt: skip
    yield levels
    bands = _table(
        say("按增减金额", "by amount"), say("每人增减（元）", "gain of a person (yuan)"),
        say("人数", "persons"), say("合计", "together"),
    )  # fmt: skip
    for band in report.bands:
        if band.person_count:
            bands.add_row(band_words(band), f"{band.person_count:,}", _yuan(band.gain_fen))
    yield bands


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left")


def _three(before_fen: int, after_fen: int) -> tuple[str, str, str]:
    difference = after_fen - before_fen
    sign = "+" if difference > 0 else ""
    return _yuan(before_fen), _yuan(after_fen), f"{sign}{_yuan(difference)}"


def _yuan(amount_fen: int) -> str:
    whole, rest = divmod(abs(amount_fen), 100)
    return f"{'-' if amount_fen < 0 else ''}{whole:,}.{rest:02d}"
