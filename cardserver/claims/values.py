"""What claims are made of: who asks, who is treated, what was read, what is kept.

Dates are integers YYYYMMDD. Not here: how they are read and written (`claims_store.py`), what is
decided of them (`settlement.py`, `undoing.py`).
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from cardserver.benefits.policy import Policy
from cardserver.benefits.values import Accumulated, Case, LineSplit, Moved, Purses, Split, Stay
from cardserver.catalogue.catalogue import Catalogue
from cardserver.checks.counter_checks import NO_CHECKS, CounterChecks
from cardserver.checks.values import Occasion
from cardserver.registry.values import Insurance
from cardserver.visits.visit_book import Noted, VisitBook
from ledger.decisions import Answer, Decision, GroupView, Post, Work
from ledger.entries import Draft
from ledger.ledger_store import RequestKey
from ledger.writer import GroupWriter
from protocol.terminal.messages import Bill

_NUMBER = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_NUMBER_MAX = 2**63 - 1


class Attempt(Struct, frozen=True):
    """One request as it came from a signed-on terminal.

    Attributes:
        request_hash: `protocol.terminal.bodies.request_hash` of type and body as sent.
        deadline_ms: On the writer's clock, `monotonic_ms`.
        list_version: Of the revocation list that the terminal holds.
    """

    institution_no: int
    terminal_no: int
    operator_no: int
    msgid: str
    request_hash: bytes
    deadline_ms: int
    list_version: int = 0

    @property
    def key(self) -> RequestKey:
        """What names it."""
        return request_key(self.institution_no, self.terminal_no, self.msgid)


class Presented(Struct, frozen=True):
    """Who is treated, and how that is known.

    Attributes:
        person_no: The person.
        card_no: The card whose session it is; 0 by exception.
        proof: A `ProofLevel`.
        exception: The exception's name, where there is no card.
    """

    person_no: int
    card_no: int = 0
    proof: int = 0
    exception: str = ""


class PolicyFinder(Protocol):
    """The policies in force; `cardserver.benefits.policy.PolicyBook` is one."""

    def find(self, insutype: str, region: str, med_type: str, care_date: int) -> Policy | None:
        """Find the policy for an insurance, a place and a medical type on a day."""
        ...

    def by_identity(self, identity: str) -> Policy | None:
        """Find the version that a claim names."""
        ...


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules as activated: the same for all workers.

    Attributes:
        catalogue: As of one version.
        checks: What bills are tried by at the counter.
    """

    policies: PolicyFinder
    catalogue: Catalogue
    checks: CounterChecks = NO_CHECKS


class Needs(Struct, frozen=True):
    """What a decision needs read; 0 and None need nothing.

    Attributes:
        person_no: Whose insurances and family.
        year: Whose accumulators of which year.
        card_no: The card.
        terminal_no: The terminal with its institution.
        claim_no: The claim that is to be undone or was printed.
        settles_anew: Whether what remains of that claim is to be settled anew: whose account may
            aid its person.
        original: The attempt that is to be reversed.
        visit_no: The visit.
        stays_of: Whose inpatient stays.
        history_from: From which business day on the person's settlements; 0 none.
    """

    person_no: int = 0
    years: tuple[int, ...] = ()
    card_no: int = 0
    terminal_no: int = 0
    claim_no: int = 0
    original: RequestKey | None = None
    visit_no: int = 0
    stays_of: int = 0
    history_from: int = 0
    settles_anew: bool = False


class AccumulatorKey(NamedTuple):
    """Which accumulators."""

    person_no: int
    year: int
    insutype: str
    scheme: str


class Facts(Struct, frozen=True):
    """All that a decision was given beside the lines, so that it can be told and taken again.

    Attributes:
        case: Who was treated where.
        used: The rows of accumulators that were looked at and held something.
        purses: What the patient had besides cash.
        stay: The stay that went on; None for a first settlement.
    """

    case: Case
    used: tuple[Moved, ...]
    purses: Purses
    stay: Stay | None = None


class Checked(Struct, frozen=True):
    """What the checks at the counter found of a bill that was settled all the same.

    Attributes:
        warned: The rules that warned, each with its version: `name@YYYY-MM-DD#hash/rule`.
        overridden: Those that refused and were overridden.
        override: Why, as the supervisor said.
    """

    warned: tuple[str, ...]
    overridden: tuple[str, ...] = ()
    override: str = ""


