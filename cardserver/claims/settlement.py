"""SETTLE and PREVIEW: one bill from what is known of the person to what is to be posted.

The decision is pure and the same for both. Not here: undoing (`undoing.py`), how a bill is divided
(`cardserver.benefits`), reading and writing (`claims_store.py`).
"""

from collections.abc import Sequence
from itertools import repeat

from msgspec import Struct, msgpack

from cardserver.benefits import values as benefits
from cardserver.benefits.adjudication import adjudicate
from cardserver.catalogue.catalogue import Catalogue
from cardserver.claims.accounting import settlement_entry
from cardserver.claims.admissible_bill import admissible_bill, care_date_of
from cardserver.claims.checking import Passed, ToCheck, audit_of, check_bill, looks_back
from cardserver.claims.eligibility import age_on, coverage
from cardserver.claims.uncovered_lines import uncovered_of
from cardserver.claims.values import (
    AccumulatorKey,
    Attempt,
    Claim,
    ClaimDetail,
    ClaimsAnswer,
    ClaimsDecision,
    ClaimsPost,
    ClaimsView,
    ClaimsWork,
    Facts,
    Needs,
    Presented,
    Record,
    Rules,
    Uncovered,
    claim_number,
)
from cardserver.outcomes import code_of_bill
from cardserver.registry.values import Insurance
from cardserver.visits.billing import VisitBill, stay_so_far
from cardserver.visits.refusal import Refusal
from cardserver.visits.visit_book import Noted
from ledger.decisions import Answer, Post, Posted, Work
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Bill, MessageType

_LAST_DAY = 1231
_CLASS_C = 3
_WHOLE_E4 = 10_000
ENCODER = msgpack.Encoder()


class Adjudicated(Struct, frozen=True):
    """A bill divided, with all that its posting needs.

    Attributes:
        bill: As settled; a visit's with its lines.
        visit: The visit that it settles.
        admission: The stay's number in the year of its first settlement; 0 without a stay.
    """

    bill: Bill
    visit: VisitBill | None
    admission: int
    insurance_region: str
    adjudication: benefits.Adjudication
    facts: Facts
    care_date: int
    payer_person_no: int
    balance_after_fen: int


def settle_work(
    attempt: Attempt, settle: messages.Settle, presented: Presented, rules: Rules, *, today: int
) -> ClaimsWork:
    """Make the writer's work of a SETTLE.

    Args:
        attempt: Who asks.
        settle: The decoded body.
        presented: The card session's person and card, or the exception's.
        rules: Policies, catalogue and checks.
        today: The fund's local day now; a group after midnight decides by its own.
    """

    def decide(view: ClaimsView) -> ClaimsDecision:
        return decide_settlement(view, attempt, settle, presented, rules)

    return Work(
        key=attempt.key,
        type=MessageType.SETTLE,
        request_hash=attempt.request_hash,
        persons=(presented.person_no,),
        original=None,
        needs=needs_of(settle.bill, presented, rules, terminal_no=attempt.terminal_no, today=today),
        decide=decide,
        deadline_ms=attempt.deadline_ms,
    )


def needs_of(
    bill: Bill, presented: Presented, rules: Rules, *, terminal_no: int, today: int
) -> Needs:
    """Say what has to be read to divide a bill and to check it."""
    visit_no = claim_number(bill.mdtrt_id)
    # Which of a visit's days decides is known once it is read, and so are its earlier years.
    year, day = divmod(today if visit_no else care_date_of(bill, today), 10_000)
    # A group of the year's last day may find itself in the next year.
    years = (year, year + 1) if day == _LAST_DAY else (year,)
    past = looks_back(bill, presented, rules, today=today)
    return Needs(
        person_no=presented.person_no,
        years=years,
        card_no=presented.card_no,
        terminal_no=terminal_no,
        visit_no=visit_no,
        stays_of=presented.person_no if past.needs_stays else 0,
        filings_of=presented.person_no
        if rules.policies.needs_filings(bill.insutype, bill.med_type)
        else 0,
        history_from=past.first_day,
    )


def decide_settlement(
    view: ClaimsView,
    attempt: Attempt,
    settle: messages.Settle,
    presented: Presented,
    rules: Rules,
) -> ClaimsDecision:
    """Decide a SETTLE by what is true under the person's lock."""
    done = adjudicate_bill(
        view, settle.bill, presented, rules, terminal_no=attempt.terminal_no, explain=False
    )
    if isinstance(done, Answer):
        return done
    split = done.adjudication.split
    shown = (settle.fund_pay_fen, settle.account_pay_fen, settle.cash_fen)
    if shown != (split.fund_pay_fen, split.account_pay_fen + split.mutual_aid_fen, split.cash_fen):
        body = ENCODER.encode(previewed(done, presented))
        return Answer(ResponseCode.SPLIT_CHANGED, body)
    passed = check_bill(
        view,
        ToCheck(done.bill, presented, attempt.terminal_no, done.facts.case, split),
        rules,
        attempt=attempt,
        override=settle.override,
    )
    if isinstance(passed, Answer):
        return passed
    return post_settled(attempt, presented, done, passed)


