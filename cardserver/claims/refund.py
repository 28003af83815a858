"""REFUND: lines of a settlement given back, and what remains of it settled anew. Pure decisions.

Two entries of one decision: the exact negative of the settlement, and the settlement of what
remains, by the day, the policy version and the facts of the first, with accumulators and accounts
as they are now without it. Not here: undoing a settlement whole (`undoing.py`).
"""

from msgspec import Struct, structs

from cardserver.benefits import values as benefits
from cardserver.benefits.adjudication import adjudicate
from cardserver.benefits.netting import gross_of, refunded_gross
from cardserver.benefits.policy import Policy
from cardserver.claims.accounting import settlement_entry
from cardserver.claims.explaining import lines_as_decided
from cardserver.claims.settlement import ENCODER, aid_of, refused, split_message
from cardserver.claims.uncovered_lines import uncovered_of
from cardserver.claims.undoing import claim_of, undoing_claim
from cardserver.claims.values import (
    Attempt,
    Claim,
    ClaimDetail,
    ClaimsAnswer,
    ClaimsDecision,
    ClaimsView,
    ClaimsWork,
    Facts,
    Needs,
    Record,
    claim_number,
)
from cardserver.outcomes import code_of_bill
from cardserver.visits.values import Refunded, Settled
from cardserver.visits.visit_book import Noted, VisitBook
from ledger.decisions import Answer, Part, Post, Posted, Work
from protocol.terminal import messages
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import Bill, MessageType, RefundedLine


class Remaining(Struct, frozen=True):
    """What remains of a settlement, divided, with all that its posting needs."""

    bill: Bill
    adjudication: benefits.Adjudication
    facts: Facts
    payer_person_no: int


class WorkedOut(Struct, frozen=True):
    """A refund as it would be.

    Attributes:
        claim: The settlement refunded.
        lines: What is given back.
        remaining: What is settled anew; None where nothing remains.
        balance_after_fen: What the person's account holds afterwards.
    """

    claim_no: int
    claim: Claim
    lines: tuple[RefundedLine, ...]
    remaining: Remaining | None
    balance_after_fen: int

    @property
    def given_back(self) -> benefits.Split:
        """The split settled less that of what remains."""
        before = self.claim.detail.split
        return before if self.remaining is None else _less(before, self.remaining)

    def message(
        self, *, undo_setl_id: str = "", setl_id: str = "", time_ms: int
    ) -> messages.Refunded:
        """Return REFUND's reply body."""
        split = None if self.remaining is None else self.remaining.adjudication.split
        return messages.Refunded(
            refunds=str(self.claim_no),
            undo_setl_id=undo_setl_id,
            setl_id=setl_id,
            psn_no=str(self.claim.presented.person_no),
            given_back=split_message(self.given_back),
            remaining=None if split is None else split_message(split),
            lines=self.lines,
            balance_after_fen=self.balance_after_fen,
            settled_time_ms=time_ms,
            clearing_type=self.claim.draft.clearing_type,
        )


def refund_work(attempt: Attempt, refund: messages.Refund, policy: Policy | None) -> ClaimsWork:
    """Make the writer's work of a REFUND that commits.

    Args:
        attempt: Who asks.
        refund: The decoded body.
        policy: The version that the settlement names; None where that is not at hand.
    """
    assert refund.commits

    def decide(view: ClaimsView) -> ClaimsDecision:
        return _decide(view, attempt, refund, policy)

    return Work(
        key=attempt.key,
        type=MessageType.REFUND,
        request_hash=attempt.request_hash,
        persons=(),
        original=None,
        needs=refund_needs(refund),
        decide=decide,
        deadline_ms=attempt.deadline_ms,
    )


def refund_needs(refund: messages.Refund) -> Needs:
    """Say what has to be read to work a refund out."""
    return Needs(claim_no=claim_number(refund.setl_id), settles_anew=True)


def work_out(
    view: ClaimsView, institution_no: int, refund: messages.Refund, policy: Policy | None
) -> WorkedOut | ClaimsAnswer:
    """Work out what a refund comes to, or refuse with the first code that applies."""
    claim_no = claim_number(refund.setl_id)
    claim = claim_of(view, institution_no, claim_no)
    if claim is None:
        return refused(ResponseCode.ORIGINAL_NOT_FOUND)
    bill = claim.detail.bill
    if claim.type != MessageType.SETTLE or bill is None:
        return refused(ResponseCode.ORIGINAL_NOT_SETTLED)
    if claim_no in view.book.undone:
        return refused(ResponseCode.ALREADY_UNDONE)
    taken = _taken(bill, refund.lines)
    if isinstance(taken, Answer):
        return taken
    left_e4 = _left(bill, taken)
    remaining = _remaining(view, claim, bill, left_e4, policy) if any(left_e4) else None
    if isinstance(remaining, Answer):
        return remaining
    balance_fen = view.personal_balance(claim.presented.person_no)
    balance_fen += claim.detail.split.account_pay_fen
    if remaining is not None:
        balance_fen -= remaining.adjudication.split.account_pay_fen
    return WorkedOut(claim_no, claim, taken, remaining, balance_fen)


