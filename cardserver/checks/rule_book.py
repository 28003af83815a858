"""Reading rules files, and finding the rules of a day.

Not here: the file's shape (`rules_document.py`), what must hold in it (`rules_check.py`).
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from cardserver.benefits.mistakes import Mistake
from cardserver.benefits.rules_file import MistakesError, identity_of, read_document
from cardserver.checks.rules_check import mistakes_of
from cardserver.checks.rules_document import AnyRule, RulesDocument, decode_number
from cardserver.checks.values import FOREVER

_DAYS_KEPT_MAX = 800  # two years: a replay asks for one day after the other


class RulesError(MistakesError):
    """A rules file, or a set of them, says something that cannot hold."""


@dataclass(frozen=True, slots=True, eq=False)
class RulesVersion:
    """A rules file as loaded; make it with `load_rules`.

    Attributes:
        document: What the file says.
        identity: Name, first day and hash of the text: `name@YYYY-MM-DD#hash`.
        begins: First business day, YYYYMMDD.
        ends: Last business day, 99991231 where the file names none.
    """

    document: RulesDocument
    identity: str
    begins: int
    ends: int

    @property
    def name(self) -> str:
        """The name that all versions share."""
        return self.document.name


@dataclass(frozen=True, slots=True, eq=False)
class RulesOfDay:
    """The rules in force on a day.

    Attributes:
        rules: In the order in which what they find is reported: by file name, then as in the file.
        identities: By rule, the version that it stands in.
    """

    rules: tuple[AnyRule, ...]
    identities: Mapping[str, str]

    def path_of(self, rule: str) -> str:
        """Name a rule with its version, as claims keep it."""
        return f"{self.identities[rule]}/{rule}"


NO_RULES = RulesOfDay((), {})


class RuleBook:
    """All versions that were activated, and which of them apply on a day.

    Versions of one name follow each other: without `ends`, one holds until the next begins.
    """

    def __init__(self, versions: Iterable[RulesVersion] = ()) -> None:
        self._versions = sorted(versions, key=lambda version: version.begins, reverse=True)
        self._names = sorted({version.name for version in self._versions})
        self._found: dict[int, RulesOfDay] = {}
        mistakes = tuple(
            mistake
            for later, earlier in combinations(self._versions, 2)
            for mistake in self._conflicts(earlier, later)
        )
        if mistakes:
            raise RulesError(mistakes)

    def of_day(self, day: int) -> RulesOfDay:
        """Find the rules in force on a business day."""
        found = self._found.get(day)
        if found is None:
            if len(self._found) >= _DAYS_KEPT_MAX:
                self._found.clear()
            versions = self._versions_of(day)
            found = self._found[day] = RulesOfDay(
                tuple(rule for version in versions for rule in version.document.rules),
                {
                    rule.name: version.identity
                    for version in versions
                    for rule in version.document.rules
                },
            )
        return found

    def _versions_of(self, day: int) -> list[RulesVersion]:
        found: list[RulesVersion] = []
        for name in self._names:
            begun = (v for v in self._versions if v.name == name and v.begins <= day)
            version = next(begun, None)
            if version is not None and day <= version.ends:
                found.append(version)
        return found

    def _last_day(self, version: RulesVersion) -> int:
        """Tell the day up to which it applies: its own end, or the day when the next begins."""
        later = [
            other.begins
            for other in self._versions
            if other.name == version.name and other.begins > version.begins
        ]
        return min(version.ends, min(later, default=FOREVER) - 1)

    def _conflicts(self, earlier: RulesVersion, later: RulesVersion) -> Iterable[Mistake]:
        if earlier.name == later.name:
            if earlier.begins == later.begins:
                sentence = f"{earlier.identity} and {later.identity} begin on the same day"
                yield Mistake("$.begins", sentence)
            elif later.begins <= earlier.ends != FOREVER:
                yield Mistake(
                    "$.ends", f"{earlier.identity} has not ended when {later.identity} begins"
                )
        elif later.begins <= self._last_day(earlier):
            names = {rule.name for rule in earlier.document.rules}
            for index, rule in enumerate(later.document.rules):
                if rule.name in names:
                    yield Mistake(
                        f"$.rules[{index}].name",
                        f"{earlier.identity} and {later.identity} both have a rule {rule.name!r}, "
                        "and their dates overlap",
                    )


def load_rules(text: str) -> RulesVersion:
    """Read a rules file.

    Raises:
        RulesError: With the path of each mistake.
    """
    document = read_document(
        text, RulesDocument, decode=decode_number, check=mistakes_of, error=RulesError
    )
    return RulesVersion(
        document=document,
        identity=identity_of(text, document.name, document.begins),
        begins=_date_number(document.begins),
        ends=FOREVER if document.ends is None else _date_number(document.ends),
    )


def _date_number(date: dt.date) -> int:
    return date.year * 10_000 + date.month * 100 + date.day
