"""Persons, filings, families, institutions and their history, by command, on both databases."""

import csv
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cardserver.cli import app
from cardserver.registry.identity_number import check_character
from cardserver.registry.registry_store import Registry
from cardserver.registry.values import RevocationReason
from ledger.bulk_store import plain
from simulators.postgres import PostgreSQLCluster
from tests.cardserver.registry.test_commands import ask

Run = Callable[..., Result]
HOSPITAL = "H11019900002"  # of level 2


@pytest.fixture(scope="module")
def made(made_up_village: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The village's files without its catalogue, for reading only."""
    copy = tmp_path_factory.mktemp("files") / "village"
    shutil.copytree(made_up_village, copy, ignore=shutil.ignore_patterns("catalogue.csv"))
    return copy


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def template(
    request: pytest.FixtureRequest, made: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The folder of a centre on either database with the village loaded; copied for each test."""
    directory = tmp_path_factory.mktemp("template") / "centre"
    options: list[str] = []
    cluster: PostgreSQLCluster | None = None
    if request.param == "postgresql":
        cluster = request.getfixturevalue("postgres_cluster")
        assert cluster is not None
        options = ["--database", cluster.create_database("people")]
    file = str(directory / "cardserver.toml")
    for words in (["init", str(directory), *options], ["registry", "import", "--config", file]):
        done = CliRunner().invoke(app, words + [str(made)] * (words[0] == "registry"))
        assert done.exit_code == 0, done.output
    yield directory
    if cluster is not None:
        cluster.drop_database("people")


@pytest.fixture
def config(request: pytest.FixtureRequest, template: Path, tmp_path: Path) -> Iterator[Path]:
    """A test's own copy of the centre."""
    file = Path(shutil.copytree(template, tmp_path / "centre")) / "cardserver.toml"
    text = file.read_text(encoding="utf-8")
    if "/people" not in text:
        yield file
        return
    cluster: PostgreSQLCluster = request.getfixturevalue("postgres_cluster")
    cluster.create_database("people_copy", template="people")
    file.write_text(text.replace("/people", "/people_copy"), encoding="utf-8")
    yield file
    cluster.drop_database("people_copy")


@pytest.fixture
def run(config: Path) -> Run:
    """Runs a command of `cardserver registry` with this centre's configuration."""

    def invoke(*arguments: object, status: int = 0, answer: str | None = None) -> Result:
        words = ["registry", *map(str, arguments), "--config", str(config)]
        result = CliRunner().invoke(app, words, input=answer)
        assert result.exit_code == status, result.output
        return result

    return invoke


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The village's files, which a test may change."""
    return Path(shutil.copytree(made, tmp_path / "village"))


def rows(directory: Path, name: str) -> list[dict[str, str]]:
    with (directory / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def append(directory: Path, name: str, *new: dict[str, str]) -> None:
    columns = list(rows(directory, name)[0])
    with (directory / f"{name}.csv").open("a", encoding="utf-8") as file:
        file.writelines(",".join(row[column] for column in columns) + "\n" for row in new)


def slipped(number: str, at: int = 16) -> str:
    """A well-formed number with one digit wrong."""
    digits = number[:at] + str((int(number[at]) + 2) % 10) + number[at + 1 : 17]
    return digits + check_character(digits)


def counts(output: str, name: str) -> list[int]:
    (line,) = re.findall(rf"│ {name} +│(.*)│", output)
    return [int(text.replace(",", "")) for text in line.split("│")]


def unique_name(directory: Path) -> dict[str, str]:
    """Someone of the village, a worker with an account, who is in no family."""
    held = {row["person_no"] for row in rows(directory, "balances")}
    return next(
        row
        for row in rows(directory, "persons")
        if row["family_no"] == "0" and row["person_no"] in held and not row["deceased_date"]
    )


def finding(number: str) -> Callable[[Registry], object]:
    """A question to `ask`: who has this number?"""
    return lambda registry: registry.person_by_id_number(number)


async def revoked(registry: Registry, person_no: str) -> list[int]:
    """Why the person's cards in force are on the revocation list."""
    text = (
        "SELECT r.reason FROM revocation r JOIN card c ON c.card_no = r.card_no"
        f" WHERE c.state = 1 AND c.person_no = {person_no}"
    )
    rows = await registry._database.fetch(plain(text, postgresql=text, sqlite=text)())
    return [row[0] for row in rows]


# --- filings ------------------------------------------------------------------------------------


def test_a_filing_is_made_once_listed_and_ended(run: Run, folder: Path) -> None:
    who = unique_name(folder)["person_no"]
    what = [who, "disease", "--code", "M01600"]
    run("filing", "add", *what, "--from", "2026-07-01", "--to", "2026-12-31")
    again = run("filing", "add", *what, "--from", "2026-12-31", status=1)
    assert "has this filing from 20260701 to 20261231" in again.output
    run("filing", "end", *what, "--on", "2026-09-30")
    run("filing", "add", *what, "--from", "2026-10-01")
    listed = [
        line.split("│")[2:6] for line in run("filing", "list", who).output.splitlines()
        if "M01600" in line
    ]  # fmt: skip
    assert [[one.strip() for one in line] for line in listed] == [
        ["M01600", "", "20260701", "20260930"], ["M01600", "", "20261001", ""],
    ]  # fmt: skip
    told = run("history", "person", who).output
    assert "ends 20261231" in told
    assert "ends 20260930" in told


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["disease"], "named by its code"),
        (["designated"], "named by institution_no"),
        (["designated", "--institution", "H11019999999"], "no institution has the code"),
        (["referral"], "the institution that it leads to"),
        (["disease", "--code", "M1", "--from", "2026-13-01"], "is not a date"),
        (["disease", "--code", "M1", "--from", "2026-02-01", "--to", "2026-01-01"], "before"),
    ],
)
def test_a_filing_that_can_not_be(run: Run, folder: Path, words: list[str], expected: str) -> None:
    who = unique_name(folder)["person_no"]
    assert expected in run("filing", "add", who, *words, status=1).output


