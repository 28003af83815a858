"""The reviewers' desk: cases are taken, signed, appealed, and what follows is posted.

Every step is one of the fund's acts (`ledger/fund_acts.py`): it commits with its postings, its
audit row and the case, under the lock of the patient's row, which whoever undoes the settlement
takes too. Not here: what may be done (`procedure.py`), what reviewers see (`case_view_store.py`).
"""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from msgspec import msgpack
from msgspec.structs import replace

from cardserver.claims.audit_store import INSERT_AUDIT, audit_row
from cardserver.review import procedure, tables
from cardserver.review.cases_store import (
    APPEAL_BY_MSGID,
    INSERT_APPEALS,
    INSERT_CUTS,
    INSERT_STEPS,
    Appeal,
    cut_rows,
    lock_case,
    put_case,
    read_cases,
    read_surroundings,
)
from cardserver.review.months_store import find_month
from cardserver.review.rule_file import ReviewRules
from cardserver.review.rules_store import review_rules_named
from cardserver.review.values import (
    ROLE_AT,
    Case,
    Change,
    Finding,
    Refusal,
    Reviewer,
    Step,
    Surroundings,
    Terms,
)
from ledger.accounts import Account
from ledger.bulk_store import Query, Row, delete, plain, put
from ledger.calendar import Clock, business_date
from ledger.database_store import Database
from ledger.entries import Draft, EntryKind, Posting, negative
from ledger.fund_acts import (
    Act,
    Acted,
    ActKey,
    ActPosted,
    ActReusedError,
    ActType,
    ActView,
    FundActs,
    Refused,
)
from ledger.ledger_store import read_drafts
from ledger.scripts import Script

NOTE_SIZE_MAX = 400
_FOLLOWED_A_STEP = 200
_THE_CENTRE = Reviewer(0, 0, "")

_Decide: TypeAlias = Callable[[Case, Surroundings, Terms, int, int], Change | Refusal | None]
"""Of the case, its surroundings, the month's terms, the time and the day."""

_FOLLOWING_TEXT = (
    "SELECT c.case_no FROM review_case c WHERE c.case_no > {after} AND c.state <> 9"
    " AND (c.state = 5 AND c.appeal_until < {day}"
    " OR EXISTS (SELECT 1 FROM claim u WHERE u.undoes = c.claim_no))"
    " ORDER BY c.case_no LIMIT 200"
)
_FOLLOWING = plain(
    "cases of which something follows",
    postgresql=_FOLLOWING_TEXT.format(after="$1::bigint", day="$2::integer"),
    sqlite=_FOLLOWING_TEXT.format(after="?1", day="?2"),
)
_WAITING_MAX = 20
_WAITING_TEXT = (
    "SELECT case_no FROM review_case WHERE month = {p1} AND state = {p2}"
    " AND (holder_no = 0 OR held_until_ms <= {p3}) AND case_no > {p4} ORDER BY case_no LIMIT {p5}"
)
_PLACES = tuple(f"p{number}" for number in range(1, 6))
_WAITING = plain(
    "cases that wait",
    postgresql=_WAITING_TEXT.format(**{place: f"${place[1:]}::bigint" for place in _PLACES}),
    sqlite=_WAITING_TEXT.format(**{place: f"?{place[1:]}" for place in _PLACES}),
)
_PUT_CONFLICT = put(
    tables.review_conflict,
    set=("reason", "declared_time_ms"),
    by=("operator_no", "institution_no", "case_no"),
)
_LIFT_CONFLICT = delete(tables.review_conflict, by=("operator_no", "institution_no", "case_no"))
_CONFLICTS_TEXT = (
    "SELECT operator_no, institution_no, case_no, reason, declared_time_ms FROM review_conflict"
    " ORDER BY operator_no, institution_no, case_no"
)
_ALL_CONFLICTS = plain("read conflicts", postgresql=_CONFLICTS_TEXT, sqlite=_CONFLICTS_TEXT)


class Filed(NamedTuple):
    """What became of an appeal.

    Attributes:
        case: As it stands.
        is_duplicate: The same appeal had been filed before.
        filed_time_ms: When it was filed first.
    """

    case: Case
    is_duplicate: bool
    filed_time_ms: int