class ClaimDetail(Struct, frozen=True):
    """What a claim keeps in one compact value; `claim_detail.py` writes and reads it.

    Attributes:
        bill: As settled; None for a claim that undoes another.
        split: The bill's division; negative for one that undoes another.
        line_splits: The lines', in the bill's order.
        moved: What it added to the accumulators, the care's own row first.
        scheme: The kind of care.
        year: Of which year the accumulators are.
        payer_person_no: Whose account gave mutual aid; 0 nobody's.
        reason: Why it was undone.
        facts: What decided beside the lines; None for a claim that undoes another.
        visit_no: The visit whose lines it settled, or reopens; 0 none.
        checked: What the checks found; None where that is nothing.
        replaces: The settlement that this one is what remained of, after a refund; 0 none.
    """

    bill: Bill | None
    split: Split
    line_splits: tuple[LineSplit, ...]
    moved: tuple[Moved, ...]
    scheme: str
    year: int
    payer_person_no: int = 0
    reason: str = ""
    facts: Facts | None = None
    visit_no: int = 0
    checked: Checked | None = None
    replaces: int = 0


class Claim(Struct, frozen=True):
    """A claim: one settlement, or the undoing of one.

    Attributes:
        type: SETTLE, also for what remains after a refund; CANCEL, REVERSE or REFUND for a claim
            that undoes another.
        draft: The entry that it posted.
    """

    attempt: Attempt
    presented: Presented
    type: int
    insutype: str
    med_type: str
    care_date: int
    policy: str
    undoes: int | None
    detail: ClaimDetail
    draft: Draft

    def accumulator_key(self, scheme: str) -> AccumulatorKey:
        """Name a row of accumulators that it moved."""
        return AccumulatorKey(self.presented.person_no, self.detail.year, self.insutype, scheme)


class Print(Struct, frozen=True):
    """A printer's report."""

    claim_no: int
    is_printed: bool


class Record(Struct, frozen=True):
    """What a decision leaves behind beside entry and outcome.

    Attributes:
        action: What was done, for the audit.
        subject: To what: a settlement number, a msgid; empty for the claim's own number.
        reason: Why, as the terminal said.
        visit: What is noted of a visit.
    """

    attempt: Attempt
    action: str
    subject: str = ""
    reason: str = ""
    claim: Claim | None = None
    printed: Print | None = None
    visit: Noted | None = None


class PersonState(NamedTuple):
    """A person's row, read under its lock."""

    birth_date: int
    deceased_date: int | None
    family_no: int
    sex: int = 9  # not stated


class CardState(NamedTuple):
    """A card's row as it is now."""

    person_no: int
    begins: int
    ends: int
    state: int


class Place(NamedTuple):
    """A terminal and its institution as they are now."""

    terminal_state: int
    institution_no: int
    kind: int
    level: int
    institution_state: int
    contract_begins: int
    contract_ends: int


class Payer(NamedTuple):
    """Whose account aids the members of a family."""

    family_no: int
    person_no: int


@dataclass(slots=True)
class Book:
    """What a group's decisions look at beside the ledger, kept up to date as they are made.

    Attributes:
        payers: By person, whose account may aid theirs.
        claims: By number: those named as originals, and this group's own.
        undone: By number of the claim, the number of the one that undid it.
        printed: By number, how many reports there were, and how many said printed.
        visits: Those asked about.
        history: By person, their latest settlements that stand, newest first, where asked about.
    """

    payers: dict[int, Payer] = field(default_factory=dict)
    persons: dict[int, PersonState] = field(default_factory=dict)
    cards: dict[int, CardState] = field(default_factory=dict)
    insurances: dict[int, list[Insurance]] = field(default_factory=dict)
    places: dict[int, Place] = field(default_factory=dict)
    accumulators: dict[AccumulatorKey, Accumulated] = field(default_factory=dict)
    claims: dict[int, Claim] = field(default_factory=dict)
    undone: dict[int, int] = field(default_factory=dict)
    printed: dict[int, tuple[int, int]] = field(default_factory=dict)
    visits: VisitBook = field(default_factory=VisitBook)
    history: dict[int, list[Occasion]] = field(default_factory=dict)


ClaimsWork: TypeAlias = Work[Needs, Book, Record]
ClaimsWriter: TypeAlias = GroupWriter[Needs, Book, Record]
ClaimsView: TypeAlias = GroupView[Book]
ClaimsDecision: TypeAlias = Decision[Record]
ClaimsPost: TypeAlias = Post[Record]
ClaimsAnswer: TypeAlias = Answer[Record]


def claim_number(number: str) -> int:
    """Return the number that a setl_id or mdtrt_id is; 0, which none has, where it is none."""
    if _NUMBER.fullmatch(number) is None:
        return 0
    return int(number) if int(number) <= _NUMBER_MAX else 0


def request_key(institution_no: int, terminal_no: int, msgid: str) -> RequestKey:
    """Return what names an attempt; the month is the msgid's own (institution 12, yyyyMM...)."""
    return RequestKey(int(msgid[12:18]), institution_no, terminal_no, msgid)
