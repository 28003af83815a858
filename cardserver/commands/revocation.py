"""`cardserver revocation`: what is on the revocation list, and certificates that go onto it.

Cards go onto it, and off, by `cardserver card state`.
"""

import asyncio
import re
import time
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate
from msgspec import json

from cardserver.cards.revocations import Revocations
from cardserver.commands.database import ConfigFile, acting_user, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.config import Config, load_config
from cardserver.registry import administration_store as administration
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.revocation_store import made_time_ms

app = typer.Typer(help="Cards and certificates that are not to be taken. 吊销名单")

_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{64}")


class CertificateChange(Enum):
    """What happens to a certificate."""

    REVOKED = "revoked"
    RESTORED = "restored"


@app.command("show")
@fail_clearly
def show(
    config_file: ConfigFile,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the list's version, its size and its age.

    显示吊销名单的版本、条数和时间。
    """
    said = asyncio.run(_show(load_config(config_file)))
    if as_json:
        typer.echo(json.format(json.encode(said)).decode())
    else:
        for key, value in said.items():
            typer.echo(f"{key}: {value}")


@app.command("certificate")
@fail_clearly
def change_certificate(
    config_file: ConfigFile,
    certificate: Annotated[
        str, typer.Argument(help="A certificate's file (PEM, DER, CVC), or its SHA-256 in hex.")
    ],
    change: Annotated[CertificateChange, typer.Argument(help="What happens to it.")],
) -> None:
    """Put a certificate on the revocation list, or take it off; workers know within a second.

    吊销或恢复证书。
    """
    config = load_config(config_file)
    sha256 = _fingerprint(certificate)

    async def run() -> int:
        async with open_database(config) as database:
            return await administration.change_certificate(
                database, sha256, acting_user(), is_revoked=change is CertificateChange.REVOKED
            )

    version = asyncio.run(run())
    typer.echo(f"{sha256.hex()} is {change.value}: revocation list {version}")


async def _show(config: Config) -> dict[str, int | float]:
    revocations = Revocations()
    async with open_database(config) as database:
        await revocations.catch_up(database)
        made_ms = await made_time_ms(database, revocations.version)
    said: dict[str, int | float] = {
        "version": revocations.version,
        "cards": revocations.cards_count,
        "certificates": revocations.certificates_count,
    }
    if made_ms:
        said["changed_seconds_ago"] = round(time.time() - made_ms / 1000, 1)
    return said


def _fingerprint(certificate: str) -> bytes:
    """Read a fingerprint, or make it of a certificate's bytes as they are signed and sent."""
    if _FINGERPRINT.fullmatch(certificate):
        return bytes.fromhex(certificate)
    try:
        data = Path(certificate).read_bytes()
    except OSError as error:
        raise AdministrationError(
            f"{certificate} is neither a SHA-256 in hex nor a readable file"
        ) from error
    if data.startswith(b"\x7f\x21"):  # a card-verifiable certificate (ISO/IEC 7816-8:2021, A)
        digest = hashes.Hash(hashes.SHA256())
        digest.update(data)
        return digest.finalize()
    load = load_pem_x509_certificate if data.startswith(b"-----") else load_der_x509_certificate
    try:
        return load(data).fingerprint(hashes.SHA256())
    except ValueError as malformed:
        raise AdministrationError(f"{certificate} is no certificate") from malformed
