"""`make demo`: each step as it should be, or exit status 1."""

import subprocess
import sys

import pytest

STEPS = (
    "centre up on SQLite",
    "operator signed on",
    "card into the virtual reader",
    "card read, verified, looked up",
    "preview with explanation",
    "settlement",
    "the same request again",
    "cancel",
    "reply lost on purpose, resolved by STATUS",
    "a reversal overtakes its original",
    "a cloned card",
    "trial balance",
    "on the message broker",
)


@pytest.mark.timeout(300)
def test_the_demo_ends_by_itself_with_all_as_it_should_be() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "simulators.demo"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    places = [done.stdout.index(step) for step in STEPS]
    assert places == sorted(places)
    assert "all as it should be" in done.stdout
    assert "Traceback" not in done.stderr
