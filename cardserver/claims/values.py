"""What claims are made of: who asks, who is treated, what was read, what is kept.

Dates are integers YYYYMMDD. Not here: how they are read and written (`claims_store.py`), what is
decided of them (`settlement.py`, `undoing.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from cardserver.benefits.policy import Policy
from cardserver.benefits.values import Accumulated, Case, LineSplit, Moved, Purses, Split, Stay
from cardserver.registry.values import CatalogueItem, Insurance
from ledger.decisions import Answer, Decision, GroupView, Post, Work
from ledger.entries import Draft
from ledger.ledger_store import RequestKey
from ledger.writer import GroupWriter
from protocol.terminal.messages import Bill


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
        catalogue: By item, each item's rows with their days.
    """

    policies: PolicyFinder
    catalogue: Mapping[str, Sequence[CatalogueItem]]


class Needs(Struct, frozen=True):
    """What a decision needs read; 0 and None need nothing.

    Attributes:
        person_no: Whose insurances and family.
        year: Whose accumulators of which year.
        card_no: The card.
        terminal_no: The terminal with its institution.
        claim_no: The claim that is to be undone or was printed.
        original: The attempt that is to be reversed.
    """

    person_no: int = 0
    years: tuple[int, ...] = ()
    card_no: int = 0
    terminal_no: int = 0
    claim_no: int = 0
    original: RequestKey | None = None


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


class Claim(Struct, frozen=True):
    """A claim: one settlement, or the undoing of one.

    Attributes:
        type: SETTLE, CANCEL or REVERSE.
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
    """

    attempt: Attempt
    action: str
    subject: str = ""
    reason: str = ""
    claim: Claim | None = None
    printed: Print | None = None


class PersonState(NamedTuple):
    """A person's row, read under its lock."""

    birth_date: int
    deceased_date: int | None
    family_no: int


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


ClaimsWork: TypeAlias = Work[Needs, Book, Record]
ClaimsWriter: TypeAlias = GroupWriter[Needs, Book, Record]
ClaimsView: TypeAlias = GroupView[Book]
ClaimsDecision: TypeAlias = Decision[Record]
ClaimsPost: TypeAlias = Post[Record]
ClaimsAnswer: TypeAlias = Answer[Record]


def request_key(institution_no: int, terminal_no: int, msgid: str) -> RequestKey:
    """Return what names an attempt; the month is the msgid's own (institution 12, yyyyMM...)."""
    return RequestKey(int(msgid[12:18]), institution_no, terminal_no, msgid)
