"""What rules would have found in stored settlements: each is tried as it would have been then.

A settlement is tried beside those that stood at its moment. One that the rules would have refused
counts for later ones all the same, as it was made. Pure; reading is `checks_replay_store.py`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from cardserver.catalogue.catalogue import Catalogue
from cardserver.checks.conditions import first_day_of
from cardserver.checks.evaluation import evaluate
from cardserver.checks.rules_check import DAYS_MAX
from cardserver.checks.rules_document import AnyRule
from cardserver.checks.values import Finding, Occasion, Patient, Position, Situation
from cardserver.claims.checking import facts_of_level
from cardserver.claims.history_store import CLAIMS_MAX


class StoredSettlement(Struct, frozen=True):
    """A settlement, or the undoing of one, in the order of time.

    Attributes:
        occasion: None for one that undoes another.
        undoes: The settlement that it undoes; 0 none.
    """

    person_no: int
    business_date: int
    patient: Patient
    occasion: Occasion | None
    undoes: int


class Found(Struct, frozen=True):
    """What a rule found in a settlement."""

    person_no: int
    business_date: int
    settled: Occasion
    finding: Finding


@dataclass(slots=True)
class RuleTally:
    """What one rule found in all.

    Attributes:
        findings: How often it found something; in one bill several lines may be found.
        settlements: In how many settlements.
        persons: Of how many persons.
        total_fen: What those settlements came to.
        fund_pay_fen: What the funds paid of them.
    """

    is_refusal: bool
    findings: int = 0
    settlements: set[int] = field(default_factory=set)
    persons: set[int] = field(default_factory=set)
    total_fen: int = 0
    fund_pay_fen: int = 0


@dataclass(slots=True)
class ChecksTally:
    """What rules found in a stretch of time."""

    settlements: int = 0
    refused: int = 0
    warned: int = 0
    rules: dict[str, RuleTally] = field(default_factory=dict)

    def take(self, found: list[Found]) -> None:
        """Count a settlement with what was found in it."""
        self.settlements += 1
        if any(one.finding.is_refusal for one in found):
            self.refused += 1
        elif found:
            self.warned += 1
        for one in found:
            finding, settled = one.finding, one.settled
            tally = self.rules.setdefault(finding.rule, RuleTally(finding.is_refusal))
            tally.findings += 1
            if settled.claim_no not in tally.settlements:
                tally.settlements.add(settled.claim_no)
                tally.persons.add(one.person_no)
                tally.total_fen += settled.total_fen
                tally.fund_pay_fen += settled.fund_pay_fen


class Replay(Struct, frozen=True):
    """By what stored settlements are tried.

    Attributes:
        rules: The draft's, whatever its own dates.
        first_day: Settlements from this business day on are tried; earlier ones are just known.
        last_day: Up to this one.
    """

    rules: tuple[AnyRule, ...]
    catalogue: Catalogue
    positions: Mapping[int, Position]
    first_day: int
    last_day: int

    def try_person(self, rows: Iterable[StoredSettlement]) -> Iterator[list[Found]]:
        """Try one person's settlements, given in the order of time."""
        past: list[Occasion] = []  # newest first
        for row in rows:
            settled = row.occasion
            if settled is None:
                past = [one for one in past if one.claim_no != row.undoes]
                continue
            if self.first_day <= row.business_date <= self.last_day:
                situation = Situation(
                    row.patient,
                    settled,
                    past[:CLAIMS_MAX],
                    facts_of_level(self.catalogue, settled.place.level, settled.day),
                    self.positions,
                )
                today = row.business_date
                yield [
                    Found(row.person_no, today, settled, finding)
                    for finding in evaluate(self.rules, situation, today=today)
                ]
            past.insert(0, settled)


def read_from(first_day: int) -> int:
    """Tell from which day on settlements have to be known."""
    return first_day_of(first_day, DAYS_MAX)
