"""`cardserver init` and `enrol-terminal`: make a centre, and let terminals in."""

import asyncio
import contextlib
import datetime as dt
import itertools
import os
import secrets
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

import typer

from cardserver import authority, key_files
from cardserver.benefits.policy import Policy, PolicyBook, load_policy
from cardserver.cards.file_keystore import FileKeyStore
from cardserver.cards.keystore import USAGES, RootKeyName
from cardserver.commands.database import ConfigFile, acting_user, open_database
from cardserver.commands.faults import fail_clearly
from cardserver.config import Config, ConfigError, load_config
from cardserver.registry import administration_store as administration
from cardserver.registry.administration_store import AdministrationError
from cardserver.registry.passwords import hash_password
from cardserver.registry.registry_store import Registry
from cardserver.telemetry.broker_files import CONFIG_FILE as BROKER_CONFIG_FILE
from cardserver.telemetry.broker_files import DIRECTORY as BROKER_DIRECTORY
from cardserver.telemetry.broker_files import BrokerWish, write_broker_files
from cardserver.when_called import when_called
from ledger.database_store import Database
from protocol.card.profiles.social_security_keys import KEY_SIZE, CardKey

# A made-up region within Beijing's numbers, so that the shipped policy applies to it and none of
# its identity numbers can be anyone's: 110199 was never given to a place (GB/T 2260).
MADE_UP_REGION = "110199"

SQLITE = "sqlite:///"
CONFIG_FILE = "cardserver.toml"
BROKER_PORT = 8883
CARD_KEYS_DIRECTORY = "card-keys"
PASSWORDS_FILE = "operators.txt"
PASSPHRASE_FILE = "card-keys.passphrase"  # noqa: S105 - the name of a file
# For made-up cities only: root keys in the clear, from which simulated cards are printed.
TEST_KEYS_DIRECTORY = "test-card-keys"
SESSION_SECRET_SIZE = 32
PASSPHRASE_SIZE = 32
# Two, because a dead terminal's doubts are settled by two operators together.
FUND_OPERATORS = ("f001", "f002")

