"""`cardsim card`: put simulated cards into the virtual reader."""

import contextlib
import signal
import threading
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from simulators.card.card_orders import (
    SLOTS_MAX,
    CardOrder,
    FaultOrder,
    MadeCard,
    OrderError,
    make_card,
    read_orders,
)
from simulators.card.faults import FaultKind, TracedCard
from simulators.card.simulated_card import PoweredCard
from simulators.card.transcript import RecordingCard
from simulators.card.virtual_reader import VirtualReaderCard
from simulators.pcscd import SLOTS_A_COPY, PCSCDError, virtual_reader
from terminals.readers.channel import ReaderError

_LOOK_MS = 100


class ProfileName(StrEnum):
    """Card types that can be simulated."""

    SOCIAL_SECURITY_CARD = "social_security_card"
    EGK = "egk"
    TAIWAN_NHI = "taiwan_nhi"
    THAI_NHSO = "thai_nhso"


class Version(StrEnum):
    """Versions of the social security card's specification."""

    ONE = "1.00"
    TWO = "2.00"
    THREE = "3.00"


class Cipher(StrEnum):
    """Ciphers of a social security card's keys."""

    TRIPLE_DES = "3des"
    SSF33 = "ssf33"
    SM4 = "sm4"


class Speed(StrEnum):
    """How fast a card is."""

    NONE = "none"
    CHIP = "chip"
    FAST_CHIP = "fast-chip"
    CONTACTLESS_CHIP = "contactless-chip"


def card(  # noqa: PLR0913 - each is an option of the command
    *,
    file: Annotated[
        Path | None, typer.Option(help="A TOML file of cards, for several at once or with faults.")
    ] = None,
    profile: Annotated[
        ProfileName, typer.Option(help="Card type.")
    ] = ProfileName.SOCIAL_SECURITY_CARD,
    population: Annotated[
        Path | None, typer.Option(help="A made-up city's folder; with --card.")
    ] = None,
    number: Annotated[
        str | None, typer.Option("--card", help="Printed number, or the registry's, of a card.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="An image of an eGK.")] = None,
    keys: Annotated[
        Path | None, typer.Option(help="The fund's root keys; without them, keys of nobody's.")
    ] = None,
    version: Annotated[Version, typer.Option(help="Without --population.")] = Version.ONE,
    algorithm: Annotated[Cipher, typer.Option(help="Without --population.")] = Cipher.TRIPLE_DES,
    pin: Annotated[str, typer.Option(help="Digits; none by default.")] = "",
    contactless: Annotated[
        bool, typer.Option("--contactless", help="As on a contactless reader.")
    ] = False,
    clone: Annotated[
        bool, typer.Option("--clone", help="A copy of its data, without its keys.")
    ] = False,
    remove_after: Annotated[
        int | None, typer.Option(min=0, help="Leave the reader after so many commands.")
    ] = None,
    delay_ms: Annotated[int, typer.Option(min=0, help="More that each command takes.")] = 0,
    timing: Annotated[
        Speed, typer.Option(help="As slow as a chip, by baud rate and command.")
    ] = Speed.NONE,
    record: Annotated[
        Path | None, typer.Option(help="Write every exchange to a transcript.")
    ] = None,
    replay: Annotated[Path | None, typer.Option(help="Be the card of a transcript.")] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Print commands and answers.")] = False,
    takes_turn: Annotated[
        bool,
        typer.Option(
            "--turn/--no-turn",
            help="Wait until no other program uses the virtual reader; --no-turn is for one that"
            " was started by the program that does.",
        ),
    ] = True,
    slot: Annotated[int, typer.Option(min=1, max=SLOTS_MAX, help="Of the virtual reader.")] = 1,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Then take it out; else at SIGINT or SIGTERM.")
    ] = None,
) -> None:
    """Put simulated cards into the virtual reader of the real pcscd, until stopped.

    Without --population, --image or --file it is the card of a fictitious holder. pcscd is started
    where none runs, with as many slots as are needed, and then also stopped.

    模拟卡：放入真实 pcscd 的虚拟读卡器，直到停止。
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        orders: tuple[CardOrder, ...]
        if file is not None:
            read = read_orders(file)
            orders, keys = read.card, keys or (Path(read.keys) if read.keys else None)
        else:
            order = CardOrder(
                slot=slot,
                profile=profile.value,
                population=str(population or ""),
                number=number or "",
                image=str(image or ""),
                replay=str(replay or ""),
                record=str(record or ""),
                timing=timing.value,
                fault=_faults(remove_after, delay_ms),
                is_clone=clone,
                is_contactless=contactless,
                version=None if population else version.value,
                algorithm=None if population else algorithm.value,
                pin=pin,
            )
            orders = (order,)
        made = [(each, make_card(each, keys)) for each in orders]
        _serve(console, made, seconds, takes_turn=takes_turn, is_traced=trace)
    except (OrderError, PCSCDError, ReaderError, OSError) as wrong:
        console.print(f"[red]{escape(str(wrong))}[/red]")
        raise typer.Exit(1) from wrong


def _faults(remove_after: int | None, delay_ms: int) -> tuple[FaultOrder, ...]:
    faults = []
    if delay_ms:
        faults.append(FaultOrder(FaultKind.SLOW, ms=delay_ms))
    if remove_after is not None:
        faults.append(FaultOrder(FaultKind.PULLED, at=remove_after + 1))
    return tuple(faults)


def _serve(
    console: Console,
    made: list[tuple[CardOrder, MadeCard]],
    seconds: float | None,
    *,
    takes_turn: bool,
    is_traced: bool,
) -> None:
    """Put the cards in, and wait."""
    stopped = threading.Event()
    slots_min = max(SLOTS_A_COPY, *(order.slot for order, _ in made))
    with (
        virtual_reader(takes_turn=takes_turn, slots_min=slots_min) as reader,
        contextlib.ExitStack() as stack,
    ):
        _stop_by_signal(stopped)
        if reader.is_ours:
            console.print("pcscd started")
        inserted = []
        for order, one in made:
            shown: PoweredCard = one.card
            if is_traced:
                shown = TracedCard(shown, console.print)
            if order.record:
                shown = stack.enter_context(RecordingCard(shown, Path(order.record)))
            index = order.slot - 1
            inserted.append(stack.enter_context(VirtualReaderCard(shown, reader.ports[index])))
            console.print(f"{escape(one.name)} is in {reader.slots[index]}")
        _wait(inserted, stopped, seconds)
        for each in inserted:
            each.remove()
            console.print(f"card out after {each.commands_count} commands")


def _stop_by_signal(stopped: threading.Event) -> None:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, stop)


def _wait(
    inserted: list[VirtualReaderCard], stopped: threading.Event, seconds: float | None
) -> None:
    """Wait until told to stop, until time is up, or until the last card leaves by itself."""
    looks = None if seconds is None else int(seconds * 1000 / _LOOK_MS)
    while any(each.is_inserted for each in inserted) and looks != 0:
        if stopped.wait(_LOOK_MS / 1000):
            return
        if looks is not None:
            looks -= 1
