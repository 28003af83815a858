"""The desk behind a command: configuration, kept state, outbox, client and reader, and its end."""

import asyncio
import dataclasses
import datetime as dt
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Final, Self
from zoneinfo import ZoneInfo

import typer
from msgspec import Struct
from msgspec.structs import replace

from protocol.terminal.codes import Retry
from protocol.terminal.messages import Bill, CardOpened, MessageType, PINAction
from terminals.answer import Answer, ClientError, NoAnswerError, advice_of
from terminals.attempts import AttemptRunner
from terminals.bill_file import day_of, load_bill
from terminals.bill_notes import notes_of
from terminals.card_opening import CardOpening
from terminals.client import TerminalClient
from terminals.commands.result import (
    ExitStatus,
    Result,
    fault,
    left_in_doubt,
    show,
    warn_of_lines,
    warn_of_listed,
)
from terminals.config import CONFIG_FILE_NAME, ConfigError, TerminalConfig, load_config
from terminals.list_updates import ListUpdates
from terminals.listed_card import CARD, card_subject
from terminals.lists import ListName, Lists, ListsError
from terminals.msgids import Msgids
from terminals.outbox import Outbox, OutboxError
from terminals.pin_prompt import ask_for_pin
from terminals.readers.channel import CardRemovedError, ReaderError
from terminals.readers.pcsc import PCSCReader, list_readers
from terminals.receipt import masked_name
from terminals.state import (
    KeptCard,
    StateError,
    kept_sign_on,
    load_state,
    save_state,
    sign_on_state,
)
from terminals.telemetry import FeltTimes

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help="终端配置 The terminal's configuration.")
]
AsJSON = Annotated[bool, typer.Option("--json", help="输出 JSON. Print one line of JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="不再询问 Do not ask.")]
DEFAULT_CONFIG: Final = Path(CONFIG_FILE_NAME)


class NoCardError(Exception):
    """No reader holds a card."""


class Desk:
    """What a command works with. Use it in `async with`.

    Attributes:
        config: The terminal's configuration.
        client: Not connected until its first request.
        outbox: The attempts.
        runner: Runs them.
        state: What is kept between commands; written back at the end where it changed.
        lists: The lists held.
        list_updates: Keeps them up to date.
        felt: What the cashier waited in this process.
        listed_reason: Why the card opened last is on the revocation list held; 0 it is not.
    """

    def __init__(self, config: TerminalConfig) -> None:
        self.config = config
        self._state_file = Path(config.state_file)
        self.state = load_state(self._state_file)
        self._state_before = self.state
        self.outbox = Outbox(Path(config.outbox.file))
        msgids = Msgids(
            institution=config.terminal.institution,
            zone=ZoneInfo(config.terminal.time_zone),
            now_ms=now_ms,
            reserve=self.outbox.reserve_msgids,
        )
        self.listed_reason = 0
        self.felt = FeltTimes()
        try:
            self.lists = Lists(Path(config.lists.file))
            self.list_updates = ListUpdates(
                self.lists, frame_size_max=config.limits.frame_size_max, now_ms=now_ms
            )
            self.client = TerminalClient(
                config,
                msgids=msgids,
                lists=self.list_updates,
                on_felt=self.felt.hear,
                outbox_doubts=self._doubts,
            )
        except (ConfigError, ListsError):
            self.outbox.close()
            raise
        if self.state.sign_on is not None:
            self.client.resume(sign_on_state(self.state.sign_on))
        self.client.untold.extend(self.state.untold)
        self.runner = AttemptRunner(self.client, self.outbox, reopen_card=self._reopened_session)

    async def __aenter__(self) -> Self:
        """Begin, and look after the lists meanwhile."""
        if self.config.lists.is_automatic:
            self.list_updates.start(self.client)
        return self

    async def finish(self) -> None:
        """Give the lists some more time, once the cashier has been told the result."""
        if self.config.lists.is_automatic and self.client.is_connected:
            await self.list_updates.settle(self.config.lists.time_after_ms_max / 1000)

    async def __aexit__(self, *_: object) -> None:
        """Keep what is to be kept, and close."""
        await self.list_updates.stop()
        await self.client.close()
        self.outbox.close()
        self.lists.close()
        sign_on = self.client.sign_on_state
        self.state = replace(
            self.state,
            sign_on=kept_sign_on(sign_on) if sign_on else None,
            untold=self.client.untold.reports,
        )
        changed = {
            name: value
            for name in self.state.__struct_fields__
            if (value := getattr(self.state, name)) != getattr(self._state_before, name)
        }
        if changed:
            # Another command may have written meanwhile: what it did stands.
            save_state(self._state_file, replace(load_state(self._state_file), **changed))

    @property
    def operator(self) -> str:
        """Who is signed on; empty for nobody."""
        return self.state.sign_on.operator if self.state.sign_on else ""

    @property
    def card(self) -> KeptCard | None:
        """The card opened last, while its session holds."""
        card = self.state.card
        return card if card is not None and card.ends_ms > now_ms() else None

    @property
    def card_session(self) -> bytes:
        """The session of the card opened last; empty without one."""
        return self.card.session if self.card else b""

    async def open_card(
        self,
        reader_name: str = "",
        *,
        wants_holder: bool = True,
        wants_medical: bool = False,
        pin_action: PINAction = PINAction.NONE,
        can: str = "",
    ) -> CardOpening:
        """Open the card in a reader and keep its session.

        Args:
            reader_name: The reader's name or a part of it; empty for the configured one.
            wants_holder: Whether to read the holder's file too.
            wants_medical: Whether to read the medical file too.
            pin_action: What the holder may be asked the PIN for, at the keyboard.
            can: Access number of a German health card on a contactless reader; stays here.

        Raises:
            NoCardError: No reader of that name holds a card.
            ReaderError: There is no reader of that name, or it fails.
            ClientError: As in `TerminalClient.open_card`.
        """
        wanted = reader_name or self.config.reader.name
        self.forget_card()  # whatever comes of this, the patient before is not meant any more
        names = [name for name in await list_readers() if wanted in name]
        failure: ReaderError | None = None
        clock = asyncio.get_running_loop().time
        begun = clock()
        await self.client.prepare_card()
        prepare_ms = (clock() - begun) * 1000
        for name in names:
            async with PCSCReader(name, can) as reader:
                try:
                    opening = await self.client.open_card(
                        reader,
                        wants_holder=wants_holder,
                        wants_medical=wants_medical,
                        pin_action=pin_action,
                        pin_entry=None if pin_action is PINAction.NONE else ask_for_pin,
                        on_first_answers=self._look_up,
                    )
                except CardRemovedError:
                    continue
                except ReaderError as error:
                    failure = error
                    continue
            self._keep_card(opening)
            return dataclasses.replace(opening, prepare_ms=prepare_ms + opening.prepare_ms)
        if not names:
            named = f" {wanted}" if wanted else ""
            raise ReaderError(f"未发现读卡器{named} there is no reader{named}")
        raise failure or NoCardError(", ".join(names))

    def load_bill(self, file: Path) -> Bill:
        """Read a bill with the lists held, and tell the cashier what they say of it.

        Raises:
            BillFileError: It cannot be read, or says something that is not a bill.
        """
        zone = ZoneInfo(self.config.terminal.time_zone)
        today = day_of(dt.datetime.now(zone).date())
        bill = load_bill(file, finder=self.lists, today=today)
        if self.lists.held(ListName.CATALOGUE).version:
            day = today if bill.discharged is None else day_of(bill.discharged)
            warn_of_lines(notes_of(bill, self.lists, day))
        return bill

    def _look_up(self, opening: int, atr: bytes, answers: tuple[bytes, ...]) -> None:
        """Warn at once of a card on the revocation list that is held; the centre decides."""
        subject = card_subject(opening, atr, answers)
        try:
            self.listed_reason = 0 if subject is None else self.lists.reason(CARD, subject)
        except ListsError:
            return
        if self.listed_reason:
            warn_of_listed(self.listed_reason, self.list_updates.list_version)

    def forget_card(self) -> None:
        """Drop the card session: the card has left the reader."""
        self.state = replace(self.state, card=None)

    def _keep_card(self, opening: CardOpening) -> None:
        body = opening.answer.body
        if not isinstance(body, CardOpened):
            self.forget_card()
            return
        card = KeptCard(
            session=body.card_session,
            ends_ms=now_ms() + body.session_life_ms,
            psn_no=body.person.psn_no,
            holder=masked_name(body.person.name),
        )
        self.state = replace(self.state, card=card)

    def _doubts(self, but: str) -> tuple[int, int]:
        count, oldest_ms = self.outbox.depth(but)
        return count, now_ms() - oldest_ms if count else 0

    async def _reopened_session(self, psn_no: str) -> bytes | None:
        """Open the card again for an attempt that is to be repeated; None unless it is theirs."""
        try:
            await self.open_card()
        except (NoCardError, ReaderError, ClientError):
            return None
        card = self.state.card
        return card.session if card is not None and card.psn_no == psn_no else None


async def recorded(desk: Desk, type_: MessageType, body: Struct, tells: str) -> Answer | Result:
    """Ask for something that the centre records and no outbox keeps.

    Args:
        desk: Signed on.
        type_: Which message.
        body: Its body.
        tells: The command that tells what became of it.

    Returns:
        The answer; or a result, where nobody knows whether it was recorded.
    """
    try:
        answer = await desk.client.request(type_, body)
    except NoAnswerError as error:
        msgid, detail = error.msgid, str(error)
    else:
        if advice_of(answer.code) is not Retry.ASK_STATUS:
            return answer
        msgid, detail = answer.msgid, answer.reply.detail_en
    return Result(
        status=ExitStatus.UNKNOWN,
        text_zh=f"结果未知，请执行 {tells} 查询",
        text_en=f"outcome unknown: `cardterminal {tells}` tells",
        detail_en=detail,
        msgid=msgid,
    )


def now_ms() -> int:
    """Give the terminal's wall clock."""
    return time.time_ns() // 1_000_000


def run(
    command: str,
    config_file: Path,
    action: Callable[[Desk], Awaitable[Result]],
    *,
    as_json: bool,
) -> None:
    """Run a command at the desk, print what it came to, and end with its exit status."""
    shown: list[Result] = []
    in_doubt: list[str] = []

    async def act() -> Result:
        async with Desk(load_config(config_file)) as desk:
            try:
                result = await action(desk)
            finally:
                in_doubt.extend(sorted(desk.runner.in_hand))
            show(command, result, as_json=as_json)
            shown.append(result)
            await desk.finish()
            return result

    try:
        result = _result(act)
    except Exception:  # the boundary: Python would end with status 1, "nothing stands"
        if not in_doubt and not shown:
            raise
        traceback.print_exc()
        result = fault("程序错误", "a fault of this program")
    ended = shown[0] if shown else left_in_doubt(result, in_doubt)
    if not shown:
        show(command, ended, as_json=as_json)
    raise typer.Exit(int(ended.status))


def _result(act: Callable[[], Coroutine[None, None, Result]]) -> Result:
    try:
        return asyncio.run(act())
    except ConfigError as error:
        return fault("配置错误", "the configuration cannot be used", str(error))
    except (ListsError, OutboxError, StateError) as error:
        return fault("本机文件错误", "a file of this terminal cannot be used", str(error))
    except NoCardError as error:
        return fault("读卡器中无卡", "no card in a reader", str(error))
    except ReaderError as error:
        return fault("读卡器故障", "the card reader failed", str(error))
    except NoAnswerError as error:
        # What commits something goes through the outbox, or `recorded`; here nothing has changed.
        return fault("中心未应答", "the centre did not answer; nothing was changed", str(error))
    except ClientError as error:
        return fault("中心不可达", "the centre cannot be reached", str(error))
    except KeyboardInterrupt:
        return Result(status=ExitStatus.LOCAL_FAULT, text_zh="已中断", text_en="interrupted")
