"""Other people's programs read the simulated card as a real one, and `cardsim card` makes it."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulators import pcscd
from simulators.card.social_security_card import FICTITIOUS, RootKeys, print_card
from simulators.card.virtual_reader import VirtualReaderCard
from simulators.population.city import City
from simulators.population.files import write_city
from terminals.readers.pcsc import PCSCReader, PCSCServiceError, reader_names


def opensc_tool(*arguments: str) -> str:
    done = subprocess.run(
        ["opensc-tool", "-r", "0", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def cardsim(*arguments: str) -> subprocess.Popen[str]:
    program = [
        sys.executable,
        "-c",
        "from simulators.cli import app; app()",
        "card",
        "--no-turn",
        *arguments,
    ]
    return subprocess.Popen(program, stderr=subprocess.PIPE, text=True)


def test_opensc_reads_the_card_as_a_real_one(slots: Any) -> None:
    assert slots
    with VirtualReaderCard(print_card(FICTITIOUS, RootKeys.draw())):
        assert opensc_tool("-a").strip() == "3b:6d:00:00:00:81:4e:43:23:86:97:15:99:00:bf:7c:7a"
        said = opensc_tool(
            "-s", "00A404000F7378312E73682EC9E7BBE1B1A3D5CF00", "-s", "00B2012C12",
            "-s", "00B2072800", "-s", "00B2092C00",
        )  # fmt: skip
    assert "6F 1C 84 0F 73 78 31 2E 73 68 2E C9 E7 BB E1 B1" in said
    assert "01 10 63 99 00 D1 56 00 00 05 00 BF 7C 7A 48 FB" in said
    assert "07 09 58 30 30 30 30 30 30 31 39" in said  # X00000019, Le mended after 6C0B
    assert "SW1=0x6A, SW2=0x83" in said


async def test_cardsim_serves_a_card_of_a_made_up_city(
    slots: Any, connect: Any, tmp_path: Path
) -> None:
    for _ in write_city(
        City(seed=3, persons=20, region="639900", year=2026, items=1, password_hash=""),
        tmp_path / "city",
    ):
        pass
    row = (tmp_path / "city/cards.csv").read_text().splitlines()[5].split(",")
    served = cardsim("--population", str(tmp_path / "city"), "--card", row[4])
    try:
        assert served.stderr is not None
        assert row[4] in served.stderr.readline()
        async with PCSCReader(slots[0]) as reader:
            atr = await connect(reader)
    finally:
        served.send_signal(signal.SIGTERM)
    _, said = served.communicate(timeout=20)
    assert atr == bytes.fromhex("3B6D0000" + row[-1])
    assert "card out after 0 commands" in said
    assert served.returncode == 0
    assert slots[0] in reader_names(), "the reader that ran before is not stopped"


def test_cardsim_leaves_after_so_many_commands(slots: Any) -> None:
    assert slots
    served = cardsim("--remove-after", "0", "--trace", "--seconds", "30")
    assert served.stderr is not None
    while "is in" not in served.stderr.readline():
        assert served.poll() is None
    done = subprocess.run(
        ["opensc-tool", "-r", "0", "-s", "00A4000002" + "3F00"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    _, said = served.communicate(timeout=20)
    assert "card out after 1 commands" in said
    assert served.returncode == 0


def cardterminal(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from terminals.cli import app; app()", *arguments]
    return subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)


def wait_until_in(served: subprocess.Popen[str], count: int = 1) -> None:
    assert served.stderr is not None
    seen = 0
    while seen < count:
        line = served.stderr.readline()
        assert line, served.stderr.read()
        seen += " is in " in line


def test_raw_commands_are_answered_in_words(slots: Any) -> None:
    with VirtualReaderCard(print_card(replace(FICTITIOUS, pin="624815"), RootKeys.draw())):
        # The service learns of a card a little later than the card of the service.
        ran = cardterminal("apdu", "-r", slots[0], "00A40000023F00")
        select = "00A4 04 00 0F 7378312E73682EC9E7BBE1B1A3D5CF"
        ran = cardterminal(
            "apdu", "-r", slots[0], "--json", select, "00C000001E", "0020000003624815"
        )
        followed = cardterminal("apdu", "--follow", select, "00B2072C00")
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)["result"]
    assert result["profile"] == "social_security_card"
    selected, fetched, verified = result["exchanges"]
    assert selected["status_word"] == "611E"
    assert "30 bytes wait" in selected["meaning"]
    assert fetched["objects"][0] == "6F file control information"
    assert (verified["status_word"], verified["command"]) == ("9000", "0020000003******")
    assert "624815" not in ran.stdout
    assert followed.returncode == 0, followed.stderr
    assert "wrong Le: ask for 11 bytes" in followed.stdout
    assert "卡号 card number" in followed.stdout
    assert "9F0C issuer's data" in followed.stdout


def test_raw_commands_without_a_card_fail(slots: Any) -> None:
    assert cardterminal("apdu", "-r", slots[0], "0084000008").returncode == 3
    assert cardterminal("apdu", "-r", slots[0], "0G").returncode == 3


def test_cardsim_serves_cards_of_four_types_at_once(tmp_path: Path) -> None:
    (tmp_path / "cards.toml").write_text(
        """
        [[card]]
        slot = 1
        pin = "624815"
        record = "one.txt"
        [[card]]
        slot = 2
        profile = "egk"
        [[card]]
        slot = 3
        profile = "thai_nhso"
        [[card]]
        slot = 4
        profile = "taiwan_nhi"
        """
    )
    with pcscd.virtual_reader(slots_min=4) as reader:
        served = cardsim("--file", str(tmp_path / "cards.toml"))
        try:
            wait_until_in(served, 4)
            for slot, profile in zip(
                reader.slots,
                ("social_security_card", "egk", "thai_nhso", "taiwan_nhi"),
                strict=False,
            ):
                ran = cardterminal("apdu", "-r", slot, "--json", "0020000003624815")
                assert json.loads(ran.stdout)["result"]["profile"] == profile
        finally:
            served.send_signal(signal.SIGTERM)
        _, said = served.communicate(timeout=20)
        assert "card out after 1 commands" in said
        record = tmp_path / "one.txt"
        assert "> 0020000003******" in record.read_text()
        assert "624815" not in record.read_text()
        played = cardsim("--replay", str(record))
        try:
            wait_until_in(played)
            ran = cardterminal("apdu", "-r", reader.slots[0], "0020000003999999", "0084000008")
        finally:
            played.send_signal(signal.SIGTERM)
            played.communicate(timeout=20)
        assert "9000" in ran.stdout or ran.returncode == 3


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--population", "{}", "--card", "1"), "cards.csv is absent"),
        (("--card", "1"), "belong together"),
        (("--keys", "{}"), "No such file"),
    ],
)
def test_cardsim_says_what_is_wrong(
    slots: Any, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    assert slots
    served = cardsim(*(each.format(tmp_path) for each in arguments))
    _, said = served.communicate(timeout=30)
    assert served.returncode != 0
    assert complaint in " ".join(said.split())


def test_what_was_started_is_stopped_and_nothing_else() -> None:
    with pcscd.virtual_reader() as outer:
        with pcscd.virtual_reader(takes_turn=False) as inner:
            assert not inner.is_ours
            assert inner.slots == outer.slots
        assert set(outer.slots) <= set(reader_names())
    if outer.is_ours:
        with pytest.raises(PCSCServiceError, match="Is pcscd running"):
            reader_names()


def test_programs_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcscd, "LOCK_TIMEOUT_MS", 100)
    with (
        pcscd.virtual_reader(),
        pytest.raises(pcscd.PCSCDError, match="another program uses"),
        pcscd.virtual_reader(),
    ):
        raise AssertionError("two hold the reader at once")


def test_an_installation_without_the_virtual_reader_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pcscd, "_virtual_slots", tuple)
    monkeypatch.setattr(pcscd, "_DRIVER", Path("/nowhere/libifdvpcd.so"))
    with pytest.raises(pcscd.PCSCDError, match="apt-get install"), pcscd.virtual_reader():
        raise AssertionError("nothing can have been started")


def test_cardsim_by_itself_takes_its_turn_and_starts_what_it_needs() -> None:
    program = [sys.executable, "-c", "from simulators.cli import app; app()", "card"]
    done = subprocess.run(
        [*program, "--clone", "--seconds", "0.2"], capture_output=True, text=True, timeout=175,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "clone X00000019 (1.00, TRIPLE_DES) is in Virtual PCD" in done.stderr
