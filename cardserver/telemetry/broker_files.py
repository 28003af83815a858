"""What Mosquitto needs to serve this fund: certificates, configuration, access list.

The access list names no terminal: a pattern binds each to the topic that holds its certificate's
subject, so that enrolling one changes nothing here. Not here: running it.
"""

import datetime as dt
import getpass
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cardserver import authority, key_files
from protocol.telemetry.messages import PAYLOAD_SIZE_MAX
from protocol.telemetry.topics import BASE, CENTRE_NAME, NEWS_FILTER, STATES_FILTER

DIRECTORY: Final = "broker"
CONFIG_FILE: Final = "mosquitto.conf"
ACCESS_FILE: Final = "access.acl"
BROKER_CERTIFICATE: Final = "broker.crt"
BROKER_KEY: Final = "broker.key"
CENTRE_CERTIFICATE: Final = "centre.crt"
CENTRE_KEY: Final = "centre.key"
_Make = Callable[[], tuple[bytes, bytes]]
_CONNECTIONS_MAX: Final = 20_000
_QUEUED_MAX: Final = 1_000  # of messages that one client is slow to take


@dataclass(frozen=True, slots=True)
class BrokerWish:
    """Where the broker listens, and how it is called.

    Attributes:
        directory: The centre's folder, where it will be in the end.
        address: To bind.
        port: To bind.
        names: Names and addresses by which terminals and centre call it.
    """

    directory: Path
    address: str
    port: int
    names: tuple[str, ...]


def write_broker_files(
    own: authority.Authority, into: Path, wish: BrokerWish, *, now: dt.datetime, renews: bool
) -> list[str]:
    """Write the broker's files into a folder; keys and certificates that are there stay.

    Args:
        own: Signs the certificates.
        into: The folder; made where it isn't there.
        wish: What the configuration says.
        now: When the certificates begin.
        renews: Whether keys and certificates are made anew.

    Returns:
        The names of the files written.

    Raises:
        AuthorityError: A name is none, or the authority has expired.
        OSError: A file can't be written.
    """
    into.mkdir(mode=0o700, exist_ok=True)
    pairs: tuple[tuple[str, str, _Make], ...] = (
        (BROKER_CERTIFICATE, BROKER_KEY, lambda: _broker_pair(own, wish, now)),
        (
            CENTRE_CERTIFICATE,
            CENTRE_KEY,
            lambda: authority.issue_client_certificate(own, name=CENTRE_NAME, now=now),
        ),
    )
    written: list[str] = []
    for certificate_file, key_file, make in pairs:
        if not renews and (into / certificate_file).exists() and (into / key_file).exists():
            continue
        certificate, key = make()
        for name, content, mode in (
            (certificate_file, certificate, key_files.PUBLIC_MODE),
            (key_file, key, key_files.SECRET_MODE),
        ):
            key_files.replace(into / name, content, mode=mode)
            written.append(name)
    for name, text in ((ACCESS_FILE, access_list()), (CONFIG_FILE, mosquitto_config(wish))):
        key_files.replace(into / name, text.encode(), mode=key_files.PUBLIC_MODE)
        written.append(name)
    return written


def access_list() -> str:
    """Say who may read and write what."""
    return f"""\
# Written by `cardserver broker config`. %u is the subject of the certificate shown, as RFC 4514
# writes it: a terminal says its own state and nobody else's, and hears the centre's news.
pattern write {BASE}/terminals/%u/state
pattern read {NEWS_FILTER}

user CN={CENTRE_NAME}
topic read {STATES_FILTER}
topic write {NEWS_FILTER}
"""


def mosquitto_config(wish: BrokerWish) -> str:
    """Say how Mosquitto is to run."""
    here = wish.directory / DIRECTORY
    return f"""\
# Written by `cardserver broker config`; run with: mosquitto -c {here / CONFIG_FILE}
# Nothing needs to outlive the broker: whoever connects says again what is true.
user {_user()}
persistence false
log_type error
log_type warning
log_type notice
connection_messages false
allow_anonymous false
acl_file {here / ACCESS_FILE}
max_packet_size {2 * PAYLOAD_SIZE_MAX}
max_queued_messages {_QUEUED_MAX}
max_keepalive 120

listener {wish.port} {wish.address}
max_connections {_CONNECTIONS_MAX}
cafile {wish.directory / "authority" / authority.AUTHORITY_CERTIFICATE}
certfile {here / BROKER_CERTIFICATE}
keyfile {here / BROKER_KEY}
tls_version tlsv1.3
require_certificate true
use_subject_as_username true
use_username_as_clientid true
"""


def _broker_pair(
    own: authority.Authority, wish: BrokerWish, now: dt.datetime
) -> tuple[bytes, bytes]:
    return authority.issue_server_certificate(own, hosts=wish.names, now=now)


def _user() -> str:
    """Name who owns the keys: the broker runs as that one, also where root starts it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
