"""The sample: which settlements, how many, and that anyone draws the same again."""

import asyncio
import hashlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardserver.review import months_store
from cardserver.review.months_store import (
    ReviewError,
    choose_settlement,
    find_month,
    find_strata,
    open_month,
    sample_month,
)
from cardserver.review.readiness_store import Hindrance, Undecided, undecided
from cardserver.review.rule_file import load_review_rules
from cardserver.review.rules_document import Sampling, ShareE4
from cardserver.review.sampling import Place, Sampler, Stratum, rank, sample_size
from cardserver.review.values import Case, Source, State
from tests.cardserver.claims.fund import SHANGHAI
from tests.cardserver.review.office import (
    ACCEPTOR,
    APPROVED,
    AUDITOR,
    CALCULATOR,
    MONTH,
    RULES,
    SEED,
    Office,
    day,
)

HERE = Stratum(1, 11)
HOSPITAL = Place("H11010100001", 1, 3)


def drawn(seed: bytes, sizes: dict[Stratum, int], seen: list[tuple[Stratum, int]]) -> set[int]:
    sampler = Sampler(seed, sizes)
    for stratum, number in seen:
        sampler.see(stratum, number)
    return {one.claim_no for one in sampler.drawn()}


def test_a_rank_is_what_the_page_says() -> None:
    digest = hashlib.sha256(b"cardserver review sample" + SEED + (7).to_bytes(8, "big")).digest()
    assert rank(SEED, 7) == int.from_bytes(digest[:8], "big")
    assert rank(SEED, 7, flag="a") != rank(SEED, 7)


@given(
    st.sets(st.integers(1, 2**62), min_size=1, max_size=60),
    st.integers(0, 70),
    st.binary(min_size=32, max_size=32),
    st.randoms(use_true_random=False),
)
def test_the_lowest_ranks_are_drawn_in_whatever_order_they_come(
    numbers: set[int], size: int, seed: bytes, order: Random
) -> None:
    seen = [(HERE, number) for number in numbers]
    order.shuffle(seen)
    expected = sorted(numbers, key=lambda number: (rank(seed, number), number))[:size]
    assert drawn(seed, {HERE: size}, seen) == set(expected)


@given(st.sets(st.integers(1, 10**6), min_size=5, max_size=60), st.integers(1, 4))
def test_one_undone_changes_no_other_place(numbers: set[int], size: int) -> None:
    seen = [(HERE, number) for number in numbers]
    before = drawn(SEED, {HERE: size}, seen)
    gone = min(before)
    after = drawn(SEED, {HERE: size}, [one for one in seen if one[1] != gone])
    assert before - {gone} <= after
    assert len(after) == size


def test_each_settlement_has_the_same_chance() -> None:
    """Of 40 settlements 10 are drawn with each of 2,000 seeds: 500 each, give or take."""
    seen = [(HERE, number) for number in range(1, 41)]
    counts = dict.fromkeys(range(1, 41), 0)
    for number in range(2_000):
        seed = hashlib.sha256(number.to_bytes(4, "big")).digest()
        for claim_no in drawn(seed, {HERE: 10}, seen):
            counts[claim_no] += 1
    # Chi-square of 39 degrees of freedom is below 82 with probability 0.9999; hypergeometric
    # counts scatter less than that.
    chi_square = sum((count - 500) ** 2 / 500 for count in counts.values())
    assert chi_square < 82


SAMPLING = load_review_rules(
    RULES.replace(
        'share = "50%"\nminimum = 1\n',
        'share = "3%"\nminimum = 20\n'
        '[[sampling.strata]]\nclearing_types = ["21"]\nlevels = [3]\nshare = "5.5%"\nminimum = 2\n'
        '[[sampling.strata]]\ninstitution_kinds = ["pharmacy"]\nshare = "0%"\nminimum = 0\n'
        '[[sampling.strata]]\ninstitutions = ["H11010100001"]\nshare = "100%"\nminimum = 1\n',
    )
).document.sampling


@pytest.mark.parametrize(
    ("stratum", "place", "settlements", "size"),
    [
        (Stratum(2, 11), Place("H2", 1, 2), 5, 5),  # fewer than the minimum: all
        (Stratum(2, 11), Place("H2", 1, 2), 300, 20),
        (Stratum(2, 11), Place("H2", 1, 2), 1_001, 31),  # 30.03 is rounded up
        (Stratum(2, 21), Place("H2", 1, 2), 1_001, 31),  # another level than the first stratum's
        (Stratum(2, 21), Place("H2", 1, 3), 1_000, 55),
        (Stratum(1, 21), HOSPITAL, 1_000, 55),  # the first stratum that is met holds
        (Stratum(1, 11), HOSPITAL, 1_000, 1_000),
        (Stratum(3, 41), Place("P1", 3, 0), 1_000, 0),
    ],
)
def test_how_many_are_drawn(stratum: Stratum, place: Place, settlements: int, size: int) -> None:
    assert sample_size(SAMPLING, stratum, place, settlements) == size


def test_the_share_of_none_is_none() -> None:
    nothing = Sampling(share=ShareE4(0), minimum=0)
    assert sample_size(nothing, HERE, HOSPITAL, 10**6) == 0


