"""A token of SoftHSM 2 (Debian's softhsm2) in a directory of its own: an HSM for tests.

Its library reads `SOFTHSM2_CONF` and finds its tokens once a process, when it is first used.
"""

import os
import subprocess
from pathlib import Path

LIBRARY = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "20261121"
_CONFIGURATION = "softhsm2.conf"


def make_token(directory: Path, label: str) -> Path:
    """Make a token below an empty directory; return what `SOFTHSM2_CONF` has to name.

    Raises:
        subprocess.CalledProcessError: SoftHSM can't.
    """
    (directory / "tokens").mkdir()
    configuration = directory / _CONFIGURATION
    configuration.write_text(
        f"directories.tokendir = {directory}/tokens\nlog.level = ERROR\n", encoding="utf-8"
    )
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label,
         "--so-pin", PIN, "--pin", PIN],
        check=True,
        capture_output=True,
        env=os.environ | {"SOFTHSM2_CONF": str(configuration)},
    )  # fmt: skip
    return configuration
