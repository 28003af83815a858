"""A counter of the usual design: starts its server, and sends it bills. No benchmark itself.

One connection a cashier, kept open; HTTP/1.1 written by hand, so that the client costs the peer
no more than ours costs us.
"""

import asyncio
import datetime as dt
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec.structs import asdict

from benchmarks.ledger import BILL, INSTITUTIONS, PERSONS, make_rules, shown_split
from benchmarks.load import cpu_seconds
from benchmarks.peers import Submit, connect, msgid_of
from benchmarks.usual_design import URL
from ledger.database_store import Database
from ledger.entries import entry_number
from ledger.months import slots_of

_START_TIMEOUT_S = 120.0
_FIRST_NUMBER = 50_000  # beyond what other writers call theirs


@dataclass(frozen=True)
class UsualDesign:
    """The peer as it runs.

    Attributes:
        submit: Settles a bill for the person of that number.
        cpu_s: Tells the processor time of its processes.
    """

    submit: Submit
    cpu_s: Callable[[], float]


@asynccontextmanager
async def usual_design(
    database: Database, url: str, folder: Path, *, workers: int, cashiers: int
) -> AsyncIterator[UsualDesign]:
    """Serve a database that `benchmarks.ledger.fill` has filled."""
    await _make_tables(url)
    split = await shown_split(database, make_rules(), PERSONS)
    certificate, key = _certificate(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = subprocess.Popen(  # noqa: ASYNC220 - before anything is measured
        [
            sys.executable, "-m", "uvicorn", "benchmarks.usual_design:app", "--host", "127.0.0.1",
            "--port", str(port), "--workers", str(workers), "--log-level", "warning",
            "--no-access-log", "--timeout-keep-alive", "600",
            "--ssl-keyfile", str(key), "--ssl-certfile", str(certificate),
        ],
        env={**os.environ, URL: url},
    )  # fmt: skip
    context = ssl.create_default_context(cafile=str(certificate))
    idle: asyncio.Queue[_Connection] = asyncio.Queue()
    try:
        await _until_it_serves(server, port)
        for _ in range(cashiers):
            streams = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname="localhost"
            )
            idle.put_nowait(_Connection(*streams))
        common = {
            **{name: value for name, value in asdict(BILL).items() if name in _BILL},
            "lines": [asdict(line) for line in BILL.lines],
            "fund_pay_fen": split.fund_pay_fen, "account_pay_fen": split.account_pay_fen,
            "cash_fen": split.cash_fen, "operator_no": 1,
        }  # fmt: skip

        async def submit(number: int) -> None:
            number += _FIRST_NUMBER
            place = 1 + number % INSTITUTIONS
            connection = await idle.get()
            await connection.post({
                **common, "terminal_no": place, "institution_no": place, "person_no": number,
                "card_no": number, "msgid": msgid_of(number, place),
            })  # fmt: skip
            idle.put_nowait(connection)

        yield UsualDesign(submit, lambda: cpu_seconds(server.pid))
    finally:
        while not idle.empty():
            idle.get_nowait().writer.close()
        server.terminate()
        server.wait()


_BILL = ("insutype", "med_type", "total_fen", "uses_account", "invoice")


@dataclass(frozen=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def post(self, document: dict[str, object]) -> None:
        body = json.dumps(document, ensure_ascii=False).encode()
        self.writer.write(
            b"POST /settlements HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        self.writer.write(body)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        answer = await self.reader.readexactly(size)
        assert head.startswith(b"http/1.1 200"), answer
        assert json.loads(answer)["setl_id"]


async def _make_tables(url: str) -> None:
    connection = await connect(url)
    today = dt.datetime.now(dt.UTC)
    first = entry_number(slot=slots_of(today.year * 100 + today.month)[-2], sequence=1)
    await connection.execute(
        f"CREATE SEQUENCE usual_numbers START {first};"
        " CREATE TABLE usual_fund (fund integer PRIMARY KEY, balance_fen bigint NOT NULL);"
        " INSERT INTO usual_fund VALUES (310, 0)"
    )
    await connection.close()


async def _until_it_serves(server: "subprocess.Popen[bytes]", port: int) -> None:
    async with asyncio.timeout(_START_TIMEOUT_S):
        while True:
            assert server.poll() is None, "the peer did not start: are FastAPI and uvicorn there?"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Make a server's certificate that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "usual.pem", folder / "usual.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file
