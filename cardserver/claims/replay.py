"""What would have been paid: one person's stored claims decided again, under a draft.

A person's claims are taken in the order of their entries. Each settlement is decided by the draft
with the facts that were kept of it, but with the accumulators as the draft itself made them; an
undoing gives back what the draft had moved. What was accumulated before the first replayed month
stays as it was. Pure. Not here: reading claims (`replay_store.py`), several processes
(`replay_work.py`), sums and files (`replay_report.py`).
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from cardserver.benefits.adjudication import adjudicate
from cardserver.benefits.policy import Policy, PolicyBook, load_policy
from cardserver.benefits.values import (
    NOTHING_USED,
    Accumulated,
    Adjudication,
    BillLine,
    BillRefusal,
    Case,
    Layer,
    Moved,
    Split,
    Stay,
    added,
    given_back,
)
from cardserver.claims.claim_detail import decode_detail
from cardserver.claims.values import ClaimDetail, Facts

_FIRST_DAY, _LAST_DAY = 10101, 99991231

YearKey = tuple[int, str]  # of which year, in which insurance
Used = dict[str, Accumulated]  # by row


class StoredClaim(Struct, frozen=True):
    """A claim as the database has it."""

    entry_no: int
    institution_no: int
    business_date: int
    undoes: int | None
    insutype: str
    policy: str
    detail: bytes


class Months(Struct, frozen=True):
    """Which claims are replayed: those entered on these days, the last included (YYYYMMDD)."""

    first_day: int
    last_day: int


class ReplayedClaim(Struct, frozen=True):
    """One settlement that stands, as it was decided and as it would have been.

    Attributes:
        paid_after: By layer; as stored, where the draft has no rules for such care.
        fund_after_fen: Their sum.
        is_covered: Whether the draft has rules for such care.
        asks_filings: Whether the draft asks for filings that were not looked up at the time.
    """

    entry_no: int
    institution_no: int
    month: int
    scheme: str
    case: Case
    before: Split
    paid_after: tuple[Layer, ...]
    fund_after_fen: int
    is_covered: bool
    asks_filings: bool


class Unreplayed(Struct, frozen=True):
    """A settlement that could not be decided again, and why; it stays as it was."""

    entry_no: int
    why: str
    fund_pay_fen: int


class Difference(Struct, frozen=True):
    """A settlement that the version which decided it decides otherwise today."""

    entry_no: int
    policy: str
    what: str


class PersonReplayed(Struct):
    """What one person's claims came to."""

    person_no: int
    claims: list[ReplayedClaim]
    unreplayed: list[Unreplayed]
    refused: list[Unreplayed]
    differences: list[Difference]
    undone_count: int = 0
    control_count: int = 0


class _Event(Struct, frozen=True):
    """A claim with its detail read."""

    claim: StoredClaim
    detail: ClaimDetail

    @property
    def year_key(self) -> YearKey:
        """Which accumulators it moved."""
        return self.detail.year, self.claim.insutype

    @property
    def visit(self) -> str:
        """Of which visit it is; empty where the bill brought its own lines."""
        return "" if self.detail.bill is None else self.detail.bill.mdtrt_id


class ReplayRules:
    """The rules of a replay: every version that ever decided, and the drafts.

    Attributes:
        versions: By identity.
        drafts: As if they were in force on every day; None where there is nothing but a control.
    """

    def __init__(self, versions: Iterable[str], drafts: Sequence[str], *, is_control: bool) -> None:
        """Load policies from their texts.

        Raises:
            PolicyError: A text is no policy, or two drafts have rules for one case.
        """
        self.versions = {policy.identity: policy for policy in map(load_policy, versions)}
        always = [
            dataclasses.replace(load_policy(text), begins=_FIRST_DAY, ends=_LAST_DAY)
            for text in drafts
        ]
        self.drafts = PolicyBook(always) if always else None
        self.is_control = is_control

    def draft_for(self, case: Case) -> Policy | None:
        """Find the draft that has rules for a case."""
        if self.drafts is None:
            return None
        return self.drafts.find(case.insutype, case.region, case.med_type, case.care_date)


