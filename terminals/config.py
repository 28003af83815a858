"""The counter's configuration: one TOML file, decoded once into frozen, closed sections.

An unknown key is an error that names its path. Secrets are files that the TOML points to; a
relative path starts at the directory of the TOML file.
"""

from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct

Port = Annotated[int, Meta(ge=1, le=65_535)]
PositiveMs = Annotated[int, Meta(ge=1, le=3_600_000)]
Count = Annotated[int, Meta(ge=1, le=10_000)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]

CONFIG_FILE_NAME: Final = "terminal.toml"
REPLY_GRACE_MS: Final = 2000
"""How much longer than `time_left_ms` a terminal waits before it asks STATUS (DESIGN, Requests)."""


class ConfigError(Exception):
    """The configuration cannot be used; the text names file and path."""


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all sections share: frozen and closed."""


class CentreSection(Section, frozen=True):
    """Where the centre is.

    Attributes:
        host: Name or address to connect to.
        port: TCP port.
        server_name: Name that the centre's certificate must carry; empty for `host`.
        ca_file: The fund's authority, PEM; nothing else is trusted.
    """

    host: Name
    port: Port
    ca_file: Name
    server_name: str = ""


class TerminalSection(Section, frozen=True):
    """Who this terminal is.

    Attributes:
        institution: The institution's code; opens every msgid.
        code: The terminal's code within its institution.
        certificate_file: The terminal's certificate, PEM, from `cardserver enrol-terminal`.
        key_file: Its private key, PEM, readable by its owner only; made here by `init`.
        operator_type: 1 clerk, 2 self-service, 3 mobile.
        time_zone: The fund's; the msgid carries local time of it.
    """

    institution: Annotated[str, Meta(min_length=12, max_length=12, pattern=r"^[0-9A-Z]+$")]
    code: Annotated[str, Meta(min_length=1, max_length=40)]
    certificate_file: Name
    key_file: Name
    operator_type: Annotated[int, Meta(ge=1, le=3)] = 1
    time_zone: Name = "Asia/Shanghai"


class ReaderSection(Section, frozen=True):
    """Which card reader is used.

    Attributes:
        name: The reader's name or a part of it; empty for the first one that holds a card.
        batch_timeout_ms: Longest time for one batch of card commands.
    """

    name: str = ""
    batch_timeout_ms: PositiveMs = 10_000


class LimitSection(Section, frozen=True):
    """Time and size limits towards the centre.

    Attributes:
        connect_timeout_ms: For TCP and TLS together.
        request_timeout_ms: Sent as `time_left_ms`; the terminal itself waits two seconds longer.
        reconnect_pause_ms_min: Pause after the first lost connection; doubles each time.
        reconnect_pause_ms_max: Where the doubling ends.
        retries_max: How often one request is repeated on the centre's advice, or reconnected.
        in_flight_max: Requests in flight at once; the centre may allow fewer.
        frame_size_max: Largest frame payload, in bytes.
    """

    connect_timeout_ms: PositiveMs = 5_000
    request_timeout_ms: PositiveMs = 20_000
    reconnect_pause_ms_min: PositiveMs = 100
    reconnect_pause_ms_max: PositiveMs = 10_000
    retries_max: Count = 6
    in_flight_max: Count = 64
    frame_size_max: Annotated[int, Meta(ge=4096, le=16_777_216)] = 262_144


class OutboxSection(Section, frozen=True):
    """The attempts that must not be forgotten.

    Attributes:
        file: SQLite database of the attempts.
        resolve_timeout_ms: How long a command stays with an attempt in doubt.
        resolve_pause_ms_min: First pause between two looks at an attempt in doubt; doubles.
        resolve_pause_ms_max: Where the doubling ends.
        repeat_age_max_ms: A settlement in doubt that is older is reversed, not repeated: the
            patient is no longer at the counter.
        expiry_ms: A doubt that is older is shown to a person as theirs to settle.
    """

    file: Name = "outbox.sqlite"
    resolve_timeout_ms: PositiveMs = 30_000
    resolve_pause_ms_min: PositiveMs = 250
    resolve_pause_ms_max: PositiveMs = 5_000
    repeat_age_max_ms: PositiveMs = 300_000
    expiry_ms: Annotated[int, Meta(ge=1, le=30 * 86_400_000)] = 86_400_000


class ListSection(Section, frozen=True):
    """The lists that the terminal holds: revocations, catalogue, mapping, parameters.

    Attributes:
        file: SQLite database of the lists.
        is_automatic: Whether they are kept up to date behind what the cashier does.
        time_after_ms_max: How long a command may go on downloading once it has shown its result;
            what is left comes with the next one.
    """

    file: Name = "lists.sqlite"
    is_automatic: bool = True
    time_after_ms_max: Annotated[int, Meta(ge=0, le=600_000)] = 2_000


class MQTTSection(Section, frozen=True):
    """The message broker to which a signed-on terminal says its state, and from which it has news.

    TLS 1.3 with the terminal's own certificate; only the fund's authority is trusted.

    Attributes:
        host: The broker's name or address, as its certificate names it; empty for no broker.
        port: TCP port.
        interval_ms: How often the state is said, when nothing changes.
        timeout_ms: For connecting, and for the broker's acknowledgements.
        reconnect_pause_ms_min: Pause after the broker was lost; doubles each time.
        reconnect_pause_ms_max: Where the doubling ends.
        news_spread_ms: News is followed after a random part of this, so that not all terminals
            download at once.
    """

    host: str = ""
    port: Port = 8883
    interval_ms: Annotated[int, Meta(ge=1_000, le=600_000)] = 30_000
    timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 5_000
    reconnect_pause_ms_min: PositiveMs = 500
    reconnect_pause_ms_max: PositiveMs = 30_000
    news_spread_ms: Annotated[int, Meta(ge=0, le=600_000)] = 2_000


class ReceiptSection(Section, frozen=True):
    """How receipts look.

    Attributes:
        columns: Width of the paper in columns; a Chinese character takes two.
        institution_name: Printed at the top.
    """

    columns: Annotated[int, Meta(ge=32, le=80)] = 42
    institution_name: str = ""


class TerminalConfig(Section, frozen=True):
    """The whole file."""

    centre: CentreSection
    terminal: TerminalSection
    reader: ReaderSection = ReaderSection()
    limits: LimitSection = LimitSection()
    outbox: OutboxSection = OutboxSection()
    receipt: ReceiptSection = ReceiptSection()
    lists: ListSection = ListSection()
    mqtt: MQTTSection = MQTTSection()
    state_file: Name = "terminal-state.json"


def load_config(path: Path) -> TerminalConfig:
    """Read, check and return the configuration with absolute paths.

    Raises:
        ConfigError: The file is missing, is no TOML, or a value is wrong; names the place.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    return decode_config(data, directory=path.resolve().parent, source=str(path))


