"""Is a card in a real reader read and verified about as fast as its commands can be sent at all?

The same commands go to the same simulated card behind the real pcscd: by a C program that does
nothing else, and by our reader, script and verification. Both take turns, so that what else the
machine does meets both. To be reached: at most 1.3 times the C program.
"""

import argparse
import asyncio
import datetime as dt
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from benchmarks.report import console, print_latencies, print_machine
from cardserver.cards.file_keystore import FileKeyStore
from cardserver.cards.keystore import RootKeyName
from cardserver.cards.opening import OpenedCard, open_card
from cardserver.cards.visit import FirstAnswers
from cardserver.registry.values import Card, CardNumber, CardState
from protocol.card.catalogue import OPENINGS
from protocol.card.profiles.social_security_keys import CardKey
from protocol.card.script import Batch
from simulators.card.social_security_card import FICTITIOUS
from simulators.pcscd import virtual_reader
from terminals.readers.channel import BatchAnswers, CardChannel, run_batch
from terminals.readers.pcsc import PCSCChannel, PCSCReader

_OPENING = OPENINGS[0]
_CHALLENGE = bytes(32)
_TODAY = 20261121
_ROUNDS_A_TURN = 50
_WARM_UP_ROUNDS = 20
_RATIO_MAX = 1.3
_SOURCE = Path(__file__).with_name("raw_apdus.c")


class _Recorder:
    """A card whose commands are written down as they go over the wire."""

    def __init__(self, card: CardChannel) -> None:
        self._card = card
        self.commands: list[str] = []

    @property
    def atr(self) -> bytes:
        return self._card.atr

    def transmit(self, command: bytes) -> bytes:
        self.commands.append(command.hex())
        return self._card.transmit(command)


class _OneCard:
    """A registry of one card, in memory: its lookup is another benchmark's."""

    card = Card(
        card_no=1,
        profile=_OPENING.profile,
        identity=FICTITIOUS.identity,
        region=FICTITIOUS.region,
        card_number=CardNumber(FICTITIOUS.card_number),
        card_id=FICTITIOUS.card_id,
        person_no=1,
        version=FICTITIOUS.version,
        algorithm=int(FICTITIOUS.algorithm),
        card_class=FICTITIOUS.card_class,
        issuer=FICTITIOUS.issuer,
        begins=FICTITIOUS.begins,
        ends=FICTITIOUS.ends,
        state=CardState.VALID,
    )

    async def card_by_identity(self, profile: str, region: str, identity: bytes) -> Card | None:
        known = (self.card.profile, self.card.region, self.card.identity)
        return self.card if (profile, region, identity) == known else None


class _NoMoreBatches:
    """A 1.0 card is opened by its first batch."""

    async def run(self, batch: Batch) -> BatchAnswers:
        raise AssertionError(f"{len(batch)} more commands after the opening batch")


