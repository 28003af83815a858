"""SETTLE and PREVIEW: one bill from what is known of the person to what is to be posted.

The decision is pure and the same for both. Not here: undoing (`undoing.py`), how a bill is divided
(`cardserver.benefits`), reading and writing (`claims_store.py`).
"""

import datetime as dt

from msgspec import Struct, msgpack

from cardserver.benefits import values as benefits
from cardserver.benefits.adjudication import adjudicate
from cardserver.catalogue.catalogue import Catalogue
from cardserver.claims.accounting import settlement_entry
from cardserver.claims.checking import Passed, ToCheck, audit_of, check_bill, looks_back
from cardserver.claims.eligibility import (
    age_on,
    coverage,
    refusal_of_card,
    refusal_of_contract,
    refusal_of_person,
    refusal_of_place,
)
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
)
from cardserver.outcomes import code_of_bill
from ledger.decisions import Answer, Post, Posted, Work
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Bill, MessageType

_LAST_DAY = 1231
_CLASS_C = 3
_WHOLE_E4 = 10_000
ENCODER = msgpack.Encoder()


class Adjudicated(Struct, frozen=True):
    """A bill divided, with all that its posting needs."""

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
    care_date = care_date_of(bill, today)
    year, day = divmod(care_date, 10_000)
    # A group of the year's last day may find itself in the next year.
    years = (year, year + 1) if day == _LAST_DAY else (year,)
    past = looks_back(bill, presented, rules, today=today)
    return Needs(
        person_no=presented.person_no,
        years=years,
        card_no=presented.card_no,
        terminal_no=terminal_no,
        stays_of=presented.person_no if past.needs_stays else 0,
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
    bill = settle.bill
    done = adjudicate_bill(
        view, bill, presented, rules, terminal_no=attempt.terminal_no, explain=False
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
        ToCheck(bill, presented, attempt.terminal_no, done.facts.case, split),
        rules,
        attempt=attempt,
        override=settle.override,
    )
    if isinstance(passed, Answer):
        return passed
    return _post(attempt, bill, presented, done, passed)


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
    today = view.when.business_date
    care_date = care_date_of(bill, today)
    place = book.places.get(terminal_no)
    person = book.persons.get(presented.person_no)
    refusal = refusal_of_place(place)
    if refusal is None and presented.card_no:
        refusal = refusal_of_card(book.cards.get(presented.card_no), presented.person_no, today)
    refusal = refusal or refusal_of_person(person, care_date)
    if refusal is not None:
        return refused(refusal)
    assert place is not None
    assert person is not None
    insurance = coverage(book.insurances.get(presented.person_no, ()), bill.insutype, care_date)
    if isinstance(insurance, ResponseCode):
        return refused(insurance)
    refusal = refusal_of_contract(place, bill.med_type, care_date) or _refusal_of_dates(bill, today)
    if refusal is not None:
        return refused(refusal)
    policy = rules.policies.find(bill.insutype, insurance.region, bill.med_type, care_date)
    scheme = policy and policy.care_of(bill.med_type)
    if not policy or not scheme:
        return refused(ResponseCode.POLICY_NOT_FOUND)

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
    )
    used: dict[str, benefits.Accumulated] = {}
    for row in policy.rows_of(scheme):
        key = AccumulatorKey(presented.person_no, care_date // 10_000, bill.insutype, row)
        amounts = book.accumulators.get(key)
        if amounts is not None:
            used[row] = amounts
    purses = benefits.Purses(balance_fen, mutual_aid_fen, bill.uses_account)
    adjudication = adjudicate(
        policy,
        case,
        _lines(bill, rules.catalogue, place.level, care_date),
        used,
        purses,
        explain=explain,
        total_fen=bill.total_fen,
    )
    if isinstance(adjudication, benefits.BillRefusal):
        return Answer(
            code_of_bill(adjudication.reason),
            detail_zh=adjudication.detail_zh,
            detail_en=adjudication.detail_en,
        )
    return Adjudicated(
        insurance_region=insurance.region,
        adjudication=adjudication,
        facts=Facts(case, tuple(benefits.Moved(*row) for row in used.items()), purses),
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


def care_date_of(bill: Bill, today: int) -> int:
    """Return the day whose rules apply: a stay's last day, else today."""
    return today if bill.discharged is None else _day(bill.discharged)


def _refusal_of_dates(bill: Bill, today: int) -> ResponseCode | None:
    if bill.discharged is not None and _day(bill.discharged) > today:
        return ResponseCode.BILL_INVALID
    last = today if bill.discharged is None else _day(bill.discharged)
    if bill.admitted is not None and _day(bill.admitted) > last:
        return ResponseCode.BILL_INVALID
    return None


def _post(
    attempt: Attempt, bill: Bill, presented: Presented, done: Adjudicated, passed: Passed
) -> ClaimsPost:
    adjudication = done.adjudication
    split = adjudication.split
    draft = settlement_entry(
        split,
        person_no=presented.person_no,
        payer_person_no=done.payer_person_no,
        institution_no=attempt.institution_no,
        insutype=bill.insutype,
        med_type=bill.med_type,
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
            )
        )

    record = Record(attempt=attempt, action="settle", reason=audit_of(passed.checked), claim=claim)
    return Post(draft, ResponseCode.APPROVED, body_of, record)


def aid_of(view: ClaimsView, person_no: int) -> tuple[int, int]:
    """Return whose account may aid the person's, and what it holds; (0, 0) nobody's.

    The family was looked up before the lock; where it has changed since, nobody aids this time.
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


def _lines(bill: Bill, catalogue: Catalogue, level: int, care_date: int) -> list[benefits.BillLine]:
    lines: list[benefits.BillLine] = []
    find = catalogue.find
    for line in bill.lines:
        item = find(line.item, level=level, day=care_date)
        if item is None:
            item_class, ratio_e4, limit = _CLASS_C, _WHOLE_E4, None
        else:
            item_class, ratio_e4 = item.item_class, item.self_pay_ratio_e4
            limit = item.price_limit_microyuan
        lines.append(
            benefits.BillLine(
                line.item, item_class, ratio_e4, limit,
                line.price_microyuan, line.quantity_e4, line.gross_fen,
            )
        )  # fmt: skip
    return lines


def _day(date: dt.date) -> int:
    return date.year * 10_000 + date.month * 100 + date.day
