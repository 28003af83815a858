"""Rows of cards that have no key of the fund's: which are taken, which are not."""

import csv
from pathlib import Path

import pytest

from cardserver.registry.import_files import CARDS, NumberedRow, Rejection, read_rows
from simulators.card import taiwan_nhi, thai_nhso
from simulators.card.social_security_card import FICTITIOUS

SOCIAL_SECURITY = {
    "card_no": "1",
    "profile": "social_security_card",
    "identity": FICTITIOUS.identity.hex(),
    "region": FICTITIOUS.region,
    "card_number": FICTITIOUS.card_number,
    "card_id": FICTITIOUS.card_id.hex(),
    "person_no": "1",
    "version": FICTITIOUS.version,
    "algorithm": "1",
    "card_class": FICTITIOUS.card_class,
    "issuer": FICTITIOUS.issuer.hex(),
    "begins": str(FICTITIOUS.begins),
    "ends": str(FICTITIOUS.ends),
    "state": "1",
    "historical": FICTITIOUS.historical.hex(),
}


def read(path: Path, row: dict[str, str]) -> NumberedRow | Rejection:
    with (path / "cards.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, row, lineterminator="\n")
        writer.writeheader()
        writer.writerow(row)
    (read_row,) = read_rows(path / "cards.csv", CARDS)
    return read_row


@pytest.mark.parametrize("data", [taiwan_nhi.FICTITIOUS, thai_nhso.FICTITIOUS])
def test_a_card_without_key_needs_neither_region_nor_historical_bytes(
    tmp_path: Path, data: taiwan_nhi.CardData | thai_nhso.CardData
) -> None:
    row = read(tmp_path, data.registry_row(card_no=1, person_no=1))
    assert isinstance(row, NumberedRow), row
    values = dict(zip(CARDS.columns, row.values, strict=True))
    assert (values["identity"], values["region"]) == (data.identity, "")
    assert (values["algorithm"], values["historical"]) == (0, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"historical": ""}, "identity is not bytes 6 to 13 of historical"),
        ({"algorithm": "0"}, "a social security card has an algorithm"),
        ({"algorithm": "9"}, "expected one of 0, 1, 2, 3, 4"),
        ({"historical": "00"}, "expected 13 bytes in hexadecimal"),
    ],
)
def test_a_social_security_card_needs_both(
    tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    row = read(tmp_path, SOCIAL_SECURITY | changes)
    assert (row.reason if isinstance(row, Rejection) else "") == reason
