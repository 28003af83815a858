"""Contributions from files: divided, posted once, corrected by difference, reversed."""

from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pytest

from cardserver.funding import contributions
from cardserver.funding.contribution_rows import Read, read_contributions
from cardserver.funding.contributions_store import Counts, rejections_of
from cardserver.registry import tables as registry
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.import_files import ImportFileError
from cardserver.registry.merge_store import merge_persons
from ledger.bulk_store import insert
from tests.cardserver.claims.fund import SHANGHAI
from tests.cardserver.funding.conftest import ACTIVE, DEAD, OTHER, RESIDENT, RETIRED
from tests.cardserver.funding.fund import ACTOR, HEADER, MONTH, Fund, person_row, row, write


async def faults(fund: Fund, file_no: int) -> list[tuple[int, str, str]]:
    return await rejections_of(fund.database, file_no)


async def test_a_file_is_divided_and_posted_once(fund: Fund, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [row(1), row(2, 5_000)])
    posted = await fund.post(path)
    again = await fund.post(path)
    assert posted.counts == Counts(posted=2, pool_fen=135_000, account_fen=30_000)
    assert (again.is_repeated, again.counts) == (True, posted.counts)
    assert await fund.held(1, 2) == {1: 20_000, 2: 10_000}
    assert await fund.totals() == {1010: 165_000, 2030: -30_000, 4010: -135_000}
    assert await faults(fund, posted.file.file_no) == []
    await fund.assert_sound()


async def test_each_rejected_row_is_named_and_the_others_are_posted(
    fund: Fund, tmp_path: Path
) -> None:
    path = write(
        tmp_path / "a.csv",
        [
            row(ACTIVE),
            row(ACTIVE),
            row(99),
            row(OTHER, employer="Z"),
            row(OTHER, month="2026-13"),
            row(OTHER, month=201901),
            row(OTHER, 3_999, month=202501),
            row(OTHER, 36_001, month=202502),
            row(OTHER, employer_amount=1, month=202503),
            row(OTHER, personal_amount=""),
            row(OTHER, personal_amount="1.234"),
            row(OTHER) + ",more",
            row(DEAD),
            row(RESIDENT),
            row(RESIDENT, insutype="390"),
            row("", id_number="无"),
            row(OTHER, insutype="31O"),
            row(OTHER, month=202401),
        ],
    )
    posted = await fund.post(path)
    assert posted.counts == Counts(posted=1, rejected=17, pool_fen=90_000, account_fen=20_000)
    assert await faults(fund, posted.file.file_no) == [
        (3, "", "repeated"),
        (4, "psn_no", "person"),
        (5, "employer", "employer"),
        (6, "month", "month"),
        (7, "insutype", "insurance"),
        (8, "", "base_below"),
        (9, "", "base_above"),
        (10, "", "employer_part"),
        (11, "personal_amount", "empty"),
        (12, "personal_amount", "amount"),
        (13, "", "cells"),
        (14, "", "deceased"),
        (15, "insutype", "insurance"),
        (16, "", "no_rule"),
        (17, "id_number", "person"),
        (18, "insutype", "insutype"),
        (19, "month", "no_rules"),
    ]
    await fund.assert_sound()


async def test_a_corrected_file_posts_the_difference(fund: Fund, tmp_path: Path) -> None:
    await fund.post(write(tmp_path / "a.csv", [row(ACTIVE), row(OTHER), row(RETIRED, 5_000)]))
    corrected = await fund.post(
        write(tmp_path / "b.csv", [row(ACTIVE, 12_000), row(OTHER), row(RETIRED, 4_000)])
    )
    assert corrected.counts == Counts(
        corrected=2, unchanged=1, pool_fen=18_000 - 11_000, account_fen=4_000
    )
    assert await fund.held(ACTIVE, OTHER) == {ACTIVE: 24_000, OTHER: 20_000}
    lowered = await fund.post(write(tmp_path / "c.csv", [row(ACTIVE, 6_000)]))
    assert (lowered.counts.account_fen, lowered.counts.pool_fen) == (-12_000, -54_000)
    assert await fund.held(ACTIVE) == {ACTIVE: 12_000}
    await fund.assert_sound()


