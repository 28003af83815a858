"""A month's settlements of one writer slot, made by the centre's own decisions and group.

Each group runs through `ledger.group.Group` with what a database would have read held in memory,
so that entries, claims, stored replies, totals and seals are those of a centre. Not here: how they
get into a database (`month_data.py`).
"""

import calendar
import datetime as dt
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from zoneinfo import ZoneInfo

from msgspec import structs
from msgspec.structs import astuple

from cardserver.benefits.adjudication import adjudicate
from cardserver.benefits.policy import load_policy
from cardserver.benefits.values import (
    Accumulated,
    BillLine,
    BillRefusal,
    Case,
    Moved,
    Purses,
)
from cardserver.claims.accumulators_store import note_openings
from cardserver.claims.checking import UNDOUBTED
from cardserver.claims.claims_store import ClaimsParticipant, felt_row, stages_row
from cardserver.claims.refund import WorkedOut, refund_work, work_out
from cardserver.claims.settlement import ENCODER, Adjudicated, post_settled
from cardserver.claims.undoing import cancel_work
from cardserver.claims.values import (
    AccumulatorKey,
    Attempt,
    Book,
    Claim,
    ClaimsDecision,
    ClaimsView,
    ClaimsWork,
    Facts,
    Needs,
    PersonState,
    Presented,
    Record,
)
from ledger.accounts import Account
from ledger.bulk_store import Query, Row
from ledger.calendar import business_date
from ledger.chain_store import numbered
from ledger.decisions import Answer, GroupView, Outcome, Work
from ledger.entries import Draft, EntryKind, Posting, entry_number
from ledger.group import Group
from ledger.ledger_store import GroupTime, PostedEntry, Slot, entry_queries
from ledger.months import slots_of
from ledger.scripts import Script, run_script
from protocol.terminal import messages
from protocol.terminal.bodies import request_hash
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType

TIMEZONE = ZoneInfo("Asia/Shanghai")
REGION = "110199"
INSUTYPE = "310"
GROUP_MAX = 48
CANCELS, REFUNDS, REFUSALS = 0.015, 0.01, 0.004  # of settlements
BILLS = 400  # different ones of each kind of care
OPENING_MAX = 1_000  # accounts that one entry opens
_STAYS = 0.03  # of a hospital's settlements
_PERSONAL = int(Account.PERSONAL_ACCOUNT)
_NO_NEEDS = Needs()
_POLICY = (
    Path(__file__).parents[1] / "cardserver" / "benefits" / "policies" / "beijing_employees.toml"
)
_LINES = {"11": (2, 10), "41": (1, 4), "21": (15, 40)}
_PRICES_FEN = {"11": (200, 20_000), "41": (500, 9_000), "21": (1_000, 120_000)}
_STAGES_US = tuple(
    (name, 123 * number)
    for number, name in enumerate(
        ("queue", "decode", "verification", "commit_wait", "lookup", "adjudication", "commit",
         "encode"), 1
    )
)  # fmt: skip
_ROWS_A_CHUNK = 20_000
_MS_A_DAY = 86_400_000
_OPENS_MS, _OPEN_MS = 8 * 3_600_000, 10 * 3_600_000

Tables = dict[str, list[Row]]


@dataclass(frozen=True)
class SlotPlan:
    """What one slot is to post.

    Attributes:
        part: Which of them, from 1; it serves the persons whose number leaves it as remainder.
        slots: How many there are.
        period: The month, YYYYMM.
        persons: Of the city, all slots'.
        settlements: This slot's own.
        institutions: Of the city.
        seed: Of the whole month.
        is_noted: Whether it is noted where each request's time went, as a centre does.
    """

    part: int
    slots: int
    period: int
    persons: int
    settlements: int
    institutions: int
    seed: int
    is_noted: bool = False

    def terminal_no(self, institution_no: int) -> int:
        """Return the institution's terminal that this slot serves."""
        return (self.part - 1) * self.institutions + institution_no

    @property
    def slot(self) -> int:
        """The slot's number, one of the month's."""
        return slots_of(self.period)[self.part - 1]

    @property
    def own_persons(self) -> range:
        """The persons whom this slot serves."""
        return range(self.part, self.persons + 1, self.slots)


