"""The last requests of a worker: nothing lost that is still kept, what is lost is counted."""

from hypothesis import given, settings
from hypothesis import strategies as st

from cardserver.observe.recent import PAGE_MAX, RECENT_MAX, AnsweredRequest, Recent, decode_page


def note(recent: Recent, number: int) -> None:
    recent.note(
        time_ms=number,
        message_type=21,
        code=0,
        is_duplicate=False,
        institution="H11019900001",
        terminal="T0001",
        msgid=str(number),
        card="",
        total_us=number,
        felt_ms=0,
        nanoseconds={"decode": 1500, "commit": number * 1000},
        detail="",
    )


@settings(max_examples=25)
@given(st.lists(st.integers(0, RECENT_MAX + 500), max_size=4))
def test_whoever_asks_on_gets_each_request_once_in_order_or_is_told_how_many_are_gone(
    bursts: list[int],
) -> None:
    recent = Recent()
    noted = at = 0
    life = decode_page(recent.page(0)).life
    for burst in bursts:
        for number in range(noted, noted + burst):
            note(recent, number)
        noted += burst
        lost = 0
        told: list[int] = []
        while True:
            page = decode_page(recent.page(at, life))
            at, life = page.next, page.life
            lost += page.lost
            told += [row.total_us for row in page.rows]
            assert len(page.rows) <= PAGE_MAX
            if not page.rows:
                break
        assert told == list(range(noted - len(told), noted))
        assert lost + len(told) == burst
        assert len(told) == min(burst, RECENT_MAX)


def test_a_row_says_whom_it_was_for_and_where_its_time_went() -> None:
    recent = Recent()
    note(recent, 7)
    (row,) = decode_page(recent.page(0)).rows
    assert row == AnsweredRequest(
        time_ms=7, type=21, code=0, is_duplicate=False, institution="H11019900001",
        terminal="T0001", msgid="7", card="", total_us=7, felt_ms=0,
        stages=(("decode", 1), ("commit", 7)), detail="",
    )  # fmt: skip


def test_in_another_life_all_that_is_kept_is_told() -> None:
    recent = Recent()
    for number in range(3):
        note(recent, number)
    page = decode_page(recent.page(900, "of-before"))
    assert (len(page.rows), page.next, page.lost) == (3, 3, 0)
