"""Loading CSV files, on both databases: once, twice, with mistakes, beside changes."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cardserver.registry import import_store
from cardserver.registry.import_files import ImportFileError
from cardserver.registry.import_plan import files_of
from cardserver.registry.import_store import FileResult
from ledger.bulk_store import plain
from ledger.database_store import Database
from ledger.sealing import seal

LoadFolder = Callable[[Database, Path], Awaitable[dict[str, FileResult]]]

TABLES = (
    "person", "family", "employer", "insurance", "card", "institution", "operator",
    "catalogue_item", "account_balance", "entry", "posting", "period_total", "seal",
)  # fmt: skip
COLUMNS = {
    "entry": "entry_no, person_no, kind, period, business_date, institution_no, clearing_type,"
    " undoes, recorded_time_ms",
    "posting": "entry_no, line, account, owner, amount_fen",
}


async def query(database: Database, text: str) -> list[tuple[object, ...]]:
    return await database.fetch(plain(text, postgresql=text, sqlite=text)())


async def everything(database: Database) -> dict[str, list[tuple[object, ...]]]:
    return {
        table: sorted(await query(database, f"SELECT * FROM {table}"), key=repr) for table in TABLES
    }


def lines(directory: Path, name: str) -> list[str]:
    return (directory / f"{name}.csv").read_text(encoding="utf-8").splitlines()


def append(directory: Path, name: str, *rows: str) -> int:
    """Append rows to a file; return the line of the first."""
    file = directory / f"{name}.csv"
    first = len(lines(directory, name)) + 1
    with file.open("a", encoding="utf-8") as text:
        text.writelines(f"{row}\n" for row in rows)
    return first


def change(directory: Path, name: str, line: int, /, **values: str) -> None:
    """Change fields of a line, 2 being the first row."""
    all_lines = lines(directory, name)
    header = all_lines[0].split(",")
    fields = dict(zip(header, all_lines[line - 1].split(","), strict=True))
    all_lines[line - 1] = ",".join({**fields, **values}.values())
    text = "".join(f"{one}\n" for one in all_lines)
    (directory / f"{name}.csv").write_text(text, encoding="utf-8")


def faults(result: FileResult) -> list[tuple[int, str]]:
    return [(rejection.line, rejection.column) for rejection in result.rejections]


async def test_twice_is_once(
    database: Database, made_up_city: Path, load_folder: LoadFolder
) -> None:
    first = await load_folder(database, made_up_city)
    after_first = await everything(database)
    second = await load_folder(database, made_up_city)
    assert await everything(database) == after_first
    for name, result in first.items():
        rows = len(lines(made_up_city, name)) - 1
        assert (result.added, result.unchanged, result.rejected) == (rows, 0, 0)
        again = second[name]
        assert (again.added, again.unchanged, again.rejected) == (0, rows, 0)
    assert len(after_first["person"]) == len(lines(made_up_city, "persons")) - 1


async def test_what_is_in_the_file_is_in_the_registry(
    database: Database, made_up_city: Path, load_folder: LoadFolder
) -> None:
    await load_folder(database, made_up_city)
    persons = await query(
        database,
        "SELECT person_no, id_number, name, sex, birth_date, deceased_date, family_no, employer_no"
        " FROM person ORDER BY person_no",
    )
    written = [",".join("" if one is None else str(one) for one in row) for row in persons]
    assert written == lines(made_up_city, "persons")[1:]
    cards = await query(
        database, "SELECT card_no, identity, card_id, issuer FROM card ORDER BY card_no"
    )
    for row, line in zip(cards, lines(made_up_city, "cards")[1:], strict=True):
        fields = line.split(",")
        hexes = [bytes(value).hex().upper() for value in row[1:]]  # type: ignore[call-overload]
        assert [str(row[0]), *hexes] == [fields[0], fields[2], fields[5], fields[10]]


async def test_opening_balances_are_entries_that_balance(
    database: Database, made_up_city: Path, load_folder: LoadFolder
) -> None:
    await load_folder(database, made_up_city)
    amounts = dict(line.split(",") for line in lines(made_up_city, "balances")[1:])
    assert len(amounts) > 1_000  # so that there is more than one entry
    held = await query(database, "SELECT owner, account, balance_fen FROM account_balance")
    assert {str(owner): str(fen) for owner, account, fen in held if account == 2030} == amounts
    sums = await query(database, "SELECT sum(amount_fen), count(*) FROM posting GROUP BY entry_no")
    assert all(total == 0 and count <= 1_001 for total, count in sums)  # type: ignore[operator]
    assert len(sums) == -(-len(amounts) // 1_000)
    ((taken_over,),) = await query(
        database, "SELECT sum(amount_fen) FROM posting WHERE account = 3900"
    )
    assert int(str(taken_over)) == sum(map(int, amounts.values()))
    totals = await query(
        database, "SELECT account, sum(debit_fen), sum(credit_fen) FROM period_total"
        " GROUP BY account ORDER BY account",
    )  # fmt: skip
    assert [tuple(map(int, map(str, row))) for row in totals] == [
        (2030, 0, sum(map(int, amounts.values()))),
        (3900, sum(map(int, amounts.values())), 0),
    ]


async def test_opening_entries_are_sealed_and_the_slot_is_given_back(
    database: Database, made_up_city: Path, load_folder: LoadFolder
) -> None:
    await load_folder(database, made_up_city)
    ((slot, owner, sequence, head),) = await query(
        database, "SELECT slot, owner, sequence, chain_head FROM writer_slot"
    )
    entries = await query(database, f"SELECT {COLUMNS['entry']} FROM entry ORDER BY entry_no")
    assert (owner, sequence) == ("", len(entries))
    sealed = bytes(32)
    for entry in entries:
        postings = await query(
            database,
            f"SELECT {COLUMNS['posting']} FROM posting WHERE entry_no = {entry[0]} ORDER BY line",
        )
        assert int(str(entry[0])) >> 40 == slot
        sealed, _ = seal(sealed, {"entry": [entry], "posting": postings})
    assert sealed == bytes(head)  # type: ignore[call-overload]


async def test_rows_with_mistakes_are_named_and_the_others_stand(
    database: Database, population: Path, load_folder: LoadFolder
) -> None:
    change(population, "persons", 5, id_number="110199199609190016")
    change(population, "persons", 7, birth_date="20230229")
    append(population, "persons", "1,2,3", "x" * 9)
    results = await load_folder(database, population)
    persons = results["persons"]
    total = len(lines(population, "persons"))
    assert faults(persons) == [
        (5, "id_number"), (7, "birth_date"), (total - 1, ""), (total, ""),
    ]  # fmt: skip
    assert persons.added == total - 1 - 4
    reasons = [str(rejection) for rejection in persons.rejections]
    assert reasons[0] == "persons.csv, line 5: id_number: the check character is wrong"
    assert "110199199609190016" not in "".join(reasons)  # no one's number in an error
    # What hangs on the rejected persons is rejected with them, each row by its line.
    gone = {lines(population, "persons")[line - 1].split(",")[0] for line in (5, 7)}
    for name in ("insurances", "cards", "balances"):
        expected = [
            (line, "person_no")
            for line, row in enumerate(lines(population, name), 1)
            if gone & set(row.split(","))
        ]
        assert faults(results[name]) == expected


async def test_duplicates_within_a_folder(
    database: Database, population: Path, load_folder: LoadFolder
) -> None:
    row = lines(population, "persons")[1]
    other = row.replace(",1,19", ",9,19").replace(",2,19", ",9,19")
    same_id = ",".join(["99", *row.split(",")[1:]])
    first = append(population, "persons", row, other, same_id)
    results = await load_folder(database, population)
    persons = results["persons"]
    assert persons.unchanged == 1
    assert faults(persons) == [(first + 1, "sex")]
    assert persons.merged == 1
    ((count,),) = await query(database, "SELECT count(*) FROM person")
    assert count == first - 2


async def test_a_second_card_of_one_identity_is_refused(
    database: Database, population: Path, load_folder: LoadFolder
) -> None:
    fields = lines(population, "cards")[1].split(",")
    fields[0], fields[4] = "999999999", "Z99999999"
    line = append(population, "cards", ",".join(fields))
    results = await load_folder(database, population)
    assert faults(results["cards"]) == [(line, "")]


async def test_a_row_that_differs_is_named_and_the_registrys_stands(
    database: Database, population: Path, load_folder: LoadFolder
) -> None:
    await load_folder(database, population)
    before = await everything(database)
    change(population, "persons", 3, name="王小明", sex="9")
    change(population, "catalogue", 4, self_pay_ratio_e4="1234")
    results = await load_folder(database, population)
    assert faults(results["persons"]) == [(3, "name, sex")]
    assert faults(results["catalogue"]) == [(4, "self_pay_ratio_e4")]
    assert await everything(database) == before


async def test_what_administrators_changed_stands(
    database: Database, made_up_city: Path, load_folder: LoadFolder
) -> None:
    await load_folder(database, made_up_city)
    for text in (
        "UPDATE card SET state = 2 WHERE card_no = 1",
        "UPDATE operator SET password_hash = 'new', state = 2",
        "UPDATE institution SET state = 2",
    ):
        await database.execute(plain(text, postgresql=text, sqlite=text)())
    before = await everything(database)
    results = await load_folder(database, made_up_city)
    assert not any(result.rejected for result in results.values())
    assert await everything(database) == before


async def test_new_rows_join_those_there(
    database: Database, population: Path, load_folder: LoadFolder
) -> None:
    balances = lines(population, "balances")
    half = len(balances) // 2
    file = population / "balances.csv"
    file.write_text("\n".join(balances[:half]) + "\n", encoding="utf-8")
    await load_folder(database, population)
    file.write_text("\n".join(balances) + "\n", encoding="utf-8")
    results = await load_folder(database, population)
    assert results["balances"].added == len(balances) - half
    assert results["balances"].unchanged == half - 1
    ((total,),) = await query(database, "SELECT sum(amount_fen) FROM posting")
    assert total == 0


async def test_two_balances_of_one_person(
    database: Database, population: Path, load_folder: LoadFolder
) -> None:
    person, amount = lines(population, "balances")[-1].split(",")
    line = append(population, "balances", f"{person},{int(amount) + 1}", "5,100", f"{person},-1")
    results = await load_folder(database, population)
    assert faults(results["balances"]) == [
        (line + 2, "balance_fen"), (line + 1, "person_no"), (line, "balance_fen"),
    ]  # fmt: skip
    held = await query(database, f"SELECT balance_fen FROM account_balance WHERE owner = {person}")
    assert held == [(int(amount),)]


async def test_two_loads_at_once_are_one(
    database: Database, made_up_city: Path, load_folder: LoadFolder
) -> None:
    both = await asyncio.gather(
        load_folder(database, made_up_city), load_folder(database, made_up_city)
    )
    for name in both[0]:
        rows = len(lines(made_up_city, name)) - 1
        assert sum(results[name].added for results in both) == rows
        assert sum(results[name].unchanged for results in both) == rows
    ((total, count),) = await query(
        database, "SELECT sum(amount_fen), count(*) FROM posting WHERE account = 2030"
    )
    amounts = [int(line.split(",")[1]) for line in lines(made_up_city, "balances")[1:]]
    assert (int(str(total)), count) == (-sum(amounts), len(amounts))


async def test_the_rejections_kept_are_bounded(
    database: Database,
    population: Path,
    load_folder: LoadFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(import_store, "REJECTIONS_KEPT_MAX", 3)
    append(population, "employers", *["x"] * 10)
    results = await load_folder(database, population)
    assert results["employers"].rejected == 10
    assert len(results["employers"].rejections) == 3


async def test_an_unreadable_file_stops_and_says_why(
    database: Database, population: Path, load_folder: LoadFolder
) -> None:
    (population / "employers.csv").write_text("employer_no,name\n1,x\n", encoding="utf-8")
    with pytest.raises(ImportFileError, match="the header must be employer_no,code,name"):
        await load_folder(database, population)
    (population / "employers.csv").write_bytes(b"employer_no,code,name\n1,x,\xff\n")
    with pytest.raises(ImportFileError, match="not UTF-8"):
        await load_folder(database, population)
    (population / "employers.csv").write_bytes(b'employer_no,code,name\n1,x,"y\n')
    with pytest.raises(ImportFileError, match="not CSV"):
        await load_folder(database, population)
    assert await query(database, "SELECT count(*) FROM employer") == [(0,)]


def test_a_folder_of_nothing_or_of_unknown_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="is not a folder"):
        files_of(tmp_path / "none")
    with pytest.raises(ImportFileError, match="holds no CSV"):
        files_of(tmp_path)
    (tmp_path / "cards.csv").touch()
    (tmp_path / "persons.csv").touch()
    assert files_of(tmp_path) == ["persons", "cards"]
    (tmp_path / "card.csv").touch()
    with pytest.raises(ImportFileError, match=r"card\.csv means nothing here"):
        files_of(tmp_path)