class _Track:
    """Accumulators and stays of one person, as one set of rules makes them."""

    def __init__(self, start: Mapping[YearKey, Used]) -> None:
        self._used = {key: dict(rows) for key, rows in start.items()}
        self._moved: dict[int, tuple[str, tuple[Moved, ...], tuple[Moved, ...]]] = {}
        self._stays: dict[str, Used] = {}

    def used(self, key: YearKey) -> Used:
        """Return what was used in a year, by row."""
        return self._used.setdefault(key, {})

    def stay_of(self, event: _Event, stay: Stay | None) -> Stay | None:
        """Return a stay that goes on, as these rules have made it."""
        apart = self._stays.get(event.visit)
        if stay is None or apart is None:
            return stay
        own = added(stay.moved, apart.get("", NOTHING_USED))
        layers = {one.scheme: one.amounts for one in stay.layers}
        for row, amounts in apart.items():
            if row:
                layers[row] = added(layers.get(row, NOTHING_USED), amounts)
        return Stay(stay.admission, own, tuple(Moved(*item) for item in layers.items()))

    def settle(self, event: _Event, moved: tuple[Moved, ...]) -> None:
        """Take up what a settlement moved under these rules."""
        self._moved[event.claim.entry_no] = event.visit, moved, event.detail.moved
        self._add(event.year_key, moved)
        self._part(event.visit, moved, event.detail.moved)

    def undo(self, event: _Event) -> None:
        """Give back what the settlement moved that is undone here."""
        original = self._moved.get(event.claim.undoes or 0)
        if original is None:  # settled before the first replayed month
            self._add(event.year_key, event.detail.moved)
            return
        visit, moved, stored = original
        self._add(event.year_key, given_back(moved))
        self._part(visit, stored, moved)

    def _add(self, key: YearKey, moved: Iterable[Moved]) -> None:
        used = self.used(key)
        for one in moved:
            used[one.scheme] = added(used.get(one.scheme, NOTHING_USED), one.amounts)

    def _part(self, visit: str, moved: tuple[Moved, ...], stored: tuple[Moved, ...]) -> None:
        """Note how far a stay is from what was kept of it: that holds what was moved then."""
        if not visit or moved == stored:
            return
        apart = self._stays.setdefault(visit, {})
        for side in (moved, given_back(stored)):
            for index, one in enumerate(side):
                row = one.scheme if index else ""
                apart[row] = added(apart.get(row, NOTHING_USED), one.amounts)


def replay_person(
    person_no: int,
    claims: Sequence[StoredClaim],
    now: Mapping[YearKey, Used],
    rules: ReplayRules,
    months: Months,
) -> PersonReplayed:
    """Decide one person's claims again.

    Args:
        person_no: The person.
        claims: Those entered on or after the first day, in the order of their entries, also later
            than the last day: they say what was undone since, and how much of `now` came after.
        now: The accumulators as they are after all these claims.
        rules: The versions that decided, and the drafts.
        months: Which of the claims are decided again.
    """
    events = [_Event(claim, decode_detail(claim.detail)) for claim in claims]
    undone = {claim.undoes for claim in claims if claim.undoes is not None}
    start = _before(now, events)
    draft, control = _Track(start), _Track(start)
    found = PersonReplayed(person_no, [], [], [], [])
    for event in events:
        claim = event.claim
        if claim.business_date > months.last_day:
            break
        if claim.undoes is not None:
            draft.undo(event)
            control.undo(event)
            continue
        if rules.is_control:
            _check(event, control, rules, found)
        if rules.drafts is None:
            continue
        if claim.entry_no in undone:
            found.undone_count += 1
        _decide(event, draft, rules, found, is_undone=claim.entry_no in undone)
    return found


def _before(now: Mapping[YearKey, Used], events: Iterable[_Event]) -> dict[YearKey, Used]:
    """Take off what the claims moved: what was accumulated before them."""
    start = {key: dict(rows) for key, rows in now.items()}
    for event in events:
        used = start.setdefault(event.year_key, {})
        for one in given_back(event.detail.moved):
            used[one.scheme] = added(used.get(one.scheme, NOTHING_USED), one.amounts)
    return start