# --- a month, on both databases -----------------------------------------------------------------


async def settled_month(office: Office) -> None:
    """Settle at two institutions and in two clearing types, and undo one; then December comes."""
    for fen in (300_000, 250_000, 260_000, 270_000):
        await office.settle(fen)
    for fen in (310_000, 320_000):
        await office.settle(fen, person=2, place=2)
    undone = await office.settle(400_000)
    await office.counter.cancel(str(undone))
    await office.settle(50_000, person=2, item="X")  # the fund paid nothing of it
    office.at(day(2026, 12, 2))


async def sample(office: Office) -> months_store.Made:
    return await sample_month(
        office.database, MONTH, ACCEPTOR, now_ms=office.counter.clock.ms, timezone=SHANGHAI
    )


async def test_a_month_is_sampled_by_institution_and_type(office: Office) -> None:
    await settled_month(office)
    await office.open()
    made = await sample(office)
    strata = await find_strata(office.database, MONTH)
    assert [(one.stratum, one.settlements, one.sampled) for one in strata] == [
        (Stratum(1, 11), 4, 2),
        (Stratum(2, 11), 2, 1),
    ]
    assert (made.found, made.opened) == (3, 3)
    assert await office.count("review_case", f"sources = {Source.SAMPLED.value}") == 3
    assert await office.count("review_case", f"state = {State.NEW.value}") == 3
    # By hand: of the hospital's four, the two of lowest rank.
    own = sorted(office.settled[:4], key=lambda number: rank(SEED, number))[:2]
    for number in own:
        assert await office.count("review_case", f"claim_no = {number}") == 1
    again = await sample(office)
    assert (again.found, again.opened) == (3, 0)


async def test_a_sample_broken_off_is_the_same_when_it_is_whole(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settled_month(office)
    await office.open()
    monkeypatch.setattr(months_store, "CASES_A_STEP", 1)
    whole = months_store._make_cases
    calls = 0

    async def broken(*arguments: object) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise asyncio.CancelledError
        return await whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(months_store, "_make_cases", broken)
    with pytest.raises(asyncio.CancelledError):
        await sample(office)
    opened = await find_month(office.database, MONTH)
    assert opened is not None
    assert (opened.sampled_time_ms, opened.cases) == (0, 1)
    assert Undecided(Hindrance.NOT_SAMPLED) in await undecided(office.database, MONTH)
    made = await sample(office)
    assert (made.found, made.opened) == (3, 2)
    assert await office.count("review_case") == 3


async def test_two_who_sample_at_once_open_each_case_once(office: Office) -> None:
    await settled_month(office)
    await office.open()
    await asyncio.gather(sample(office), sample(office))
    assert await office.count("review_case") == 3
    assert await office.count("review_stratum") == 2


async def test_a_month_is_opened_once_by_an_auditor_and_sampled_when_it_is_over(
    office: Office,
) -> None:
    database, now_ms = office.database, office.counter.clock.ms
    assert await undecided(database, MONTH) == [Undecided(Hindrance.NOT_OPENED)]
    with pytest.raises(ReviewError, match="no review rules"):
        await open_month(database, MONTH, AUDITOR, seed=SEED, now_ms=now_ms)
    with pytest.raises(ReviewError, match="is not open"):
        await sample(office)
    await office.open()
    with pytest.raises(ReviewError, match="opened before"):
        await open_month(database, MONTH, AUDITOR, seed=bytes(32), now_ms=now_ms)
    with pytest.raises(ReviewError, match="another role"):
        await open_month(database, 202612, CALCULATOR, seed=bytes(32), now_ms=now_ms)
    with pytest.raises(ReviewError, match="has not ended"):
        await sample(office)
    opened = await find_month(database, MONTH)
    assert opened is not None
    assert opened.seed == SEED


async def test_a_month_is_ready_when_every_case_is_decided(office: Office) -> None:
    await settled_month(office)
    await office.open()
    await sample(office)
    found = await undecided(office.database, MONTH)
    assert [(one.why, one.institution_no, one.cases) for one in found] == [
        (Hindrance.UNDECIDED, 1, 2),
        (Hindrance.UNDECIDED, 2, 1),
    ]
    while True:
        taken = await office.desk.take_next(MONTH, ACCEPTOR)
        if not isinstance(taken, Case):
            break
        await office.desk.accept(taken.case_no, ACCEPTOR)
        await office.do("calculate", taken.case_no, CALCULATOR, APPROVED)
        await office.do("audit", taken.case_no, AUDITOR)
    assert await undecided(office.database, MONTH) == []


async def test_only_a_settlement_that_stands_and_was_paid_becomes_a_case(office: Office) -> None:
    await office.open()
    undone = await office.settle()
    cancel = await office.counter.cancel(str(undone))
    unpaid = await office.settle(50_000, item="X")
    assert cancel.entry_no is not None
    for number in (undone, cancel.entry_no, unpaid, 12345):
        with pytest.raises(ReviewError, match="no settlement of 202611"):
            await choose_settlement(
                office.database, MONTH, number, AUDITOR, reason="x",
                now_ms=office.counter.clock.ms,
            )  # fmt: skip
    assert await office.count("review_case") == 0
