"""`cardserver card read`: open the card in a reader attached to this machine."""

import asyncio
import secrets
import time
from typing import Annotated

import typer
from msgspec import json

from cardserver.cards.attached_reader import AttachedReader
from cardserver.cards.keystore_choice import open_keystore
from cardserver.cards.opening import OpenedCard
from cardserver.cards.refusals import CardRefusal
from cardserver.cards.trust_anchors import read_anchors
from cardserver.commands.database import ConfigFile, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.config import Config, load_config
from cardserver.outcomes import code_of_card
from cardserver.registry.registry_store import Registry
from ledger.calendar import SystemClock, business_date
from protocol.terminal.messages import PINState, ProofLevel
from terminals.readers.channel import ReaderError
from terminals.readers.pcsc import PCSCReader, list_readers


@fail_clearly
def read_card(
    config_file: ConfigFile,
    *,
    reader: Annotated[
        str, typer.Option(help="The reader's name or its beginning; else the first one.")
    ] = "",
    holder: Annotated[
        bool, typer.Option("--holder", help="Read the holder's file, and show who it names.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Open the card in a reader attached to this machine: is it genuine, and may it be used?

    在本机读卡器上读卡、验卡。
    """
    said = asyncio.run(_read(load_config(config_file), reader, wants_holder=holder))
    if as_json:
        typer.echo(json.format(json.encode(said)).decode())
    else:
        for key, value in said.items():
            typer.echo(f"{key}: {value}")
    if said["code"]:
        raise typer.Exit(1)


async def _read(config: Config, name: str, *, wants_holder: bool) -> dict[str, str | int | float]:
    found = [one for one in await list_readers() if one.startswith(name)]
    if not found:
        raise ReaderError(
            f"no reader's name begins with {name!r}" if name else "no reader is there"
        )
    async with open_database(config) as database, PCSCReader(found[0]) as reader:
        anchors = read_anchors(config)
        await anchors.revocations.catch_up(database)
        attached = AttachedReader(
            reader,
            keys=open_keystore(config),
            cards=Registry(database),
            issuers=config.issuers,
            random_bytes=secrets.token_bytes,
            anchors=anchors,
        )
        started = time.perf_counter()
        opened = await attached.open(
            today=business_date(SystemClock().now_ms(), config.timezone), wants_holder=wants_holder
        )
        took_ms = (time.perf_counter() - started) * 1000
    return {"reader": found[0], **_words(opened, wants_holder), "took_ms": round(took_ms, 3)}


def _words(opened: OpenedCard | CardRefusal, wants_holder: bool) -> dict[str, str | int | float]:  # noqa: FBT001
    if isinstance(opened, CardRefusal):
        code = code_of_card(opened.reason)
        return {
            "code": code.value,
            "text_zh": f"{code.text_zh} {opened.detail_zh}".strip(),
            "text_en": f"{code.text_en} {opened.detail_en}".strip(),
        }
    words: dict[str, str | int | float] = {
        "code": 0,
        "profile": opened.card.profile,
        "version": opened.card.version,
        "card_number": str(opened.card.card_number),
        "psn_no": str(opened.card.person_no),
        "proof": ProofLevel(opened.proof).name,
        "pin": PINState(opened.pin_state).name,
        "pin_tries": opened.pin_tries,
        "exchanges": opened.round_trips,
        "card_ms": opened.card_time_us / 1000,
    }
    if wants_holder:
        words |= {"holder_name": opened.holder_name, "holder_id": opened.holder_id}
    return words
