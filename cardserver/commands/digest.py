"""`cardserver digest`: a signed digest of a day, to be kept where nobody here can write."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cardserver.cards.file_keystore import read_passphrase
from cardserver.commands.database import open_database
from cardserver.commands.faults import fail_clearly
from cardserver.config import Config, ConfigError, load_config
from cardserver.digest_file import write_digest_file
from cardserver.digest_keys import (
    DigestKeyError,
    FileSigner,
    Signer,
    fingerprint,
    make_key_file,
    write_public_key,
)
from cardserver.digest_token import TokenSigner
from ledger.calendar import business_date, day_number
from ledger.digest import Digest
from ledger.digest_store import read_digest

app = typer.Typer(
    help="Signed digests of days, which find a chain that an insider recomputed. 账本日摘要",
    invoke_without_command=True,
)
key_app = typer.Typer(help="The key that signs digests. 摘要签名密钥")
app.add_typer(key_app, name="key")


@app.callback()
@fail_clearly
def digest(
    context: typer.Context,
    *,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="The centre's cardserver.toml.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the digest goes; a new file.")] = None,
    day: Annotated[
        str,
        typer.Option(metavar="YYYY-MM-DD", help="A business date that has ended; without it, now."),
    ] = "",
) -> None:
    """Write a signed digest: each chain's head, its last number, and the accounts' totals.

    Keep it where nobody who can write to the database can write; `cardserver verify-ledger
    --digest FILE --public-key KEY` compares.

    生成签名的账本日摘要，保存在别处。
    """
    if context.invoked_subcommand is not None:
        return
    if config_file is None or out is None:
        raise typer.BadParameter("--config and --out are needed")
    config = load_config(config_file)
    signer = _open_signer(config)
    made = asyncio.run(_read(config, day))
    write_digest_file(out, made, signer)
    until = f"the end of {made.day}" if made.is_ended else f"now, {made.day}"
    typer.echo(
        f"{out}: {len(made.slots)} chains, {made.entries_count:,} numbers until {until};"
        f" signed with {fingerprint(signer.public_key)[:16]}"
    )


@key_app.command("create")
@fail_clearly
def create_key(
    config_file: Annotated[Path, typer.Option("--config", help="The centre's cardserver.toml.")],
    public_key: Annotated[
        Path, typer.Option(help="Where the public key goes; a new file, for whoever verifies.")
    ],
) -> None:
    """Draw the key that signs digests, where `[digest]` says: in a file, or in a token.

    生成摘要签名密钥，并导出公钥。
    """
    section = load_config(config_file)
    if public_key.exists():
        raise DigestKeyError(f"{public_key} exists and is not overwritten")
    if section.digest.token is not None:
        key = TokenSigner.make_key(
            section.digest.token.library,
            label=section.digest.token.label,
            pin=_pin(section),
            key_label=section.digest.key_label,
        ).public_key
    elif section.digest.key_file:
        key = make_key_file(section.path(section.digest.key_file))
    else:
        raise _no_key(config_file)
    write_public_key(public_key, key)
    typer.echo(f"{public_key}: {fingerprint(key)}")


def _open_signer(config: Config) -> Signer:
    section = config.digest
    if section.token is not None:
        return TokenSigner(
            section.token.library,
            label=section.token.label,
            pin=_pin(config),
            key_label=section.key_label,
        )
    if section.key_file:
        return FileSigner(config.path(section.key_file))
    raise _no_key(Path(config.directory))


def _pin(config: Config) -> str:
    assert config.digest.token is not None
    return read_passphrase(config.path(config.digest.token.pin_file)).decode("utf-8")


def _no_key(where: Path) -> ConfigError:
    return ConfigError(f"{where}: [digest] names neither key_file nor token")


async def _read(config: Config, day: str) -> Digest:
    now_ms = time.time_ns() // 1_000_000
    today = business_date(now_ms, config.timezone)
    wanted = _day(day) if day else today
    if day and wanted >= today:
        raise ConfigError(f"the day {day} has not ended: leave --day away for a digest of now")
    async with open_database(config) as database:
        return await database.report(
            lambda connection: read_digest(
                connection,
                fund=config.fund.name_en,
                day=wanted,
                is_ended=wanted < today,
                now_ms=now_ms,
            )
        )


def _day(text: str) -> int:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise ConfigError(f"--day {text} is not YYYY-MM-DD") from error
    return day_number(day)
