"""Contributions from files: divided, posted once, corrected by difference, reversed."""

from pathlib import Path

from cardserver.funding.contributions_store import Counts, rejections_of
from tests.cardserver.funding.fund import Fund, row, write


async def test_a_file_is_divided_and_posted_once(fund: Fund, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [row(1), row(2, 5_000)])
    posted = await fund.post(path)
    again = await fund.post(path)
    assert posted.counts == Counts(posted=2, pool_fen=135_000, account_fen=30_000)
    assert (again.is_repeated, again.counts) == (True, posted.counts)
    assert await fund.held(1, 2) == {1: 20_000, 2: 10_000}
    assert await fund.totals() == {1010: 165_000, 2030: -30_000, 4010: -135_000}
    assert await rejections_of(fund.database, posted.file.file_no) == []
    await fund.assert_sound()
