"""What is true of every division of a bill (the invariants of a split), computed anew.

Not here: whose bill it is, and what is posted of it (`auditor.py`).
"""

from collections.abc import Iterator, Sequence

from protocol.terminal.messages import Line, LineSplit, Split

_CLASS_C = 3
_POOL = "hifp_pay"
_MICROYUAN_IN_FEN = 10_000
_WHOLE_E4 = 10_000


def check_split(split: Split, total_fen: int, who: str) -> Iterator[str]:
    """Hold a split to what is true of every one (its parts add up; none is negative)."""
    sums = {
        "the bill's total": (split.total_fen, total_fen),
        "total = own + over limit + pre-self-pay + in scope": (
            split.total_fen,
            split.fully_own_fen
            + split.over_limit_fen
            + split.pre_self_pay_fen
            + split.in_scope_fen,
        ),
        "total = fund + person + hospital": (
            split.total_fen,
            split.fund_pay_fen + split.person_part_fen + split.hospital_part_fen,
        ),
        "person = account + mutual aid + cash": (
            split.person_part_fen,
            split.account_pay_fen + split.mutual_aid_fen + split.cash_fen,
        ),
        "fund = sum of layers": (
            split.fund_pay_fen,
            sum(layer.paid_fen for layer in split.layers),
        ),
    }
    for what, (is_fen, should_fen) in sums.items():
        if is_fen != should_fen:
            yield f"{who}: {what}: {is_fen} is not {should_fen}"
    if min(parts_of(split)) < 0:
        yield f"{who} has a negative part"
    pool_fen = sum(layer.paid_fen for layer in split.layers if layer.field == _POOL)
    if split.deductible_fen + pool_fen > split.in_scope_fen:
        yield f"{who}: deductible and pool exceed what is in scope"


def check_lines(
    lines: Sequence[Line], line_splits: Sequence[LineSplit], split: Split
) -> Iterator[str]:
    """Divide each line anew, by the class, limit and ratio that the centre applied."""
    if len(lines) != len(line_splits):
        yield f"a preview divides {len(line_splits)} lines of {len(lines)}"
        return
    for line, given in zip(lines, line_splits, strict=True):
        wanted = _divided(line, given)
        is_so = (
            given.fully_own_fen, given.over_limit_fen, given.pre_self_pay_fen, given.in_scope_fen,
        )  # fmt: skip
        if is_so != wanted:
            yield f"a preview divides a line of {line.item} into {is_so}, it should be {wanted}"
    for name in ("fully_own_fen", "over_limit_fen", "pre_self_pay_fen", "in_scope_fen"):
        total_fen = sum(getattr(given, name) for given in line_splits)
        if getattr(split, name) != total_fen:
            yield f"a preview's {name} is {getattr(split, name)}, its lines' {total_fen}"


def _divided(line: Line, given: LineSplit) -> tuple[int, int, int, int]:
    gross_fen = line.gross_fen
    if given.item_class == _CLASS_C:
        return gross_fen, 0, 0, 0
    over_fen = 0
    limit = given.price_limit_microyuan
    if limit is not None and line.price_microyuan > limit:
        over = (line.price_microyuan - limit) * line.quantity_e4
        over_fen = min(gross_fen, _half_up(over, _MICROYUAN_IN_FEN * _WHOLE_E4))
    own_fen = _half_up((gross_fen - over_fen) * given.self_pay_ratio_e4, _WHOLE_E4)
    return 0, over_fen, own_fen, gross_fen - over_fen - own_fen


def parts_of(split: Split) -> tuple[int, ...]:
    """All amounts of a split, in a fixed order."""
    return (
        split.total_fen, split.fully_own_fen, split.over_limit_fen, split.pre_self_pay_fen,
        split.in_scope_fen, split.deductible_fen, split.fund_pay_fen, split.hospital_part_fen,
        split.person_part_fen, split.account_pay_fen, split.mutual_aid_fen, split.cash_fen,
        *(layer.paid_fen for layer in split.layers),
    )  # fmt: skip


def _half_up(amount: int, divisor: int) -> int:
    return (2 * amount + divisor) // (2 * divisor)
