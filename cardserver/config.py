"""The centre's configuration: one TOML file, decoded once into frozen, closed sections.

Paths are relative to the file's folder. Secrets are files that the TOML points to. Every key has
its unit in its name; an unknown key is an error that names its path.
"""

import datetime as dt
import zoneinfo
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Port = Annotated[int, Meta(ge=0, le=65_535)]
Positive = Annotated[int, Meta(ge=1, le=2**31)]


class ConfigError(Exception):
    """The configuration can't be used; says which file, where in it, and why."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A closed part of the configuration."""


class Fund(Section, frozen=True):
    """Who runs this centre.

    Attributes:
        name_zh: The fund's name on receipts and pages.
        name_en: The same in English.
        region: GB/T 2260 code of the fund's region, six digits.
        timezone: Whose local day is the business date.
    """

    name_zh: Annotated[str, Meta(min_length=1, max_length=60)]
    name_en: Annotated[str, Meta(min_length=1, max_length=60)]
    region: Annotated[str, Meta(pattern=r"^\d{6}$")]
    timezone: str = "Asia/Shanghai"


class Listener(Section, frozen=True):
    """Where terminals connect (TLS 1.3, certificates on both sides).

    Attributes:
        host: Address to bind.
        port: Port to bind; 0 takes a free one and prints it.
        certificate_file: The centre's certificate chain, PEM.
        key_file: Its private key, PEM, readable by its owner only.
        terminal_ca_file: Certificates that sign terminals' certificates, PEM.
        connections_max: Connections of one worker.
        in_flight_max: Requests in flight on one connection.
        frame_size_max: Largest frame payload in bytes.
        frame_time_max_ms: How long a frame may take from its first byte to its last.
        idle_time_max_ms: How long a connection may be silent.
        handshake_time_max_ms: How long the TLS handshake may take.
        handshakes_max: TLS handshakes under way; above, the oldest is broken off.
        drain_time_max_ms: How long shutting down waits for requests in flight.
        retire_time_max_ms: How long a worker that is replaced waits for terminals to be between two
            requests, before it drains.
    """

    certificate_file: str
    key_file: str
    terminal_ca_file: str
    host: str = "127.0.0.1"
    port: Port = 7443
    connections_max: Positive = 10_000
    in_flight_max: Annotated[int, Meta(ge=1, le=1024)] = 32
    frame_size_max: Annotated[int, Meta(ge=65_536, le=16_777_216)] = 262_144
    frame_time_max_ms: Positive = 10_000
    idle_time_max_ms: Positive = 900_000
    handshake_time_max_ms: Positive = 10_000
    handshakes_max: Positive = 512
    drain_time_max_ms: Positive = 10_000
    retire_time_max_ms: Positive = 30_000


class DatabaseSection(Section, frozen=True):
    """Where the fund's data is.

    Attributes:
        url: `sqlite:///FILE` (relative to this file) or `postgresql+asyncpg://USER@HOST/NAME`.
        password_file: Holds the password; not with SQLite.
        pool_size_max: Connections for reading, PostgreSQL only.
        queue_max: Postings waiting for their group; above, the answer is BUSY.
        group_max: Postings that share one commit.
    """

    url: str
    password_file: str = ""
    pool_size_max: Annotated[int, Meta(ge=1, le=64)] = 4
    queue_max: Positive = 2048
    group_max: Annotated[int, Meta(ge=1, le=1024)] = 128


class Token(Section, frozen=True):
    """A PKCS #11 token that holds the root keys.

    Attributes:
        library: Its PKCS #11 library.
        label: Its label.
        pin_file: Holds its user's PIN.
    """

    library: Annotated[str, Meta(min_length=1)]
    label: Annotated[str, Meta(min_length=1, max_length=32)]
    pin_file: Annotated[str, Meta(min_length=1)]


class UnverifiedCare(Section, frozen=True):
    """Care types that an unverified card may settle.

    Attributes:
        med_types: For which care types.
        total_max_fen: Up to which bill.
    """

    med_types: tuple[str, ...]
    total_max_fen: Annotated[int, Meta(ge=0)]


class Unverified(Section, frozen=True):
    """What a card may do that was read and can't prove itself.

    Attributes:
        may: `nothing`: it is not opened at all; `look_up`: who this is and what is in force;
            `settle`: that, and PREVIEW and SETTLE as `care` allows.
        care: Only with `settle`, and then at least one; of several for a care type the highest
            amount holds.
    """

    may: Literal["nothing", "look_up", "settle"] = "nothing"
    care: tuple[UnverifiedCare, ...] = ()

    def total_max_fen(self, med_type: str) -> int | None:
        """Up to which bill of this care type it may settle; None where it may not at all."""
        amounts = [care.total_max_fen for care in self.care if med_type in care.med_types]
        return max(amounts) if amounts and self.may == "settle" else None