_migrate: Callable[[str, str], Awaitable[None]] = when_called(
    "cardserver.migrations.schema:migrate"
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What `init` was asked for."""

    url: str
    password_file: Path | None
    region: str
    host: str
    port: int
    observe_port: int
    names: tuple[str, ...]
    has_test_keys: bool


@fail_clearly
def init(  # noqa: PLR0913 - one parameter an option
    directory: Annotated[Path, typer.Argument(help="Folder to make; new or empty.")],
    *,
    database: Annotated[
        str, typer.Option(help="sqlite:///FILE, or postgresql+asyncpg://USER@HOST/NAME.")
    ] = "sqlite:///cardserver.db",
    database_password_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Not with SQLite.")
    ] = None,
    region: Annotated[
        str, typer.Option(help="The fund's region, six digits; the default is made up.")
    ] = MADE_UP_REGION,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Where terminals call.")] = 7443,
    observe_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Where metrics and health are read.")
    ] = 9464,
    name: Annotated[
        list[str] | None,
        typer.Option(help="A name or address by which terminals call this centre; repeatable."),
    ] = None,
    with_test_card_keys: Annotated[
        bool,
        typer.Option(
            "--with-test-card-keys",
            help="For a made-up city: draw root keys, and write them in the clear as well, so that"
            f" simulated cards can be printed; into {TEST_KEYS_DIRECTORY}/.",
        ),
    ] = False,
) -> None:
    """Make a centre: its authority, certificates, keys, configuration and database.

    建立中心：证书机构、服务证书、卡根密钥、配置文件和数据库。
    """
    directory = directory.resolve()
    _check(directory, database, region)
    wish = Wish(
        url=database,
        password_file=database_password_file,
        region=region,
        host=host,
        port=port,
        observe_port=observe_port,
        names=tuple(dict.fromkeys((*(name or ()), "localhost", "127.0.0.1", "::1"))),
        has_test_keys=with_test_card_keys,
    )
    # Made beside and moved into place: a failure leaves nothing half made.
    made = directory.parent / f".{directory.name}.{secrets.token_hex(8)}"
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        made.mkdir(mode=0o700)
        config = _write_files(made, wish, directory)
        policies = asyncio.run(_fill_database(config, made))
        made.replace(directory)
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        raise ConfigError(f"{directory} can't be made: {error.strerror}") from error
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    _tell(directory, config, policies)


def _check(directory: Path, database: str, region: str) -> None:
    """Refuse what can't be made, before anything is."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(f"{directory} is not empty: choose a new folder, nothing was changed")
    url = urlsplit(database)
    if url.password or "password" in parse_qs(url.query):
        raise ConfigError(
            "the database's password does not belong into the URL: --database-password-file"
        )
    if len(region) != 6 or not (region.isascii() and region.isdecimal()):  # noqa: PLR2004
        raise ConfigError("the region has six digits, as 110199")


def _write_files(directory: Path, wish: Wish, final: Path) -> Config:
    """Write keys, certificates and configuration; return the configuration as it reads.

    Args:
        directory: Where to.
        wish: What was asked for.
        final: Where the folder will be in the end.
    """
    now = dt.datetime.now(dt.UTC)
    authority_directory = directory / authority.DIRECTORY
    authority_directory.mkdir(mode=0o700)
    own = authority.make_authority(authority_directory, name="cardserver", now=now)
    certificate, key = authority.issue_server_certificate(own, hosts=wish.names, now=now)
    key_files.write_new(directory / "server.crt", certificate, mode=key_files.PUBLIC_MODE)
    key_files.write_new(directory / "server.key", key)
    write_broker_files(
        own,
        directory / BROKER_DIRECTORY,
        BrokerWish(final, wish.host, BROKER_PORT, wish.names),
        now=now,
        renews=False,
    )
    key_files.write_new(directory / "session.secret", secrets.token_bytes(SESSION_SECRET_SIZE))
    _make_keystore(directory, today=now.date(), has_test_keys=wish.has_test_keys)
    file = directory / CONFIG_FILE
    key_files.write_new(file, _config_text(wish).encode(), mode=key_files.PUBLIC_MODE)
    config = load_config(file)
    if config.database_url.startswith(SQLITE):  # its file holds everyone's data
        Path(config.database_url.removeprefix(SQLITE)).touch(mode=key_files.SECRET_MODE)
    return config


def _make_keystore(directory: Path, *, today: dt.date, has_test_keys: bool) -> None:
    """Make the store of root keys: empty, or with keys that test cards are printed from too."""
    passphrase = secrets.token_urlsafe(PASSPHRASE_SIZE)
    key_files.write_new(directory / PASSPHRASE_FILE, f"{passphrase}\n".encode())
    store = FileKeyStore.make(directory / CARD_KEYS_DIRECTORY, passphrase.encode())
    if has_test_keys:
        folder = directory / TEST_KEYS_DIRECTORY
        folder.mkdir(mode=0o700)
        for usage, algorithm in itertools.product(USAGES, sorted(store.algorithms)):
            name, value = RootKeyName(usage, algorithm, 1), CardKey(secrets.token_bytes(KEY_SIZE))
            store.import_key(name, value, today)
            key_files.write_new(folder / f"{name}.key", value)
    store.close()


def _config_text(wish: Wish) -> str:
    password_file = "" if wish.password_file is None else str(wish.password_file.resolve())
    return f"""\
# A card centre's configuration. Paths are relative to this file. What is left out has the value
# shown after '#'; an unknown key is an error. All sections: cardserver/README.md.

[fund]
name_zh = "青禾市医疗保障基金"
name_en = "Qinghe Medical Insurance Fund"
region = "{wish.region}"                # GB/T 2260
timezone = "Asia/Shanghai"       # whose local day is the business date

[listener]                       # where terminals connect: TLS 1.3, certificates on both sides
host = {_toml(wish.host)}
port = {wish.port}
certificate_file = "server.crt"
key_file = "server.key"
terminal_ca_file = "{authority.DIRECTORY}/{authority.AUTHORITY_CERTIFICATE}"
# connections_max = 10000
# in_flight_max = 32             # requests at once on one connection
# drain_time_max_ms = 10000      # how long shutting down waits for requests in flight

[database]
url = {_toml(wish.url)}
password_file = {_toml(password_file)}               # holds the password; nothing for SQLite
# queue_max = 2048               # postings that wait; above, terminals are told BUSY
# group_max = 128                # postings that share one commit

[cards]
keys_directory = "{CARD_KEYS_DIRECTORY}"    # root keys, encrypted: cardserver keys --help
keys_passphrase_file = "{PASSPHRASE_FILE}"  # opens them: keep its copy apart from theirs
session_secret_file = "session.secret"
issuers = ["{wish.region}"]             # initialising organisations accepted, by their first digits
# fresh_card_above_fen = 5000000 # above this total the card must have answered just now
# [cards.token]                  # 3DES root keys in a PKCS #11 token, not in files
# library = "/usr/lib/softhsm/libsofthsm2.so"
# label = "cardserver"
# pin_file = "token.pin"
# [cards.unverified]             # cards that prove nothing: without this, not opened
# may = "look_up"                # or "settle", with what: cardserver/README.md

[sign_on]
# life_ms = 43200000             # a sign-on holds twelve hours
# failures_max = 5               # wrong passwords in a row that lock an operator

[observe]                        # /metrics, /healthz, /readyz: for this machine or behind a proxy
host = "127.0.0.1"
port = {wish.observe_port}
log_format = "json"              # or "console"

# [mqtt]                         # terminals' states and news, with the broker that runs by
# host = "localhost"             # mosquitto -c {BROKER_DIRECTORY}/{BROKER_CONFIG_FILE}
# port = {BROKER_PORT}

# [readers]
# names = ["Virtual PCD 00 00"]  # card readers attached to the centre itself

# A reason to settle without a card, which the claim records:
# [[exceptions]]
# name = "reader-broken"
# med_types = ["11", "41"]
# total_max_fen = 20000
"""


def _toml(text: str) -> str:
    """Write a TOML string; JSON's escapes are TOML's too."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


async def _fill_database(config: Config, directory: Path) -> list[Policy]:
    """Bring the schema up, activate the shipped policies, add the fund's operators."""
    async with open_database(config):  # is it there, and are its settings safe?
        pass
    await _migrate(config.database_url, config.database_password)
    texts = {
        load_policy(text): text
        for text in (
            file.read_text(encoding="utf-8")
            for file in resources.files("cardserver.benefits").joinpath("policies").iterdir()
            if file.name.endswith(".toml")
        )
    }
    PolicyBook(texts)
    async with open_database(config) as database:
        rows = [(policy.name, policy.begins, text) for policy, text in texts.items()]
        await administration.activate_policies(database, rows, acting_user())
        lines = await _add_fund_operators(database)
    if lines:
        key_files.write_new(directory / PASSWORDS_FILE, "".join(lines).encode())
    return list(texts)


async def _add_fund_operators(database: Database) -> list[str]:
    """Add the fund's own two operators, where this database has none; return their passwords."""
    lines: list[str] = []
    for code in FUND_OPERATORS:
        if await Registry(database).operator(administration.FUND, code) is not None:
            continue
        password = secrets.token_urlsafe(12)
        await administration.add_operator(
            database,
            institution=None,
            code=code,
            name=code,
            role="resolver",
            password_hash=hash_password(password),
            actor=acting_user(),
        )
        lines.append(f"{code} {password}\n")
    return lines


def _tell(directory: Path, config: Config, policies: list[Policy]) -> None:
    """Say what was made and what comes next."""
    region = config.fund.region
    names = ", ".join(policy.identity for policy in policies)
    applies = any(
        region[:size].ljust(6, "0") in policy.document.regions
        for policy in policies
        for size in (6, 4, 2, 0)
    )
    made = (
        (CONFIG_FILE, "the configuration: read through it"),
        (f"{authority.DIRECTORY}/", "signs terminals' certificates; every terminal needs its .crt"),
        ("server.crt, .key", "the centre's own certificate and key"),
        (
            f"{CARD_KEYS_DIRECTORY}/",
            "root keys, encrypted; the issuer's come by `keys import`",
        ),
        (PASSPHRASE_FILE, "opens them: keep a copy apart from theirs"),
        (f"{TEST_KEYS_DIRECTORY}/", "root keys in the clear, to print made-up cards from"),
        ("session.secret", "signs card sessions"),
        (f"{BROKER_DIRECTORY}/", "certificates, configuration, access list of a Mosquitto broker"),
        (PASSWORDS_FILE, "the fund's operators, if new: hand the passwords over, delete the file"),
    )
    typer.echo(f"made {directory}")
    optional = {PASSWORDS_FILE, f"{TEST_KEYS_DIRECTORY}/"}
    for file, purpose in made:
        if file not in optional or (directory / file).exists():
            typer.echo(f"  {file:<20} {purpose}")
    typer.echo(f"database {config.database.url}: schema up to date, policies {names}")
    if not applies:
        typer.echo(
            f"no shipped policy applies to region {region}:"
            f" cardserver policy activate --config {directory / CONFIG_FILE} FILE"
        )
    typer.echo(
        f"""\
next
  cardserver registry import --config {directory / CONFIG_FILE} FOLDER
  cardserver enrol-terminal --config {directory / CONFIG_FILE} --institution CODE --terminal CODE \
--request FILE --out FILE
  cardserver serve --config {directory / CONFIG_FILE}"""
    )


@fail_clearly
def enrol_terminal(
    config_file: ConfigFile,
    *,
    institution: Annotated[str, typer.Option(help="The institution's code.")],
    terminal: Annotated[str, typer.Option(help="The terminal's code within it.")],
    request: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="Its request, PKCS #10 in PEM.")
    ],
    out: Annotated[Path, typer.Option(help="Where the certificate goes; must not exist.")],
) -> None:
    """Sign a terminal's certificate and register it; one that it had before stops working.

    为终端签发证书并登记；该终端原有证书随即失效。
    """
    config = load_config(config_file)
    own = authority.open_authority(config.path(authority.DIRECTORY))
    certificate = authority.issue_terminal_certificate(
        own,
        request.read_bytes(),
        institution=institution,
        terminal=terminal,
        now=dt.datetime.now(dt.UTC),
    )

    async def run() -> tuple[int, bool]:
        async with open_database(config) as database:
            found = await Registry(database).institution_by_code(institution)
            if found is None:
                raise AdministrationError(f"no institution has the code {institution}")
            key_files.write_new(out, authority.to_pem(certificate), mode=key_files.PUBLIC_MODE)
            try:
                return await administration.enrol_terminal(
                    database,
                    found,
                    terminal,
                    authority.fingerprint_of(certificate),
                    acting_user(),
                    ends_ms=authority.ends_ms_of(certificate),
                )
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(out)  # noqa: PTH108 - as written above
                raise

    terminal_no, is_new = asyncio.run(run())
    ends = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    what = "is enrolled" if is_new else "has a new certificate, the earlier one stops working"
    typer.echo(f"terminal {terminal} (number {terminal_no}) {what}, until {ends}: {out}")
    typer.echo(f"it also needs {config.path(config.listener.terminal_ca_file)}")
