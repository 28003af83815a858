"""What does an idle, connected terminal cost the centre's memory?

Terminals connect over TLS with a certificate, send one ECHO, and stay. The centre's resident
memory is read from the system before and after.
"""

import argparse
import asyncio
import resource
import ssl
import struct
import tempfile
import time
from pathlib import Path

from benchmarks.load import enrol_many, institutions
from benchmarks.report import console, print_machine
from cardserver.listener import ALPN
from protocol.terminal.bodies import encode_body
from protocol.terminal.connection import Limits, TerminalConnection
from protocol.terminal.messages import Echo, MessageType, Request
from simulators.centre_process import CentreProcess, make_city
from terminals.enrolment import CERTIFICATE_FILE, KEY_FILE

GOAL_KIB = 40
_SETTLE_S = 1.0
_AT_ONCE = 32


def main() -> None:
    """Connect, and print the memory of each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks idle", description=__doc__)
    parser.add_argument("--terminals", type=int, default=1000)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print_machine("What does an idle, connected terminal cost the centre's memory?")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measure(Path(folder), arguments.terminals))


async def _measure(folder: Path, count: int) -> None:
    city = await make_city(folder, persons=100)
    hospital = institutions(city.population)[0]
    (terminal,) = await enrol_many(city, [(hospital, "IDLE")], folder=folder)
    context = ssl.create_default_context(cafile=str(city.authority_file))
    context.load_cert_chain(terminal / CERTIFICATE_FILE, terminal / KEY_FILE)
    context.set_alpn_protocols([ALPN])
    echo = _echo(hospital)
    centre = CentreProcess(city.config_file)
    await centre.start()
    try:
        streams = [await _connect(centre.port, context, echo)]
        await asyncio.sleep(_SETTLE_S)
        before_kib = _resident_kib(centre.pid)
        turn = asyncio.Semaphore(_AT_ONCE)

        async def connect() -> None:
            async with turn:
                streams.append(await _connect(centre.port, context, echo))

        started = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(connect())
        took_s = time.perf_counter() - started
        await asyncio.sleep(_SETTLE_S)
        each_kib = (_resident_kib(centre.pid) - before_kib) / count
        console.print(
            f"{count:,} terminals: {each_kib:.1f} KiB each, {before_kib / 1024:.0f} MiB without; "
            f"{count / took_s:,.0f} connections a second, client and centre on the same cores"
        )
        for _, writer in streams:
            writer.transport.abort()
    finally:
        await centre.stop()


async def _connect(
    port: int, context: ssl.SSLContext, echo: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(echo)
    (size,) = struct.unpack(">I", await reader.readexactly(4))
    await reader.readexactly(size)
    return reader, writer


def _echo(institution: str) -> bytes:
    request = Request(
        exchange=1, type=MessageType.ECHO,
        msgid=f"{institution}{time.strftime('%Y%m%d%H%M%S')}0000",
        sign_no="", terminal="IDLE", operator="", card_session=b"", list_version=0,
        time_left_ms=60_000, sent_time_ms=time.time_ns() // 1_000_000, trace="",
        body=encode_body(Echo(b"here")),
    )  # fmt: skip
    return TerminalConnection(Limits()).send(request)


def _resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("the process shows no memory")
