"""Reading funding rules files, and finding the rules of a month.

Not here: the file's shape (`rules_document.py`), what must hold in it (`rules_check.py`), what
was activated (`rules_store.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

from msgspec import structs

from cardserver.benefits.rules_file import identity_of, read_document
from cardserver.checks.rule_book import RulesError
from cardserver.funding.rules_check import mistakes_of
from cardserver.funding.rules_document import InterestRule, Ratio, RulesDocument, decode_number

_SHIPPED = "employees.toml"


@dataclass(frozen=True, slots=True, eq=False)
class RulesVersion:
    """A rules file as loaded; make it with `load_rules`.

    Attributes:
        document: What the file says.
        identity: Name, first day and hash of the text: `name@YYYY-MM-DD#hash`.
        begins: First day, YYYYMMDD.
    """

    document: RulesDocument
    identity: str
    begins: int


class FundingRules:
    """All versions in force, each until the next one begins."""

    def __init__(self, versions: Iterable[RulesVersion]) -> None:
        self._versions = sorted(versions, key=lambda version: version.begins)

    def of_month(self, month: int) -> RulesVersion | None:
        """Find what holds in a month, YYYYMM."""
        begun = [one for one in self._versions if one.begins <= month * 100 + 1]
        return begun[-1] if begun else None

    def interest_rates(self, year: int) -> list[tuple[int, InterestRule]]:
        """Return the year's rates, each with the day from which it holds, by day.

        The first one's day is the first of the year or later, where no rule held before.
        """
        first, last = year * 10_000 + 101, year * 10_000 + 1231
        rates: list[tuple[int, InterestRule]] = []
        for version in self._versions:
            if version.begins > last:
                break
            begins = max(version.begins, first)
            if rates and rates[-1][0] == begins:
                rates.pop()
            if version.document.interest is not None:
                rates.append((begins, version.document.interest))
            elif rates:  # a version that gives none ends what was given before
                rates.append((begins, structs.replace(rates[-1][1], rate=Ratio(0))))
        return rates


def load_rules(text: str) -> RulesVersion:
    """Read a rules file.

    Raises:
        RulesError: With the path of each mistake.
    """
    document = read_document(
        text, RulesDocument, decode=decode_number, check=mistakes_of, error=RulesError
    )
    begins = document.begins
    return RulesVersion(
        document=document,
        identity=identity_of(text, document.name, document.begins),
        begins=begins.year * 10_000 + begins.month * 100 + begins.day,
    )


def shipped_rules() -> str:
    """Return the text of the rules file that comes with this software."""
    folder = resources.files("cardserver.funding").joinpath("rules")
    return folder.joinpath(_SHIPPED).read_text(encoding="utf-8")
