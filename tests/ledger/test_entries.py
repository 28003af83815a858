"""Entries balance or don't exist; what undoes one is its exact negative."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.accounts import Account, Owner, Side
from ledger.calendar import open_period, period_after
from ledger.entries import (
    Draft,
    EntryKind,
    Posting,
    UnbalancedEntryError,
    entry_number,
    movements,
    negative,
)

AMOUNTS = st.integers(-(10**12), 10**12).filter(bool)


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    amounts = draw(st.lists(AMOUNTS, min_size=1, max_size=6))
    postings = [Posting(Account.PERSONAL_ACCOUNT, 7, amount) for amount in amounts]
    if sum(amounts):
        postings.append(Posting(Account.OPENING, 0, -sum(amounts)))
    return Draft(kind=EntryKind.SETTLEMENT, postings=tuple(postings), person_no=7)


@given(drafts())
def test_an_entry_and_its_negative_cancel_out(draft: Draft) -> None:
    undone = negative(draft, kind=EntryKind.CANCELLATION, undoes=5)
    assert undone.undoes == 5
    for one, other in zip(draft.postings, undone.postings, strict=True):
        assert one == Posting(other.account, other.owner, -other.amount_fen)
    moved, back = movements(draft), movements(undone)
    assert {key: -amount for key, amount in moved.items()} == back


@given(drafts(), AMOUNTS)
def test_an_entry_out_of_balance_does_not_exist(draft: Draft, extra: int) -> None:
    with pytest.raises(UnbalancedEntryError, match="add up"):
        Draft(kind=1, postings=(*draft.postings, Posting(Account.OPENING, 0, extra)))


@pytest.mark.parametrize(
    "posting",
    [
        Posting(Account.OPENING, 0, 0),
        Posting(Account.OPENING, 3, 1),
        Posting(Account.PERSONAL_ACCOUNT, 0, 1),
        Posting(1, 0, 1),
        Posting(Account.OPENING, 0, 10**16),
    ],
)
def test_what_is_no_posting_is_refused(posting: Posting) -> None:
    other = Posting(Account.INTEREST, 310, -posting.amount_fen)
    with pytest.raises(UnbalancedEntryError):
        Draft(kind=1, postings=(posting, other))


def test_an_entry_may_move_nothing() -> None:
    assert Draft(kind=EntryKind.SETTLEMENT, postings=()).postings == ()


def test_a_debit_lowers_what_a_person_holds() -> None:
    draft = Draft(
        kind=EntryKind.SETTLEMENT,
        postings=(
            Posting(Account.PERSONAL_ACCOUNT, 1, 30),
            Posting(Account.PERSONAL_ACCOUNT, 2, -10),
            Posting(Account.INSTITUTION_PAYABLE, 9, -20),
        ),
    )
    assert movements(draft) == {
        (1, Account.PERSONAL_ACCOUNT): -30,
        (2, Account.PERSONAL_ACCOUNT): 10,
    }


def test_the_chart_is_consistent() -> None:
    for account in Account:
        assert account.name_zh
        assert account.name_en
        assert account.is_limited is (account.owner is Owner.PERSON)
        grows_by_debit = account.value // 1000 in {1, 5}
        assert account.side is (Side.DEBIT if grows_by_debit else Side.CREDIT)


def test_slots_never_share_a_number() -> None:
    assert entry_number(slot=1, sequence=2**40 - 1) + 2 == entry_number(slot=2, sequence=1)
    with pytest.raises(AssertionError):
        entry_number(slot=1, sequence=2**40)


@pytest.mark.parametrize(
    ("day", "last_closed", "period"),
    [
        (20261121, None, 202611),
        (20261121, 202610, 202611),
        (20261121, 202611, 202612),
        (20261231, 202612, 202701),
    ],
)
def test_the_period_is_the_day_s_or_the_next_still_open(
    day: int, last_closed: int | None, period: int
) -> None:
    assert open_period(day, last_closed) == period


def test_december_is_followed_by_january() -> None:
    assert period_after(202612) == 202701
    assert period_after(202611) == 202612
