"""What review is made of: cases, steps, cuts, verdicts, and why a step is refused.

Days are integers YYYYMMDD, months YYYYMM. Not here: what may follow what (`procedure.py`).
"""

from enum import Enum, IntEnum, IntFlag, unique
from typing import NamedTuple

from msgspec import Struct

from cardserver.registry.roles import Role

FUND = 0
"""The institution number of the fund's own operators."""


@unique
class State(IntEnum):
    """How a case stands. A number is never changed or used again."""

    NEW = 1
    ACCEPTED = 2
    CALCULATED = 3
    SIGNED = 4
    """Audited once, and waiting for the second signature."""
    DECIDED = 5
    """A deduction is in force, and the institution may appeal."""
    APPEALED = 6
    APPEAL_SIGNED = 7
    """The appeal was decided once, and waits for the second signature."""
    FINAL = 8
    CLOSED = 9
    """The settlement was undone: nothing is left to review, and nothing is deducted."""


UNDECIDED = frozenset({State.NEW, State.ACCEPTED, State.CALCULATED, State.SIGNED})
"""Until then the month can't be cleared."""


@unique
class StepKind(IntEnum):
    """What was done to a case. A number is never changed or used again."""

    ACCEPT = 1
    CALCULATE = 2
    RETURN = 3
    """Audit does not agree: the calculation is to be made anew."""
    AUDIT = 4
    APPEAL = 5
    """By the institution."""
    DECIDE_APPEAL = 6
    RETURN_APPEAL = 7
    """The second auditor does not agree: the appeal is to be decided anew."""
    CONFIRM_APPEAL = 8
    FINISH = 9
    """By the centre: the time to appeal is over."""
    UNDO = 10
    """By the centre: the settlement was undone."""


@unique
class Verdict(IntEnum):
    """What a calculation proposes and an audit decides, and how an appeal ends."""

    NONE = 0
    APPROVE = 1
    REDUCE = 2
    REJECT = 3
    """All that the fund paid is taken back."""
    GRANT = 4
    """The appeal succeeds: the deduction is given back."""
    GRANT_PARTLY = 5
    DISMISS = 6
    """The appeal fails: the deduction stands."""


class Source(IntFlag):
    """Why a settlement became a case."""

    SAMPLED = 1
    FLAGGED = 2
    CHOSEN = 4
    """By hand."""


@unique
class Refusal(Enum):
    """Why a step is refused: nothing was recorded."""

    CASE_UNKNOWN = "没有这个审核案件", "there is no such case"
    WRONG_ROLE = "该角色不能办理此步骤", "this step is for another role"
    NOT_THE_FUNDS = "只有基金中心人员可以审核", "only operators of the fund review"
    NOT_NOW = "案件状态不允许此步骤", "the case is not at this step"
    HELD_BY_ANOTHER = "案件正由他人办理", "someone else has taken the case"
    NOT_HELD = "请先领取案件", "take the case first"
    SIGNED_ALREADY = (
        "同一案件不得由同一人办理两个步骤", "nobody signs two steps of one case",
    )  # fmt: skip
    TOOK_PART = (
        "经办过该笔结算，须回避", "whoever took part in the settlement does not review it",
    )  # fmt: skip
    CONFLICT_DECLARED = "已申报回避", "a conflict of interest was declared"
    SETTLEMENT_UNDONE = "结算已撤销，案件关闭", "the settlement was undone: the case is closed"
    CUTS_MISSING = (
        "扣减须列明金额、理由和条款", "a deduction names amount, reason and article",
    )  # fmt: skip
    CUTS_FOR_NOTHING = "该结论不含扣减", "this verdict takes nothing"
    NOT_AN_AMOUNT = "扣减金额须大于零", "an amount to deduct is above 0"
    LINE_UNKNOWN = "账单没有该明细", "the bill has no such line"
    LINE_TWICE = "同一明细重复扣减", "a line is named twice"
    MORE_THAN_LINE = (
        "扣减超过该明细范围内金额", "more is deducted than the line had in scope",
    )  # fmt: skip
    MORE_THAN_FUND_PAID = (
        "扣减超过基金支付金额", "more is deducted than the fund paid on the settlement",
    )  # fmt: skip
    ALL_OF_IT = "扣减全部金额请用不予支付", "all that the fund paid is a rejection"
    NOT_LESS = (
        "申诉部分成立时扣减须减少", "an appeal granted in part leaves a smaller deduction",
    )  # fmt: skip
    ARTICLE_UNKNOWN = "条款不在本月审核规则中", "the month's rules have no such article"
    NOTE_MISSING = "请说明理由", "say why"
    NOTHING_TO_APPEAL = "无可申诉的扣款", "nothing is deducted that could be appealed"
    APPEAL_OVER = "申诉期限已过", "the time to appeal is over"
    APPEALED_ALREADY = "已提出申诉", "an appeal was filed already"

    @property
    def text_zh(self) -> str:
        """What it says, in Chinese."""
        return self.value[0]

    @property
    def text_en(self) -> str:
        """The same in English."""
        return self.value[1]


