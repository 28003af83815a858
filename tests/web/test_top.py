"""`cardserver top` beside the console: the same view in a terminal."""

import asyncio
import os
import pty
import signal
import sys
from pathlib import Path

from protocol.terminal.messages import Cancel, MessageType
from simulators.centre_process import command
from tests.cardserver.desk import Desk, open_card


async def work(desk: Desk) -> str:
    """Settle, and be refused; return the refused msgid."""
    credentials = await desk.enrol("W03")
    async with desk.client(credentials) as client:
        token = await open_card(client, desk.card(2))
        settled = await desk.settle(client, token, desk.bill(1))
        await client.request(MessageType.CANCEL, Cancel(settled.body.setl_id, "made up"))
        again = await client.request(MessageType.CANCEL, Cancel(settled.body.setl_id, "made up"))
        return again.msgid


async def test_it_prints_stages_refusals_and_workers(web_desk: Desk) -> None:
    refused = await work(web_desk)
    options = (
        "--config", str(web_desk.city.config_file), "--once",
        "--watch", f"http://127.0.0.1:{web_desk.centre.observe_port}",
    )  # fmt: skip
    said = (await command("cardserver", "top", *options)).output
    assert "等待提交 commit_wait" in said
    assert refused in said
    said = (await command("cardserver", "top", *options, "--english", "--by", "terminal")).output
    assert "H11019900001/W03" in said
    assert "cancelled or reversed already" in said or "603" in said


async def test_a_centre_that_is_not_there_is_said(web_desk: Desk) -> None:
    ended = await command(
        "cardserver", "top", "--config", str(web_desk.city.config_file), "--once",
        "--watch", "http://127.0.0.1:9", check=False,
    )  # fmt: skip
    assert ended.status == 1
    assert "127.0.0.1:9" in ended.output


async def test_it_goes_on_in_a_terminal_until_interrupted(web_desk: Desk) -> None:
    await work(web_desk)
    parent, child = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("cardserver")), "top",
        "--config", str(web_desk.city.config_file),
        "--watch", f"http://127.0.0.1:{web_desk.centre.observe_port}",
        stdin=child, stdout=child, stderr=child,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "140", "LINES": "60"},
    )  # fmt: skip
    os.close(child)
    os.set_blocking(parent, False)
    await _until(parent, b"commit_wait")
    process.send_signal(signal.SIGINT)
    ended = asyncio.create_task(process.wait())
    async with asyncio.timeout(15):
        while not ended.done():
            _read(parent)
            await asyncio.sleep(0.05)
    os.close(parent)
    assert ended.result() == 0


async def _until(descriptor: int, wanted: bytes) -> None:
    """Read until something was written."""
    seen = b""
    async with asyncio.timeout(60):
        while wanted not in seen:
            seen += _read(descriptor)
            await asyncio.sleep(0.05)


def _read(descriptor: int) -> bytes:
    """Read what is there."""
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # nothing is there, or the other side has gone
        return b""