def test_an_ended_filing_stands_when_the_files_are_loaded_again(run: Run, folder: Path) -> None:
    filing = next(row for row in rows(folder, "filings") if row["kind"] == "2")
    place = rows(folder, "institutions")[int(filing["institution_no"]) - 1]["code"]
    who = filing["person_no"]
    run("filing", "end", who, "designated", "--institution", place, "--on", "2026-05-31")
    again = run("import", folder)
    assert counts(again.output, "filings")[2] == len(rows(folder, "filings"))
    assert "20260531" in run("filing", "list", who).output


# --- who someone is -----------------------------------------------------------------------------


def test_another_number_leaves_the_earlier_one_known(run: Run, config: Path, folder: Path) -> None:
    row = unique_name(folder)
    new = slipped(row["id_number"])
    run("person", "number", row["person_no"], new)
    run("person", "document", row["id_number"], "e 1234 5678", "--type", "passport")
    wide = new.translate({ord(digit): ord(digit) + 0xFEE0 for digit in "0123456789"})
    for number in (row["id_number"], new, wide, "E12345678", "e12345678"):
        person = ask(config, finding(number))
        assert getattr(person, "person_no", 0) == int(row["person_no"]), number
        assert getattr(person, "id_number", "") == new
    again = run("person", "number", row["person_no"], row["id_number"])  # and back
    assert "has another number" in again.output
    person = ask(config, finding(new))
    assert getattr(person, "id_number", "") == row["id_number"]


