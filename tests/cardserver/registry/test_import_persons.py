"""Persons who are there already, under another number, or with something else: what rows become."""

import csv
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cardserver.claims.claims_store import accumulators
from cardserver.registry import import_reader
from cardserver.registry.history_view_store import changes_of_person, find_import, origin_of
from cardserver.registry.import_files import ImportFileError
from cardserver.registry.import_store import FileResult
from cardserver.registry.registry_store import Registry
from ledger.bulk_store import plain
from ledger.database_store import Database

LoadFolder = Callable[..., Awaitable[dict[str, FileResult]]]
Rows = list[dict[str, str]]


@pytest.fixture
def village(made_up_village: Path, tmp_path: Path) -> Path:
    """The village's files without its catalogue."""
    directory = tmp_path / "village"
    shutil.copytree(made_up_village, directory, ignore=shutil.ignore_patterns("catalogue.csv"))
    return directory


def rows(directory: Path, name: str) -> Rows:
    with (directory / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(directory: Path, name: str, new: Rows) -> None:
    directory.mkdir(exist_ok=True)
    with (directory / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(new[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(new)


def outcome(result: FileResult) -> tuple[int, ...]:
    return (result.added, result.changed, result.unchanged, result.merged, result.rejected)


async def everything(database: Database) -> list[object]:
    """All rows but those that say which import it was."""
    texts = (
        "SELECT * FROM identity ORDER BY number, id_type",
        "SELECT person_no, kept_person_no FROM merged_person ORDER BY person_no",
        "SELECT * FROM person ORDER BY person_no",
        "SELECT * FROM insurance ORDER BY person_no, insutype, begins",
        "SELECT * FROM accumulator ORDER BY person_no, year, insutype, scheme",
        "SELECT * FROM opening_accumulator ORDER BY person_no, year, insutype, scheme",
        "SELECT * FROM account_balance ORDER BY owner, account",
        "SELECT * FROM change ORDER BY change_no",
    )
    return [await database.fetch(plain(text, postgresql=text, sqlite=text)()) for text in texts]


@pytest.mark.parametrize(
    "typed",
    [
        lambda number: number,
        lambda number: number.lower(),
        lambda number: f" {number[:6]} {number[6:]}",
        lambda number: number.translate({ord(one): ord(one) + 0xFEE0 for one in "0123456789X"}),
        lambda number: number[:6] + number[8:17],  # of before 1999
    ],
)
async def test_the_same_document_however_it_is_written_is_the_same_person(
    database: Database,
    village: Path,
    load_folder: LoadFolder,
    typed: Callable[[str], str],
) -> None:
    await load_folder(database, village)
    person = next(row for row in rows(village, "persons") if row["id_number"][6:8] == "19")
    insurance = next(
        row for row in rows(village, "insurances") if row["person_no"] == person["person_no"]
    )
    more = village.parent / "more"
    again = {**person, "person_no": "77", "id_number": typed(person["id_number"])}
    write(more, "persons", [{**person, "id_number": again["id_number"]}, again])
    write(more, "insurances", [{**insurance, "person_no": "77"}])
    results = await load_folder(database, more)
    assert outcome(results["persons"]) == (0, 0, 1, 1, 0)
    assert outcome(results["insurances"]) == (0, 0, 1, 0, 0)
    registry = Registry(database)
    assert await registry.person(77) is None
    assert await registry.kept_number(77) == int(person["person_no"])
    before = await everything(database)
    results = await load_folder(database, more)
    assert outcome(results["persons"]) == (0, 0, 2, 0, 0)
    assert await everything(database) == before


@pytest.mark.parametrize(
    ("column", "value"), [("name", "王大明"), ("sex", "9"), ("birth_date", "19010101")]
)
async def test_the_same_document_of_someone_who_is_not_the_same_is_rejected(
    database: Database, village: Path, load_folder: LoadFolder, column: str, value: str
) -> None:
    await load_folder(database, village)
    person = rows(village, "persons")[0]
    more = village.parent / "more"
    write(more, "persons", [{**person, "person_no": "77", column: value}])
    results = await load_folder(database, more, updates=True)
    assert outcome(results["persons"]) == (0, 0, 0, 0, 1)
    (rejection,) = results["persons"].rejections
    assert rejection.column == "id_number"
    assert f"is that of person {person['person_no']}" in rejection.reason
    assert column in rejection.reason
    assert person["id_number"] not in str(rejection)
    assert value not in str(rejection)


async def test_a_name_written_another_way_is_the_same_name(
    database: Database, village: Path, load_folder: LoadFolder
) -> None:
    await load_folder(database, village)
    person = rows(village, "persons")[0]
    more = village.parent / "more"
    name = f"{person['name'][0]} {person['name'][1:]}"
    write(more, "persons", [{**person, "person_no": "77", "name": name}])
    results = await load_folder(database, more)
    assert results["persons"].merged == 1


async def test_an_update_changes_what_differs_and_tells_it(
    database: Database, village: Path, load_folder: LoadFolder
) -> None:
    await load_folder(database, village)
    people = rows(village, "persons")
    one, other = people[0], people[1]
    number = int(one["person_no"])
    insurance = next(
        row
        for row in rows(village, "insurances")
        if row["person_no"] == one["person_no"] and row["state"] == "1"
    )
    more = village.parent / "more"
    write(more, "persons", [{**one, "name": "王新名"}, {**other, "id_number": one["id_number"]}])
    write(more, "insurances", [{**insurance, "state": "2"}])
    stands = await load_folder(database, more)
    assert outcome(stands["persons"]) == (0, 0, 0, 0, 2)
    assert outcome(stands["insurances"]) == (0, 0, 0, 0, 1)
    changed = await load_folder(database, more, updates=True)
    assert outcome(changed["persons"]) == (0, 1, 0, 0, 1)  # the number is someone else's
    assert outcome(changed["insurances"]) == (0, 1, 0, 0, 0)
    assert outcome((await load_folder(database, more, updates=True))["insurances"]) == (
        0, 0, 1, 0, 0,
    )  # fmt: skip
    told = await changes_of_person(database, number)
    assert [(change.subject, change.before, change.after) for change in told] == [
        ("person", {"name": one["name"]}, {"name": "王新名"}),
        ("insurance", {"state": 1}, {"state": 2}),
    ]
    assert {change.batch_no for change in told} == {3}
    origin = await origin_of(database, "person", (number,))
    assert origin is not None
    assert origin.batch_no == 1
    third = await find_import(database, 3)
    assert third is not None
    assert {file.name: file.counts for file in third.files}["persons"] == (0, 1, 0, 0, 1)


async def test_a_card_goes_to_nobody_else_by_a_file(
    database: Database, village: Path, load_folder: LoadFolder
) -> None:
    await load_folder(database, village)
    card, other = rows(village, "cards")[:2]
    more = village.parent / "more"
    write(more, "cards", [{**card, "person_no": other["person_no"]}])
    results = await load_folder(database, more, updates=True)
    assert outcome(results["cards"]) == (0, 0, 0, 0, 1)


async def test_foreigners_and_their_documents(
    database: Database, village: Path, load_folder: LoadFolder
) -> None:
    await load_folder(database, village)
    person = rows(village, "persons")[0]
    more = village.parent / "more"
    foreign = {**person, "person_no": "77", "name": "Anna Müller", "family_no": "0"}
    write(
        more,
        "persons",
        [
            {**foreign, "id_number": "e12345678", "id_type": "08"},
            {**foreign, "person_no": "78", "id_number": "E12345678", "id_type": "01"},
        ],
    )
    write(
        more,
        "identities",
        [
            {"person_no": "77", "id_type": "07", "number": "CAN110105198012", "ends": "99991231"},
            {"person_no": person["person_no"], "id_type": "08", "number": "E12345678",
             "ends": "99991231"},
            {"person_no": "77", "id_type": "04", "number": "M12345678", "ends": "99991231"},
        ],
    )  # fmt: skip
    results = await load_folder(database, more)
    assert outcome(results["persons"]) == (1, 0, 0, 0, 1)
    assert results["persons"].rejections[0].column == "id_number"
    assert outcome(results["identities"]) == (1, 0, 0, 0, 2)
    registry = Registry(database)
    for number in ("E12345678", "CAN110105198012"):
        found = await registry.person_by_id_number(number)
        assert found is not None
        assert found.person_no == 77


async def test_opening_amounts_are_taken_over_once(
    database: Database, village: Path, load_folder: LoadFolder
) -> None:
    await load_folder(database, village)
    who = rows(village, "persons")[0]["person_no"]
    amounts = {
        "person_no": who, "year": "2026", "insutype": "310", "scheme": "outpatient",
        "deductible_fen": "180000", "in_scope_fen": "200000", "pool_fen": "14000",
        "large_amount_fen": "0", "admissions": "0",
    }  # fmt: skip
    more = village.parent / "more"
    write(more, "accumulators", [amounts, amounts, {**amounts, "person_no": "5"}])
    results = await load_folder(database, more)
    assert outcome(results["accumulators"]) == (1, 0, 1, 0, 1)
    before = await everything(database)
    assert outcome((await load_folder(database, more))["accumulators"]) == (0, 0, 2, 0, 1)
    write(more, "accumulators", [{**amounts, "pool_fen": "1"}])
    for updates in (False, True):
        results = await load_folder(database, more, updates=updates)
        assert outcome(results["accumulators"]) == (0, 0, 0, 0, 1)
    assert await everything(database) == before
    ((_, used),) = (await accumulators(database, [int(who)], 2026))[int(who)]
    assert (used.deductible_fen, used.in_scope_fen, used.pool_fen) == (180_000, 200_000, 14_000)


async def test_contracts_are_loaded_and_refer_to_institutions(
    database: Database, village: Path, load_folder: LoadFolder
) -> None:
    contract = {
        "institution_no": "2", "begins": "20260701", "ends": "99991231", "level": "3",
        "care": "11 21",
    }  # fmt: skip
    write(
        village,
        "contracts",
        [contract, {**contract, "institution_no": "99"}, {**contract, "care": "all"}],
    )
    results = await load_folder(database, village)
    assert outcome(results["contracts"]) == (1, 0, 0, 0, 2)
    assert {one.column for one in results["contracts"].rejections} == {"institution_no", "care"}


# --- whatever is in the file --------------------------------------------------------------------

PERSON = {"family_no": "0", "employer_no": "0", "deceased_date": ""}
NUMBERS = ("110199199001010017", "11019919900101005X", "110199900101003", "E12345678", "x")
some_person = st.fixed_dictionaries(
    {
        "person_no": st.sampled_from(["1", "2", "3"]),
        "id_number": st.sampled_from(NUMBERS),
        "name": st.sampled_from(["王小明", "王 小明", "李四"]),
        "sex": st.sampled_from(["1", "2"]),
        "birth_date": st.just("19900101"),
        "id_type": st.sampled_from(["01", "08"]),
    }
)


ONE_NAMED = {"name": "王小明", "sex": "1", "birth_date": "19900101"}


@pytest.mark.parametrize("updates", [False, True])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(some_person, min_size=1, max_size=12))
@example(
    [
        {"person_no": "1", "id_number": "E12345678", "id_type": "08", **ONE_NAMED},
        {"person_no": "2", "id_number": "E12345678", "id_type": "08", **ONE_NAMED, "sex": "2"},
        {"person_no": "2", "id_number": "E12345678", "id_type": "08", **ONE_NAMED},
    ]
)
@example(
    [
        {"person_no": "2", "id_number": "E12345678", "id_type": "08", **ONE_NAMED},
        {"person_no": "1", "id_number": "E12345678", "id_type": "08", **ONE_NAMED},
        {"person_no": "1", "id_number": "110199900101003", "id_type": "01", **ONE_NAMED},
    ]
)
@example(
    [
        {"person_no": n, "id_number": number, "id_type": kind, **ONE_NAMED, "sex": sex}
        for n, number, kind, sex in (
            ("3", "E12345678", "08", "1"),
            ("1", "E12345678", "08", "2"),
            ("3", "110199900101003", "01", "1"),
            ("1", "110199900101003", "01", "1"),
        )
    ]
)
async def test_whatever_the_rows_nobody_is_there_twice_and_loading_again_adds_nobody(
    database: Database,
    tmp_path: Path,
    load_folder: LoadFolder,
    updates: bool,  # noqa: FBT001 - of pytest
    people: Rows,
) -> None:
    for table in ("person", "identity", "merged_person", "change"):
        text = f"DELETE FROM {table}"
        await database.execute(plain(text, postgresql=text, sqlite=text)())
    columns = ["person_no", "id_number", "name", "sex", "birth_date", "deceased_date",
               "family_no", "employer_no", "id_type"]  # fmt: skip
    write(
        tmp_path / "people",
        "persons",
        [{name: {**PERSON, **one}[name] for name in columns} for one in people],
    )
    first = (await load_folder(database, tmp_path / "people", updates=updates))["persons"]
    assert sum(outcome(first)) == len(people)
    persons = await database.fetch(_ALL())
    assert len(persons) == first.added
    held = await database.fetch(_HELD())
    assert sorted(row[0] for row in persons) == sorted({row[1] for row in held})
    assert not {row[0] for row in persons} & set((await merged(database)).keys())
    before = [await everything(database)]
    second = (await load_folder(database, tmp_path / "people", updates=updates))["persons"]
    assert (second.added, second.merged) == (0, 0)
    if not updates:
        before.append(await everything(database))
        assert before[0] == before[1]
        assert second.rejected == first.rejected


_ALL_TEXT = "SELECT person_no FROM person"
_ALL = plain("persons", postgresql=_ALL_TEXT, sqlite=_ALL_TEXT)
_HELD_TEXT = "SELECT number, person_no FROM identity WHERE ends = 99991231"
_HELD = plain("documents", postgresql=_HELD_TEXT, sqlite=_HELD_TEXT)


async def merged(database: Database) -> dict[int, int]:
    text = "SELECT person_no, kept_person_no FROM merged_person"
    return {
        row[0]: row[1] for row in await database.fetch(plain(text, postgresql=text, sqlite=text)())
    }


# --- the process that reads ---------------------------------------------------------------------


async def test_a_process_of_its_own_reads_the_same(
    database: Database,
    village: Path,
    load_folder: LoadFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (village / "insurances.csv").open("a", encoding="utf-8") as file:
        file.write("x,y\n")
    monkeypatch.setattr(import_reader, "SIZE_MIN", 0)
    results = await load_folder(database, village)
    for name, result in results.items():
        assert result.added == len(rows(village, name)) - (name == "insurances")
    (rejection,) = results["insurances"].rejections
    assert rejection.line == len(rows(village, "insurances")) + 1
    (village / "employers.csv").write_bytes(b"employer_no,code,name\n1,x,\xff\n")
    with pytest.raises(ImportFileError, match="not UTF-8"):
        await load_folder(database, village)