class Cards(Section, frozen=True):
    """How cards are trusted.

    Attributes:
        keys_directory: Root keys in encrypted files; made by `cardserver init`.
        keys_passphrase_file: Holds the passphrase that opens them.
        token: Where the root keys are instead of in files.
        session_secret_file: Secret of the card session tokens, shared by all workers.
        issuers: Initialising organisations accepted, as hex text of 12 bytes or a prefix of it;
            empty accepts those in the registry's rows.
        challenge_life_ms: How long a challenge may be used.
        session_life_ms: How long an opened card serves.
        fresh_card_above_fen: A settlement above this total needs a card opened at most
            `fresh_card_life_ms` ago.
        fresh_card_life_ms: See above.
        relay_time_max_ms: How long the centre waits for a relayed batch.
        unverified: What cards may do that can't prove themselves.
        anchors_directory: Published certificates of the authorities that are trusted to certify
            cards (`*.cvc`, `*.der`); without it, cards that have certificates are not genuine.
    """

    session_secret_file: str
    keys_directory: str = ""
    keys_passphrase_file: str = ""
    token: Token | None = None
    anchors_directory: str = ""
    issuers: tuple[Annotated[str, Meta(pattern=r"^([0-9A-Fa-f]{2}){1,12}$")], ...] = ()
    challenge_life_ms: Annotated[int, Meta(ge=1000, le=600_000)] = 120_000
    session_life_ms: Annotated[int, Meta(ge=1000, le=3_600_000)] = 600_000
    fresh_card_above_fen: Annotated[int, Meta(ge=0)] = 5_000_000
    fresh_card_life_ms: Positive = 120_000
    relay_time_max_ms: Positive = 15_000
    unverified: Unverified = Unverified()


class CardException(Section, frozen=True):
    """A named reason to settle without a card.

    Attributes:
        name: What the terminal names.
        med_types: For which care types.
        total_max_fen: Up to which bill.
    """

    name: Annotated[str, Meta(min_length=1, max_length=40)]
    med_types: tuple[str, ...]
    total_max_fen: Annotated[int, Meta(ge=0)]


class SignOn(Section, frozen=True):
    """How operators sign on.

    Attributes:
        life_ms: How long a sign-on holds.
        failures_max: Wrong passwords in a row that lock an operator.
        recheck_ms: How long a sign-on that was seen is believed, except before a settlement is
            undone.
    """

    life_ms: Positive = 43_200_000
    recheck_ms: Positive = 10_000
    failures_max: Annotated[int, Meta(ge=1, le=100)] = 5


class Readers(Section, frozen=True):
    """Card readers attached to the centre itself; they belong to worker 0.

    Attributes:
        names: Reader names as PC/SC lists them.
        terminals: Who may open cards in them, as `institution/terminal`, by naming the reader
            `centre:NAME` in CARD_OPEN.
    """

    names: tuple[str, ...] = ()
    terminals: tuple[str, ...] = ()


class Collector(Section, frozen=True):
    """An OpenTelemetry collector that takes traces by OTLP over HTTP (JSON).

    Attributes:
        endpoint: Its whole URL, as `http://127.0.0.1:4318/v1/traces`.
        ratio: Which part of all traces is sent.
        queue_max: Spans that may wait for it; more are dropped and counted.
    """

    endpoint: Annotated[str, Meta(pattern=r"^https?://.+")]
    ratio: Annotated[float, Meta(ge=0, le=1)] = 1.0
    queue_max: Annotated[int, Meta(ge=1, le=100_000)] = 8192