def test_nobody_gets_a_number_of_someone_else_or_one_that_is_none(run: Run, folder: Path) -> None:
    one, other = rows(folder, "persons")[:2]
    for words in (["number"], ["document", "--type", "citizen"]):
        verb, *options = words
        taken = run("person", verb, one["person_no"], other["id_number"], *options, status=1)
        assert f"is that of person {other['person_no']}" in taken.output
        wrong = one["id_number"][:-1] + ("0" if one["id_number"][-1] != "0" else "1")
        assert "check character" in run(
            "person", verb, one["person_no"], wrong, *options, status=1
        ).output  # fmt: skip


def test_a_person_who_died_can_use_no_card_from_then_on(
    run: Run, config: Path, folder: Path
) -> None:
    row = unique_name(folder)
    run("person", "change", row["person_no"], "--deceased", "2026-03-01", "--name", "王新")
    person = ask(config, lambda registry: registry.person(int(row["person_no"])))
    assert getattr(person, "deceased_date", 0) == 20260301
    listed = ask(config, lambda registry: revoked(registry, row["person_no"]))
    assert listed == [RevocationReason.DECEASED]
    told = run("history", "person", row["person_no"], "--full").output
    assert row["name"] in told
    assert "王新" in told
    assert "already" in run(
        "person", "change", row["person_no"], "--name", "王新", status=1
    ).output  # fmt: skip


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--sex", "5"], "sex: expected one of 1, 2, 9"),
        (["--name", "长" * 51], "name: expected 1 to 50 printable characters"),
        (["--deceased", "1890-01-01"], "died before being born"),
        (["--born", "2026-02-30"], "2026-02-30 is not a date"),
    ],
)
def test_a_person_can_not_be_changed_to_what_no_file_may_say(
    run: Run, folder: Path, words: list[str], expected: str
) -> None:
    who = unique_name(folder)["person_no"]
    assert expected in run("person", "change", who, *words, status=1).output


@pytest.mark.parametrize(
    "words",
    [
        ["merge", "9" * 26, "1"],
        ["duplicates", "different", "1", "9" * 26],
        ["duplicates", "list", "--rows", "9" * 26],
        ["history", "imports", "9" * 26],
        ["person", "change", "1", "--employer", "9" * 26],
        ["employer", "list", "--rows", "9" * 26],
    ],
)
def test_a_number_that_no_column_holds_is_a_mistake_of_typing(run: Run, words: list[str]) -> None:
    assert "less than or equal to" in " ".join(run(*words, status=2).output.split())


def test_what_is_shown_is_masked_unless_the_whole_is_asked_for_and_noted(
    run: Run, folder: Path
) -> None:
    row = unique_name(folder)
    card = next(one for one in rows(folder, "cards") if one["person_no"] == row["person_no"])
    for subject, key in (("person", row["person_no"]), ("card", card["card_number"])):
        masked = run("show", subject, key).output
        assert row["name"] not in masked
        assert row["id_number"] not in masked
        assert card["card_number"] not in masked
        assert row["name"] in run("show", subject, key, "--full").output
    assert row["id_number"] in run("show", "person", row["id_number"], "--full").output
    assert "by import 1 of" in run("show", "person", row["person_no"]).output
    assert "level 2" in run("show", "institution", HOSPITAL).output
    assert "cashier" in run("show", "operator", "c001", "--institution", HOSPITAL).output
    for words in (["person", "1"], ["card", "Z1"], ["institution", "H1"], ["operator", "x"]):
        run("show", *words, status=1)


# --- who changed what ---------------------------------------------------------------------------


