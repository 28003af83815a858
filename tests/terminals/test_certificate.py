"""What a cashier is told of the terminal's own certificate as it ends."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from terminals.certificate import certificate_ends, words_of_end
from terminals.commands.result import ExitStatus
from terminals.config import ConfigError
from tests.terminals.conftest import make_certificates
from tests.terminals.shell import OPERATOR, PASSWORD, Shell

SOON = dt.timedelta(days=9)
OVER = dt.timedelta(seconds=-1)


@pytest.fixture(params=[SOON, OVER])
def life(request: pytest.FixtureRequest) -> dt.timedelta:
    assert isinstance(request.param, dt.timedelta)
    return request.param


@pytest.fixture
def certificates(tmp_path: Path, life: dt.timedelta) -> Path:
    directory = tmp_path / "certificates"
    directory.mkdir()
    make_certificates(directory, life=life)
    return directory


async def test_the_cashier_reads_at_sign_on_that_the_certificate_ends(
    config: Any, config_file: Path, life: dt.timedelta
) -> None:
    (config_file.parent / "password").write_text(PASSWORD + "\n", encoding="utf-8")
    ends = certificate_ends(Path(config.terminal.certificate_file))
    shell = Shell(config_file.parent)
    ran = await shell("sign-on", "--operator", OPERATOR, "--password-file", "password", "--json")
    assert f"{ends:%Y-%m-%d}" in ran.err
    if life == SOON:
        assert ran.status == ExitStatus.APPROVED
        assert ran.json["result"]["certificate_ends"] == ends.isoformat()
        assert "将于" in ran.err
        assert "certificate ends on" in ran.err
    else:
        assert ran.status == ExitStatus.LOCAL_FAULT  # the centre closes without a word (TLS 1.3)
        assert "到期，中心不再接受" in ran.err
        assert "the centre takes it no more" in ran.err


def test_nothing_is_said_of_a_certificate_that_holds() -> None:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert words_of_end(now + dt.timedelta(days=30), now) is None
    assert words_of_end(now + dt.timedelta(days=29, hours=23), now) is not None


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "terminal.crt").write_bytes(b"no PEM")
    with pytest.raises(ConfigError, match="no certificate in PEM"):
        certificate_ends(tmp_path / "terminal.crt")