def main() -> None:
    """Measure, and end with status 1 if it is slower than it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10, help="of 50 rounds for either side")
    turns = parser.parse_args().turns
    print_machine("Reading and verifying a card, beside a C program that sends the same commands")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not Path("/usr/include/PCSC/winscard.h").exists():
        console.print("a C compiler and libpcsclite-dev are needed: apt-get install gcc"
                      " libpcsclite-dev")  # fmt: skip
        sys.exit(1)
    with tempfile.TemporaryDirectory() as scratch, virtual_reader() as reader:
        program = Path(scratch) / "raw_apdus"
        subprocess.run(
            [compiler, "-O2", "-I/usr/include/PCSC", str(_SOURCE), "-o", str(program),
             "-lpcsclite"], check=True,
        )  # fmt: skip
        keys = _write_keys(Path(scratch) / "keys")
        card = subprocess.Popen(
            [sys.executable, "-c", "from simulators.cli import app; app()",
             "card", "--no-turn", "--keys", str(keys)],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            _wait_until_in(card)
            slower = uvloop.run(_compare(reader.slots[0], program, _store_of(keys), turns))
        finally:
            card.terminate()
            card.communicate()
    sys.exit(1 if slower > _RATIO_MAX else 0)


async def _compare(slot: str, program: Path, store: FileKeyStore, turns: int) -> float:
    commands = _record(slot)
    raw: list[float] = []
    library: list[float] = []
    read: list[float] = []
    whole: list[float] = []
    ratios: list[float] = []
    _send_raw(program, slot, _WARM_UP_ROUNDS, commands)
    await _open(slot, store, _WARM_UP_ROUNDS)
    for _ in range(turns):
        raw_turn = _send_raw(program, slot, _ROUNDS_A_TURN, commands)
        library += _send_from_python(slot, _ROUNDS_A_TURN, commands)
        read_turn, whole_turn = await _open(slot, store, _ROUNDS_A_TURN)
        ratios.append(statistics.median(whole_turn) / statistics.median(raw_turn))
        raw += raw_turn
        read += read_turn
        whole += whole_turn
    print_latencies(
        {
            f"C, {len(commands)} commands": (raw, sum(raw)),
            "the same by pyscard": (library, sum(library)),
            "read": (read, sum(read)),
            "read and verified": (whole, sum(whole)),
        }
    )
    ratio = statistics.median(ratios)
    fastest = {
        name: statistics.quantiles(times, n=10)[0]
        for name, times in (("C", raw), ("pyscard", library), ("read", read), ("whole", whole))
    }
    console.print(
        "of the fastest tenth, which other load met least: "
        + ", ".join(f"{name} {took * 1000:.3f} ms" for name, took in fastest.items())
        + f"; {fastest['whole'] / fastest['C']:.2f} times C"
    )
    console.print(
        f"read and verified takes {ratio:.2f} times the C program (median of {turns} turns,"
        f" {min(ratios):.2f} to {max(ratios):.2f}); to be reached: {_RATIO_MAX}"
    )
    return ratio


def _record(slot: str) -> list[str]:
    """Write down what the opening batch sends, GET RESPONSE included."""
    with PCSCChannel(slot) as channel:
        recorder = _Recorder(channel)
        run_batch(recorder, _OPENING.batch, _CHALLENGE)
    return recorder.commands


def _send_raw(program: Path, slot: str, rounds: int, commands: list[str]) -> list[float]:
    done = subprocess.run(
        [str(program), slot, str(rounds), *commands], check=True, capture_output=True, text=True
    )
    return [int(line) / 1e6 for line in done.stdout.split()]


def _send_from_python(slot: str, rounds: int, commands: list[str]) -> list[float]:
    """Send the same commands through our library, and do nothing else: the least for Python."""
    encoded = [bytes.fromhex(command) for command in commands]
    took: list[float] = []
    with PCSCChannel(slot) as channel:
        for _ in range(rounds):
            begun = time.perf_counter()
            for command in encoded:
                channel.transmit(command)
            took.append(time.perf_counter() - begun)
    return took


async def _open(slot: str, store: FileKeyStore, rounds: int) -> tuple[list[float], list[float]]:
    """Open the card again and again: seconds of reading alone, and with verification."""
    cards, more = _OneCard(), _NoMoreBatches()
    read: list[float] = []
    whole: list[float] = []
    async with PCSCReader(slot) as reader:
        atr = await reader.connect()
        for _ in range(rounds):
            begun = time.perf_counter()
            ran = await reader.run_batch(_OPENING.batch, _CHALLENGE)
            read.append(time.perf_counter() - begun)
            opened = await open_card(
                first=FirstAnswers(
                    atr, _OPENING.number, _CHALLENGE, ran.answers, ran.outcome, ran.card_time_us
                ),
                runner=more,
                keys=store,
                cards=cards,
                issuers=(),
                today=_TODAY,
                wants_holder=True,
            )
            whole.append(time.perf_counter() - begun)
            assert isinstance(opened, OpenedCard), opened
            await asyncio.sleep(0)
    return read, whole


def _write_keys(directory: Path) -> Path:
    directory.mkdir()
    for usage in ("IRK", "RKSSSE"):
        path = directory / f"{usage}.3des.1.key"
        path.touch(mode=0o600)
        path.write_bytes(os.urandom(16))
    return directory


def _store_of(keys: Path) -> FileKeyStore:
    """Put the printer's root keys into a centre's store."""
    store = FileKeyStore.make(keys.with_name("store"), os.urandom(32))
    for path in keys.iterdir():
        name, value = RootKeyName.parse(path.stem), CardKey(path.read_bytes())
        store.import_key(name, value, dt.date(2026, 11, 21))
    return store


def _wait_until_in(card: subprocess.Popen[str]) -> None:
    assert card.stderr is not None
    for line in card.stderr:
        if " is in " in line:
            return
    raise RuntimeError("cardsim ended before its card was in the reader")


if __name__ == "__main__":
    main()