async def test_what_an_account_lacks_is_not_taken_back(fund: Fund, tmp_path: Path) -> None:
    posted = await fund.post(write(tmp_path / "a.csv", [row(ACTIVE), row(OTHER)]))
    await fund.spend(OTHER, 5_000)
    reversed_ = await fund.reverse(posted.file.file_no)
    assert reversed_.counts == Counts(
        corrected=1, rejected=1, pool_fen=-90_000, account_fen=-20_000
    )
    assert await faults(fund, reversed_.file.file_no) == [(2, "", "overdrawn")]
    assert await fund.held(ACTIVE, OTHER) == {ACTIVE: 0, OTHER: 15_000}
    await fund.assert_sound()


async def test_a_payment_is_reversed_once_and_may_come_again(fund: Fund, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [row(ACTIVE), row(OTHER, employer="B")])
    posted = await fund.post(path)
    of_b = await fund.reverse(posted.file.file_no, "B")
    assert of_b.counts == Counts(corrected=1, pool_fen=-90_000, account_fen=-20_000)
    assert (await fund.reverse(posted.file.file_no, "B")).is_repeated
    all_of_it = await fund.reverse(posted.file.file_no)
    assert all_of_it.counts == Counts(
        corrected=1, unchanged=1, pool_fen=-90_000, account_fen=-20_000
    )
    assert await fund.held(ACTIVE, OTHER) == {ACTIVE: 0, OTHER: 0}
    assert set((await fund.totals()).values()) == {0}
    with pytest.raises(AdministrationError, match="itself a reversal"):
        await fund.reverse(all_of_it.file.file_no)
    again = await fund.post(path, is_again=True)
    assert again.counts == Counts(corrected=2, pool_fen=180_000, account_fen=40_000)
    assert await fund.held(ACTIVE, OTHER) == {ACTIVE: 20_000, OTHER: 20_000}
    await fund.assert_sound()


async def test_rows_that_were_rejected_are_tried_again(fund: Fund, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [row(ACTIVE), row(OTHER, employer="C")])
    assert (await fund.post(path)).counts.rejected == 1
    await fund.database.execute(
        insert(registry.employer, ("employer_no", "code", "name"))([(3, "C", "清河药厂")])
    )
    assert (await fund.post(path)).is_repeated
    again = await fund.post(path, is_again=True)
    assert again.counts == Counts(posted=1, unchanged=1, pool_fen=90_000, account_fen=20_000)
    assert await fund.held(ACTIVE, OTHER) == {ACTIVE: 20_000, OTHER: 20_000}


