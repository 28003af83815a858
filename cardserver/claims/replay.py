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
    Split,
    Stay,
)
from cardserver.claims.claim_detail import decode_detail
from cardserver.claims.replay_detail import Paid, read_detail
from cardserver.claims.replay_track import Event, StoredClaim, Track, Used, YearKey
from cardserver.claims.values import Facts

_FIRST_DAY, _LAST_DAY = 10101, 99991231


class Months(Struct, frozen=True):
    """Which claims are replayed: those entered on these days, the last included (YYYYMMDD)."""

    first_day: int
    last_day: int


class ReplayedClaim(Struct, frozen=True):
    """One settlement that stands, as it was decided and as it would have been.

    Attributes:
        total_fen: Of the bill.
        paid_before: By layer, as it was decided.
        fund_before_fen: Their sum.
        person_before_fen: What was the patient's.
        paid_after: By layer.
        fund_after_fen: Their sum.
        person_after_fen: What is the patient's.
        is_covered: Whether the draft has rules for such care.
        lacks_facts: Whether the draft asks for filings that nobody looked up at the time.
    """

    entry_no: int
    institution_no: int
    month: int
    scheme: str
    case: Case
    total_fen: int
    paid_before: Paid
    fund_before_fen: int
    person_before_fen: int
    paid_after: Paid
    fund_after_fen: int
    person_after_fen: int
    is_covered: bool
    lacks_facts: bool


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
        self._found: dict[tuple[str, str, str], Policy | None] = {}
        self._lacking: dict[tuple[str, str, str, str], bool] = {}

    def draft_for(self, case: Case) -> Policy | None:
        """Find the draft that has rules for a case."""
        if self.drafts is None:
            return None
        key = (case.insutype, case.region, case.med_type)
        if key not in self._found:  # on whatever day: they are always in force
            self._found[key] = self.drafts.find(*key, case.care_date)
        return self._found[key]

    def lacks_facts(self, draft: Policy, case: Case, version: str) -> bool:
        """Tell whether a draft asks for filings that nobody looked up for a version's claims."""
        key = (draft.identity, version, case.med_type, case.disease)
        known = self._lacking.get(key)
        if known is None:
            known = self._lacking[key] = _lacks_facts(draft, case, self.versions.get(version))
        return known


def replay_person(
    person_no: int,
    claims: Sequence[StoredClaim],
    now: Mapping[YearKey, Used],
    rules: ReplayRules,
    months: Months,
    chains: Mapping[int, int],
) -> PersonReplayed:
    """Decide one person's claims again.

    Args:
        person_no: The person.
        claims: Those entered on or after the first day, in the order of their entries, also later
            than the last day: they say what was undone since, and how much of `now` came after.
        now: The accumulators as they are after all these claims.
        rules: The versions that decided, and the drafts.
        months: Which of the claims are decided again.
        chains: By stay that continues another by transfer, the first of them.
    """
    events = [_event(claim, rules, chains) for claim in claims]
    undone = {claim.undoes for claim in claims if claim.undoes is not None}
    start = _before(now, events)
    draft, control = Track(start), Track(start)
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


def _event(claim: StoredClaim, rules: ReplayRules, chains: Mapping[int, int]) -> Event:
    detail = read_detail(claim.detail)
    stay_no = detail.visit_no
    if stay_no in chains:
        version = rules.versions.get(claim.policy)
        if version is None or version.is_one_stay_after_transfer(detail.scheme):
            stay_no = chains[stay_no]
    return Event(claim, detail, stay_no)


def _before(now: Mapping[YearKey, Used], events: Iterable[Event]) -> dict[YearKey, Used]:
    """Take off what the claims moved: what was accumulated before them."""
    start = {key: dict(rows) for key, rows in now.items()}
    for event in events:
        used = start.setdefault(event.year_key, {})
        for one in event.detail.moved:
            after, moved = used.get(one.scheme, NOTHING_USED), one.amounts
            used[one.scheme] = Accumulated(
                after.deductible_fen - moved.deductible_fen,
                after.in_scope_fen - moved.in_scope_fen,
                after.pool_fen - moved.pool_fen,
                after.large_amount_fen - moved.large_amount_fen,
                after.admissions - moved.admissions,
            )
    return start