def decode_config(data: bytes, *, directory: Path, source: str) -> TerminalConfig:
    """Decode a configuration whose relative paths start at `directory`.

    Raises:
        ConfigError: As in `load_config`.
    """
    try:
        config = msgspec.toml.decode(data, type=TerminalConfig)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source}: {error}") from error
    try:
        ZoneInfo(config.terminal.time_zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(f"{source}: {error} - at `$.terminal.time_zone`") from error
    if config.limits.reconnect_pause_ms_min > config.limits.reconnect_pause_ms_max:
        raise ConfigError(
            f"{source}: the shortest pause is longer than the longest"
            " - at `$.limits.reconnect_pause_ms_min`"
        )
    if config.outbox.resolve_pause_ms_min > config.outbox.resolve_pause_ms_max:
        raise ConfigError(
            f"{source}: the shortest pause is longer than the longest"
            " - at `$.outbox.resolve_pause_ms_min`"
        )
    if config.mqtt.reconnect_pause_ms_min > config.mqtt.reconnect_pause_ms_max:
        raise ConfigError(
            f"{source}: the shortest pause is longer than the longest"
            " - at `$.mqtt.reconnect_pause_ms_min`"
        )
    return _with_absolute_paths(config, directory)


def _with_absolute_paths(config: TerminalConfig, directory: Path) -> TerminalConfig:
    def absolute(name: str) -> str:
        return str(directory / name)

    replace = msgspec.structs.replace
    return replace(
        config,
        centre=replace(config.centre, ca_file=absolute(config.centre.ca_file)),
        terminal=replace(
            config.terminal,
            certificate_file=absolute(config.terminal.certificate_file),
            key_file=absolute(config.terminal.key_file),
        ),
        outbox=replace(config.outbox, file=absolute(config.outbox.file)),
        lists=replace(config.lists, file=absolute(config.lists.file)),
        state_file=absolute(config.state_file),
    )
