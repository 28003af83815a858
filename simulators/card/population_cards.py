"""Finds a made-up city's card in its CSV files, so that it can be printed."""

from collections.abc import Iterator
from pathlib import Path

from protocol.card.profiles.social_security_keys import Algorithm
from simulators.card.social_security_card import CardData

_CARD_COLUMNS = frozenset(
    {
        "card_no", "profile", "region", "card_number", "card_id", "person_no", "version",
        "algorithm", "card_class", "issuer", "begins", "ends", "historical",
    }
)  # fmt: skip
_PERSON_COLUMNS = frozenset({"person_no", "id_number", "name", "sex", "birth_date"})


class CardNotFoundError(Exception):
    """The city has no such card, or its files have other columns than we know."""


def find_card(population: Path, card: str, pin: str = "") -> CardData:
    """Read what belongs on a card.

    Args:
        population: The city's folder.
        card: The printed number, or the registry's number of the card.
        pin: The PIN to be written on it; empty for none.

    Raises:
        CardNotFoundError: There is no such card.
    """
    column = "card_no" if card.isdecimal() else "card_number"
    row = _find(population / "cards.csv", _CARD_COLUMNS, column, card)
    if row["profile"] != "social_security_card":
        raise CardNotFoundError(f"card {card} is a {row['profile']}, which is not simulated here")
    person = _find(population / "persons.csv", _PERSON_COLUMNS, "person_no", row["person_no"])
    return CardData(
        historical=bytes.fromhex(row["historical"]),
        region=row["region"],
        card_id=bytes.fromhex(row["card_id"]),
        card_class=row["card_class"],
        version=row["version"],
        algorithm=Algorithm(int(row["algorithm"])),
        issuer=bytes.fromhex(row["issuer"]),
        begins=int(row["begins"]),
        ends=int(row["ends"]),
        card_number=row["card_number"],
        holder_number=person["id_number"],
        holder_name=person["name"],
        sex=int(person["sex"]),
        birth_date=int(person["birth_date"]),
        pin=pin,
        card_no=int(row["card_no"]),
    )


def iterate_cards(population: Path) -> Iterator[dict[str, str]]:
    """Read the rows of a city's cards, one after another."""
    path = population / "cards.csv"
    with path.open(encoding="utf-8") as lines:
        columns = _read_header(path, next(lines, ""), _CARD_COLUMNS)
        for line in lines:
            yield _row(columns, line)


def _find(path: Path, wanted: frozenset[str], column: str, value: str) -> dict[str, str]:
    """Find a row; a line that does not hold the value is not taken apart."""
    try:
        with path.open(encoding="utf-8") as lines:
            columns = _read_header(path, next(lines, ""), wanted)
            for line in lines:
                if value in line:
                    row = _row(columns, line)
                    if row[column] == value:
                        return row
    except FileNotFoundError as absent:
        raise CardNotFoundError(f"{path} is absent: is this a population's folder?") from absent
    raise CardNotFoundError(f"{path} has no {column} {value}")


def _read_header(path: Path, header: str, wanted: frozenset[str]) -> list[str]:
    columns = header.rstrip("\n").split(",")
    missing = sorted(wanted - set(columns))
    if missing:
        raise CardNotFoundError(f"{path} lacks the columns {', '.join(missing)}")
    return columns


def _row(columns: list[str], line: str) -> dict[str, str]:
    # No value of a population holds a comma or a quote (simulators/population/files.py).
    return dict(zip(columns, line.rstrip("\n").split(","), strict=True))