class MsgidReusedError(Exception):
    """An appeal was filed under this msgid before, with other content."""


class Conflict(NamedTuple):
    """Who may not review what: an institution's cases, or one case; the other is 0."""

    operator_no: int
    institution_no: int
    case_no: int
    reason: str
    declared_time_ms: int


class ReviewDesk:
    """Where cases are worked on; one a process is enough, and several work beside each other.

    Args:
        database: Started.
        acts: Entered; posts what decisions come to. None for a desk that only takes cases, gives
            them back and files appeals.
        clock: The world's time.
        timezone: Whose local day counts.
    """

    def __init__(
        self, database: Database, acts: FundActs | None, *, clock: Clock, timezone: dt.tzinfo
    ) -> None:
        self._database = database
        self._acts = acts
        self._clock = clock
        self._timezone = timezone
        self._rules: dict[int, ReviewRules] = {}

    # --- taking a case -------------------------------------------------------------------------

    async def take(self, case_no: int, who: Reviewer) -> Case | Refusal:
        """Take a case: nobody else can until it is done, given back, or left for too long."""
        return await self._hold(case_no, lambda case, around, terms, now_ms: procedure.take(
            case, around, who, terms, now_ms=now_ms
        ))  # fmt: skip

    async def take_next(self, month: int, who: Reviewer) -> Case | Refusal:
        """Take the first case that waits for someone of this role and that this person may take."""
        refusal = Refusal.NOT_NOW
        after = 0
        while waiting := await self._waiting(month, who, after=after):
            for case_no in waiting:
                taken = await self.take(case_no, who)
                if isinstance(taken, Case):
                    return taken
                refusal = taken
            after = waiting[-1]
        return refusal

    async def give_back(self, case_no: int, who: Reviewer) -> Case | Refusal:
        """Let someone else take the case."""
        return await self._hold(
            case_no,
            lambda case, _around, _terms, now_ms: procedure.give_back(case, who, now_ms=now_ms),
        )

    async def declare_conflict(
        self, who: Reviewer, *, institution_no: int = 0, case_no: int = 0, reason: str
    ) -> Refusal | None:
        """回避: say that one may not review an institution's cases, or one case."""
        assert bool(institution_no) is not bool(case_no)
        if not reason.strip():
            return Refusal.NOTE_MISSING
        now_ms = self._clock.now_ms()
        subject = f"institution {institution_no}" if institution_no else str(case_no)

        def script() -> Script[Refusal | None]:
            if case_no:
                case = yield from lock_case(case_no)
                if case is None:
                    return Refusal.CASE_UNKNOWN
                free = procedure.give_back(case, who, now_ms=now_ms)
                if isinstance(free, Case):
                    yield put_case(free)
            row = (who.operator_no, institution_no, case_no, reason[:200], now_ms)
            yield _PUT_CONFLICT([row])
            yield INSERT_AUDIT([_audited(who, now_ms, "review conflict", subject, reason)])
            return None

        return await self._database.transact(script)

    async def lift_conflict(
        self, who: Reviewer, operator_no: int, institution_no: int, *, reason: str
    ) -> None:
        """End a conflict with an institution; one with a case stays."""
        now_ms = self._clock.now_ms()
        detail = f"operator {operator_no}: {reason}"
        row = _audited(who, now_ms, "review conflict ends", f"institution {institution_no}", detail)
        await self._database.execute(
            _LIFT_CONFLICT([(operator_no, institution_no, 0)]), INSERT_AUDIT([row])
        )

    async def conflicts(self) -> list[Conflict]:
        """List who may not review what."""
        return [Conflict(*row) for row in await self._database.fetch(_ALL_CONFLICTS())]

    # --- signing -------------------------------------------------------------------------------

    async def accept(self, case_no: int, who: Reviewer, note: str = "") -> Case | Refusal:
        """受理."""
        return await self._sign(
            case_no,
            who,
            ("accept", note),
            lambda case, around, _terms, now_ms, _today: procedure.accept(
                case, around, who, note=note, now_ms=now_ms
            ),
        )

    async def calculate(self, case_no: int, who: Reviewer, finding: Finding) -> Case | Refusal:
        """核算."""
        return await self._sign(
            case_no,
            who,
            ("calculate", finding),
            lambda case, around, terms, now_ms, _today: procedure.calculate(
                case, around, who, finding, terms, now_ms=now_ms
            ),
        )

    async def audit(self, case_no: int, who: Reviewer, note: str = "") -> Case | Refusal:
        """稽查: sign what was calculated."""
        return await self._sign(
            case_no,
            who,
            ("audit", note),
            lambda case, around, terms, now_ms, today: procedure.audit(
                case, around, who, terms, note=note, now_ms=now_ms, today=today
            ),
        )

    async def send_back(self, case_no: int, who: Reviewer, note: str) -> Case | Refusal:
        """Have it calculated, or the appeal decided, anew."""
        return await self._sign(
            case_no,
            who,
            ("send_back", note),
            lambda case, around, _terms, now_ms, _today: procedure.send_back(
                case, around, who, note=note, now_ms=now_ms
            ),
        )

    async def decide_appeal(self, case_no: int, who: Reviewer, finding: Finding) -> Case | Refusal:
        """Decide an appeal."""
        return await self._sign(
            case_no,
            who,
            ("decide_appeal", finding),
            lambda case, around, terms, now_ms, _today: procedure.decide_appeal(
                case, around, who, finding, terms, now_ms=now_ms
            ),
        )

    async def confirm_appeal(self, case_no: int, who: Reviewer, note: str = "") -> Case | Refusal:
        """Sign the decision of an appeal for the second time."""
        return await self._sign(
            case_no,
            who,
            ("confirm_appeal", note),
            lambda case, around, _terms, now_ms, _today: procedure.confirm_appeal(
                case, around, who, note=note, now_ms=now_ms
            ),
        )

    # --- what the institution does, and what follows of itself -----------------------------------

    async def appeal(self, case_no: int, appeal: Appeal) -> Filed | Refusal:
        """File an institution's appeal; the same one again changes nothing.

        Raises:
            MsgidReusedError: Another one was filed under its msgid.
        """
        attempt = (appeal.institution_no, appeal.terminal_no, appeal.msgid)
        month = (await self._database.fetch_script(read_cases([case_no]))).get(case_no)
        if month is None or month.institution_no != appeal.institution_no:
            return Refusal.CASE_UNKNOWN
        today = business_date(self._clock.now_ms(), self._timezone)

        def script() -> Script[Filed | Refusal | None]:
            case = yield from lock_case(case_no)
            assert case is not None, "cases stay"
            known = yield APPEAL_BY_MSGID([attempt])
            if known:
                number, digest, filed_ms = known[0][3:]
                is_same = (number, bytes(digest)) == (case_no, appeal.request_hash)
                return Filed(case, is_duplicate=True, filed_time_ms=filed_ms) if is_same else None
            around = yield from read_surroundings(case)
            change = procedure.appeal(case, around, note=appeal.reason, today=today)
            if isinstance(change, Refusal):
                return change
            yield put_case(change.case)
            when = _When(appeal.recorded_time_ms, today // 100)
            who = Reviewer(appeal.operator_no, appeal.institution_no, "")
            yield INSERT_STEPS([_step_row(case, change.step, who, when, 0)])
            yield INSERT_APPEALS([(case_no, *appeal)])
            yield INSERT_AUDIT(
                [
                    audit_row(
                        time_ms=appeal.recorded_time_ms,
                        institution_no=appeal.institution_no,
                        terminal_no=appeal.terminal_no,
                        operator_no=appeal.operator_no,
                        action="review appeal",
                        subject=str(case_no),
                        detail=appeal.reason,
                    )
                ]
            )
            return Filed(change.case, is_duplicate=False, filed_time_ms=appeal.recorded_time_ms)

        filed = await self._database.transact(script)
        if filed is None:
            raise MsgidReusedError(appeal.msgid)
        return filed

    async def follow(self, on_followed: Callable[[Case], None] = lambda _: None) -> int:
        """Do what follows of itself, and return of how many cases.

        Where the settlement was undone the case is closed and its deduction given back; where the
        time to appeal is over the decision is final.
        """
        count = after = 0
        while True:
            today = business_date(self._clock.now_ms(), self._timezone)
            rows = await self._database.fetch(_FOLLOWING([(after, today)]))
            for (case_no,) in rows:
                followed = await self._followed(case_no)
                if followed is not None:
                    count += 1
                    on_followed(followed)
            if len(rows) < _FOLLOWED_A_STEP:
                return count
            after = rows[-1][0]

    async def find(self, case_no: int) -> Case | None:
        """Read how a case stands."""
        return (await self._database.fetch_script(read_cases([case_no]))).get(case_no)

    async def terms_of(self, month: int) -> Terms:
        """Return what the rules of a month say of the procedure."""
        return (await self.rules_of(month)).terms

    async def rules_of(self, month: int) -> ReviewRules:
        """Return the rules by which a month was opened; they never change."""
        rules = self._rules.get(month)
        if rules is None:
            opened = await find_month(self._database, month)
            assert opened is not None, "cases are of months that were opened"
            rules = self._rules[month] = await review_rules_named(self._database, opened.rules)
        return rules

    # --- beneath --------------------------------------------------------------------------------

    async def _waiting(self, month: int, who: Reviewer, *, after: int) -> list[int]:
        """Name the next cases that wait for this role and that nobody has taken."""
        states = [int(state) for state, role in ROLE_AT.items() if role == who.role]
        found: list[int] = []
        for state in states:
            row = (month, state, self._clock.now_ms(), after, _WAITING_MAX)
            found += [number for (number,) in await self._database.fetch(_WAITING([row]))]
        return sorted(found)[:_WAITING_MAX]

    async def _hold(
        self,
        case_no: int,
        decide: Callable[[Case, Surroundings, Terms, int], Case | Refusal],
    ) -> Case | Refusal:
        found = await self.find(case_no)
        if found is None:
            return Refusal.CASE_UNKNOWN
        terms = await self.terms_of(found.month)
        now_ms = self._clock.now_ms()

        def script() -> Script[Case | Refusal]:
            case = yield from lock_case(case_no)
            assert case is not None, "cases stay"
            around = yield from read_surroundings(case)
            held = decide(case, around, terms, now_ms)
            if isinstance(held, Case):
                yield put_case(held)
            return held

        held = await self._database.transact(script)
        if held is Refusal.SETTLEMENT_UNDONE:
            await self._followed(case_no)
        return held

    async def _sign(
        self, case_no: int, who: Reviewer, content: object, decide: _Decide
    ) -> Case | Refusal:
        if isinstance(content, tuple) and isinstance(content[1], str):
            assert len(content[1]) <= NOTE_SIZE_MAX
        found = await self.find(case_no)
        if found is None:
            return Refusal.CASE_UNKNOWN
        refusal = await self._act(found, who, content, decide)
        if refusal is Refusal.SETTLEMENT_UNDONE:
            await self._followed(case_no)
        if refusal is not None:
            return refusal
        after = await self.find(case_no)
        assert after is not None, "cases stay"
        return after

    async def _followed(self, case_no: int) -> Case | None:
        """Do what follows of a case; None where nothing does."""
        found = await self.find(case_no)
        if found is None or self._acts is None:
            return None
        done = await self._act(
            found,
            _THE_CENTRE,
            ("follow",),
            lambda case, around, _terms, _now_ms, today: procedure.follow(
                case, around, today=today
            ),
        )
        return await self.find(case_no) if done is None else None

    async def _act(
        self, found: Case, who: Reviewer, content: object, decide: _Decide
    ) -> Refusal | None:
        assert self._acts is not None, "a desk that signs posts"
        terms = await self.terms_of(found.month)
        step = found.steps + 1

        def read() -> Script[_Read]:
            case = yield from lock_case(found.case_no)
            assert case is not None, "cases stay"
            around = yield from read_surroundings(case)
            drafts = yield from read_drafts([case.deduction_no] if case.deduction_no else [])
            return _Read(case, around, drafts.get(case.deduction_no))

        def act(view: ActView, was_read: _Read) -> Acted | Refused:
            case, when = was_read.case, view.when
            if case.steps + 1 != step:
                return _refused(Refusal.NOT_NOW)
            day = when.business_date
            change = decide(case, was_read.around, terms, when.recorded_time_ms, day)
            if not isinstance(change, Change):
                return _refused(change or Refusal.NOT_NOW)
            return _acted(case, change, was_read.deduction, who, content)

        try:
            outcome = await self._acts.post(
                Act(
                    key=ActKey(ActType.REVIEW, found.month, (found.case_no, step)),
                    content=msgpack.encode((who.operator_no, content)),
                    persons=(found.person_no,),
                    read=read,
                    decide=act,
                    subject=found.case_no,
                )
            )
        except ActReusedError:  # someone else has done this step since we looked
            return Refusal.NOT_NOW
        return Refusal[outcome.body.decode()] if outcome.is_refused else None


class _Read(NamedTuple):
    """What a step's act reads: the deduction is the entry in force, if there is one."""

    case: Case
    around: Surroundings
    deduction: Draft | None


class _When(NamedTuple):
    recorded_time_ms: int
    month: int


def deduction_draft(case: Case, amount_fen: int) -> Draft:
    """Return the entry that takes an amount from what the institution is owed."""
    assert 0 < amount_fen <= case.fund_pay_fen, "never more than the fund paid"
    return Draft(
        kind=EntryKind.REVIEW_DEDUCTION,
        postings=(
            Posting(Account.INSTITUTION_PAYABLE, case.institution_no, amount_fen),
            Posting(Account.DEDUCTIONS, case.institution_no, -amount_fen),
        ),
        institution_no=case.institution_no,
        clearing_type=case.clearing_type,
    )


def _acted(
    case: Case, change: Change, deduction: Draft | None, who: Reviewer, content: object
) -> Acted:
    drafts: list[Draft] = []
    if change.gives_back:
        assert deduction is not None, "a deduction in force has its entry"
        drafts.append(
            negative(deduction, kind=EntryKind.REVIEW_DEDUCTION, undoes=case.deduction_no)
        )
    if change.deducts_fen:
        drafts.append(deduction_draft(case, change.deducts_fen))

    def write(posted: ActPosted) -> Sequence[Query]:
        last = posted.numbers[-1] if posted.numbers else 0
        after = change.case
        if change.deducts_fen:
            after = replace(after, deduction_no=last)
        when = _When(posted.when.recorded_time_ms, posted.when.business_date // 100)
        step = change.step
        queries = [
            put_case(after),
            INSERT_STEPS([_step_row(case, step, who, when, last)]),
            INSERT_AUDIT(
                [
                    _audited(
                        who,
                        when.recorded_time_ms,
                        f"review {step.kind.name.lower()}",
                        str(case.case_no),
                        f"{step.verdict.name.lower()} {step.deduction_fen} {step.note}",
                    )
                ]
            ),
        ]
        if step.cuts:
            queries.append(INSERT_CUTS(cut_rows(case.case_no, case.steps + 1, step.cuts)))
        return queries

    body = msgpack.encode(content)
    return Acted(drafts=tuple(drafts), write=write, body_of=lambda _: body)


def _refused(refusal: Refusal) -> Refused:
    return Refused(refusal.name.encode())


def _step_row(case: Case, step: Step, who: Reviewer, when: _When, entry_no: int) -> Row:
    return (
        case.case_no, case.steps + 1, int(step.kind), who.operator_no, who.department, when.month,
        case.taken_time_ms, when.recorded_time_ms, int(step.verdict), case.fund_pay_fen,
        step.deduction_fen, entry_no, step.note[:NOTE_SIZE_MAX],
    )  # fmt: skip


def _audited(who: Reviewer, now_ms: int, action: str, subject: str, detail: str) -> Row:
    return audit_row(
        time_ms=now_ms, institution_no=0, terminal_no=0, operator_no=who.operator_no,
        action=action, subject=subject, detail=detail,
    )  # fmt: skip
