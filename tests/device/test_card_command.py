"""`cardterminal card` at a running centre, with a card in a real reader and a holder's PIN."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulators.card.chip_timing import CHIP, TimedCard
from simulators.card.social_security_card import RootKeys, print_card
from simulators.card.virtual_reader import VirtualReaderCard
from simulators.centre_process import CentreProcess, City
from tests.cardserver.desk import Desk
from tests.cities import copy_city

PIN = "624815"


@pytest.fixture
def desk(made_city: City, tmp_path: Path) -> Iterator[Desk]:
    city = copy_city(made_city, tmp_path)
    centre = CentreProcess(city.config_file)
    asyncio.run(centre.start())
    yield Desk(city, centre)
    assert asyncio.run(centre.stop()) == 0


def signed_on(desk: Desk, folder: Path) -> Path:
    """Make a terminal's folder and sign on."""
    credentials = asyncio.run(desk.enrol("CARDS"))
    config = folder / "terminal.toml"
    config.write_text(
        f"""
        [centre]
        host = "127.0.0.1"
        port = {desk.centre.port}
        ca_file = "{desk.city.authority_file}"
        [terminal]
        institution = "{credentials.institution}"
        code = "{credentials.terminal}"
        certificate_file = "{credentials.certificate_file}"
        key_file = "{credentials.key_file}"
        """
    )
    ran = cardterminal(
        "sign-on", "--operator", "c001", "--password-file", str(desk.city.password_file),
        "--config", str(config),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return config


def cardterminal(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from terminals.cli import app; app()", *arguments]
    return subprocess.run(
        program, input=typed, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.timeout(300)
def test_a_card_is_told_with_its_proof_its_exchanges_and_its_times(
    desk: Desk, slots: Any, tmp_path: Path
) -> None:
    config = signed_on(desk, tmp_path)
    data = replace(desk.card_data(), pin=PIN, medical_items=((0x83, "北京一院"),))
    printed = print_card(data, RootKeys.read(desk.city.keys, data.algorithm))
    with VirtualReaderCard(TimedCard(printed, CHIP)):
        ran = cardterminal(
            "card", "--medical", "--json", "-r", slots[0], "--config", str(config),
            typed=f"{PIN}\n",
        )  # fmt: skip
        shown = cardterminal("card", "-r", slots[0], "--config", str(config))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert PIN not in ran.stdout
    result = json.loads(ran.stdout)["result"]
    assert (result["proof"], result["profile"]) == ("genuine_card", "social_security_card")
    assert "INTERNAL AUTHENTICATE over the centre's challenge" in result["verified_by"]
    assert (result["card_number"], result["holder_name"]) == (data.card_number, data.holder_name)
    assert (result["pin"], result["pin_result"]) == ("required", "right")
    assert [0x83, "北京一院"] in [
        [each["tag"], each["text"]] for each in result["medical"]["items"]
    ]
    assert result["round_trips"] == 2
    # The opening takes 14 commands, the medical file 36 and more for what waits to be fetched.
    assert result["exchanges"] > 14 + 36
    times = result["times_ms"]
    # A chip takes some tens of milliseconds a command; nearly all of the time is the card's.
    assert times["card"] > 15 * result["exchanges"]
    assert 0 < times["terminal"] < times["card"]
    assert times["code"] == pytest.approx(times["centre"] + times["terminal"], abs=0.01)
    parts = ("power_up", "card", "wire", "code", "pin_entry")
    assert sum(times[part] for part in parts) == pytest.approx(times["total"], abs=1)
    assert shown.returncode == 0
    assert "exchanges 14" in shown.stdout
    assert "INTERNAL AUTHENTICATE" in shown.stdout
