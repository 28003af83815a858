"""The terminal's own certificate: when it ends, and what its cashier should know of that."""

import datetime as dt
from pathlib import Path
from typing import Final

from cryptography import x509

from terminals.config import ConfigError

ENDS_SOON: Final = dt.timedelta(days=30)
"""From when on the cashier is told, so that a new one is there in time."""


def certificate_ends(file: Path) -> dt.datetime:
    """Return when the terminal's certificate ends, in UTC.

    Raises:
        ConfigError: The file holds none.
    """
    try:
        return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: no certificate in PEM: {error}") from error


def words_of_end(ends: dt.datetime, now: dt.datetime) -> tuple[str, str] | None:
    """Say in Chinese and English what is to be done about a certificate's end; None: nothing."""
    day = f"{ends:%Y-%m-%d}"
    anew = "have the fund sign terminal.csr anew"
    if ends <= now:
        return (
            f"本终端证书已于 {day} 到期，中心不再接受：请将 terminal.csr 送交基金重新签发",
            f"this terminal's certificate ended on {day}, the centre takes it no more: {anew}",
        )
    if ends - now < ENDS_SOON:
        return (
            f"本终端证书将于 {day} 到期：请将 terminal.csr 送交基金续签",
            f"this terminal's certificate ends on {day}: {anew}",
        )
    return None