@dataclass(frozen=True)
class MadePerson:
    """A person, told by their number alone."""

    person_type: str
    age: int
    balance_fen: int
    opening: Accumulated | None


def person_of(person_no: int) -> MadePerson:
    """Make a person up: a quarter is retired, half had used their deductible before."""
    mixed = person_no * 2_654_435_761 >> 7
    is_retired = mixed % 4 == 0
    age = 60 + mixed % 35 if is_retired else 18 + mixed % 42
    opening = None
    if mixed % 16 < 8:
        deductible_fen = 130_000 if is_retired else 180_000
        paid_fen = 10_000 + mixed % 300_000
        opening = Accumulated(deductible_fen, deductible_fen + 2 * paid_fen, paid_fen, 0, 0)
    return MadePerson("12" if is_retired else "11", age, 2_000 + mixed % 400_000, opening)


def birth_date_of(person: MadePerson, period: int) -> int:
    """Return a day of birth for the age."""
    return (period // 100 - person.age) * 10_000 + 101


def institution_of(institution_no: int) -> tuple[int, int]:
    """Return an institution's kind and level: hospitals, community centres, pharmacies."""
    return ((1, 1 + institution_no % 3), (2, 1), (3, 0))[institution_no % 5 % 3]


def institution_code(institution_no: int) -> str:
    """Return an institution's code, with which its msgids begin."""
    return f"H{REGION}{institution_no:05d}"


def first_ms(period: int) -> int:
    """Return when a month begins, at the fund."""
    year, month = divmod(period, 100)
    return calendar.timegm((year, month, 1, 0, 0, 0)) * 1000 - 8 * 3_600_000


class _Moment:
    """A clock that stands still."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Return the group's moment."""
        return self._now_ms

    def monotonic_ms(self) -> int:
        """Return the same."""
        return self._now_ms


class _KnownGroup(Group[Needs, Book, Record]):
    """A group whose reading was done: what it looks at is in memory."""

    view: ClaimsView

    def _read(self) -> Script[ClaimsView]:
        yield from ()
        return self.view


@dataclass
class _MadeBill:
    bill: messages.Bill
    encoded: bytes
    lines: list[BillLine]


class SlotMaker:
    """Makes one slot's rows, group by group.

    Attributes:
        plan: What is to be posted.
        slot: As it stands after the groups made so far.
        settlements: How many attempts to settle were made.
        undone: How many were cancelled or refunded.
    """

    def __init__(self, plan: SlotPlan) -> None:
        self.plan = plan
        self.slot = Slot(plan.slot, "", 0, bytes(32))
        self.settlements = 0
        self.undone = 0
        self._totals: dict[Row, list[int]] = {}
        self._chance = random.Random(f"{plan.seed} {plan.part}")
        self._policy = load_policy(_POLICY.read_text(encoding="utf-8"))
        self._bills = {
            kind: [_make_bill(plan.seed, kind, number) for number in range(BILLS)]
            for kind in _LINES
        }
        self._participant = ClaimsParticipant()
        self._book = Book()
        self._persons = plan.own_persons
        self._balances: dict[tuple[int, int], int] = {}
        self._locked = frozenset(self._persons)
        self._sequences: dict[int, int] = {}
        self._stamped = (0, "")
        self._to_undo: list[tuple[int, Claim]] = []
        self._year = plan.period // 100

    # --- opening -------------------------------------------------------------------------

    def opening(self) -> Iterator[Tables]:
        """Take over balances and accumulators, on the day before the month."""
        now_ms = first_ms(self.plan.period) - _MS_A_DAY // 2
        for start in range(0, len(self._persons), OPENING_MAX):
            some = self._persons[start : start + OPENING_MAX]
            held = {person: person_of(person).balance_fen for person in some}
            draft = Draft(
                kind=EntryKind.OPENING,
                postings=(
                    Posting(Account.OPENING, 0, sum(held.values())),
                    *(Posting(Account.PERSONAL_ACCOUNT, p, -fen) for p, fen in held.items()),
                ),
            )
            taken_over = [
                (p, self._year, INSUTYPE, "outpatient", *astuple(opening))
                for p in some
                if (opening := person_of(p).opening) is not None
            ]
            number = entry_number(slot=self.slot.slot, sequence=self.slot.sequence + 1)
            when = GroupTime(business_date(now_ms, TIMEZONE), 0, now_ms)
            when = replace(when, period=when.business_date // 100)
            queries, self.slot = entry_queries(
                self.slot,
                [PostedEntry(number, draft)],
                when,
                lease_until_ms=0,
                sealed=(noted := numbered([note_openings(taken_over)], number)),
            )
            tables: Tables = {"opening_accumulator": taken_over}
            self._take([*queries, *noted], tables)
            for person in some:
                self._balances[person, _PERSONAL] = held[person]
                opening = person_of(person).opening
                if opening is not None:
                    key = AccumulatorKey(person, self._year, INSUTYPE, "outpatient")
                    self._book.accumulators[key] = opening
            yield tables

    # --- the month -----------------------------------------------------------------------

    def month(self) -> Iterator[Tables]:
        """Make all groups of the month, some at a time."""
        tables: Tables = {}
        rows = 0
        days = calendar.monthrange(*divmod(self.plan.period, 100))[1]
        begins = first_ms(self.plan.period)
        while self.settlements < self.plan.settlements:
            count = min(
                self._chance.randint(1, GROUP_MAX), self.plan.settlements - self.settlements
            )
            # Evenly over the month, in the hours of each day in which counters are open.
            day, part = divmod(self.settlements * days / self.plan.settlements, 1.0)
            now_ms = begins + int(day) * _MS_A_DAY + _OPENS_MS + int(part * _OPEN_MS)
            rows += self._group(count, now_ms, tables)
            if rows >= _ROWS_A_CHUNK:
                yield tables
                tables, rows = {}, 0
        yield tables

    def last(self) -> Tables:
        """Return what is kept beside the entries, as it stands now."""
        return {
            "account_balance": [(*key, fen) for key, fen in self._balances.items()],
            "accumulator": [
                (*key, *astuple(used)) for key, used in self._book.accumulators.items()
            ],
            "period_total": [(*key, *sums) for key, sums in self._totals.items()],
            "writer_slot": [
                (self.slot.slot, "", 0, self.slot.sequence, self.slot.chain_head),
            ],
        }

    def _group(self, count: int, now_ms: int, tables: Tables) -> int:
        clock = _Moment(now_ms)
        day = business_date(now_ms, TIMEZONE)
        works = [self._undoing(*one, now_ms) for one in self._to_undo]
        self._to_undo.clear()
        undoing_count = len(works)
        works += [self._settlement(now_ms, day) for _ in range(count)]
        group = _KnownGroup(works, self._participant, self.slot, clock, TIMEZONE, 0)
        group.view = GroupView(
            GroupTime(day, self.plan.period, now_ms), {}, self._balances, self._locked, self._book
        )

        def execute(query: Query) -> list[Row]:
            self._take(_parts(query), tables)
            return [(self.slot.slot,)]

        result = run_script(group.script(), execute)
        self.slot = result.slot
        if self.plan.is_noted:
            tables.setdefault("request_stage", []).extend(
                stages_row(
                    work.key, time_ms=now_ms, message_type=work.type, code=0, stages=_STAGES_US,
                    trace=bytes(16),
                )
                for work in works
            )  # fmt: skip
            tables.setdefault("request_felt", []).extend(
                felt_row(
                    work.key, time_ms=now_ms, message_type=work.type, code=0, took_us=45_678,
                    sends=1, stages=_STAGES_US[:4],
                )
                for work in works
            )  # fmt: skip
        for outcome in result.outcomes[:undoing_count]:
            assert isinstance(outcome, Outcome)
            assert outcome.code == ResponseCode.APPROVED, outcome
        self.settlements += count
        self.undone += undoing_count
        self._choose_to_undo()
        return len(works)

    def _choose_to_undo(self) -> None:
        persons: set[int] = set()
        for number, claim in self._book.claims.items():
            person_no = claim.presented.person_no
            if claim.undoes is not None or number in self._book.undone:
                continue
            if person_no in persons:
                continue  # what a refund shows is worked out before the group, person by person
            if self._chance.random() < CANCELS + REFUNDS:
                self._to_undo.append((number, claim))
                persons.add(person_no)
        self._book.claims.clear()
        self._book.undone.clear()

    def _take(self, queries: Iterable[Query], tables: Tables) -> None:
        """Keep the rows that a group would write, by table; sums and states are kept as last."""
        for statement, rows in queries:
            verb, table = statement.name.split()
            if verb == "insert":
                tables.setdefault(table, []).extend(rows)
            elif table == "period_total":
                for *key, debit_fen, credit_fen, number in rows:
                    sums = self._totals.setdefault(tuple(key), [0, 0, 0])
                    sums[0] += debit_fen
                    sums[1] += credit_fen
                    sums[2] += number

    # --- works ---------------------------------------------------------------------------

    def _attempt(
        self, institution_no: int, now_ms: int, body: tuple[MessageType, bytes]
    ) -> Attempt:
        sequence = self._sequences.get(institution_no, 0)
        self._sequences[institution_no] = sequence + 1
        return Attempt(
            institution_no=institution_no,
            terminal_no=self.plan.terminal_no(institution_no),
            operator_no=institution_no,
            msgid=f"{institution_code(institution_no)}{self._stamp(now_ms)}{sequence % 10_000:04d}",
            request_hash=request_hash(*body),
            deadline_ms=now_ms + 1,
        )

    def _stamp(self, now_ms: int) -> str:
        if now_ms != self._stamped[0]:
            at = dt.datetime.fromtimestamp(now_ms / 1000, TIMEZONE)
            self._stamped = now_ms, f"{at:%Y%m%d%H%M%S}"
        return self._stamped[1]

    def _settlement(self, now_ms: int, day: int) -> ClaimsWork:
        chance = self._chance
        person_no = self._persons[int(chance.random() * len(self._persons))]
        institution_no = 1 + int(chance.random() * self.plan.institutions)
        kind, level = institution_of(institution_no)
        is_stay = kind == 1 and chance.random() < _STAYS
        med_type = "41" if kind == 3 else "21" if is_stay else "11"
        made = self._bills[med_type][int(chance.random() * BILLS)]
        person = person_of(person_no)
        case = Case(INSUTYPE, med_type, person.person_type, person.age, kind, level, REGION, day)
        body = (MessageType.SETTLE, made.encoded)
        attempt = self._attempt(institution_no, now_ms, body)
        if chance.random() < REFUSALS:
            return _work(attempt, MessageType.SETTLE, lambda _: Answer(ResponseCode.CHECK_REFUSED))

        def decide(view: ClaimsView) -> ClaimsDecision:
            return self._settle(view, attempt, case, made, person_no)

        return _work(attempt, MessageType.SETTLE, decide)

    def _settle(
        self, view: ClaimsView, attempt: Attempt, case: Case, made: "_MadeBill", person_no: int
    ) -> ClaimsDecision:
        scheme = self._policy.care_of(case.med_type)
        assert scheme is not None
        used: dict[str, Accumulated] = {}
        for row in self._policy.rows_of(scheme):
            amounts = view.book.accumulators.get(
                AccumulatorKey(person_no, self._year, INSUTYPE, row)
            )
            if amounts is not None:
                used[row] = amounts
        balance_fen = view.personal_balance(person_no)
        purses = Purses(balance_fen, 0, made.bill.uses_account)
        done = adjudicate(
            self._policy, case, made.lines, used, purses, explain=False,
            total_fen=made.bill.total_fen,
        )  # fmt: skip
        assert not isinstance(done, BillRefusal), done
        adjudicated = Adjudicated(
            bill=made.bill,
            visit=None,
            admission=0,
            insurance_region=REGION,
            adjudication=done,
            facts=Facts(case, tuple(Moved(*one) for one in used.items()), purses),
            care_date=case.care_date,
            payer_person_no=0,
            balance_after_fen=balance_fen - done.split.account_pay_fen,
        )
        presented = Presented(person_no, card_no=person_no, proof=2)
        return post_settled(attempt, presented, adjudicated, UNDOUBTED)

    def _undoing(self, number: int, claim: Claim, now_ms: int) -> ClaimsWork:
        """Undo a settlement of the group before, one way or the other."""
        institution_no, person_no = claim.attempt.institution_no, claim.presented.person_no
        self._book.claims[number] = claim
        self._book.persons[person_no] = PersonState(19810101, None, 0)
        draw = self._chance.random() * (CANCELS + REFUNDS)
        if draw < CANCELS:
            cancel = messages.Cancel(str(number), "made up")
            body = (MessageType.CANCEL, ENCODER.encode(cancel))
            return cancel_work(self._attempt(institution_no, now_ms, body), cancel)
        bill = claim.detail.bill
        assert bill is not None
        lines = (messages.RefundLine(1, bill.lines[0].quantity_e4),)
        refund = messages.Refund(str(number), lines, "made up", commits=True)
        view: ClaimsView = GroupView(
            GroupTime(0, 0, now_ms), {}, self._balances, self._locked, self._book
        )
        shown = work_out(view, institution_no, refund, self._policy)
        assert isinstance(shown, WorkedOut), shown
        back = shown.given_back
        refund = structs.replace(
            refund,
            fund_pay_fen=back.fund_pay_fen,
            account_pay_fen=back.account_pay_fen,
            cash_fen=back.cash_fen,
        )
        body = (MessageType.REFUND, ENCODER.encode(refund))
        return refund_work(self._attempt(institution_no, now_ms, body), refund, self._policy)


def _work(
    attempt: Attempt, kind: MessageType, decide: Callable[[ClaimsView], ClaimsDecision]
) -> ClaimsWork:
    return Work(
        key=attempt.key, type=kind, request_hash=attempt.request_hash, persons=(), original=None,
        needs=_NO_NEEDS, decide=decide, deadline_ms=attempt.deadline_ms,
    )  # fmt: skip


def _parts(query: Query) -> list[Query]:
    """Take apart what was put together for one round trip."""
    statement, rows = query
    if not statement.parts:
        return [query]
    return [Query(*one) for one in zip(statement.parts, rows, strict=True)]


def _make_bill(seed: int, med_type: str, number: int) -> _MadeBill:
    chance = random.Random(f"{seed} {med_type} {number}")
    lines, divided = [], []
    for index in range(chance.randint(*_LINES[med_type])):
        item_class = chance.choice((1, 1, 1, 2, 2, 3))
        price_fen = chance.randrange(*_PRICES_FEN[med_type])
        item = f"XA{chance.randrange(10**12):012d}"
        ratio_e4 = {1: 0, 2: 1000, 3: 10_000}[item_class]
        lines.append(messages.Line(item, f"药品{index}", price_fen * 10_000, 10_000, price_fen))
        divided.append(
            BillLine(item, item_class, ratio_e4, None, price_fen * 10_000, 10_000, price_fen)
        )
    bill = messages.Bill(
        insutype=INSUTYPE,
        med_type=med_type,
        total_fen=sum(line.gross_fen for line in lines),
        uses_account=chance.random() < 0.6,
        invoice=f"{chance.randrange(10**8):08d}",
        lines=tuple(lines),
    )
    return _MadeBill(bill, ENCODER.encode(bill), divided)
