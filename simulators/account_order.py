"""Whether one order explains all that was told of an account: the order in which it moved.

Attempts overlap: a cashier sends before another has an answer. So the auditor looks for some order
in which no attempt comes before one that had ended when it began, and in which every balance told
is the sum of what moved until then (M. Herlihy and J. Wing, Linearizability, ACM TOPLAS 12/3,
1990). The balance depends on which moves have happened and not on their order, so that what was
tried need only be remembered by that.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

_TRIED_MAX = 200_000


class Move(NamedTuple):
    """One move of an account, or a look at it.

    Attributes:
        name: For findings.
        delta_fen: What it adds.
        after_fen: What the answer said that the account then held; None where it said nothing.
        began: Tick before which it can't have happened.
        ended: Tick by which it had.
        needs: Name of the move that must come before; empty for none.
    """

    name: str
    delta_fen: int
    after_fen: int | None
    began: int
    ended: int
    needs: str


def order_of(moves: Sequence[Move], *, opening_fen: int) -> Iterator[str]:
    """Look for an order; yields a finding where there is none."""
    ordered = sorted(moves)
    ordered.sort(key=lambda move: move.began)
    index_of = {move.name: index for index, move in enumerate(ordered)}
    all_done = (1 << len(ordered)) - 1
    tried: set[int] = set()
    furthest = (0, opening_fen)
    waiting = [(0, opening_fen)]
    while waiting:
        done, balance_fen = waiting.pop()
        if done == all_done:
            return
        if done in tried:
            continue
        tried.add(done)
        if len(tried) > _TRIED_MAX:
            yield f"no order of {len(ordered)} moves was found in {_TRIED_MAX} tries"
            return
        if done.bit_count() > furthest[0].bit_count():
            furthest = (done, balance_fen)
        waiting.extend(
            (done | 1 << index, balance_fen + ordered[index].delta_fen)
            for index in _next(ordered, index_of, done, balance_fen)
        )
    done, balance_fen = furthest
    stuck = next(move for index, move in enumerate(ordered) if not done >> index & 1)
    yield (
        f"no order explains the account: at {balance_fen} fen, {stuck.name} moves"
        f" {stuck.delta_fen} and says that it leaves {stuck.after_fen}"
    )


def _next(
    ordered: Sequence[Move], index_of: dict[str, int], done: int, balance_fen: int
) -> Iterator[int]:
    """Say which moves may come next; the likeliest last, as they are taken from the end."""
    first_end: int | None = None
    possible: list[int] = []
    first = (~done & (done + 1)).bit_length() - 1
    for index in range(first, len(ordered)):
        if done >> index & 1:
            continue
        move = ordered[index]
        if first_end is not None and move.began > first_end:
            break
        first_end = move.ended if first_end is None else min(first_end, move.ended)
        after_fen = balance_fen + move.delta_fen
        if after_fen < 0 or move.after_fen not in {None, after_fen}:
            continue
        if move.needs and not done >> index_of[move.needs] & 1:
            continue
        possible.append(index)
    yield from reversed([index for index in possible if ordered[index].began < (first_end or 0)])
