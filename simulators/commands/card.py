"""`cardsim card`: put a simulated card into the virtual reader."""

import signal
import threading
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from protocol.card.profiles.social_security_keys import Algorithm
from simulators.card.faults import RemovedCard, SlowCard, TracedCard
from simulators.card.population_cards import CardNotFoundError, find_card
from simulators.card.simulated_card import PoweredCard
from simulators.card.social_security_card import (
    FICTITIOUS,
    CardData,
    RootKeys,
    print_card,
    print_clone,
)
from simulators.card.virtual_reader import PORT, VirtualReaderCard
from simulators.pcscd import PCSCDError, virtual_reader
from terminals.readers.channel import ReaderError

_LOOK_MS = 100


class Version(StrEnum):
    """Versions of the card's specification."""

    ONE = "1.00"
    TWO = "2.00"
    THREE = "3.00"


class Cipher(StrEnum):
    """Ciphers of a card's keys."""

    TRIPLE_DES = "3des"
    SSF33 = "ssf33"
    SM4 = "sm4"


_ALGORITHMS = {
    Cipher.TRIPLE_DES: Algorithm.TRIPLE_DES,
    Cipher.SSF33: Algorithm.SSF33,
    Cipher.SM4: Algorithm.SM4,
}


def card(  # noqa: PLR0913 - each is an option of the command
    *,
    population: Annotated[
        Path | None, typer.Option(help="A made-up city's folder; with --card.")
    ] = None,
    number: Annotated[
        str | None, typer.Option("--card", help="Printed number, or the registry's, of a card.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(help="The fund's root keys; without them, keys of nobody's.")
    ] = None,
    version: Annotated[Version, typer.Option(help="Without --population.")] = Version.ONE,
    algorithm: Annotated[Cipher, typer.Option(help="Without --population.")] = Cipher.TRIPLE_DES,
    pin: Annotated[str, typer.Option(help="Digits; none by default.")] = "",
    clone: Annotated[
        bool, typer.Option("--clone", help="A copy of its data, without its keys.")
    ] = False,
    remove_after: Annotated[
        int | None, typer.Option(min=0, help="Leave the reader after so many commands.")
    ] = None,
    delay_ms: Annotated[
        int, typer.Option(min=0, help="How long it takes over each command; a chip about 40.")
    ] = 0,
    trace: Annotated[bool, typer.Option("--trace", help="Print commands and answers.")] = False,
    takes_turn: Annotated[
        bool,
        typer.Option(
            "--turn/--no-turn",
            help="Wait until no other program uses the virtual reader; --no-turn is for one that"
            " was started by the program that does.",
        ),
    ] = True,
    slot: Annotated[int, typer.Option(min=1, max=2, help="Of the virtual reader.")] = 1,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Then take it out; else at SIGINT or SIGTERM.")
    ] = None,
) -> None:
    """Put a simulated card into the virtual reader of the real pcscd, until stopped.

    Without --population it is the card of the standard's fictitious holder. pcscd is started
    where none runs, and then also stopped.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    stopped = threading.Event()

    try:
        data = _choose(population, number, version, algorithm, pin)
        simulated = _print(data, keys, is_clone=clone)
        if delay_ms:
            simulated = SlowCard(simulated, delay_ms)
        if remove_after is not None:
            simulated = RemovedCard(simulated, remove_after)
        if trace:
            simulated = TracedCard(simulated, console.print)
        with virtual_reader(takes_turn=takes_turn) as reader:
            _stop_by_signal(stopped)
            if reader.is_ours:
                console.print("pcscd started")
            inserted = VirtualReaderCard(simulated, PORT + slot - 1)
            with inserted:
                _describe(console, data, reader.slots[slot - 1], is_clone=clone)
                _wait(inserted, stopped, seconds)
            console.print(f"card out after {inserted.commands_count} commands")
    except (CardNotFoundError, PCSCDError, ReaderError, OSError, ValueError) as fault:
        console.print(f"[red]{fault}[/red]")
        raise typer.Exit(1) from fault


def _stop_by_signal(stopped: threading.Event) -> None:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, stop)


def _choose(
    population: Path | None, number: str | None, version: Version, algorithm: Cipher, pin: str
) -> CardData:
    if (population is None) != (number is None):
        raise typer.BadParameter("--population and --card belong together")
    if population is not None and number is not None:
        return find_card(population, number, pin)
    return replace(FICTITIOUS, version=version.value, algorithm=_ALGORITHMS[algorithm], pin=pin)


def _print(data: CardData, keys: Path | None, *, is_clone: bool) -> PoweredCard:
    if is_clone:
        return print_clone(data)
    if keys is None or data.algorithm is Algorithm.SSF33:
        return print_card(data, RootKeys.draw())
    return print_card(data, RootKeys.read(keys, data.algorithm))


def _describe(console: Console, data: CardData, reader: str, *, is_clone: bool) -> None:
    kind = "clone" if is_clone else "card"
    console.print(
        f"{kind} {data.card_number} ({data.version}, {data.algorithm.name}) is in {reader}"
    )


def _wait(inserted: VirtualReaderCard, stopped: threading.Event, seconds: float | None) -> None:
    """Wait until told to stop, until time is up, or until the card leaves by itself."""
    looks = None if seconds is None else int(seconds * 1000 / _LOOK_MS)
    while inserted.is_inserted and looks != 0:
        if stopped.wait(_LOOK_MS / 1000):
            return
        if looks is not None:
            looks -= 1
