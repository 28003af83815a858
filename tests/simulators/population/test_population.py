"""A made-up city: deterministic by its seed, well-formed, and consistent in itself."""

import csv
import datetime as dt
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulators.cli import app
from simulators.population import households, identity_number, names, places
from simulators.population.city import MADE_UP_REGION, City
from simulators.population.files import write_city
from simulators.population.identity_number import IdentityNumbers, NumbersExhaustedError

PERSONS = 3_000
Rows = list[dict[str, str]]


def make(directory: Path, **changes: object) -> Path:
    settings: dict[str, object] = {"seed": 7, "persons": PERSONS, "region": MADE_UP_REGION}
    city = City(**{**settings, **changes})  # type: ignore[arg-type]
    assert list(write_city(city, directory))[-1] == city.persons
    return directory


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("city"))


def rows(directory: Path, name: str) -> Rows:
    with (directory / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_same_seed_gives_the_same_bytes_another_seed_others(tmp_path: Path, city: Path) -> None:
    again = contents(make(tmp_path / "again"))
    other = contents(make(tmp_path / "other", seed=8))
    assert again == contents(city)
    for name in ("persons.csv", "cards.csv", "insurances.csv", "balances.csv", "catalogue.csv"):
        assert other[name] != again[name]


@pytest.mark.parametrize("persons", [1, 2, 9_999, 10_000, 10_001])
def test_as_many_persons_as_asked_for(tmp_path: Path, persons: int) -> None:
    made = rows(make(tmp_path, persons=persons), "persons")
    assert len(made) == persons
    assert len({row["person_no"] for row in made}) == persons


def test_identity_numbers_are_well_formed_and_unique(city: Path) -> None:
    persons = rows(city, "persons")
    assert len({row["id_number"] for row in persons}) == PERSONS
    for row in persons:
        number = row["id_number"]
        # GB 11643-1999, as ISO 7064 MOD 11-2 says it, not as our table of weights does.
        value = sum(
            (10 if digit == "X" else int(digit)) * pow(2, 17 - index, 11)
            for index, digit in enumerate(number)
        )
        assert value % 11 == 1
        assert number[:6] == MADE_UP_REGION
        assert number[6:14] == row["birth_date"]
        assert int(number[16]) % 2 == int(row["sex"]) % 2
        assert dt.date(1900, 1, 1) < dt.date.fromisoformat(row["birth_date"]) < dt.date(2026, 1, 1)


def test_the_standards_own_number_passes_the_weights() -> None:
    digits = "11111119810101111"
    weight = identity_number.weigh(digits, 0)
    assert identity_number.CHECK_CHARACTERS[weight % 11] == "0"


def test_a_full_day_goes_on_to_the_next_and_a_full_year_stops() -> None:
    numbers = IdentityNumbers(MADE_UP_REGION)
    given = [numbers.take(1990, 364, is_male=True) for _ in range(501)]
    assert given[499][1] == "19901231"
    assert given[500][1] == "19900101"
    for _ in range(500 * 365 - 501):
        numbers.take(1990, 0, is_male=True)
    with pytest.raises(NumbersExhaustedError):
        numbers.take(1990, 0, is_male=True)
    assert numbers.take(1990, 0, is_male=False)[1] == "19900101"


def test_all_that_is_referred_to_exists(city: Path) -> None:
    persons = {row["person_no"]: row for row in rows(city, "persons")}
    families = {row["family_no"]: row["payer_person_no"] for row in rows(city, "families")}
    employers = {row["employer_no"] for row in rows(city, "employers")} | {"0"}
    assert {row["family_no"] for row in persons.values()} - {"0"} == families.keys()
    assert {row["employer_no"] for row in persons.values()} <= employers
    for family, payer in families.items():
        assert persons[payer]["family_no"] == family
    for name in ("insurances", "cards", "balances", "filings", "identities"):
        assert {row["person_no"] for row in rows(city, name)} <= persons.keys()
    institutions = {row["institution_no"] for row in rows(city, "institutions")}
    assert {row["institution_no"] for row in rows(city, "filings")} <= institutions | {"0"}
    assert {row["institution_no"] for row in rows(city, "operators")} == institutions


def test_everyone_is_insured_and_has_a_card(city: Path) -> None:
    persons = {row["person_no"] for row in rows(city, "persons")}
    assert {row["person_no"] for row in rows(city, "insurances")} == persons
    assert {row["person_no"] for row in rows(city, "cards")} == persons


def test_who_pays_for_a_family_has_an_employees_account_in_force(city: Path) -> None:
    in_force = {
        row["person_no"]
        for row in rows(city, "insurances")
        if row["insutype"] == "310" and row["state"] == "1"
    }
    assert {row["payer_person_no"] for row in rows(city, "families")} <= in_force


def test_insurances_are_of_every_kind(city: Path) -> None:
    insurances = rows(city, "insurances")
    kinds = {(row["insutype"], row["person_type"], row["state"]) for row in insurances}
    assert {("310", "11", "1"), ("310", "11", "2"), ("310", "12", "1"), ("390", "14", "1")} <= kinds
    assert max(Counter(row["person_no"] for row in insurances).values()) > 1
    keys = Counter((row["person_no"], row["insutype"], row["begins"]) for row in insurances)
    assert max(keys.values()) == 1


def test_cards_prove_what_the_registry_binds(city: Path) -> None:
    cards = rows(city, "cards")
    for row in cards:
        historical = bytes.fromhex(row["historical"])
        assert len(historical) == 13
        assert historical[5:].hex().upper() == row["identity"]
        assert historical[7:9].hex() == MADE_UP_REGION[:4]  # T8-9
        serial = row["identity"][-8:]
        assert row["card_id"].startswith(f"{MADE_UP_REGION}D156000005{serial}")
        assert len(bytes.fromhex(row["card_id"])) == 16
        assert len(bytes.fromhex(row["issuer"])) == 12
        assert row["begins"] < row["ends"]
    for column in ("card_no", "identity", "card_number", "card_id"):
        assert len({row[column] for row in cards}) == len(cards)


def test_cards_are_of_every_version_algorithm_and_state(city: Path) -> None:
    cards = rows(city, "cards")
    assert {row["version"] for row in cards} == {"1.00", "2.00", "3.00"}
    assert {row["algorithm"] for row in cards} == {"1", "3"}
    assert {row["state"] for row in cards} >= {"1", "2", "3"}
    assert any(row["ends"] < "20260101" for row in cards)
    assert Counter(row["state"] for row in cards)["1"] > len(cards) * 0.9
    replaced = {row["person_no"] for row in cards if row["state"] == "3"}
    assert replaced == {
        person for person, count in Counter(row["person_no"] for row in cards).items() if count > 1
    }


def test_balances_are_of_those_with_an_account_and_positive(city: Path) -> None:
    employees = {row["person_no"] for row in rows(city, "insurances") if row["insutype"] == "310"}
    balances = rows(city, "balances")
    assert {row["person_no"] for row in balances} <= employees
    assert all(int(row["balance_fen"]) > 0 for row in balances)


def test_the_smallest_city_has_every_kind_of_institution(tmp_path: Path) -> None:
    institutions = rows(make(tmp_path, persons=1), "institutions")
    assert {(row["kind"], row["level"]) for row in institutions} >= {
        ("1", "3"), ("1", "2"), ("1", "1"), ("2", "1"), ("3", "0"),
    }  # fmt: skip
    for row in institutions:
        assert len(row["code"]) == 12
        assert row["code"][0] == ("P" if row["kind"] == "3" else "H")


def test_the_catalogues_class_goes_by_the_last_digit(city: Path) -> None:
    catalogue = rows(city, "catalogue")
    assert len(catalogue) == 4_000
    for row in catalogue:
        digit = int(row["item"][-1])
        expected = "3" if digit == 0 else "1" if digit < 5 else "2"
        assert row["item_class"] == expected
        ratio = int(row["self_pay_ratio_e4"])
        assert (ratio == 0) is (expected == "1")
    assert any(row["price_limit_microyuan"] for row in catalogue)


def test_no_value_needs_quoting_but_a_passwords_hash(city: Path) -> None:
    for path in city.iterdir():
        text = path.read_text(encoding="utf-8")
        assert "\r" not in text
        columns = text.partition("\n")[0].count(",")
        assert all(line.count(",") == columns for line in text.splitlines())
        assert ('"' in text) is (path.stem == "operators")


def test_headers_are_those_promised(city: Path) -> None:
    for name, header in {**households.HEADERS, **places.HEADERS}.items():
        assert (city / f"{name}.csv").read_text(encoding="utf-8").startswith(f"{header}\n")


def test_surnames_are_single_names() -> None:
    assert all(1 <= len(surname) <= 2 for surname in names.SURNAMES)


def test_command_writes_a_city_and_refuses_a_folder_in_use(tmp_path: Path) -> None:
    out = tmp_path / "city"
    arguments = ["population", "--seed", "7", "--persons", "100", "--out", str(out)]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.output
    assert len(rows(out, "persons")) == 100
    before = contents(out)
    second = CliRunner().invoke(app, arguments)
    assert second.exit_code == 1
    assert "not empty" in second.output
    assert contents(out) == before


def test_command_hashes_one_password_the_same_way_each_time(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse\n", encoding="utf-8")
    hashes = []
    for name in ("one", "two"):
        arguments = ["population", "--persons", "1", "--out", str(tmp_path / name)]
        result = CliRunner().invoke(app, [*arguments, "--operator-password-file", str(password)])
        assert result.exit_code == 0, result.output
        hashes += [row["password_hash"] for row in rows(tmp_path / name, "operators")]
    assert len(set(hashes)) == 1
    assert hashes[0].startswith("$argon2id$")


@pytest.mark.parametrize("region", ["12345", "1234567", "12a456"])
def test_command_refuses_a_region_that_is_none(tmp_path: Path, region: str) -> None:
    out = tmp_path / "city"
    result = CliRunner().invoke(app, ["population", "--region", region, "--out", str(out)])
    assert result.exit_code == 2
    assert not out.exists()


def test_some_have_filed_something_of_each_kind_where_patients_are_taken(city: Path) -> None:
    filings = rows(city, "filings")
    kinds = Counter(row["kind"] for row in filings)
    assert set(kinds) == {"1", "2", "3", "4"}
    assert PERSONS // 8 < kinds["2"] < PERSONS // 2
    levels = {row["institution_no"]: row["level"] for row in rows(city, "institutions")}
    assert {levels[row["institution_no"]] for row in filings if row["kind"] == "3"} == {"3"}
    assert all(row["begins"] <= row["ends"] for row in filings)
    items = {row["item"] for row in rows(city, "catalogue")}
    assert {row["code"] for row in filings if row["kind"] == "4"} <= items
