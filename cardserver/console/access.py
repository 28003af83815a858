"""Who may see and do what at the console: sign-on of the fund's operators, and their sessions.

A session lives in this process's memory, named by a random cookie; a restart ends all of them.
Passwords are the registry's, and wrong ones count towards the same lock as at a counter. Not here:
the pages (`pages/`) and the cookie's way over HTTP (`server.py`).
"""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from weakref import WeakValueDictionary

import structlog

from cardserver.config import Config
from cardserver.registry.administration_store import FUND
from cardserver.registry.history_store import audit
from cardserver.registry.passwords import PASSWORD_SIZE_MAX, verify_password
from cardserver.registry.registry_store import Registry
from cardserver.registry.roles import AT_THE_FUND, Role
from cardserver.registry.values import Actor, Operator
from ledger.bulk_store import Row
from ledger.calendar import Clock
from ledger.database_store import Database
from ledger.scripts import Script
from ledger.store_errors import CommitUnknownError, StoreUnavailableError

_TOKEN_SIZE = 32
_CODE_SIZE_MAX = 20
# Whoever reaches the form may guess: a hash takes 50 ms of one of two threads, so that nobody who
# is let in waits for much longer than two seconds.
_PROVING_MAX = 64

log = structlog.get_logger("cardserver.console")


@unique
class Language(StrEnum):
    """In which language a page is shown."""

    ZH = "zh"
    EN = "en"


@unique
class Page(StrEnum):
    """The console's pages, by their paths."""

    LIVE = "/"
    REFUSALS = "/refusals"
    REQUEST = "/request"
    TERMINALS = "/terminals"
    CENTRE = "/centre"
    REGISTRY = "/registry"
    REVIEW = "/review"
    RECONCILIATION = "/reconciliation"
    CLEARING = "/clearing"
    WORKLOAD = "/workload"
    REVOCATIONS = "/revocations"
    AUDIT = "/audit"


# Pages on which personal data is shown are for those whose work it is; all else is for everyone.
_ONLY_FOR: Mapping[Page, frozenset[Role]] = {
    Page.REGISTRY: frozenset({Role.REGISTRAR, Role.RESOLVER, Role.AUDIT}),
    Page.REVIEW: frozenset({Role.ACCEPTANCE, Role.CALCULATION, Role.AUDIT}),
    Page.AUDIT: frozenset({Role.AUDIT, Role.RESOLVER}),
}


def may_open(page: Page, role: str) -> bool:
    """Whether an operator of this role may open a page."""
    return page not in _ONLY_FOR or role in _ONLY_FOR[page]


@dataclass(slots=True)
class ConsoleSession:
    """One operator signed on.

    Attributes:
        ends_ms: When it ends at the latest (monotonic).
        used_ms: When something was done last (monotonic).
    """

    token: str = field(repr=False)
    operator: Operator
    ends_ms: int
    used_ms: int
    language: Language = Language.ZH


@unique
class SignOnRefusal(StrEnum):
    """Why nobody was signed on."""

    REFUSED = "refused"
    LOCKED = "locked"
    NOT_PERMITTED = "not_permitted"
    FULL = "full"
    BUSY = "busy"


