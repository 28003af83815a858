"""What a file changes in a list: rows of different days, corrections, overlaps, jumps."""

import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardserver.catalogue.columns import Placed, Rejection
from cardserver.catalogue.merging import Merged, merge, refuse_jumps, refuse_nothing
from cardserver.catalogue.values import FOREVER, CatalogueRow

Present = Mapping[str, Mapping[int, CatalogueRow]]


def row(
    begins: int, ends: int = FOREVER, *, item: str = "A", limit: int = 10, is_struck: int = 0
) -> CatalogueRow:
    return CatalogueRow(item, begins, ends, "药", 1, 0, limit * 1_000_000, is_struck=is_struck)


def present(*rows: CatalogueRow) -> dict[str, dict[int, CatalogueRow]]:
    found: dict[str, dict[int, CatalogueRow]] = {}
    for one in rows:
        found.setdefault(one.item, {})[one.begins] = one
    return found


def merged(before: Present, *rows: CatalogueRow, corrects: bool = True) -> Merged[CatalogueRow]:
    placed = [Placed(line, one) for line, one in enumerate(rows, 2)]
    return merge(dict(before), placed, refuse_jumps, corrects=corrects)


def after(before: Present, done: Merged[CatalogueRow]) -> dict[str, dict[int, CatalogueRow]]:
    found = {name: dict(rows) for name, rows in before.items()}
    for one in (*done.added, *done.changed):
        found.setdefault(one.item, {})[one.begins] = one
    return found


def test_a_row_until_further_notice_ends_where_the_next_begins() -> None:
    done = merged(present(row(20260101)), row(20270101, limit=12))
    assert (done.added, done.changed, done.rejections) == ([row(20270101, limit=12)], [], [])


def test_days_that_overlap() -> None:
    before = present(row(20260101, 20261231))
    done = merged(before, row(20260701), row(20250101, 20260101), row(20270101))
    assert done.added == [row(20270101)]
    assert done.rejections == [
        Rejection(2, "begins", "its days overlap those of the row from 20260101 to 20261231"),
        Rejection(3, "ends", "its days overlap those of the row from 20260101 to 20261231"),
    ]


def test_of_two_rows_of_a_file_the_later_one_is_refused() -> None:
    done = merged({}, row(20260101, 20261231), row(20260701, 20270101))
    assert done.added == [row(20260101, 20261231)]
    assert [one.line for one in done.rejections] == [3]


def test_a_correction_makes_room_for_another_row_of_the_file() -> None:
    before = present(row(20260101, 20261231))
    done = merged(before, row(20260701), row(20260101, 20260630))
    assert (done.added, done.changed) == ([row(20260701)], [row(20260101, 20260630)])


def test_the_same_key_twice_in_a_file() -> None:
    done = merged({}, row(20260101), row(20260101), row(20260101, limit=11))
    assert (len(done.added), done.unchanged) == (1, 1)
    assert done.rejections == [Rejection(4, "", "line 2 has the same code and first day")]


def test_what_is_struck_out_counts_as_absent_and_may_come_back() -> None:
    before = present(row(20260101, 20261231))
    done = merged(before, row(20260101, is_struck=1), row(20260701))
    assert done.changed == [row(20260101, 20261231, is_struck=1)]
    assert done.added == [row(20260701)]
    later = after(before, done)
    assert merged(later, row(20260101, is_struck=1)).unchanged == 1
    assert merged(later, row(20260101, 20260630)).changed == [row(20260101, 20260630)]
    (rejected,) = merged(later, row(20200101, is_struck=1)).rejections
    assert rejected.column == "is_struck"


@pytest.mark.parametrize(
    ("limit", "is_taken"), [(999, True), (1000, False), (12_500, False), (11, True)]
)
def test_a_limit_a_hundred_times_the_one_before(limit: int, *, is_taken: bool) -> None:
    for before, news in (
        (present(row(20260101)), row(20270101, limit=limit)),
        (present(row(20260101)), row(20260101, limit=limit)),
        (present(row(20260101, limit=limit)), row(20270101)),
    ):
        done = merged(before, news)
        assert bool(done.added or done.changed) == is_taken
        assert (
            [one.column for one in done.rejections] == [] if is_taken else ["price_limit_microyuan"]
        )


def test_a_list_that_stands_is_not_corrected() -> None:
    before = present(row(20260101), row(20270101))
    done = merged(before, row(20260101, 20261231, limit=11), row(20270101), corrects=False)
    assert done.changed == []
    assert done.unchanged == 1
    (rejected,) = done.rejections
    assert (rejected.line, rejected.column) == (2, "ends, price_limit_microyuan")


days = st.sampled_from([20260101, 20260401, 20260701, 20261001, 20270101])
rows = st.builds(
    lambda item, begins, ends, limit, is_struck: row(
        begins, max(begins, ends), item=item, limit=limit, is_struck=is_struck
    ),
    st.sampled_from("AB"),
    days,
    days | st.just(FOREVER),
    st.integers(1, 3),
    st.sampled_from([0, 0, 0, 1]),
)
files = st.lists(st.lists(rows, max_size=8), max_size=4)


@given(files)
def test_whatever_files_come_no_days_overlap_and_each_again_changes_nothing(
    written: list[list[CatalogueRow]],
) -> None:
    held: dict[str, dict[int, CatalogueRow]] = {}
    for file in written:
        placed = [Placed(line, one) for line, one in enumerate(file, 2)]
        done = merge(dict(held), placed, refuse_nothing)
        held = after(held, done)
        told = len(done.added) + len(done.changed) + done.unchanged + len(done.rejections)
        assert told == len(file)
        again = merge(dict(held), placed, refuse_nothing)
        assert (again.added, again.changed) == ([], [])
        for of_item in held.values():
            valid = sorted(
                (one for one in of_item.values() if not one.is_struck), key=lambda one: one.begins
            )
            for first, second in itertools.pairwise(valid):
                assert first.ends == FOREVER or first.ends < second.begins
