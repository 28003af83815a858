"""Refund lines before settlement: what is left adds up to the fen."""

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardserver.benefits.netting import (
    EnteredLine,
    NetLine,
    gross_of,
    net_lines,
    refunded_gross,
)
from cardserver.benefits.values import BillRefusal, BillRefusalReason


def test_a_refund_takes_from_its_line() -> None:
    entered = [
        EnteredLine("1", "", 2_000_000, 30_000, 600),
        EnteredLine("2", "", 3_500_000, 90_000, 3150),
        EnteredLine("3", "2", 3_500_000, -40_000, -1400),
        EnteredLine("4", "1", 2_000_000, -30_000, -600),
    ]
    assert net_lines(entered) == [NetLine(1, 50_000, 1750)]


def test_the_last_refund_takes_the_remainder() -> None:
    # Three at 0.005: 0.015 is 0.02. Two left are 0.01, one left is 0.01.
    entered = [EnteredLine("1", "", 5_000, 30_000, 2)]
    for number, gross in (("2", -1), ("3", 0), ("4", -1)):
        entered.append(EnteredLine(number, "1", 5_000, -10_000, gross))
        assert not isinstance(net_lines(entered), BillRefusal), number
    assert net_lines(entered) == []


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([EnteredLine("2", "1", 5, -10_000)], "line 2: there is no line 1"),
        (
            [
                EnteredLine("1", "", 5, 20_000),
                EnteredLine("2", "1", 5, -10_000),
                EnteredLine("3", "2", 5, -10_000),
            ],
            "line 3: there is no line 2 before it, or that is a refund",
        ),
        ([EnteredLine("1", "", 5, 10_000), EnteredLine("1", "", 5, 10_000)], "stands twice"),
        ([EnteredLine("1", "", 5, 10_000), EnteredLine("2", "1", 6, -10_000)], "its price"),
        ([EnteredLine("1", "", 5, 10_000), EnteredLine("2", "1", 5, -10_001)], "more than is left"),
        ([EnteredLine("1", "", 5, 10_000), EnteredLine("2", "1", 5, 10_000)], "below zero"),
        ([EnteredLine("1", "", 5, -10_000)], "names the line"),
        ([EnteredLine("1", "", -5, 10_000)], "the price not below"),
        ([EnteredLine("1", "", 10_000, 10_000, 2)], "it says 0.02, and it is 0.01"),
        (
            [
                EnteredLine("1", "", 5_000, 30_000, 2),
                EnteredLine("2", "1", 5_000, -10_000),
                EnteredLine("3", "1", 5_000, -10_000, -1),
            ],
            "line 3: it says -0.01, and it is 0.00",
        ),
    ],
)
def test_lines_that_cannot_be(lines: list[EnteredLine], words: str) -> None:
    found = net_lines(lines)
    assert isinstance(found, BillRefusal)
    assert found.reason is BillRefusalReason.BILL_INVALID
    assert words in found.detail_en
    assert found.detail_zh.startswith(f"明细{lines[-1].number}：")


amounts = st.integers(0, 10**9)
quantities = st.integers(1, 10**6)


@given(st.lists(st.tuples(amounts, st.lists(quantities, min_size=1, max_size=6)), max_size=4))
def test_amounts_as_entered_add_up_to_what_is_left(
    charges: list[tuple[int, list[int]]],
) -> None:
    """Of each charge all parts but the first are refunded, the last to the end."""
    entered: list[EnteredLine] = []
    for number, (price, parts) in enumerate(charges):
        left = sum(parts)
        entered.append(EnteredLine(f"{number}", "", price, left, gross_of(price, left)))
        for index, part in enumerate(parts[1:]):
            loses = refunded_gross(price, left_e4=left, refunded_e4=part)
            entered.append(EnteredLine(f"{number}.{index}", f"{number}", price, -part, -loses))
            left -= part
    net = net_lines(entered)
    assert not isinstance(net, BillRefusal)
    assert sum(line.gross_fen for line in net) == sum(line.gross_fen or 0 for line in entered)
    assert [line.quantity_e4 for line in net] == [parts[0] for _, parts in charges]


@given(st.integers(-(10**12), 10**12), st.integers(-(10**6), 10**6))
def test_rounding_is_half_away_from_zero(price: int, quantity: int) -> None:
    exact = Fraction(price * quantity, 10**8)
    expected = floor(abs(exact) + Fraction(1, 2)) * (1 if exact >= 0 else -1)
    assert gross_of(price, quantity) == expected