class Sessions:
    """All operators signed on at this console."""

    def __init__(self, database: Database, config: Config, clock: Clock) -> None:
        """Begin without anyone."""
        self._database = database
        self._registry = Registry(database)
        self._config = config
        self._clock = clock
        self._sessions: dict[str, ConsoleSession] = {}
        self._proving: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._proving_count = 0

    async def sign_on(
        self, code: str, password: str, language: Language
    ) -> ConsoleSession | SignOnRefusal:
        """Prove an operator of the fund, and begin a session."""
        self._drop_ended()
        code = code.strip()
        if not code or len(code) > _CODE_SIZE_MAX or len(password) > PASSWORD_SIZE_MAX:
            return SignOnRefusal.REFUSED
        if len(self._sessions) >= self._config.console.sessions_max:
            return SignOnRefusal.FULL
        if self._proving_count >= _PROVING_MAX:
            return SignOnRefusal.BUSY
        self._proving_count += 1
        try:
            # One guess after another, so that those made at once all count.
            async with self._proving.setdefault(code, asyncio.Lock()):
                proven = await self._prove(code, password)
        finally:
            self._proving_count -= 1
        if isinstance(proven, SignOnRefusal):
            return proven
        now_ms = self._clock.monotonic_ms()
        session = ConsoleSession(
            token=secrets.token_urlsafe(_TOKEN_SIZE),
            operator=proven,
            ends_ms=now_ms + self._config.console.session_life_ms,
            used_ms=now_ms,
            language=language,
        )
        self._sessions[session.token] = session
        await self.note(session, "console_sign_on", code)
        return session

    async def _prove(self, code: str, password: str) -> Operator | SignOnRefusal:
        operator = await self._registry.operator(FUND, code)
        is_proven = await verify_password(
            "" if operator is None else operator.password_hash, password
        )
        if operator is None:
            return SignOnRefusal.REFUSED
        if not operator.is_active:
            return SignOnRefusal.LOCKED
        if not is_proven:
            is_locked = await self._registry.record_failure(
                operator.operator_no, failures_max=self._config.sign_on.failures_max
            )
            return SignOnRefusal.LOCKED if is_locked else SignOnRefusal.REFUSED
        await self._registry.forgive(operator.operator_no)
        return operator if operator.role in AT_THE_FUND else SignOnRefusal.NOT_PERMITTED

    def find(self, token: str) -> ConsoleSession | None:
        """Return a session that still lives; whoever asks uses it."""
        session = self._sessions.get(token)
        if session is None or not self.is_alive(session):
            return None
        session.used_ms = self._clock.monotonic_ms()
        return session

    def peek(self, token: str) -> ConsoleSession | None:
        """Return a session that still lives, without counting this as use of it."""
        session = self._sessions.get(token)
        return session if session is not None and self.is_alive(session) else None

    def is_alive(self, session: ConsoleSession) -> bool:
        """Whether a session has neither ended nor lain idle too long."""
        now_ms = self._clock.monotonic_ms()
        idle_ms = now_ms - session.used_ms
        return (
            session.token in self._sessions
            and now_ms < session.ends_ms
            and idle_ms < self._config.console.idle_time_max_ms
        )

    async def confirm(self, session: ConsoleSession) -> bool:
        """Say whether they may go on; who was locked, or is otherwise than then, is signed off.

        Raises:
            StoreError: The database doesn't say who they are now.
        """
        operator = await self._registry.operator(FUND, session.operator.code)
        if operator != session.operator and self._sessions.pop(session.token, None) is not None:
            log.warning("session ended: the operator was changed", operator=session.operator.code)
        return self.is_alive(session)

    async def sign_off(self, session: ConsoleSession) -> None:
        """End a session."""
        if self._sessions.pop(session.token, None) is not None:
            await self.note(session, "console_sign_off", session.operator.code)

    def _drop_ended(self) -> None:
        ended = [token for token, one in self._sessions.items() if not self.is_alive(one)]
        for token in ended:
            del self._sessions[token]

    def actor(self, session: ConsoleSession) -> Actor:
        """Say who acts, for histories."""
        return Actor(
            session.operator.code, self._clock.now_ms(), operator_no=session.operator.operator_no
        )

    async def note(
        self, session: ConsoleSession, action: str, subject: str, detail: str = ""
    ) -> None:
        """Leave an audit row of what someone did or looked at.

        Raises:
            StoreError: It was not left, or not known to be: then nothing is shown or done.
        """
        query = audit(self.actor(session), action, subject, detail)

        def script() -> Script[list[Row]]:
            return (yield query)

        try:
            await self._database.transact(script)
        except CommitUnknownError as error:
            raise StoreUnavailableError(str(error)) from error
