"""Files: certificates with their chains and ends, keys and who may read them."""

import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from cardserver.authority import ENDS_SOON
from cardserver.config import Config
from cardserver.doctor.findings import Finding, fault, fine, warning
from cardserver.key_files import KeyFileError, read_secret

SESSION_SECRET_SIZE_MIN = 32


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key, and who signed it.

    Attributes:
        check: What findings about it are called.
        authority: Certificates of whom it must come; empty: nobody here asks.
    """

    check: str
    certificate: str
    key: str
    authority: str = ""


def check_files(config: Config, now: dt.datetime) -> list[Finding]:
    """Look at every certificate and every secret that the configuration names."""
    found: list[Finding] = []
    for pair in _pairs(config):
        found += _check_pair(config, pair, now)
    found += _check_authority(config, "terminal-ca", config.listener.terminal_ca_file, now)
    for name, check in _secrets(config):
        found += _check_secret(config.path(name), check)
    return found


def _pairs(config: Config) -> Iterator[Pair]:
    listener, console, mqtt = config.listener, config.console, config.mqtt
    # The fund's authority signs servers and terminals alike (`cardserver init`).
    yield Pair(
        "certificate", listener.certificate_file, listener.key_file, listener.terminal_ca_file
    )
    if console.certificate_file:
        key = console.key_file or listener.key_file
        yield Pair("console-certificate", console.certificate_file, key)
    if mqtt.host:
        yield Pair("broker-certificate", mqtt.certificate_file, mqtt.key_file, mqtt.ca_file)


def _secrets(config: Config) -> Iterator[tuple[str, str]]:
    yield config.cards.session_secret_file, "session-secret"
    for name, check in (
        (config.cards.keys_passphrase_file, "keys-passphrase"),
        (config.database.password_file, "database-password"),
        (config.digest.key_file, "digest-key"),
        ("" if config.cards.token is None else config.cards.token.pin_file, "token-pin"),
    ):
        if name:
            yield name, check


def _check_pair(config: Config, pair: Pair, now: dt.datetime) -> list[Finding]:
    certificate_file, key_file = config.path(pair.certificate), config.path(pair.key)
    found = _check_secret(key_file, f"{pair.check}-key")
    chain = _read_chain(certificate_file, pair.check)
    if isinstance(chain, Finding):
        return [*found, chain]
    found.append(_check_dates(chain[0], certificate_file, pair.check, now))
    if not any(one.level for one in found[:1]):
        found += _check_match(chain[0], key_file, pair.check)
    if pair.authority:
        found += _check_chain(chain, config.path(pair.authority), certificate_file, pair.check)
    return found


def _check_authority(config: Config, check: str, name: str, now: dt.datetime) -> list[Finding]:
    file = config.path(name)
    chain = _read_chain(file, check)
    if isinstance(chain, Finding):
        return [chain]
    return [_check_dates(one, file, check, now) for one in chain]


def _read_chain(file: Path, check: str) -> list[x509.Certificate] | Finding:
    advice = ("恢复该文件，或重新签发", "restore the file, or have it issued again")
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        why = error.strerror or str(error)
        return fault(check, (f"{file} 不可读：{why}", f"{file} can't be read: {why}"), advice)
    except ValueError:
        return fault(check, (f"{file} 不是证书", f"{file} holds no certificate"), advice)


def _check_dates(
    certificate: x509.Certificate, file: Path, check: str, now: dt.datetime
) -> Finding:
    ends = certificate.not_valid_after_utc
    if ends < now:
        return fault(
            check,
            (f"{file} 已于 {ends:%Y-%m-%d} 过期", f"{file} expired on {ends:%Y-%m-%d}"),
            (
                "立即续签（监听证书：cardserver certificate renew）并重启",
                "renew it (the listener's: cardserver certificate renew), and restart the centre",
            ),
        )
    if certificate.not_valid_before_utc > now:
        begins = certificate.not_valid_before_utc
        return fault(
            check,
            (f"{file} 自 {begins:%Y-%m-%d} 起才有效", f"{file} is not valid before {begins:%F}"),
            ("检查系统时钟或更换证书", "check this machine's clock, or replace it"),
        )
    if ends - now < ENDS_SOON:
        return warning(
            check,
            (f"{file} 将于 {ends:%Y-%m-%d} 过期", f"{file} expires on {ends:%Y-%m-%d}"),
            (
                "尽快续签（监听证书：cardserver certificate renew）",
                "renew it in time (the listener's: cardserver certificate renew)",
            ),
        )
    return fine(check, (f"有效期至 {ends:%Y-%m-%d}", f"valid until {ends:%Y-%m-%d}"))


def _check_match(certificate: x509.Certificate, key_file: Path, check: str) -> list[Finding]:
    try:
        key = serialization.load_pem_private_key(read_secret(key_file), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, KeyFileError):
        return [
            fault(
                f"{check}-key",
                (f"{key_file} 不是私钥", f"{key_file} holds no private key"),
                ("恢复该文件或重新签发证书", "restore the file, or have a certificate issued"),
            )
        ]
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    der = serialization.Encoding.DER
    if key.public_key().public_bytes(der, spki) == certificate.public_key().public_bytes(der, spki):
        return []
    return [
        fault(
            check,
            (f"证书与私钥 {key_file} 不匹配", f"the certificate is not that of {key_file}"),
            ("放回成对的证书与私钥", "put back certificate and key that belong together"),
        )
    ]


def _check_chain(
    chain: list[x509.Certificate], authority_file: Path, file: Path, check: str
) -> list[Finding]:
    authorities = _read_chain(authority_file, check)
    if isinstance(authorities, Finding):
        return [authorities]
    last = chain[-1]
    for below, above in itertools.pairwise(chain):
        if not _is_issued_by(below, above):
            last = below
            break
    if any(last == one or _is_issued_by(last, one) for one in authorities):
        return []
    return [
        warning(
            check,
            (f"{file} 并非由 {authority_file} 签发", f"{file} was not signed by {authority_file}"),
            (
                "确认终端信任其签发者，或重新签发",
                "make sure that the other side trusts who signed it, or have it issued again",
            ),
        )
    ]


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _check_secret(file: Path, check: str) -> list[Finding]:
    try:
        data = read_secret(file)
    except KeyFileError as error:
        return [
            fault(
                check,
                (f"{file} 不可用或他人可读", str(error)),
                (f"chmod 600 {file}，或恢复该文件", f"chmod 600 {file}, or restore the file"),
            )
        ]
    if check == "session-secret" and len(data) < SESSION_SECRET_SIZE_MIN:
        return [
            fault(
                check,
                (f"{file} 过短", f"{file} is shorter than {SESSION_SECRET_SIZE_MIN} bytes"),
                ("恢复该文件；换新则已开卡会话失效", "restore it; a new one ends card sessions"),
            )
        ]
    return [fine(check, ("仅属主可读", "readable by its owner only"))]
