"""Every card of a made-up city can be found and printed, and its root keys are found."""

from pathlib import Path

import pytest

from protocol.card.profiles.social_security_keys import Algorithm
from simulators.card.population_cards import CardNotFoundError, find_card, iterate_cards
from simulators.card.social_security_card import RootKeys, print_card
from simulators.population.city import City
from simulators.population.files import write_city


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("population") / "city"
    city = City(seed=5, persons=300, region="639900", year=2026, items=1, password_hash="")
    for _ in write_city(city, directory):
        pass
    return directory


def test_every_card_can_be_printed(population: Path) -> None:
    rows = list(iterate_cards(population))
    assert len(rows) >= 300
    algorithms = set()
    for row in rows[::7]:
        data = find_card(population, row["card_number"])
        assert find_card(population, row["card_no"]) == data
        assert data.identity.hex().upper() == row["identity"]
        assert print_card(data, RootKeys.draw()).atr.hex().upper() == "3B6D0000" + row["historical"]
        algorithms.add(data.algorithm)
    assert {Algorithm.TRIPLE_DES, Algorithm.SM4} <= algorithms


@pytest.mark.parametrize("card", ["ZZZ", "999999999", ""])
def test_an_unknown_card_is_not_found(population: Path, card: str) -> None:
    with pytest.raises(CardNotFoundError, match=r"cards\.csv has no"):
        find_card(population, card)


def test_another_folder_is_no_population(tmp_path: Path) -> None:
    with pytest.raises(CardNotFoundError, match="is absent"):
        find_card(tmp_path, "1")
    (tmp_path / "cards.csv").write_text("card_no,profile\n1,egk\n")
    with pytest.raises(CardNotFoundError, match="lacks the columns algorithm"):
        find_card(tmp_path, "1")


def test_a_card_of_another_profile_is_not_simulated(population: Path, tmp_path: Path) -> None:
    lines = (population / "cards.csv").read_text().splitlines()
    lines[1] = lines[1].replace("social_security_card", "egk")
    (tmp_path / "cards.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(CardNotFoundError, match="is a egk"):
        find_card(tmp_path, "1")


def test_root_keys_are_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "IRK.sm4.2.key").write_bytes(bytes(16))
    (tmp_path / "RKSSSE.sm4.2.key").write_bytes(bytes(range(16)))
    roots = RootKeys.read(tmp_path, Algorithm.SM4, version=2)
    assert (roots.internal, roots.external) == (bytes(16), bytes(range(16)))
    (tmp_path / "IRK.sm4.2.key").write_bytes(bytes(15))
    with pytest.raises(ValueError, match="15 bytes"):
        RootKeys.read(tmp_path, Algorithm.SM4, version=2)