class Reviewer(NamedTuple):
    """Who acts, as their password proved.

    Attributes:
        institution_no: 0 the fund's.
        role: A `Role`.
        department: By which work is counted; may be empty.
    """

    operator_no: int
    institution_no: int
    role: str
    department: str = ""


class Cut(Struct, frozen=True):
    """An amount taken, and why.

    Attributes:
        line: Of the bill, from 1; 0 the settlement as a whole.
        article: Its code in the month's rules.
    """

    line: int
    amount_fen: int
    article: str
    reason: str


class Finding(Struct, frozen=True):
    """What a calculation, or the decision of an appeal, comes to.

    Attributes:
        verdict: APPROVE, REDUCE or REJECT; of an appeal GRANT, GRANT_PARTLY or DISMISS.
        cuts: What is taken; empty where nothing is.
        note: For whoever signs next.
    """

    verdict: Verdict
    cuts: tuple[Cut, ...] = ()
    note: str = ""


class Case(Struct, frozen=True):
    """A case as it stands; the columns of `review_case`."""

    case_no: int
    month: int
    claim_no: int
    person_no: int
    institution_no: int
    clearing_type: int
    business_date: int
    total_fen: int
    fund_pay_fen: int
    sources: int
    flags: str
    opened_time_ms: int
    state: State = State.NEW
    steps: int = 0
    holder_no: int = 0
    taken_time_ms: int = 0
    held_until_ms: int = 0
    verdict: Verdict = Verdict.NONE
    proposed_fen: int = 0
    deduction_fen: int = 0
    deduction_no: int = 0
    decided_time_ms: int = 0
    appeal_until: int = 0

    def is_held(self, now_ms: int) -> bool:
        """Tell whether someone has taken it and not let it lie for too long."""
        return self.holder_no != 0 and now_ms < self.held_until_ms


class Signed(NamedTuple):
    """A step that was done."""

    step: int
    kind: StepKind
    operator_no: int


class Terms(Struct, frozen=True):
    """What the month's rules say of the procedure.

    Attributes:
        second_above_fen: Where the fund paid more than this, audit takes two signatures.
        appeal_days: How many days an institution may appeal after the day of the decision.
        hold_ms: For how long whoever takes a case has it.
        articles: The codes that a deduction may name.
    """

    second_above_fen: int
    appeal_days: int
    hold_ms: int
    articles: frozenset[str]


class Surroundings(Struct, frozen=True):
    """What else a step depends on, read in its transaction.

    Attributes:
        signed: What was done to the case before, in order.
        took_part: Operators who had a hand in the settlement.
        conflicts: Operators who declared a conflict, with the case or the institution.
        undone_by: The claim that undid the settlement; 0 none.
        lines_fen: What each line of the bill had in scope.
    """

    signed: tuple[Signed, ...] = ()
    took_part: frozenset[int] = frozenset()
    conflicts: frozenset[int] = frozenset()
    undone_by: int = 0
    lines_fen: tuple[int, ...] = ()


class Step(Struct, frozen=True):
    """A step to be recorded.

    Attributes:
        kind: What was done.
        verdict: What was proposed or decided.
        deduction_fen: Proposed, or in force from then on.
        cuts: What it is made of.
    """

    kind: StepKind
    verdict: Verdict
    deduction_fen: int
    note: str = ""
    cuts: tuple[Cut, ...] = ()


class Change(Struct, frozen=True):
    """What a step does.

    Attributes:
        case: As it stands afterwards; its number of the deduction's entry is filled in later.
        step: What is recorded.
        gives_back: The deduction in force is undone.
        deducts_fen: A new deduction is posted.
    """

    case: Case
    step: Step
    gives_back: bool = False
    deducts_fen: int = 0


ROLE_AT = {
    State.NEW: Role.ACCEPTANCE,
    State.ACCEPTED: Role.CALCULATION,
    State.CALCULATED: Role.AUDIT,
    State.SIGNED: Role.AUDIT,
    State.APPEALED: Role.AUDIT,
    State.APPEAL_SIGNED: Role.AUDIT,
}
"""Whose turn it is; in other states nobody's."""