def _decide(
    event: Event, track: Track, rules: ReplayRules, found: PersonReplayed, *, is_undone: bool
) -> None:
    """Decide one settlement by the draft, or else by the version that decided it then."""
    claim, detail, facts = event.claim, event.detail, event.detail.facts
    lines = detail.lines
    if facts is None or lines is None:
        track.settle(event, detail.moved)
        if not is_undone:
            why = "no facts were kept" if facts is None else "its lines were not kept"
            found.unreplayed.append(Unreplayed(claim.entry_no, why, detail.fund_pay_fen))
        return
    draft = rules.draft_for(facts.case)
    policy = draft or rules.versions.get(claim.policy)
    if policy is None:
        track.settle(event, detail.moved, facts.stay)
        if not is_undone:
            why = f"version {claim.policy} is not known"
            found.unreplayed.append(Unreplayed(claim.entry_no, why, detail.fund_pay_fen))
        return
    stay = track.stay_of(event, facts.stay)
    done = _adjudicate(event, facts, lines, policy, track.used(event.year_key), stay)
    if isinstance(done, BillRefusal):
        track.settle(event, (), stay)
        if is_undone:
            return
        why = f"{done.detail_zh} / {done.detail_en}"
        found.refused.append(Unreplayed(claim.entry_no, why, detail.fund_pay_fen))
        paid: Paid = ()
        fund, person = 0, detail.total_fen
    else:
        track.settle(event, done.moved, stay)
        if is_undone:
            return
        paid = tuple([(layer.field, layer.paid_fen) for layer in done.split.layers])
        fund, person = done.split.fund_pay_fen, done.split.person_part_fen
    found.claims.append(
        ReplayedClaim(
            claim.entry_no,
            claim.institution_no,
            claim.business_date // 100,
            detail.scheme,
            facts.case,
            detail.total_fen,
            detail.paid,
            detail.fund_pay_fen,
            detail.person_part_fen,
            paid,
            fund,
            person,
            draft is not None,
            draft is not None and rules.lacks_facts(draft, facts.case, claim.policy),
        )
    )


def _check(event: Event, track: Track, rules: ReplayRules, found: PersonReplayed) -> None:
    """Decide one settlement by the version that decided it, and compare."""
    claim, detail, facts = event.claim, event.detail, event.detail.facts
    lines = detail.lines
    if facts is not None and lines is not None:
        found.control_count += 1
        what = _difference(event, facts, lines, rules.versions.get(claim.policy), track)
        if what:
            found.differences.append(Difference(claim.entry_no, claim.policy, what))
    # As stored, so that one difference is not told again of all claims that follow.
    track.settle(event, detail.moved, None if facts is None else facts.stay)


def _difference(
    event: Event,
    facts: Facts,
    lines: Sequence[BillLine],
    policy: Policy | None,
    track: Track,
) -> str:
    """Say in what a settlement is decided otherwise today; empty where it is not."""
    detail = decode_detail(event.claim.detail)
    if policy is None:
        return f"version {event.claim.policy} is not known"
    used = track.used(event.year_key)
    looked_at = policy.rows_of(detail.scheme)
    then = {one.scheme: one.amounts for one in facts.used}
    for row in looked_at:
        before, now = then.get(row, NOTHING_USED), used.get(row, NOTHING_USED)
        if before != now:
            return f"accumulators {row}: {_amounts(before)} then, {_amounts(now)} now"
    stay = track.stay_of(event, facts.stay)
    if stay != facts.stay:
        return "the stay that it goes on with is another"
    done = _adjudicate(event, facts, lines, policy, used, stay)
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
    event: Event,
    facts: Facts,
    lines: Sequence[BillLine],
    policy: Policy,
    used: Used,
    stay: Stay | None,
) -> Adjudication | BillRefusal:
    return adjudicate(
        policy,
        facts.case,
        lines,
        used,
        facts.purses,
        explain=False,
        total_fen=event.detail.total_fen,
        stay=stay,
    )


def _lacks_facts(draft: Policy, case: Case, version: Policy | None) -> bool:
    """Tell whether a draft asks for filings that nobody looked up when a claim was decided."""
    scheme = draft.care_of(case.med_type, case.disease)
    if scheme is None or not draft.needs_filings(scheme):
        return False
    then = None if version is None else version.care_of(case.med_type, case.disease)
    return version is None or then is None or not version.needs_filings(then)
