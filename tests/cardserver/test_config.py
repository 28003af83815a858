"""The configuration is closed: what it doesn't know, it names with its path."""

import datetime as dt
from pathlib import Path

import pytest

from cardserver.app import check_workers
from cardserver.authority import issue_server_certificate, make_authority
from cardserver.config import Config, ConfigError, load_config
from cardserver.listener import terminal_tls_context

MINIMAL = """
[fund]
name_zh = "试验市医疗保障基金"
name_en = "Medical Insurance Fund of Testville"
region = "639900"

[listener]
certificate_file = "centre.crt"
key_file = "centre.key"
terminal_ca_file = "ca.crt"

[database]
url = "sqlite:///centre.sqlite"

[cards]
keys_directory = "keys"
keys_passphrase_file = "keys.passphrase"
session_secret_file = "session.secret"
"""


def load(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "cardserver.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(file)


def test_paths_start_at_the_file(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)
    assert config.path("keys") == tmp_path / "keys"
    assert config.database_url == f"sqlite:///{tmp_path}/centre.sqlite"
    assert config.listener.port == 7443


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('region = "639900"', 'region = "Testville"'), "`$.fund.region`"),
        (("[cards]", "[cards]\nsession_lifetime = 5"), "`$.cards`"),
        (("[cards]", "[cards]\nsession_life_ms = 5"), "`$.cards.session_life_ms`"),
        (("[listener]", "[listener]\nport = 70000"), "`$.listener.port`"),
        (("[fund]", '[fund]\ntimezone = "Mars/Olympus"'), "`$.fund.timezone`"),
        (("[database]", "[databases]"), "`databases`"),
        (("[fund]", "[fund"), "line"),
        (("[fund]", 'directory = "/"\n[fund]'), "`$.directory`"),
    ],
)
def test_a_mistake_is_named_with_its_path(
    tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, MINIMAL.replace(*change, 1))
    assert says in str(raised.value)
    assert "cardserver.toml" in str(raised.value)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        load_config(tmp_path / "absent.toml")


def test_the_password_is_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "database.password").write_text("of-the-database\n", encoding="utf-8")
    text = MINIMAL.replace(
        'url = "sqlite:///centre.sqlite"',
        'url = "postgresql+asyncpg://cardserver@127.0.0.1/fund"\n'
        'password_file = "database.password"',
    )
    config = load(tmp_path, text)
    assert config.database_password == "of-the-database"
    assert config.database_url == "postgresql+asyncpg://cardserver@127.0.0.1/fund"


def test_a_file_in_another_encoding_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "cardserver.toml"
    file.write_bytes(MINIMAL.encode("gb18030"))
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load_config(file)


def test_a_password_that_cannot_be_read_is_a_sentence_without_it(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL.replace("[database]", '[database]\npassword_file = "secret"'))
    with pytest.raises(ConfigError, match="secret: can't be read"):
        _ = config.database_password
    (tmp_path / "secret").write_bytes(b"made-up \xff")
    with pytest.raises(ConfigError, match="is not UTF-8") as refused:
        _ = config.database_password
    assert "made-up" not in str(refused.value)


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)
    with pytest.raises(ConfigError, match=r"centre\.crt and .*centre\.key can't be used"):
        terminal_tls_context(config.listener, config.path)
    authority = make_authority(tmp_path, name="Made up", now=dt.datetime.now(dt.UTC))
    certificate, key = issue_server_certificate(
        authority, hosts=("localhost",), now=dt.datetime.now(dt.UTC)
    )
    (tmp_path / "centre.crt").write_bytes(certificate)
    (tmp_path / "centre.key").write_bytes(key)
    with pytest.raises(ConfigError, match=r"ca\.crt can't be used"):
        terminal_tls_context(config.listener, config.path)


def test_sqlite_serves_one_worker(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)
    check_workers(config, 1)
    with pytest.raises(ConfigError, match="SQLite serves one worker"):
        check_workers(config, 2)
