"""`cardterminal apdu`: send raw commands to the card in a reader, and read the answers in words."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from protocol.card.catalogue import find_opening
from protocol.card.explanation import explain_command, explain_data, explain_status
from protocol.card.pin import shown
from terminals.commands.desk import AsJSON
from terminals.commands.result import ExitStatus, Result, fault, show
from terminals.readers.channel import CardChannel, CardRemovedError, ReaderError
from terminals.readers.pcsc import PCSCChannel, reader_names

_COMMAND_SIZE_MIN = 4
_FOLLOWED_MAX = 256


@dataclass(frozen=True, slots=True)
class Exchange:
    """One command and its answer, in words.

    Attributes:
        took_ms: In reader and card.
    """

    command: str
    name: str
    data: str
    status_word: str
    meaning: str
    objects: tuple[str, ...]
    took_ms: float


def apdu(
    commands: Annotated[
        list[str], typer.Argument(help="命令 Commands in hex; one an argument, spaces allowed.")
    ],
    reader: Annotated[
        str, typer.Option("--reader", "-r", help="读卡器 The reader's name or a part of it.")
    ] = "",
    *,
    follow: Annotated[
        bool, typer.Option("--follow", help="自动取应答 See to 61xx and 6Cxx, as a terminal does.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """发送APDU Send raw commands to the card in a reader, without a centre.

    A PIN in a command is masked in what is printed; what the shell keeps of it is yours to see to.
    """
    result = _result(commands, reader, follow=follow)
    show("apdu", result, as_json=as_json)
    raise typer.Exit(int(result.status))


def _result(commands: list[str], reader: str, *, follow: bool) -> Result:
    try:
        raw = [_bytes_of(text) for text in commands]
    except ValueError as malformed:
        return fault("命令不是十六进制", "a command is not hex", str(malformed))
    try:
        with _card_in(reader) as channel:
            exchanges: list[Exchange] = []
            for command in raw:
                _send(channel, command, exchanges, follow=follow)
            opening = find_opening(channel.atr)
            values: dict[str, object] = {
                "reader": channel.reader,
                "atr": channel.atr.hex().upper(),
                "profile": opening.profile if opening else "",
                "exchanges": [_plain(each) for each in exchanges],
            }
    except CardRemovedError as gone:
        return fault("读卡器中无卡", "no card in a reader", str(gone))
    except ReaderError as failed:
        return fault("读卡器故障", "the card reader failed", str(failed))
    return Result(status=ExitStatus.APPROVED, values=values, render=_renderer(values, exchanges))


def _card_in(reader: str) -> PCSCChannel:
    names = [name for name in reader_names() if reader in name]
    for name in names:
        try:
            return PCSCChannel(name)
        except CardRemovedError:
            continue
    raise CardRemovedError(", ".join(names) or "no reader")


def _bytes_of(text: str) -> bytes:
    command = bytes.fromhex(text)
    if len(command) < _COMMAND_SIZE_MIN:
        raise ValueError(f"{text!r} is too short for a command")
    return command


def _send(channel: CardChannel, command: bytes, exchanges: list[Exchange], *, follow: bool) -> None:
    """Send one command, and what follows from its answer if that is wanted."""
    for _ in range(_FOLLOWED_MAX):
        begun = time.perf_counter()
        answer = channel.transmit(command)
        took_ms = (time.perf_counter() - begun) * 1000
        word = int.from_bytes(answer[-2:], "big")
        exchanges.append(
            Exchange(
                command=shown(command),
                name=explain_command(command),
                data=answer[:-2].hex().upper(),
                status_word=f"{word:04X}",
                meaning=explain_status(word),
                objects=explain_data(answer[:-2]),
                took_ms=round(took_ms, 3),
            )
        )
        if not follow:
            return
        # A command that carries data may carry a PIN: such a one is not sent twice.
        if answer[0] == 0x61 and len(answer) == 2:  # noqa: PLR2004 - the status word is its name
            command = bytes((command[0] & 0x03, 0xC0, 0x00, 0x00, answer[1]))
        elif answer[0] == 0x6C and len(command) == 5:  # noqa: PLR2004 - as above; header and Le
            command = command[:4] + answer[1:]
        else:
            return


def _plain(exchange: Exchange) -> dict[str, object]:
    return {
        "command": exchange.command,
        "name": exchange.name,
        "data": exchange.data,
        "status_word": exchange.status_word,
        "meaning": exchange.meaning,
        "objects": list(exchange.objects),
        "took_ms": exchange.took_ms,
    }


def _renderer(values: dict[str, object], exchanges: list[Exchange]) -> Callable[[Console], None]:
    def render(console: Console) -> None:
        console.print(f"{escape(str(values['reader']))}  ATR {values['atr']}  {values['profile']}")
        for each in exchanges:
            console.print(f"[bold]> {each.command}[/]  {escape(each.name)}")
            colour = "green" if each.status_word == "9000" else "yellow"
            console.print(
                f"< {each.data} [{colour}]{each.status_word}[/] {each.meaning}"
                f"  ({each.took_ms:.1f} ms)"
            )
            for line in each.objects:
                console.print(f"    {escape(line)}")

    return render