def _decide(
    view: ClaimsView, attempt: Attempt, refund: messages.Refund, policy: Policy | None
) -> ClaimsDecision:
    done = work_out(view, attempt.institution_no, refund, policy)
    if isinstance(done, Answer):
        return done
    back = done.given_back
    shown = (refund.fund_pay_fen, refund.account_pay_fen, refund.cash_fen)
    if shown != (back.fund_pay_fen, back.account_pay_fen + back.mutual_aid_fen, back.cash_fen):
        changed = done.message(time_ms=view.when.recorded_time_ms)
        return Answer(ResponseCode.SPLIT_CHANGED, ENCODER.encode(changed))

    def body_of(posted: Posted) -> bytes:
        message = done.message(
            undo_setl_id=str(posted.entry_no),
            setl_id=str(posted.further[0]) if posted.further else "",
            time_ms=posted.when.recorded_time_ms,
        )
        return ENCODER.encode(message)

    undoing = undoing_claim(done.claim, done.claim_no, attempt, MessageType.REFUND, refund.reason)
    noted = _noted(view.book.visits, done)
    further: tuple[Part[Record], ...] = ()
    if done.remaining is not None:
        further = (_settled_anew(done, done.remaining, attempt, noted),)
    record = Record(
        attempt=attempt, action="refund", subject=str(done.claim_no), reason=refund.reason,
        claim=undoing, visit=None if further else noted,
    )  # fmt: skip
    return Post(undoing.draft, ResponseCode.APPROVED, body_of, record, further)


def _settled_anew(
    done: WorkedOut, remaining: Remaining, attempt: Attempt, noted: Noted | None
) -> Part[Record]:
    claim, claim_no, adjudication = done.claim, done.claim_no, remaining.adjudication
    draft = settlement_entry(
        adjudication.split,
        person_no=claim.presented.person_no,
        payer_person_no=remaining.payer_person_no,
        institution_no=claim.attempt.institution_no,
        insutype=claim.insutype,
        clearing_type=adjudication.clearing_type,
    )
    detail = ClaimDetail(
        bill=remaining.bill,
        split=adjudication.split,
        line_splits=adjudication.line_splits,
        moved=adjudication.moved,
        scheme=adjudication.scheme,
        year=adjudication.year,
        payer_person_no=remaining.payer_person_no,
        facts=remaining.facts,
        visit_no=claim.detail.visit_no,
        checked=claim.detail.checked,
        replaces=claim_no,
    )
    settled = structs.replace(claim, attempt=attempt, detail=detail, draft=draft)
    reason = f"what remains of {claim_no}"
    record = Record(attempt=attempt, action="settle", reason=reason, claim=settled, visit=noted)
    return Part(draft, record)


def _noted(book: VisitBook, done: WorkedOut) -> Noted | None:
    """Return what a refund leaves with the visit whose lines were settled."""
    visit_no = done.claim.detail.visit_no
    if not visit_no:
        return None
    course = book.courses[visit_no]
    before = course.settlements[done.claim_no].settled
    accounts = list(course.settled_by(done.claim_no))
    charges = []
    for one in done.lines:
        charge = accounts[one.line - 1].charge
        number = f"refund {done.claim_no} {one.line}"
        while number in course.charges:  # the institution's own, by whatever chance
            number += "+"
        charges.append(
            structs.replace(
                charge,
                number=number,
                quantity_e4=-one.quantity_e4,
                gross_fen=-one.gross_fen,
                refunds=charge.number,
            )
        )
    settled = None
    if done.remaining is not None:
        moved = done.remaining.adjudication.moved
        settled = Settled(
            claim_no=0,
            until=before.until,
            total_fen=done.remaining.bill.total_fen,
            admission=before.admission,
            year=done.remaining.adjudication.year,
            amounts=tuple(
                (
                    one.scheme,
                    one.amounts.deductible_fen,
                    one.amounts.in_scope_fen,
                    one.amounts.pool_fen,
                    one.amounts.large_amount_fen,
                    one.amounts.admissions,
                )
                for one in moved
            ),
        )
    return Noted(visit_no, record=Refunded(done.claim_no, tuple(charges), settled))


def _taken(
    bill: Bill, wanted: tuple[messages.RefundLine, ...]
) -> tuple[RefundedLine, ...] | ClaimsAnswer:
    """Take the quantities from their lines, or refuse the first that can't be taken."""
    taken: dict[int, RefundedLine] = {}
    for one in wanted:
        if one.line > len(bill.lines):
            return _not_refundable(f"账单没有第{one.line}行", f"the bill has no line {one.line}")
        if one.line in taken:
            return _not_refundable(f"第{one.line}行重复", f"line {one.line} is named twice")
        line = bill.lines[one.line - 1]
        if one.quantity_e4 > line.quantity_e4:
            return _not_refundable(
                f"第{one.line}行退费数量超过剩余数量",
                f"more of line {one.line} is given back than is left of it",
            )
        gross_fen = refunded_gross(
            line.price_microyuan, left_e4=line.quantity_e4, refunded_e4=one.quantity_e4
        )
        taken[one.line] = RefundedLine(
            one.line, line.item, line.name, line.price_microyuan, one.quantity_e4, gross_fen
        )
    return tuple(taken.values())


