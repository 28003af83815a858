"""A settlement told step by step: what decided it is taken again, and must come to the same. Pure.

Nothing is explained that was not decided so: the policy version that the claim names divides the
bill once more, with the facts that were kept, and the steps are told only where every amount is the
one that was settled. Not here: reading claims and versions (`explanation_store.py`).
"""

from collections.abc import Sequence
from typing import TypeVar

from msgspec import Struct, msgpack

from cardserver.benefits import values as benefits
from cardserver.benefits.adjudication import adjudicate
from cardserver.benefits.policy import Policy
from cardserver.claims.settlement import split_message
from cardserver.claims.uncovered_lines import restore
from cardserver.claims.values import Claim, ClaimDetail
from ledger.calendar import date_of
from protocol.terminal import messages
from protocol.terminal.messages import ExplainResult, MessageType

# Lines and steps of one page, encoded: together with the split they fit the smallest frame that a
# terminal may have been promised, 65,536 bytes.
PAGE_BYTES_MAX = 24_576
LINES_PAGE_MAX = 500
STEPS_PAGE_MAX = 250

_ENCODER = msgpack.Encoder()
_T = TypeVar("_T")


class Retold(Struct, frozen=True):
    """A settlement decided again.

    Attributes:
        result: Whether that came to what was settled.
        adjudication: What it came to; None where it could not be decided again.
        difference: What came out otherwise, for the fund.
    """

    result: ExplainResult
    adjudication: benefits.Adjudication | None = None
    difference: str = ""


def retell(claim: Claim, policy: Policy | None, *, explain: bool) -> Retold:
    """Decide a claim again by the version that decided it, and compare.

    Args:
        claim: As stored.
        policy: The version that it names; None where that is not at hand.
        explain: Whether to tell the steps.
    """
    detail = claim.detail
    if claim.type != MessageType.SETTLE:
        return Retold(ExplainResult.UNDOING)
    lines = lines_as_decided(detail)
    if detail.facts is None or lines is None:
        return Retold(ExplainResult.FACTS_NOT_KEPT)
    if policy is None:
        return Retold(ExplainResult.POLICY_NOT_KNOWN)
    assert policy.identity == claim.policy, "a claim is told by the version that decided it"
    facts = detail.facts
    done = adjudicate(
        policy,
        facts.case,
        lines,
        {row.scheme: row.amounts for row in facts.used},
        facts.purses,
        explain=explain,
        total_fen=detail.split.total_fen,
        stay=facts.stay,
    )
    difference = _difference(detail, done)
    if difference:
        return Retold(ExplainResult.NOT_REPRODUCED, difference=difference)
    assert isinstance(done, benefits.Adjudication)
    return Retold(ExplainResult.EXPLAINED, done)


def lines_as_decided(detail: ClaimDetail) -> list[benefits.BillLine] | None:
    """Return the lines with what the catalogue said of them then; None where it was not kept."""
    if detail.bill is None or len(detail.bill.lines) != len(detail.line_splits):
        return None
    lines = [
        benefits.BillLine(
            line.item, split.item_class, split.self_pay_ratio_e4, split.price_limit_microyuan,
            line.price_microyuan, line.quantity_e4, line.gross_fen,
        )
        for line, split in zip(detail.bill.lines, detail.line_splits, strict=True)
    ]  # fmt: skip
    if detail.facts is not None:
        restore(lines, detail.facts.uncovered)
    return lines


def explained(
    claim: Claim,
    retold: Retold,
    *,
    claim_no: int,
    undone_by: int,
    first_line: int = 0,
    first_step: int = 0,
) -> messages.Explained:
    """Return a page of EXPLAIN's reply.

    Args:
        claim: As stored.
        retold: The claim decided again, with its steps.
        claim_no: Its number.
        undone_by: The number of the claim that undid it; 0 none.
        first_line: Index of the first line of the page.
        first_step: Index of the first step of the page.
    """
    detail, adjudication = claim.detail, retold.adjudication
    steps = () if adjudication is None else adjudication.explanation
    pairs = []
    if detail.bill is not None:
        pairs = list(zip(detail.bill.lines, map(_line_split, detail.line_splits), strict=False))
    line_page, next_line = _page(pairs, first_line, LINES_PAGE_MAX)
    step_page, next_step = _page([_step(step) for step in steps], first_step, STEPS_PAGE_MAX)
    return messages.Explained(
        setl_id=str(claim_no),
        result=retold.result,
        policy=claim.policy,
        care_date=date_of(claim.care_date),
        undoes=str(claim.undoes or ""),
        undone_by=str(undone_by or ""),
        replaces=str(detail.replaces or ""),
        split=split_message(detail.split),
        lines=tuple(line for line, _ in line_page),
        line_splits=tuple(split for _, split in line_page),
        next_line=next_line,
        explanation=tuple(step_page),
        next_step=next_step,
    )


def _difference(detail: ClaimDetail, done: benefits.Adjudication | benefits.BillRefusal) -> str:
    if isinstance(done, benefits.BillRefusal):
        return f"refused: {done.detail_en}"
    for field in benefits.Split.__struct_fields__:
        settled, now = getattr(detail.split, field), getattr(done.split, field)
        if settled != now:
            return f"{field}: {settled} settled, {now} when decided again"
    if done.line_splits != detail.line_splits:
        return "its lines are divided otherwise"
    if done.moved != detail.moved:
        return "it moves other accumulators"
    return ""


def _page(wanted: Sequence[_T], first: int, count_max: int) -> tuple[list[_T], int]:
    """Take what fits from an index on, at least one; and the index of what did not come along."""
    taken: list[_T] = []
    size = 0
    for one in wanted[first : first + count_max]:
        size += len(_ENCODER.encode(one))
        if taken and size > PAGE_BYTES_MAX:
            break
        taken.append(one)
    after = first + len(taken)
    return taken, after if taken and after < len(wanted) else 0


def _line_split(line: benefits.LineSplit) -> messages.LineSplit:
    return messages.LineSplit(
        line.item_class, line.price_limit_microyuan, line.self_pay_ratio_e4, line.fully_own_fen,
        line.over_limit_fen, line.pre_self_pay_fen, line.in_scope_fen,
    )  # fmt: skip


def _step(step: benefits.ExplanationStep) -> messages.ExplanationStep:
    return messages.ExplanationStep(
        step.rule, step.text_zh, step.text_en, step.amount_fen, step.field
    )