class Observe(Section, frozen=True):
    """What is shown of the running centre.

    Attributes:
        host: Address of `/metrics`, `/healthz`, `/readyz`; loopback unless a proxy guards it.
        port: Its port; worker N listens at port + N. 0 takes a free one.
        log_format: `json` or `console`.
        log_level: As in Python's logging; `TRAFFIC` adds wire bytes and is not for production.
        clock_skew_max_ms: A terminal's clock beyond this is reported.
        log_events_a_second: Of one kind; what is more is counted and left out. 0: no limit.
        otlp: Where traces go; without it nowhere but to `cardserver claim`.
    """

    host: str = "127.0.0.1"
    port: Port = 9464
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["TRAFFIC", "DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    clock_skew_max_ms: Positive = 60_000
    log_events_a_second: Annotated[int, Meta(ge=0, le=1_000_000)] = 200
    otlp: Collector | None = None


class DigestSection(Section, frozen=True):
    """What signs the ledger's digests; in a file or in a token, or nothing does.

    Attributes:
        key_file: Holds an Ed25519 key, PEM, readable by its owner only.
        token: A PKCS #11 token that holds a P-256 key.
        key_label: The key's label in the token.
    """

    key_file: str = ""
    token: Token | None = None
    key_label: Annotated[str, Meta(min_length=1, max_length=60)] = "cardserver digest"


class Console(Section, frozen=True):
    """The page of those on duty, reviewers and registrars: `cardserver console`.

    Attributes:
        host: Address to bind.
        port: Its port (TLS 1.3); 0 takes a free one.
        certificate_file: The page's certificate chain, PEM; empty: the listener's.
        key_file: Its private key, PEM; empty: the listener's.
        browser_ca_file: Certificates that sign browsers' certificates, PEM; empty asks for none.
        session_life_ms: How long a sign-on lasts.
        idle_time_max_ms: How long it lasts without anything being done.
        sessions_max: Persons signed on at once.
        watches: Where the workers' `[observe]` pages are, as `http://host:port`; empty: this
            file's `[observe]`, and the ports above it that answer.
    """

    host: str = "127.0.0.1"
    port: Port = 8443
    certificate_file: str = ""
    key_file: str = ""
    browser_ca_file: str = ""
    session_life_ms: Positive = 28_800_000
    idle_time_max_ms: Positive = 1_800_000
    sessions_max: Annotated[int, Meta(ge=1, le=1000)] = 100
    watches: tuple[Annotated[str, Meta(pattern=r"^https?://[^/]+$")], ...] = ()


class MQTT(Section, frozen=True):
    """The message broker: terminals say their state to it, the centre says news.

    Attributes:
        host: Its name or address, as its certificate names it; empty for no broker.
        port: Its port: TLS 1.3, certificates on both sides.
        ca_file: The authority that signed its certificate, PEM.
        certificate_file: The centre's own certificate towards it, PEM.
        key_file: That one's private key, PEM, readable by its owner only.
        timeout_ms: For connecting, and for its acknowledgements.
        reconnect_pause_ms_min: Pause after it was lost; doubles each time.
        reconnect_pause_ms_max: Where the doubling ends.
        queue_max: States heard and not looked at yet; above, they are dropped.
        states_max: Terminals of which the last state is held.
    """

    host: str = ""
    port: Port = 8883
    ca_file: str = "authority/authority.crt"
    certificate_file: str = "broker/centre.crt"
    key_file: str = "broker/centre.key"
    timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 5_000
    reconnect_pause_ms_min: Annotated[int, Meta(ge=10, le=60_000)] = 200
    reconnect_pause_ms_max: Annotated[int, Meta(ge=10, le=600_000)] = 5_000
    queue_max: Annotated[int, Meta(ge=100, le=1_000_000)] = 20_000
    states_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 50_000


class Config(Section, frozen=True):
    """The whole file."""

    fund: Fund
    listener: Listener
    database: DatabaseSection
    cards: Cards
    sign_on: SignOn = SignOn()
    readers: Readers = Readers()
    observe: Observe = Observe()
    digest: DigestSection = DigestSection()
    mqtt: MQTT = MQTT()
    console: Console = Console()
    exceptions: tuple[CardException, ...] = ()
    directory: str = ""

    def path(self, name: str) -> Path:
        """The file that a setting names, relative to the configuration's folder."""
        return Path(self.directory) / name

    @property
    def database_url(self) -> str:
        """The database's URL with SQLite's file made absolute."""
        scheme, separator, file = self.database.url.partition(":///")
        if scheme.split("+")[0] != "sqlite" or not separator:
            return self.database.url
        return f"{scheme}:///{self.path(file)}"

    @property
    def database_password(self) -> str:
        """The database's password, or nothing.

        Raises:
            ConfigError: Its file can't be read.
        """
        if not self.database.password_file:
            return ""
        path = self.path(self.database.password_file)
        try:
            return path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
        except UnicodeDecodeError:  # which holds the password
            raise ConfigError(f"{path}: is not UTF-8") from None

    @property
    def issuers(self) -> tuple[bytes, ...]:
        """Beginnings of the initialising organisations accepted."""
        return tuple(bytes.fromhex(issuer) for issuer in self.cards.issuers)

    @property
    def timezone(self) -> dt.tzinfo:
        """The fund's time zone."""
        return zoneinfo.ZoneInfo(self.fund.timezone)


def load_config(path: Path) -> Config:
    """Decode a configuration file.

    Raises:
        ConfigError: The file is missing, not TOML, or holds something unknown or out of range.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    try:
        config = msgspec.toml.decode(text, type=Config)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8: {error}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    if config.directory:
        raise ConfigError(f"{path}: `directory` is not a setting - at `$.directory`")
    try:
        zoneinfo.ZoneInfo(config.fund.timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(f"{path}: unknown time zone - at `$.fund.timezone`") from error
    has_files = bool(config.cards.keys_directory and config.cards.keys_passphrase_file)
    if has_files is (config.cards.token is not None):
        raise ConfigError(
            f"{path}: root keys are in files (keys_directory, keys_passphrase_file) or in a token,"
            " one of the two - at `$.cards`"
        )
    if config.digest.key_file and config.digest.token is not None:
        raise ConfigError(
            f"{path}: digests are signed by a file's key or a token's - at `$.digest`"
        )
    if config.mqtt.reconnect_pause_ms_min > config.mqtt.reconnect_pause_ms_max:
        raise ConfigError(
            f"{path}: the shortest pause is longer than the longest"
            " - at `$.mqtt.reconnect_pause_ms_min`"
        )
    unverified = config.cards.unverified
    if (unverified.may == "settle") is not bool(unverified.care):
        raise ConfigError(
            f'{path}: `care` belongs to may = "settle", and that to `care`'
            " - at `$.cards.unverified`"
        )
    return msgspec.structs.replace(config, directory=str(path.resolve().parent))
