"""Reading review rules files: every mistake with its path, and which version holds for a month.

Not here: the file's shape (`rules_document.py`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cardserver.benefits.mistakes import Mistake
from cardserver.benefits.rules_file import MistakesError, identity_of, read_document
from cardserver.review.rules_document import (
    AnyFlag,
    ItemFlag,
    LateFlag,
    ListFlag,
    OftenFlag,
    RefundFlag,
    ReviewDocument,
    TimeFlag,
    decode_value,
)
from cardserver.review.values import Terms

FLAGS_MAX = 100
ARTICLES_MAX = 500
_MINIMUM_MAX = 10_000
_DAYS_MAX = 366
_HOURS_MAX = 10_000
_HOLD_HOURS_MAX = 24 * 14
_COUNT_MAX = 10_000
_NAME_SIZE_MAX = 20  # a case names all its flags in 400 characters
_TEXT_SIZE_MAX = 120
_HOUR_MS = 3_600_000
_HOURS_OF_DAY = 24
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])", re.ASCII)
_CLEARING_TYPE = re.compile(r"[1-9]\d{0,3}", re.ASCII)
_MED_TYPE = re.compile(r"\d{2,6}", re.ASCII)
_INSUTYPE = re.compile(r"\d{3}", re.ASCII)
_CODE = re.compile(r"[A-Za-z0-9._()-]{1,40}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class ReviewRulesError(MistakesError):
    """A review rules file says something that cannot hold."""


@dataclass(frozen=True, slots=True, eq=False)
class ReviewRules:
    """A review rules file as loaded; make it with `load_review_rules`.

    Attributes:
        document: What the file says.
        identity: Name, first month and hash of the text: `name@YYYY-MM#hash`.
        begins: First month, YYYYMM.
    """

    document: ReviewDocument
    identity: str
    begins: int

    @property
    def terms(self) -> Terms:
        """What the procedure needs of them."""
        document = self.document
        return Terms(
            second_above_fen=document.signing.second_audit_above,
            appeal_days=document.times.appeal_days,
            hold_ms=document.times.hold_hours * _HOUR_MS,
            articles=frozenset(article.code for article in document.articles),
        )


def load_review_rules(text: str) -> ReviewRules:
    """Read a review rules file.

    Raises:
        ReviewRulesError: With the path of each mistake.
    """
    document = read_document(
        text, ReviewDocument, decode=decode_value, check=_mistakes, error=ReviewRulesError
    )
    return ReviewRules(
        document=document,
        identity=identity_of(text, document.name, document.begins),
        begins=int(document.begins.replace("-", "")),
    )


def rules_of_month(versions: Iterable[ReviewRules], month: int) -> ReviewRules | None:
    """Find the version that began last, of those in force; None before the first."""
    begun = [version for version in versions if version.begins <= month]
    return max(begun, key=lambda version: version.begins, default=None)


def _mistakes(document: ReviewDocument) -> Iterator[Mistake]:
    yield from _name("$.name", document.name)
    if _MONTH.fullmatch(document.begins) is None:
        yield Mistake("$.begins", f"{document.begins!r} is not a month, as 2026-01")
    for key, text in (("title_zh", document.title_zh), ("title_en", document.title_en)):
        yield from _text(f"$.{key}", text)
    yield from _sampling(document)
    yield from _within("$.times.appeal_days", document.times.appeal_days, 1, _DAYS_MAX)
    yield from _within("$.times.hold_hours", document.times.hold_hours, 1, _HOLD_HOURS_MAX)
    yield from _articles(document)
    yield from _flags(document.flags)


def _sampling(document: ReviewDocument) -> Iterator[Mistake]:
    sampling = document.sampling
    yield from _within("$.sampling.minimum", sampling.minimum, 0, _MINIMUM_MAX)
    for index, stratum in enumerate(sampling.strata):
        path = f"$.sampling.strata[{index}]"
        yield from _within(f"{path}.minimum", stratum.minimum, 0, _MINIMUM_MAX)
        yield from _each(f"{path}.clearing_types", stratum.clearing_types, _CLEARING_TYPE)
        yield from _levels(f"{path}.levels", stratum.levels)
        conditions = (
            stratum.clearing_types, stratum.institution_kinds, stratum.levels,
            stratum.institutions,
        )  # fmt: skip
        if all(condition is None for condition in conditions):
            yield Mistake(path, "it says of nobody that they are sampled otherwise")


def _articles(document: ReviewDocument) -> Iterator[Mistake]:
    articles = document.articles
    if not articles:
        yield Mistake("$.articles", "a deduction names an article: there must be one")
    if len(articles) > ARTICLES_MAX:
        yield Mistake("$.articles", f"{len(articles)} articles are more than {ARTICLES_MAX}")
    counts = Counter(article.code for article in articles)
    for index, article in enumerate(articles):
        path = f"$.articles[{index}]"
        if _CODE.fullmatch(article.code) is None:
            yield Mistake(f"{path}.code", f"{article.code!r} is no code of at most 40 characters")
        if counts[article.code] > 1:
            yield Mistake(f"{path}.code", f"{article.code!r} stands more than once")
        for key, text in (("title_zh", article.title_zh), ("title_en", article.title_en)):
            yield from _text(f"{path}.{key}", text)


def _flags(flags: Sequence[AnyFlag]) -> Iterator[Mistake]:
    if len(flags) > FLAGS_MAX:
        yield Mistake("$.flags", f"{len(flags)} flags are more than {FLAGS_MAX}")
    counts = Counter(flag.name for flag in flags)
    for index, flag in enumerate(flags):
        path = f"$.flags[{index}]"
        yield from _name(f"{path}.name", flag.name)
        if counts[flag.name] > 1:
            yield Mistake(f"{path}.name", f"{flag.name!r} stands more than once")
        for key, text in (("reason_zh", flag.reason_zh), ("reason_en", flag.reason_en)):
            yield from _text(f"{path}.{key}", text)
        yield from _each(f"{path}.clearing_types", flag.clearing_types, _CLEARING_TYPE)
        yield from _each(f"{path}.med_types", flag.med_types, _MED_TYPE)
        yield from _each(f"{path}.insutypes", flag.insutypes, _INSUTYPE)
        yield from _levels(f"{path}.levels", flag.levels)
        if flag.share == 0:
            yield Mistake(f"{path}.share", "a flag of which nothing is drawn finds nothing")
        yield from _own(path, flag)


def _own(path: str, flag: AnyFlag) -> Iterator[Mistake]:  # noqa: C901, PLR0912 - a table
    """Find what is wrong with what only this kind of flag says."""
    match flag:
        case ListFlag():
            yield from _within(f"{path}.hours_above", flag.hours_above, 0, _HOURS_MAX)
        case RefundFlag():
            yield from _within(f"{path}.days_from", flag.days_from, 0, _DAYS_MAX)
        case LateFlag():
            yield from _within(f"{path}.days_above", flag.days_above, 0, _DAYS_MAX)
        case OftenFlag():
            yield from _within(f"{path}.most", flag.most, 1, _COUNT_MAX)
        case TimeFlag():
            if flag.weekdays is None and flag.hours is None:
                yield Mistake(path, "name weekdays or hours")
            if flag.weekdays is not None and not flag.weekdays:
                yield Mistake(f"{path}.weekdays", "an empty list finds nothing")
            if flag.hours is not None:
                first, end = flag.hours
                if not (0 <= first < _HOURS_OF_DAY and 0 <= end <= _HOURS_OF_DAY) or first == end:
                    yield Mistake(f"{path}.hours", f"{[first, end]} are no two hours of a day")
        case ItemFlag():
            if not flag.codes and not flag.prefixes:
                yield Mistake(path, "name codes or prefixes")
            if "" in flag.prefixes:
                yield Mistake(f"{path}.prefixes", "every item begins with nothing")
        case _:
            return


def _name(path: str, name: str) -> Iterator[Mistake]:
    if _NAME.fullmatch(name) is None or len(name) > _NAME_SIZE_MAX:
        yield Mistake(
            path,
            f"{name!r} is not a name of lower-case letters, digits and hyphens, "
            f"{_NAME_SIZE_MAX} at most",
        )


def _text(path: str, text: str) -> Iterator[Mistake]:
    if not text.strip() or len(text) > _TEXT_SIZE_MAX or _CONTROL.search(text):
        yield Mistake(path, f"it is one line of 1 to {_TEXT_SIZE_MAX} characters")


def _within(path: str, number: int, least: int, most: int) -> Iterator[Mistake]:
    if not least <= number <= most:
        yield Mistake(path, f"{number} is not from {least} to {most}")


def _each(path: str, values: tuple[str, ...] | None, pattern: re.Pattern[str]) -> Iterator[Mistake]:
    if values is not None and not values:
        yield Mistake(path, "an empty list finds nothing")
    for index, value in enumerate(values or ()):
        if pattern.fullmatch(value) is None:
            yield Mistake(f"{path}[{index}]", f"{value!r} is no such code")


def _levels(path: str, levels: tuple[int, ...] | None) -> Iterator[Mistake]:
    for index, level in enumerate(levels or ()):
        yield from _within(f"{path}[{index}]", level, 0, 3)