def adjudicate_bill(
    view: ClaimsView,
    bill: Bill,
    presented: Presented,
    rules: Rules,
    *,
    terminal_no: int,
    explain: bool,
) -> Adjudicated | ClaimsAnswer:
    """Divide a bill, or refuse with the first code that applies."""
    book = view.book
    found = admissible_bill(view, bill, presented, rules, terminal_no=terminal_no)
    if isinstance(found, Refusal):
        return Answer(
            found.code,
            detail_zh=found.detail_zh,
            detail_en=found.detail_en,
            is_stored=found.code.is_stored,
        )
    bill, care_date, visited = found.bill, found.care_date, found.visit
    place, person, insurance = found.place, found.person, found.insurance
    policy, scheme, filed = found.policy, found.scheme, found.filed
    payer_person_no, mutual_aid_fen = aid_of(view, presented.person_no)
    balance_fen = view.personal_balance(presented.person_no)
    case = benefits.Case(
        insutype=bill.insutype,
        med_type=bill.med_type,
        person_type=insurance.person_type,
        age=age_on(person.birth_date, care_date),
        institution_kind=place.kind,
        institution_level=place.level,
        region=insurance.region,
        care_date=care_date,
        referral=filed.referral,
        disease=filed.disease,
        is_designated=filed.is_designated,
        filed_items=filed.items,
    )
    used: dict[str, benefits.Accumulated] = {}
    for row in policy.rows_of(scheme):
        key = AccumulatorKey(presented.person_no, care_date // 10_000, bill.insutype, row)
        amounts = book.accumulators.get(key)
        if amounts is not None:
            used[row] = amounts
    purses = benefits.Purses(balance_fen, mutual_aid_fen, bill.uses_account)
    stay, admission = None, 0
    if visited is not None and visited.is_stay:
        chain = [
            course
            for visit, course in book.visits.chain(visited.visit)
            if visit.visit_no == visited.visit.visit_no or policy.is_one_stay_after_transfer(scheme)
        ]
        stay = stay_so_far(chain, year=care_date // 10_000)
        # As `adjudicate` numbers a stay of which nothing is settled.
        before = used.get(scheme, benefits.NOTHING_USED)
        admission = stay.admission if stay else before.admissions + 1
    by_day = policy.is_entitled_by_day(scheme)
    lines = _lines(
        bill,
        rules.catalogue,
        place.level,
        care_date=care_date,
        days=None if visited is None else visited.days,
        insurances=found.insurances if by_day else None,
    )
    adjudication = adjudicate(
        policy,
        case,
        lines,
        used,
        purses,
        explain=explain,
        total_fen=bill.total_fen,
        stay=stay,
    )
    if isinstance(adjudication, benefits.BillRefusal):
        return Answer(
            code_of_bill(adjudication.reason),
            detail_zh=adjudication.detail_zh,
            detail_en=adjudication.detail_en,
        )
    uncovered: tuple[Uncovered, ...] = ()
    if by_day or policy.plans[scheme].items is not None:
        uncovered = uncovered_of(lines, adjudication.line_splits)
    return Adjudicated(
        bill=bill,
        visit=visited,
        admission=admission,
        insurance_region=insurance.region,
        adjudication=adjudication,
        facts=Facts(
            case, tuple(benefits.Moved(*row) for row in used.items()), purses, stay, uncovered
        ),
        care_date=care_date,
        payer_person_no=payer_person_no if adjudication.split.mutual_aid_fen else 0,
        balance_after_fen=balance_fen - adjudication.split.account_pay_fen,
    )


def refused(code: ResponseCode) -> ClaimsAnswer:
    """Refuse with a code, which knows whether it is kept."""
    return Answer(code, is_stored=code.is_stored)


def previewed(
    done: Adjudicated,
    presented: Presented,
    warnings: tuple[messages.CheckFinding, ...] = (),
) -> messages.Previewed:
    """Return PREVIEW's reply body."""
    adjudication = done.adjudication
    return messages.Previewed(
        psn_no=str(presented.person_no),
        split=split_message(adjudication.split),
        line_splits=tuple(
            messages.LineSplit(
                item_class=line.item_class,
                price_limit_microyuan=line.price_limit_microyuan,
                self_pay_ratio_e4=line.self_pay_ratio_e4,
                fully_own_fen=line.fully_own_fen,
                over_limit_fen=line.over_limit_fen,
                pre_self_pay_fen=line.pre_self_pay_fen,
                in_scope_fen=line.in_scope_fen,
            )
            for line in adjudication.line_splits
        ),
        balance_after_fen=done.balance_after_fen,
        explanation=tuple(
            messages.ExplanationStep(
                rule=step.rule,
                text_zh=step.text_zh,
                text_en=step.text_en,
                amount_fen=step.amount_fen,
                field=step.field,
            )
            for step in adjudication.explanation
        ),
        warnings=warnings,
    )


def split_message(split: benefits.Split) -> messages.Split:
    """Return a split as it goes over the wire."""
    return messages.Split(
        total_fen=split.total_fen,
        fully_own_fen=split.fully_own_fen,
        over_limit_fen=split.over_limit_fen,
        pre_self_pay_fen=split.pre_self_pay_fen,
        in_scope_fen=split.in_scope_fen,
        deductible_fen=split.deductible_fen,
        layers=tuple(messages.Layer(layer.field, layer.paid_fen) for layer in split.layers),
        fund_pay_fen=split.fund_pay_fen,
        hospital_part_fen=split.hospital_part_fen,
        person_part_fen=split.person_part_fen,
        account_pay_fen=split.account_pay_fen,
        mutual_aid_fen=split.mutual_aid_fen,
        cash_fen=split.cash_fen,
    )


def post_settled(
    attempt: Attempt, presented: Presented, done: Adjudicated, passed: Passed
) -> ClaimsPost:
    """Post a bill as it was divided and tried."""
    adjudication, bill, visit = done.adjudication, done.bill, done.visit
    split = adjudication.split
    draft = settlement_entry(
        split,
        person_no=presented.person_no,
        payer_person_no=done.payer_person_no,
        institution_no=attempt.institution_no,
        insutype=bill.insutype,
        clearing_type=adjudication.clearing_type,
    )
    claim = Claim(
        attempt=attempt,
        presented=presented,
        type=MessageType.SETTLE,
        insutype=bill.insutype,
        med_type=bill.med_type,
        care_date=done.care_date,
        policy=adjudication.policy,
        undoes=None,
        detail=ClaimDetail(
            bill=bill,
            split=split,
            line_splits=adjudication.line_splits,
            moved=adjudication.moved,
            scheme=adjudication.scheme,
            year=adjudication.year,
            payer_person_no=done.payer_person_no,
            facts=done.facts,
            visit_no=visit.visit.visit_no if visit else 0,
            checked=passed.checked,
        ),
        draft=draft,
    )

    def body_of(posted: Posted) -> bytes:
        return ENCODER.encode(
            messages.Settled(
                setl_id=str(posted.entry_no),
                psn_no=str(presented.person_no),
                split=split_message(split),
                balance_after_fen=done.balance_after_fen,
                settled_time_ms=posted.when.recorded_time_ms,
                warnings=passed.warnings,
                clearing_type=draft.clearing_type,
            )
        )

    noted = None
    if visit is not None:
        settled = visit.record(
            admission=done.admission, year=adjudication.year, moved=adjudication.moved
        )
        noted = Noted(visit.visit.visit_no, record=settled)
    record = Record(
        attempt=attempt, action="settle", reason=audit_of(passed.checked), claim=claim, visit=noted
    )
    return Post(draft, ResponseCode.APPROVED, body_of, record)


def aid_of(view: ClaimsView, person_no: int) -> tuple[int, int]:
    """Return whose account may aid the person's, and what it holds; (0, 0) nobody's.

    The family was looked up as the lock was asked for; where it changed meanwhile, nobody aids.
    """
    payer = view.book.payers.get(person_no)
    if (
        payer is None
        or payer.person_no == person_no
        or payer.family_no != view.book.persons[person_no].family_no
        or payer.person_no not in view.book.persons
    ):
        return 0, 0
    return payer.person_no, view.personal_balance(payer.person_no)


def _lines(
    bill: Bill,
    catalogue: Catalogue,
    level: int,
    *,
    care_date: int,
    days: Sequence[int] | None,
    insurances: Sequence[Insurance] | None,
) -> list[benefits.BillLine]:
    """Look the lines up.

    Args:
        bill: With its lines.
        catalogue: As of now.
        level: The institution's.
        care_date: The day of a line that has none of its own.
        days: The lines' own, of a visit.
        insurances: The person's, where each day is covered for itself.
    """
    lines: list[benefits.BillLine] = []
    find = catalogue.find
    covered: dict[int, bool] = {}
    for line, day in zip(bill.lines, repeat(care_date) if days is None else days, strict=False):
        if insurances is not None and day not in covered:
            covered[day] = isinstance(coverage(insurances, bill.insutype, day), Insurance)
        item = find(line.item, level=level, day=day)
        if item is None:
            item_class, ratio_e4, limit = _CLASS_C, _WHOLE_E4, None
        else:
            item_class, ratio_e4 = item.item_class, item.self_pay_ratio_e4
            limit = item.price_limit_microyuan
        lines.append(
            benefits.BillLine(
                line.item, item_class, ratio_e4, limit,
                line.price_microyuan, line.quantity_e4, line.gross_fen,
                covered.get(day, True),
            )
        )  # fmt: skip
    return lines
