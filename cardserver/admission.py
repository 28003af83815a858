"""Which terminal a connection is let in as, by its certificate and the registry.

Not here: the TLS handshake, which proves the certificate (`listener.py`).
"""

import asyncio
import secrets

import structlog

from cardserver.authority import TerminalCertificate
from cardserver.cards.challenges import Challenges
from cardserver.centre import Centre
from cardserver.listener import Admit
from cardserver.registry.registry_store import NOTE_CERTIFICATE_ENDS
from cardserver.registry.values import Institution, Terminal
from cardserver.session import Link, Serve, TerminalSession
from ledger.store_errors import StoreError
from protocol.terminal.codes import ResponseCode

log = structlog.get_logger("cardserver.admission")


def admission(centre: Centre, serve: Serve, tasks: asyncio.TaskGroup) -> Admit:
    """Return what makes a session of a connection, or says why not."""

    async def admit(link: Link, certificate: TerminalCertificate) -> TerminalSession | ResponseCode:
        try:
            known = await _known(centre, certificate)
        except StoreError as error:
            log.warning("store failed at admission", error=str(error))
            return ResponseCode.STORE_UNAVAILABLE
        if isinstance(known, ResponseCode):
            return known
        institution, terminal = known
        if not terminal.certificate_ends_ms:
            row = (certificate.ends_ms, terminal.terminal_no, certificate.sha256)
            centre.writer.append_later(NOTE_CERTIFICATE_ENDS, row)
        return TerminalSession(
            link,
            institution=institution,
            terminal=terminal,
            challenges=Challenges(
                centre.random_bytes,
                centre.clock.monotonic_ms,
                life_ms=centre.config.cards.challenge_life_ms,
            ),
            serve=serve,
            tasks=tasks,
        )

    return admit


async def _known(
    centre: Centre, certificate: TerminalCertificate
) -> tuple[Institution, Terminal] | ResponseCode:
    institution = await centre.registry.institution_by_code(certificate.institution)
    if institution is None:
        return ResponseCode.TERMINAL_UNKNOWN
    terminal = await centre.registry.terminal(institution.institution_no, certificate.terminal)
    if terminal is None:
        return ResponseCode.TERMINAL_UNKNOWN
    if not terminal.is_active:
        return ResponseCode.TERMINAL_DISABLED
    if not institution.is_active:
        return ResponseCode.INSTITUTION_SUSPENDED
    if not secrets.compare_digest(terminal.certificate_sha256, certificate.sha256):
        return ResponseCode.CERTIFICATE_REPLACED
    if centre.revocations.is_certificate_revoked(certificate.sha256):
        return ResponseCode.TERMINAL_DISABLED
    return institution, terminal
