"""Nobody is answered before the disk has it: seen in the system calls."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROBE = Path(__file__).with_name("settle_once.py")
CALL = re.compile(r"^(?P<pid>\d+) +(?P<call>\w+)\((?P<rest>.*)$")
RESUMED = re.compile(r"^(?P<pid>\d+) +<\.\.\. (?P<call>\w+) resumed>.* = (?P<result>-?\d+)")


def ended_calls(trace: str) -> list[tuple[str, str]]:
    """Each call with its arguments, in the order in which they ended successfully."""
    ended: list[tuple[str, str]] = []
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        if match := CALL.match(line):
            if line.endswith("<unfinished ...>"):
                begun[match["pid"]] = match["rest"]
            elif re.search(r" = \d+$", line):
                ended.append((match["call"], match["rest"]))
        elif (match := RESUMED.match(line)) and int(match["result"]) >= 0:
            ended.append((match["call"], begun.pop(match["pid"])))
    return ended


def test_on_sqlite_a_sync_lies_between_the_write_and_the_reply(
    fresh_sqlite_url: str, tmp_path: Path
) -> None:
    strace = shutil.which("strace")
    assert strace, "strace is not installed: apt-get install strace"
    trace = tmp_path / "trace"
    command = [
        strace, "-f", "-y", "-s", "200", "-o", str(trace),
        "-e", "trace=write,pwrite64,fdatasync,fsync",
        sys.executable, str(PROBE), fresh_sqlite_url,
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["ASKING", "ANSWERED 0"]

    calls = ended_calls(trace.read_text())
    asked = next(i for i, (_, rest) in enumerate(calls) if '"ASKING' in rest)
    answered = next(i for i, (_, rest) in enumerate(calls) if '"ANSWERED' in rest)
    between = calls[asked + 1 : answered]
    written = [
        i for i, (call, rest) in enumerate(between) if call == "pwrite64" and "-wal>" in rest
    ]
    synced = [i for i, (call, rest) in enumerate(between) if "sync" in call and "-wal>" in rest]
    assert written, "the settlement was not written before it was answered"
    assert synced, "nothing was synced before the answer"
    assert max(written) < max(synced), "the last write was not synced before the answer"
