"""What a worker tries bills by: the rules as activated, and where institutions are."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cardserver.checks.rule_book import RuleBook
from cardserver.checks.values import Position


@dataclass(frozen=True, slots=True)
class CounterChecks:
    """The checks as activated: the same for all workers.

    Attributes:
        positions: By number of the institution; who is missing has no known place.
    """

    book: RuleBook = field(default_factory=RuleBook)
    positions: Mapping[int, Position] = field(default_factory=dict)


NO_CHECKS = CounterChecks()