async def test_rows_tried_again_do_not_undo_what_a_later_file_says(
    fund: Fund, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.csv", [row(ACTIVE), row(OTHER, employer="C")])
    await fund.post(path)
    corrected = await fund.post(write(tmp_path / "b.csv", [row(ACTIVE, 20_000)]))
    again = await fund.post(path, is_again=True)
    assert again.counts == Counts(rejected=2)
    assert await faults(fund, again.file.file_no) == [
        (2, "", "later_file"), (3, "employer", "employer"),
    ]  # fmt: skip
    assert await fund.held(ACTIVE) == {ACTIVE: 40_000}
    # What was taken back stands no more, and the file that it corrected may come again.
    await fund.reverse(corrected.file.file_no)
    assert (await fund.post(path, is_again=True)).counts.corrected == 1
    assert await fund.held(ACTIVE) == {ACTIVE: 20_000}
    await fund.assert_sound()


async def test_a_row_of_an_earlier_file_does_not_undo_a_later_one(
    fund: Fund, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contributions, "CHUNK_SIZE", {"postgresql": 1, "sqlite": 1})
    first = tmp_path / "first.csv"
    write(first, [row(ACTIVE), row(OTHER)])
    monkeypatch.setattr(contributions, "read_contributions", _breaking)
    with pytest.raises(ExceptionGroup):
        await fund.post(first)
    monkeypatch.undo()
    monkeypatch.setattr(contributions, "CHUNK_SIZE", {"postgresql": 1, "sqlite": 1})
    await fund.post(write(tmp_path / "later.csv", [row(OTHER, 20_000)]))
    rest = await fund.post(first)
    assert rest.counts == Counts(posted=1, rejected=1, pool_fen=90_000, account_fen=20_000)
    assert await faults(fund, rest.file.file_no) == [(3, "", "later_file")]
    assert await fund.held(ACTIVE, OTHER) == {ACTIVE: 20_000, OTHER: 40_000}
    await fund.assert_sound()


def _breaking(path: Path, *, encoding: str, sheet: str) -> Iterator[Read]:
    yield next(read_contributions(path, encoding=encoding, sheet=sheet))
    raise ImportFileError("the disk is gone")


async def test_a_person_who_was_merged_is_corrected_and_not_paid_twice(
    fund: Fund, tmp_path: Path
) -> None:
    posted = await fund.post(write(tmp_path / "a.csv", [row(OTHER)]))
    await merge_persons(fund.database, kept=ACTIVE, gone=OTHER, actor=ACTOR, timezone=SHANGHAI)
    assert await fund.held(ACTIVE) == {ACTIVE: 20_000}
    by_old_number = await fund.post(write(tmp_path / "b.csv", [row(OTHER, 11_000)]))
    assert by_old_number.counts == Counts(corrected=1, pool_fen=9_000, account_fen=2_000)
    same = await fund.post(write(tmp_path / "c.csv", [row(ACTIVE, 11_000)]))
    assert same.counts == Counts(unchanged=1)
    nothing_stands = await fund.reverse(posted.file.file_no)
    assert nothing_stands.counts == Counts(unchanged=1)
    assert await fund.held(ACTIVE, OTHER) == {ACTIVE: 22_000, OTHER: 0}
    await fund.assert_sound()


async def test_a_number_and_a_document_of_two_persons_are_rejected(
    fund: Fund, tmp_path: Path
) -> None:
    its_own, others = person_row(ACTIVE)[1], person_row(OTHER)[1]
    posted = await fund.post(
        write(
            tmp_path / "a.csv",
            [
                row(ACTIVE, id_number=its_own),
                row(RETIRED, id_number=others, employer_amount=0, personal_amount=0),
                row(OTHER, id_number="E00000001"),  # of a foreigner: not looked up here
            ],
        )
    )
    assert posted.counts.posted == 2
    assert await faults(fund, posted.file.file_no) == [(3, "id_number", "others_id")]


async def test_a_spreadsheet_with_chinese_titles_and_identity_numbers(
    fund: Fund, tmp_path: Path
) -> None:
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    titles = "备注 单位编号 费款所属期 证件号码 险种类型 缴费基数 单位缴费金额 个人缴费金额"
    page.append(titles.split())
    page.append(["新", "A", "2026年11月", person_row(ACTIVE)[1], 310, 10000.5, 900.05, 200.01])
    book.save(tmp_path / "a.xlsx")
    posted = await fund.post(tmp_path / "a.xlsx")
    assert posted.counts == Counts(posted=1, pool_fen=90_005, account_fen=20_001)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (HEADER.replace("base", "wage"), "base"),
        (HEADER.replace("psn_no,id_number", "person,document"), "psn_no or id_number"),
        (HEADER.replace("month", "base"), "two columns are named base"),
    ],
)
async def test_a_header_that_lacks_a_column_posts_nothing(
    fund: Fund, tmp_path: Path, header: str, reason: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n{row(ACTIVE)}\n", encoding="utf-8")
    with pytest.raises((ImportFileError, ExceptionGroup)) as caught:
        await fund.post(path)
    causes = getattr(caught.value, "exceptions", [caught.value])
    assert reason in str(causes[0])
    assert await fund.held(ACTIVE) == {ACTIVE: 0}


async def test_a_month_may_be_paid_by_two_employers(fund: Fund, tmp_path: Path) -> None:
    rows = [row(ACTIVE), row(ACTIVE, employer="B"), row(ACTIVE, month=MONTH - 1)]
    posted = await fund.post(write(tmp_path / "a.csv", rows))
    assert posted.counts.posted == 3
    assert await fund.held(ACTIVE) == {ACTIVE: 60_000}
    await fund.assert_sound()


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE contribution SET base_fen = base_fen + 1", "contribution"),
        ("UPDATE contribution SET account_moved_fen = account_moved_fen + 1", "contribution"),
        ("DELETE FROM contribution", "contribution"),
    ],
)
async def test_a_row_changed_by_hand_is_found(
    fund: Fund, tmp_path: Path, change: str, table: str
) -> None:
    await fund.post(write(tmp_path / "a.csv", [row(ACTIVE)]))
    await fund.change(change)
    assert table in await fund.tables_that_differ()
