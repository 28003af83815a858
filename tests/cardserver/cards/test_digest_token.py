"""The digests' key in a token: it signs, its public key verifies, and it never comes out."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cardserver.cli import app
from cardserver.digest_file import read_digest_file
from cardserver.digest_keys import DigestKeyError, check_signature, read_public_key
from cardserver.digest_token import TokenSigner
from tests.cardserver.cards.made_up_keys import SOFTHSM, TOKEN_PIN

CONFIGURATION = """
[fund]
name_zh = "清河医保中心"
name_en = "Qinghe Medical Insurance Fund"
region = "110199"
[listener]
certificate_file = "server.crt"
key_file = "server.key"
terminal_ca_file = "authority.crt"
[database]
url = "{url}"
[cards]
keys_directory = "card-keys"
keys_passphrase_file = "card-keys.passphrase"
session_secret_file = "session.secret"
[digest]
key_label = "digests by command"
[digest.token]
library = "{library}"
label = "{label}"
pin_file = "pin"
"""


def test_a_token_signs_and_its_public_key_verifies(softhsm_token: str) -> None:
    words = {"label": softhsm_token, "pin": TOKEN_PIN, "key_label": "digests of a test"}
    with pytest.raises(DigestKeyError, match="no single key"):
        TokenSigner(SOFTHSM, **words)
    made = TokenSigner.make_key(SOFTHSM, **words)
    signature = made.sign(b"a digest")
    opened = TokenSigner(SOFTHSM, **words)
    assert check_signature(opened.public_key, signature=signature, signed=b"a digest")
    assert not check_signature(opened.public_key, signature=signature, signed=b"another")
    with pytest.raises(DigestKeyError, match="already"):
        TokenSigner.make_key(SOFTHSM, **words)


def test_a_token_that_is_not_there_is_named(softhsm_token: str) -> None:
    assert softhsm_token
    with pytest.raises(DigestKeyError, match="elsewhere"):
        TokenSigner(SOFTHSM, label="elsewhere", pin=TOKEN_PIN, key_label="any")
    with pytest.raises(DigestKeyError, match="nowhere"):
        TokenSigner("/nowhere/lib.so", label="any", pin=TOKEN_PIN, key_label="any")


def test_a_digest_is_signed_by_a_token(
    softhsm_token: str, fresh_sqlite_url: str, tmp_path: Path
) -> None:
    config = tmp_path / "cardserver.toml"
    config.write_text(
        CONFIGURATION.format(url=fresh_sqlite_url, library=SOFTHSM, label=softhsm_token),
        encoding="utf-8",
    )
    pin = tmp_path / "pin"
    pin.write_text(TOKEN_PIN, encoding="utf-8")
    pin.chmod(0o600)
    public_key, out = tmp_path / "digest.pub", tmp_path / "digest.json"
    for words in (
        ("digest", "key", "create", "--config", str(config), "--public-key", str(public_key)),
        ("digest", "--config", str(config), "--out", str(out)),
        ("verify-ledger", "--config", str(config), "--digest", str(out),
         "--public-key", str(public_key)),
    ):  # fmt: skip
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
    assert read_digest_file(out, read_public_key(public_key)).slots == ()
