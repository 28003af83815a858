"""Configuration, key and state files: closed, private, with the path of each mistake."""

import dataclasses
from pathlib import Path

import msgspec
import pytest

from terminals.config import ConfigError, decode_config, load_config
from terminals.enrolment import EnrolmentError, NewTerminal, make_terminal
from terminals.link import tls_connector
from terminals.state import State, StateError, load_state, save_state

TEXT = """
[centre]
host = "127.0.0.1"
port = 7443
ca_file = "ca.crt"
[terminal]
institution = "H11010500001"
code = "T01"
certificate_file = "terminal.crt"
key_file = "terminal.key"
"""


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "terminal.toml").write_text(TEXT)
    config = load_config(tmp_path / "terminal.toml")
    assert config.centre.ca_file == str(tmp_path / "ca.crt")
    assert config.outbox.file == str(tmp_path / "outbox.sqlite")
    with pytest.raises(AttributeError):
        config.centre.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ("[centre]\nhsot = 1", r"unknown field `hsot` - at `\$\.centre`"),
        ("[centre]\nport = 70000", r"\$\.centre\.port"),
        ("[terminal]\ninstitution = 'abc'", r"\$\.terminal\.institution"),
        ("[terminal]\ntime_zone = 'Mars/Olympus'", r"\$\.terminal\.time_zone"),
        ("[limits]\nretries_max = 0", r"\$\.limits\.retries_max"),
        ("[limits]\nreconnect_pause_ms_min = 20000", r"\$\.limits\.reconnect_pause_ms_min"),
        ("[outbox]\nresolve_pause_ms_min = 20000", r"\$\.outbox\.resolve_pause_ms_min"),
        ("[receipt]\ncolumns = 10", r"\$\.receipt\.columns"),
        ("[extra]\na = 1", "unknown field `extra`"),
        ("not toml", "t.toml"),
    ],
)
def test_a_mistake_names_its_path(change: str, path: str, tmp_path: Path) -> None:
    def merged(text: str) -> dict[str, dict[str, object]]:
        return msgspec.toml.decode(text)

    try:
        document, extra = merged(TEXT), merged(change)
        for section, values in extra.items():
            document.setdefault(section, {}).update(values)
        data = "\n".join(
            f"[{section}]\n" + "\n".join(f"{key} = {value!r}" for key, value in values.items())
            for section, values in document.items()
        )
    except msgspec.DecodeError:
        data = change
    with pytest.raises(ConfigError, match=path):
        decode_config(data.encode(), directory=tmp_path, source="t.toml")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path, certificates: Path) -> None:
    key = tmp_path / "terminal.key"
    key.write_bytes((certificates / "terminal.key").read_bytes())
    key.chmod(0o640)
    text = TEXT.replace("ca.crt", f"{certificates}/ca.pem").replace(
        "terminal.crt", f"{certificates}/terminal.pem"
    )
    config = decode_config(text.encode(), directory=tmp_path, source="t.toml")
    with pytest.raises(ConfigError, match="0600"):
        tls_connector(config)
    key.chmod(0o600)
    tls_connector(config)


def test_a_missing_certificate_is_a_configuration_fault(tmp_path: Path) -> None:
    config = decode_config(TEXT.encode(), directory=tmp_path, source="t.toml")
    with pytest.raises(ConfigError, match=r"terminal\.crt"):
        tls_connector(config)


def test_init_writes_a_configuration_that_loads(tmp_path: Path, certificates: Path) -> None:
    new = NewTerminal(
        institution="H11010500001",
        institution_name='第一医院 "east"',
        code="T01",
        host="centre.example",
        port=7443,
        server_name="",
        reader="Virtual PCD",
        ca_file=certificates / "ca.pem",
    )
    make_terminal(tmp_path / "desk", new)
    config = load_config(tmp_path / "desk" / "terminal.toml")
    assert config.receipt.institution_name == '第一医院 "east"'
    assert config.reader.name == "Virtual PCD"
    with pytest.raises(EnrolmentError):
        make_terminal(tmp_path / "desk", new)
    with pytest.raises(EnrolmentError, match="no certificate"):
        make_terminal(tmp_path / "other", dataclasses.replace(new, ca_file=tmp_path / "none"))


def test_a_state_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    save_state(file, State())
    assert load_state(file) == State()
    file.chmod(0o644)
    with pytest.raises(StateError, match="0600"):
        load_state(file)


def test_a_state_file_of_another_layout_is_an_empty_one(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.touch(mode=0o600)
    file.write_text('{"sign_on": 7}')
    assert load_state(file) == State()
