"""The lists held at a terminal: pages taken, versions heard, lines named and warned of."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from protocol.card.profiles import social_security_card
from protocol.terminal.messages import (
    Bill,
    ItemRow,
    Line,
    ListDownload,
    ListPage,
    ListVersion,
    MappingRow,
    Parameters,
    RevocationRow,
)
from terminals.bill_file import BillFileError, decode_bill
from terminals.bill_notes import Note, notes_of
from terminals.commands.result import NOTES_MAX, warn_of_lines, warn_of_listed
from terminals.list_updates import ListUpdates
from terminals.listed_card import CARD, card_subject
from terminals.lists import ListName, Lists, ListsError

DAY = 20261121
FOREVER = 99991231


@pytest.fixture
def lists(tmp_path: Path) -> Iterator[Lists]:
    with Lists(tmp_path / "lists.sqlite") as opened:
        yield opened


def item(
    code: str, begins: int = 20200101, ends: int = FOREVER, *, limit: int | None = None,
    item_class: int = 1, is_struck: bool = False, levels: tuple[int | None, ...] = (),
) -> ItemRow:  # fmt: skip
    return ItemRow(
        code, begins, ends, is_struck, f"药{code}", item_class, 0, limit, levels, 1, "", 0, 0, 0, 0
    )


def mapping_row(local_item: str, code: str, ends: int = FOREVER, name: str = "") -> MappingRow:
    return MappingRow(local_item, 20200101, ends, is_struck=False, item=code, local_name=name)


def page(
    name: str, version: int, *, based_on: int = 0, after: bytes = b"", **rows: Any
) -> ListPage:
    return ListPage(
        name=name,
        version=version,
        based_on=based_on,
        is_last=not after,
        next=after,
        revocations=rows.get("revocations", ()),
        items=rows.get("items", ()),
        mappings=rows.get("mappings", ()),
        parameters=rows.get("parameters"),
    )


def take(lists: Lists, found: ListPage) -> bool:
    return lists.take(lists.request(ListName(found.name), 0), found, now_ms=5)


PARAMETERS = Parameters(2, 600_000, 0, (), (), (), (), ())


def test_rows_take_each_others_place_and_are_forgotten(lists: Lists) -> None:
    take(lists, page("catalogue", 1, items=(item("A"), item("B"))))
    take(
        lists,
        page("catalogue", 2, based_on=1, items=(item("A", limit=5), item("B", is_struck=True))),
    )
    found = lists.item("A", DAY)
    assert found is not None
    assert found.price_limit_microyuan == 5
    assert lists.item("B", DAY) is None
    assert lists.count(ListName.CATALOGUE) == 1
    subject = bytes(16)
    take(lists, page("revocations", 1, revocations=(RevocationRow(1, subject, 2),)))
    assert lists.reason(CARD, subject) == 2
    assert lists.reason(2, subject) == 0
    take(lists, page("revocations", 2, based_on=1, revocations=(RevocationRow(1, subject, 0),)))
    assert lists.reason(CARD, subject) == 0


def test_of_an_items_rows_the_last_that_has_begun_holds(lists: Lists) -> None:
    rows = (item("A", 20200101), item("A", 20260101, 20261231), item("A", 20280101))
    take(lists, page("catalogue", 1, items=rows))
    begun = {
        day: lists.item("A", day) for day in (20191231, 20251231, 20261231, 20270101, 20280101)
    }
    assert {day: row and row.begins for day, row in begun.items()} == {
        20191231: None, 20251231: 20200101, 20261231: 20260101, 20270101: None, 20280101: 20280101,
    }  # fmt: skip


def test_a_version_is_held_once_its_last_page_is_taken(lists: Lists) -> None:
    lists.hear((ListVersion("catalogue", 3), ListVersion("news", 9)))
    assert lists.held(ListName.CATALOGUE).is_behind
    assert take(lists, page("catalogue", 3, after=b"on", items=(item("A"),)))
    assert lists.held(ListName.CATALOGUE).version == 0
    asked = lists.request(ListName.CATALOGUE, 7)
    assert asked == ListDownload("catalogue", 0, b"on", 7)
    assert take(lists, page("catalogue", 3, items=(item("B"),)))
    held = lists.held(ListName.CATALOGUE)
    assert (held.version, held.newest, held.after, held.is_behind) == (3, 3, b"", False)
    # A page that another process has taken already changes nothing.
    assert not lists.take(asked, page("catalogue", 3, items=(item("C"),)), now_ms=5)
    assert lists.item("C", DAY) is None


def test_a_centre_that_begins_anew(lists: Lists) -> None:
    take(lists, page("catalogue", 9, items=(item("A"),)))
    take(lists, page("catalogue", 2, based_on=0, items=(item("B"),)))
    assert lists.item("A", DAY) is None
    assert (lists.held(ListName.CATALOGUE).version, lists.count(ListName.CATALOGUE)) == (2, 1)
    assert not lists.held(ListName.CATALOGUE).is_behind


def test_everything_is_there_the_next_time(lists: Lists, tmp_path: Path) -> None:
    take(lists, page("parameters", 77, parameters=PARAMETERS))
    take(lists, page("mapping", 1, mappings=(mapping_row("Y", "A"),)))
    lists.close()
    with Lists(tmp_path / "lists.sqlite") as again:
        assert again.parameters() == PARAMETERS
        mapping = again.mapped("Y", DAY)
        assert mapping is not None
        assert mapping.item == "A"
        assert again.held(ListName.PARAMETERS).updated_ms == 5
        assert again.item("A", DAY) is None


def test_files_that_are_no_lists(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database at all, but long enough to be looked at" * 9)
    with sqlite3.connect(tmp_path / "later") as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    for name in ("text", "later", "no/such/folder"):
        with pytest.raises(ListsError):
            Lists(tmp_path / name)


async def test_only_newer_revocations_are_news(lists: Lists) -> None:
    take(lists, page("revocations", 5))
    updates = ListUpdates(lists, frame_size_max=65_536, now_ms=lambda: 0)
    assert updates.list_version == 5
    updates.hear_reply(4)  # another worker, which is a second behind
    updates.hear_reply(5)
    assert updates.behind() == []
    updates.hear_reply(6)
    assert updates.behind() == [ListName.REVOCATIONS]
    updates.hear((ListVersion("catalogue", 2), ListVersion("revocations", 6)))
    assert updates.behind() == [ListName.REVOCATIONS, ListName.CATALOGUE]


BILL = """
dscg_date = 2026-06-30
[[lines]]
local_item = "Y1"
pric = 12
[[lines]]
med_list_codg = "B"
pric = 1
[[lines]]
med_list_codg = "Z"
name = "自带"
pric = 1
"""


def fill(lists: Lists) -> None:
    take(lists, page("mapping", 1, mappings=(
        mapping_row("Y1", "A", 20260630, "本院药"),
        mapping_row("Y2", "B"),
    )))  # fmt: skip
    limits = (None, 8_000_000, 10_000_000, 12_000_000)
    take(lists, page("catalogue", 1, items=(
        item("A", limit=9_000_000, levels=limits), item("B", item_class=3),
    )))  # fmt: skip
    take(lists, page("parameters", 1, parameters=PARAMETERS))


def test_a_bill_by_own_codes_is_sent_by_the_catalogues(lists: Lists) -> None:
    fill(lists)
    bill = decode_bill(BILL, is_toml=True, source="b", finder=lists, today=DAY)
    assert [(line.item, line.name) for line in bill.lines] == [
        ("A", "本院药"), ("B", "药B"), ("Z", "自带"),
    ]  # fmt: skip
    later = BILL.replace("2026-06-30", "2026-07-01")
    with pytest.raises(BillFileError, match=r"no Y1 on 20260701.*\$.lines\[0\].local_item"):
        decode_bill(later, is_toml=True, source="b", finder=lists, today=DAY)
    with pytest.raises(BillFileError, match="the mapping held has no Y1"):
        decode_bill(BILL, is_toml=True, source="b", today=DAY)
    for wrong in ("pric = 1", 'local_item = "Y2"\nmed_list_codg = "B"\npric = 1'):
        with pytest.raises(BillFileError, match="med_list_codg, or else local_item"):
            decode_bill(f"[[lines]]\n{wrong}\n", is_toml=True, source="b", finder=lists)


def test_what_the_catalogue_held_says_of_a_bill(lists: Lists) -> None:
    fill(lists)
    lines = tuple(
        Line(code, code, yuan * 1_000_000, 10_000, yuan * 100)
        for code, yuan in (("A", 10), ("A", 11), ("B", 1), ("Z", 1))
    )
    bill = Bill("310", "11", 2_300, True, "", lines)  # noqa: FBT003 - as on the wire
    notes = notes_of(bill, lists, DAY)
    assert [(note.line, note.text_en) for note in notes] == [
        (2, "price 11 above the limit 10"),
        (3, "class C: fully own"),
        (4, "not in the catalogue: fully own"),
    ]
    dear = replace(bill, lines=(Line("A", "A", 1_234_567_123_456, 10_000, 123_456_712),))
    (note,) = notes_of(dear, lists, DAY)
    assert note.text_en == "price 1234567.123456 above the limit 10"


def test_a_card_is_named_by_what_it_first_says() -> None:
    atr = bytes.fromhex("3B6D0000") + b"\0" * 5 + bytes.fromhex("8697159900bf7c7a")
    assert card_subject(1, atr, ()) is None
    assert card_subject(99, atr, (b"\x90\x00",)) is None
    steps = social_security_card.OPENING
    assert card_subject(1, atr, tuple(b"\x6a\x82" for _ in steps)) is None


def test_what_the_cashier_is_told_stands_apart_from_results(
    capsys: pytest.CaptureFixture[str],
) -> None:
    warn_of_listed(2, 41)
    warn_of_listed(15, 41)
    warn_of_lines([Note(number, "丙类", "class C") for number in range(1, NOTES_MAX + 3)])
    said = capsys.readouterr()
    assert said.out == ""
    first, second, *lines = said.err.splitlines()
    assert "revocation list 41" in first
    assert "已挂失" in first
    assert "lost" in first
    assert "revoked" in second
    assert len(lines) == NOTES_MAX + 1
    assert "2 more lines" in lines[-1]