def test_the_history_names_the_operator_and_not_one_who_may_not(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("a long password\n", encoding="utf-8")
    for code, role in (("r001", "registrar"), ("u001", "audit")):
        run("operator", "add", code, "--name", "李雷", "--role", role, "--password-file", password)
    card = next(row for row in rows(folder, "cards") if row["state"] == "1")
    who = card["person_no"]
    for by, expected in (("u001", "this is for registrar"), ("x", "unknown or locked")):
        assert expected in run(
            "filing", "add", who, "disease", "--code", "M01600", "--by", by, status=1
        ).output  # fmt: skip
    run("filing", "add", who, "disease", "--code", "M01600", "--by", "r001")
    assert "operator 1000003 (" in run("history", "person", who).output
    run("operator", "lock", "u001", "--by", "r001")
    assert "state 2" in run("history", "operator", "u001").output


@pytest.mark.parametrize(
    ("role", "where"), [("cashier", []), ("registrar", ["--institution", HOSPITAL])]
)
def test_a_role_belongs_to_the_fund_or_to_an_institution(
    run: Run, role: str, where: list[str]
) -> None:
    words = ["operator", "add", "q001", "--name", "李雷", "--role", role, *where]
    assert "works at" in run(*words, answer="a long password\n", status=1).output


def test_an_import_is_known_by_its_files_and_what_they_changed(run: Run, folder: Path) -> None:
    row = unique_name(folder)
    text = (folder / "persons.csv").read_text(encoding="utf-8")
    (folder / "persons.csv").write_text(
        text.replace(f",{row['name']},", ",欧阳新名,", 1), encoding="utf-8"
    )
    assert counts(run("import", folder, "--update").output, "persons")[1] == 1
    listed = run("history", "imports").output
    assert listed.index("│ 2 ") < listed.index("│ 1 ")
    of_one = run("history", "imports", 2).output
    assert "│ 1 " not in of_one.replace("│ 1       │", "")
    assert "import 9" in run("history", "imports", 9, status=1).output
    named = next(one for one in rows(folder, "persons") if one["name"] == "欧阳新名")
    assert "name 欧***" in run("history", "person", named["person_no"]).output


# --- one record a person ------------------------------------------------------------------------


def test_who_may_be_one_is_listed_told_apart_or_made_one(run: Run, folder: Path) -> None:
    row = unique_name(folder)
    twin = {**row, "person_no": "77", "id_number": slipped(row["id_number"])}
    third = {**row, "person_no": "78", "id_number": slipped(row["id_number"], 14)}
    append(folder, "persons", twin, third)
    append(folder, "balances", {"person_no": "77", "balance_fen": "1234"})
    insurance = next(
        one for one in rows(folder, "insurances") if one["person_no"] == row["person_no"]
    )
    append(
        folder,
        "insurances",
        {**insurance, "person_no": "77"},
        {**insurance, "person_no": "77", "insutype": "999"},
    )
    assert "pairs of persons may be one" in run("import", folder).output
    listed = run("duplicates", "list").output
    assert f"│ 77     │ {row['person_no']} │" in listed
    assert "one digit" in listed
    assert row["name"] not in listed
    run("duplicates", "different", row["person_no"], "78")
    listed = run("duplicates", "list", "--look").output
    assert f"│ 78     │ {row['person_no']} │" not in listed
    merged = run("duplicates", "same", row["person_no"], "77").output
    assert "1234 fen moved by entry" in merged
    shown = run("show", "person", "77").output
    assert "known as" in shown
    assert row["person_no"] in shown
    # The files still say 77: all that they say of it is that person's now.
    again = run("import", folder).output
    assert counts(again, "persons") == [0, 0, len(rows(folder, "persons")), 0, 0]
    assert counts(again, "insurances")[2] == len(rows(folder, "insurances"))
    assert counts(again, "balances") == [0, 0, len(rows(folder, "balances")), 0, 0]
    assert "merged_person 77" in run("history", "person", row["person_no"]).output


def test_records_that_can_not_be_merged(run: Run, folder: Path) -> None:
    payer = rows(folder, "families")[0]["payer_person_no"]
    who = unique_name(folder)["person_no"]
    assert "pays for a family" in run("merge", who, payer, status=1).output
    assert "one record already" in run("merge", who, who, status=1).output
    assert "there is no person 5" in run("merge", who, "5", status=1).output
    assert "not found to be alike" in run(
        "duplicates", "different", who, payer, status=1
    ).output  # fmt: skip


def test_an_insurance_is_added_paused_put_in_force_and_ended(run: Run, folder: Path) -> None:
    who = unique_name(folder)["person_no"]
    run("insurance", "add", who, "390", "--person-type", "14", "--from", "2026-01-01",
        "--to", "2026-12-31")  # fmt: skip
    assert "from 20260101 to 20261231" in run(
        "insurance", "add", who, "390", "--person-type", "14", "--from", "2026-12-31", status=1
    ).output  # fmt: skip
    run("insurance", "state", who, "390", "paused", "--on", "2026-03-01")
    assert "390 paused 20260101-20261231 type 14 region 110199" in run("show", "person", who).output
    run("insurance", "state", who, "390", "in-force", "--on", "2026-03-01")
    run("insurance", "end", who, "390", "--on", "2026-06-30")
    assert "390 in_force 20260101-20260630" in run("show", "person", who).output
    for words, expected in (
        (["end", who, "390", "--on", "2026-07-01"], "no insurance 390 on 20260701"),
        (["add", who, "abc", "--person-type", "14"], "insutype: expected three to six digits"),
        (["add", who, "３９０", "--person-type", "14"], "insutype: expected"),
        (["add", who, "340", "--person-type", "140000000"], "person_type: expected two to six"),
        (["add", who, "340", "--person-type", "14", "--region", "1"], "region: expected six"),
        (["add", "9" * 26, "340", "--person-type", "14"], "no person has this number"),
        (["add", "5", "390", "--person-type", "14"], "no person has this number"),
    ):
        assert expected in run("insurance", *words, status=1).output
    told = run("history", "person", who).output
    assert "state 2" in told
    assert "ends 20260630" in told


# --- families, employers, institutions ----------------------------------------------------------


def test_a_family_is_joined_and_left(run: Run, folder: Path) -> None:
    single = [row for row in rows(folder, "persons") if row["family_no"] == "0"]
    one, payer = single[0]["person_no"], unique_name(folder)["person_no"]
    if one == payer:
        one = single[1]["person_no"]
    run("family", "join", one, "--payer", payer)
    shown = run("family", "show", one).output
    assert one in shown
    assert re.search(rf"│ {payer} .*yes", shown)
    assert "pays not" in run("family", "join", single[-1]["person_no"], "--payer", one,
                                 status=1).output  # fmt: skip
    assert "others leave first" in run("family", "leave", payer, status=1).output
    run("family", "leave", one)
    assert one not in run("family", "show", one).output
    assert "nobody aids themselves" in run(
        "family", "join", payer, "--payer", payer, status=1
    ).output  # fmt: skip


def test_employers_are_found_by_part_of_their_name(run: Run, folder: Path) -> None:
    one = rows(folder, "employers")[0]
    listed = run("employer", "list", "--like", one["name"][3:7]).output
    persons = sum(row["employer_no"] == "1" for row in rows(folder, "persons"))
    assert re.search(rf"│ 1 .*{one['code']}.* {persons} +│", listed)


def test_an_institution_changes_its_level_and_is_suspended(run: Run) -> None:
    agreed = [HOSPITAL, "--level", "3", "--from", "2026-07-01"]
    run("institution", "contract", *agreed, "--care", "11", "--care", "21")
    assert "begins on 20260701 already" in run(
        "institution", "contract", *agreed, status=1
    ).output  # fmt: skip
    listed = run("institution", "contracts", HOSPITAL).output
    assert re.search(r"20230101 .* 2 .*\n.*20260701 .* 3 .*11 21", listed)
    run("institution", "suspend", HOSPITAL)
    assert "suspended" in run("show", "institution", HOSPITAL).output
    run("institution", "resume", HOSPITAL)
    told = run("history", "institution", HOSPITAL).output
    assert "contract 2/20260701" in told
    assert "state 2" in told