def _decide(
    event: _Event, track: _Track, rules: ReplayRules, found: PersonReplayed, *, is_undone: bool
) -> None:
    """Decide one settlement by the draft, or else by the version that decided it then."""
    claim, detail, facts = event.claim, event.detail, event.detail.facts
    lines = _lines(detail)
    if facts is None or lines is None:
        track.settle(event, detail.moved)
        if not is_undone:
            why = "no facts were kept" if facts is None else "its lines were not kept"
            found.unreplayed.append(Unreplayed(claim.entry_no, why, detail.split.fund_pay_fen))
        return
    draft = rules.draft_for(facts.case)
    policy = draft or rules.versions.get(claim.policy)
    if policy is None:
        track.settle(event, detail.moved)
        if not is_undone:
            why = f"version {claim.policy} is not known"
            found.unreplayed.append(Unreplayed(claim.entry_no, why, detail.split.fund_pay_fen))
        return
    done = _adjudicate(event, facts, lines, policy, track)
    if isinstance(done, BillRefusal):
        track.settle(event, ())
        if is_undone:
            return
        found.refused.append(Unreplayed(claim.entry_no, done.detail_en, detail.split.fund_pay_fen))
        layers: tuple[Layer, ...] = ()
        fund = 0
    else:
        track.settle(event, done.moved)
        if is_undone:
            return
        layers, fund = done.split.layers, done.split.fund_pay_fen
    found.claims.append(
        ReplayedClaim(
            claim.entry_no,
            claim.institution_no,
            claim.business_date // 100,
            detail.scheme,
            facts.case,
            detail.split,
            layers,
            fund,
            draft is not None,
            draft is not None and _asks_more(draft, facts.case, rules.versions.get(claim.policy)),
        )
    )


def _check(event: _Event, track: _Track, rules: ReplayRules, found: PersonReplayed) -> None:
    """Decide one settlement by the version that decided it, and compare."""
    claim, detail, facts = event.claim, event.detail, event.detail.facts
    lines = _lines(detail)
    if facts is not None and lines is not None:
        found.control_count += 1
        what = _difference(event, facts, lines, rules.versions.get(claim.policy), track)
        if what:
            found.differences.append(Difference(claim.entry_no, claim.policy, what))
    # As stored, so that one difference is not told again of all claims that follow.
    track.settle(event, detail.moved)


def _difference(
    event: _Event,
    facts: Facts,
    lines: Sequence[BillLine],
    policy: Policy | None,
    track: _Track,
) -> str:
    """Say in what a settlement is decided otherwise today; empty where it is not."""
    detail = event.detail
    if policy is None:
        return f"version {event.claim.policy} is not known"
    used = track.used(event.year_key)
    looked_at = policy.rows_of(detail.scheme)
    then = {one.scheme: one.amounts for one in facts.used}
    for row in looked_at:
        before, now = then.get(row, NOTHING_USED), used.get(row, NOTHING_USED)
        if before != now:
            return f"accumulators {row}: {_amounts(before)} then, {_amounts(now)} now"
    done = _adjudicate(event, facts, lines, policy, track)
    if isinstance(done, BillRefusal):
        return f"refused: {done.detail_en}"
    for field in Split.__struct_fields__:
        before, now = getattr(detail.split, field), getattr(done.split, field)
        if before != now:
            return f"{field}: {before} then, {now} now"
    if done.line_splits != detail.line_splits:
        return "its lines are divided otherwise"
    if done.moved != detail.moved:
        return "it moves other accumulators"
    return ""


def _amounts(used: Accumulated) -> str:
    return "/".join(str(getattr(used, field)) for field in Accumulated.__struct_fields__)


def _adjudicate(
    event: _Event, facts: Facts, lines: Sequence[BillLine], policy: Policy, track: _Track
) -> Adjudication | BillRefusal:
    return adjudicate(
        policy,
        facts.case,
        lines,
        track.used(event.year_key),
        facts.purses,
        explain=False,
        total_fen=event.detail.split.total_fen,
        stay=track.stay_of(event, facts.stay),
    )


def _lines(detail: ClaimDetail) -> list[BillLine] | None:
    """Return the lines as they were decided; None where not all of them were kept."""
    if detail.bill is None or len(detail.bill.lines) != len(detail.line_splits):
        return None
    return [
        BillLine(
            line.item,
            split.item_class,
            split.self_pay_ratio_e4,
            split.price_limit_microyuan,
            line.price_microyuan,
            line.quantity_e4,
            line.gross_fen,
        )
        for line, split in zip(detail.bill.lines, detail.line_splits, strict=True)
    ]


def _asks_more(draft: Policy, case: Case, version: Policy | None) -> bool:
    """Tell whether a draft asks for filings that the version which decided did not look up."""
    scheme = draft.care_of(case.med_type)
    if scheme is None or not draft.needs_filings(scheme):
        return False
    then = None if version is None else version.care_of(case.med_type)
    return version is None or then is None or not version.needs_filings(then)
