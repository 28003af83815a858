"""The outbox through kills, two processes and clocks that jump."""

import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.terminal.messages import MessageType
from terminals.msgids import MemoryReserve, Msgids
from terminals.outbox import Attempt, AttemptState, Ending, Outbox, OutboxError

WRITER = """
import os, signal, sys
from pathlib import Path
from zoneinfo import ZoneInfo
from protocol.terminal.messages import MessageType
from terminals.msgids import Msgids
from terminals.outbox import Attempt, Outbox

outbox = Outbox(Path(sys.argv[1]))
msgids = Msgids(institution="H11010500001", zone=ZoneInfo("Asia/Shanghai"),
    now_ms=lambda: 1_800_000_000_000, reserve=outbox.reserve_msgids)
attempt = Attempt(msgid=msgids.take(), type=MessageType.SETTLE, body=b"body", created_ms=1)
outbox.add(attempt)
print(attempt.msgid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)  # between write and send
"""


def attempt(msgid: str = "H11010500001202701151600000000", **fields: object) -> Attempt:
    values = {"type": MessageType.SETTLE, "body": b"body", "created_ms": 1} | fields
    return Attempt(msgid=msgid, **values)  # type: ignore[arg-type]


def test_an_attempt_outlives_a_kill_between_write_and_send(tmp_path: Path) -> None:
    file = tmp_path / "outbox.sqlite"
    msgids = []
    for _ in range(3):
        killed = subprocess.run(
            [sys.executable, "-c", WRITER, str(file)], capture_output=True, text=True, check=False
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        msgids.append(killed.stdout.strip())
    with Outbox(file) as outbox:
        kept = outbox.open_attempts()
    assert [one.msgid for one in kept] == sorted(msgids)
    assert len(set(msgids)) == 3, "the clock stood still and no msgid came twice"
    assert all(one.sends_unanswered == 1 for one in kept)


def test_synchronous_full_and_wal_and_private(tmp_path: Path) -> None:
    file = tmp_path / "outbox.sqlite"
    with Outbox(file) as outbox:
        assert outbox._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert outbox._database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_that_is_no_outbox_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "outbox.sqlite"
    file.write_bytes(b"no database, only text " * 100)
    with pytest.raises(OutboxError, match=r"outbox\.sqlite"):
        Outbox(file)


def test_an_outbox_of_another_layout_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "outbox.sqlite"
    with Outbox(file) as outbox:
        outbox._database.execute("PRAGMA user_version = 99")
    with pytest.raises(OutboxError, match="another layout"):
        Outbox(file)


def test_a_msgid_is_written_once(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox.sqlite") as outbox:
        outbox.add(attempt())
        with pytest.raises(OutboxError, match="UNIQUE"):
            outbox.add(attempt(body=b"other"))
        assert outbox.get(attempt().msgid).body == b"body"


def test_an_end_is_not_changed_but_by_a_reversal(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox.sqlite") as outbox:
        msgid = attempt().msgid
        outbox.add(attempt())
        settled = Ending(
            state=AttemptState.SETTLED, code=0, by="reply", reply_body=b"x", setl_id="S1"
        )
        outbox.end(msgid, 2, settled)
        outbox.end(msgid, 3, Ending(state=AttemptState.REFUSED, code=402, by="status"))
        assert outbox.get(msgid).state is AttemptState.SETTLED
        outbox.end(msgid, 4, Ending(state=AttemptState.REVERSED, code=603, by="reversal"))
        kept = outbox.get(msgid)
        assert kept.state is AttemptState.REVERSED
        assert (kept.setl_id, kept.reply_body) == ("S1", b"x")
        assert [event.what for event in outbox.events(msgid)] == ["written", "settled", "reversed"]


def test_one_process_works_on_an_attempt_until_its_time_is_up(tmp_path: Path) -> None:
    with Outbox(tmp_path / "o.sqlite") as first, Outbox(tmp_path / "o.sqlite") as second:
        first.add(attempt())
        assert first.claim(attempt().msgid, 1_000, 2_000)
        assert not second.claim(attempt().msgid, 1_500, 2_500)
        assert second.claim(attempt().msgid, 2_000, 3_000)
        second.release(attempt().msgid)
        assert first.claim(attempt().msgid, 2_001, 3_000)


def test_a_claim_does_not_hold_for_as_long_as_a_clock_was_set_back(tmp_path: Path) -> None:
    """A power cut may take the clock with it: the doubt is looked into all the same."""
    with Outbox(tmp_path / "outbox.sqlite") as outbox:
        outbox.add(attempt(created_ms=1_800_000_000_000, worked_until_ms=1_800_000_100_000))
        day_ms = 86_400_000
        now_ms = 1_800_000_000_000 - day_ms
        assert outbox.claim(attempt().msgid, now_ms, now_ms + 100_000)
        assert not outbox.claim(attempt().msgid, now_ms + 1_000, now_ms + 101_000)


def test_the_last_attempt_is_the_last_though_the_clock_was_set_back(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox.sqlite") as outbox:
        for sequence, created_ms in ((1, 5_000), (2, 9_000), (3, 4_000)):
            outbox.add(attempt(f"H1101050000120270115160000{sequence:04d}", created_ms=created_ms))
        newest = outbox.newest((MessageType.SETTLE,))
        assert newest is not None
        assert newest.created_ms == 4_000
        assert [one.created_ms for one in outbox.latest(3)] == [4_000, 9_000, 5_000]


def test_an_outbox_of_years_is_not_looked_through(tmp_path: Path) -> None:
    """Each look goes by an index: that of the newest goes back from the end."""
    with Outbox(tmp_path / "outbox.sqlite") as outbox:
        plans: list[str] = []

        def explain(statement: str) -> None:
            if statement.startswith("SELECT"):
                with sqlite3.connect(tmp_path / "outbox.sqlite") as database:
                    rows = database.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
                plans.extend(row[3] for row in rows)

        outbox._database.set_trace_callback(explain)
        outbox.find("2814749767106563")
        outbox.of_day("2026-11-21", [21])
        outbox.days_to_reconcile([21], first="2026-08-21")
        outbox.open_attempts()
        outbox.depth()
        outbox._database.set_trace_callback(None)
    assert plans
    assert "SCAN attempt" not in plans


def test_a_full_disk_is_named_and_ends_nothing(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox.sqlite") as outbox:
        outbox.add(attempt())
        (pages,) = outbox._database.execute("PRAGMA page_count").fetchone()
        outbox._database.execute(f"PRAGMA max_page_count = {pages}")
        big = attempt("H11010500001202701151600000001", body=b"x" * 9_000)
        with pytest.raises(OutboxError, match="disk is full"):
            outbox.add(big)
        outbox._database.execute("PRAGMA max_page_count = 100000")
        outbox.add(big)
        assert len(outbox.open_attempts()) == 2


def test_prints_are_counted_before_they_begin(tmp_path: Path) -> None:
    with Outbox(tmp_path / "o.sqlite") as outbox:
        outbox.add(attempt())
        assert [outbox.begin_print(attempt().msgid, 1) for _ in range(3)] == [0, 1, 2]


@given(st.lists(st.integers(-100_000, 100_000), min_size=1, max_size=200))
def test_no_msgid_comes_twice_whatever_the_clock_does(steps_ms: list[int]) -> None:
    now_ms = 1_800_000_000_000
    reserve = MemoryReserve()
    taken = []
    msgids: Msgids | None = None
    for index, step_ms in enumerate(steps_ms):
        now_ms += step_ms
        at = now_ms
        if msgids is None or index % 7 == 0:  # a restart
            msgids = Msgids(
                institution="H11010500001",
                zone=ZoneInfo("Asia/Shanghai"),
                now_ms=lambda at=at: at,
                reserve=reserve,
            )
        msgids._now_ms = lambda at=at: at
        taken.append(msgids.take())
    assert len(set(taken)) == len(taken)
    assert taken == sorted(taken)


def test_a_msgid_carries_the_funds_local_time() -> None:
    msgids = Msgids(
        institution="H11010500001",
        zone=ZoneInfo("Asia/Shanghai"),
        now_ms=lambda: 1_763_712_000_123,
        reserve=MemoryReserve(),
    )
    assert msgids.take() == "H11010500001202511211600001230"
    assert msgids.take() == "H11010500001202511211600001231"