def _left(bill: Bill, taken: tuple[RefundedLine, ...]) -> list[int]:
    left_e4 = [line.quantity_e4 for line in bill.lines]
    for one in taken:
        left_e4[one.line - 1] -= one.quantity_e4
    return left_e4


def _remaining(
    view: ClaimsView, claim: Claim, bill: Bill, left_e4: list[int], policy: Policy | None
) -> Remaining | ClaimsAnswer:
    """Divide what remains as the settlement was divided, without what it took itself."""
    detail = claim.detail
    lines = lines_as_decided(detail)
    if detail.facts is None or lines is None or policy is None:
        return refused(ResponseCode.REFUND_NOT_POSSIBLE)
    assert policy.identity == claim.policy, "what remains is decided by the same version"
    kept = [
        (
            structs.replace(line, quantity_e4=left, gross_fen=gross_of(line.price_microyuan, left)),
            structs.replace(
                decided, quantity_e4=left, gross_fen=gross_of(line.price_microyuan, left)
            ),
        )
        for line, decided, left in zip(bill.lines, lines, left_e4, strict=True)
        if left
    ]
    net_bill = structs.replace(
        bill,
        lines=tuple(line for line, _ in kept),
        total_fen=sum(line.gross_fen for line, _ in kept),
    )
    used = _used_without(view, claim, policy)
    payer_person_no, purses = _purses_without(view, claim)
    stay = _stay_of(detail, policy)
    adjudication = adjudicate(
        policy,
        detail.facts.case,
        [decided for _, decided in kept],
        used,
        purses,
        explain=False,
        total_fen=net_bill.total_fen,
        stay=stay,
    )
    if isinstance(adjudication, benefits.BillRefusal):
        return Answer(
            code_of_bill(adjudication.reason),
            detail_zh=adjudication.detail_zh,
            detail_en=adjudication.detail_en,
        )
    rows = tuple(benefits.Moved(*row) for row in used.items())
    uncovered = uncovered_of([decided for _, decided in kept], adjudication.line_splits)
    facts = Facts(detail.facts.case, rows, purses, stay, uncovered)
    if not adjudication.split.mutual_aid_fen:
        payer_person_no = 0
    return Remaining(net_bill, adjudication, facts, payer_person_no)


def _stay_of(detail: ClaimDetail, policy: Policy) -> benefits.Stay | None:
    """Return the stay as it was then, with its number: stays settled since don't change that."""
    facts = detail.facts
    assert facts is not None
    if facts.stay is not None or not policy.has_stays(detail.scheme):
        return facts.stay
    before = {row.scheme: row.amounts.admissions for row in facts.used}
    return benefits.Stay(before.get(detail.scheme, 0) + 1, benefits.NOTHING_USED)


def _used_without(
    view: ClaimsView, claim: Claim, policy: Policy
) -> dict[str, benefits.Accumulated]:
    """Return the accumulators that the version looks at, as they are without the settlement."""
    back = {one.scheme: one.amounts for one in benefits.given_back(claim.detail.moved)}
    used: dict[str, benefits.Accumulated] = {}
    for row in policy.rows_of(claim.detail.scheme):
        amounts = view.book.accumulators.get(claim.accumulator_key(row))
        if amounts is not None:
            used[row] = benefits.added(amounts, back.get(row, benefits.NOTHING_USED))
    return used


def _purses_without(view: ClaimsView, claim: Claim) -> tuple[int, benefits.Purses]:
    """Return whose account may aid, and the purses as they are without the settlement."""
    split, bill = claim.detail.split, claim.detail.bill
    assert bill is not None
    person_no = claim.presented.person_no
    payer_person_no, aid_fen = aid_of(view, person_no)
    if payer_person_no and payer_person_no == claim.detail.payer_person_no:
        aid_fen += split.mutual_aid_fen
    account_fen = view.personal_balance(person_no) + split.account_pay_fen
    return payer_person_no, benefits.Purses(account_fen, aid_fen, bill.uses_account)


def _less(before: benefits.Split, remaining: Remaining) -> benefits.Split:
    """Subtract what remains, amount by amount and layer by layer."""
    after = remaining.adjudication.split
    paid = {layer.field: layer.paid_fen for layer in before.layers}
    for layer in after.layers:
        paid[layer.field] = paid.get(layer.field, 0) - layer.paid_fen
    amounts = {
        field: getattr(before, field) - getattr(after, field)
        for field in benefits.Split.__struct_fields__
        if field != "layers"
    }
    return benefits.Split(layers=tuple(benefits.Layer(*item) for item in paid.items()), **amounts)


def _not_refundable(detail_zh: str, detail_en: str) -> ClaimsAnswer:
    return Answer(ResponseCode.LINE_NOT_REFUNDABLE, detail_zh=detail_zh, detail_en=detail_en)
