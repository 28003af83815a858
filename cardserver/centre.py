"""The parts of the centre that a request may use, and one request on its way through them.

Not here: who fills the parts; that is `app.py` alone.
"""

import asyncio
import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import msgspec

from cardserver.cards.attached_reader import AttachedReader
from cardserver.cards.keystore import KeyStore
from cardserver.cards.revocations import Revocations
from cardserver.cards.session_token import CardSessions
from cardserver.cards.trust_anchors import TrustAnchors
from cardserver.claims.settled_store import Archive
from cardserver.claims.values import ClaimsWriter, Rules
from cardserver.config import Config
from cardserver.observe.metrics import Metrics
from cardserver.observe.recent import Recent
from cardserver.observe.spans import SpanExporter
from cardserver.observe.stages import StageClock
from cardserver.registry.registry_store import Registry
from cardserver.registry.values import Operator
from cardserver.session import TerminalSession
from cardserver.telemetry.service import TelemetryService
from ledger.calendar import Clock, business_date, date_of
from ledger.database_store import Database
from protocol.terminal.codes import ResponseCode
from protocol.terminal.messages import MessageType, Request


@dataclass(slots=True)
class Centre:
    """One worker's parts."""

    config: Config
    clock: Clock
    random_bytes: Callable[[int], bytes]
    database: Database
    registry: Registry
    writer: ClaimsWriter
    keys: KeyStore
    card_sessions: CardSessions
    rules: Rules
    archive: Archive
    metrics: Metrics
    attached_readers: Mapping[str, AttachedReader]
    revocations: Revocations
    anchors: TrustAnchors = field(default_factory=TrustAnchors)
    recent: Recent = field(default_factory=Recent)
    spans: SpanExporter | None = None
    telemetry: TelemetryService | None = None
    is_draining: bool = False
    is_database_up: bool = True  # when last asked, every few seconds
    _proving: WeakValueDictionary[int, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def proving(self, number: int) -> asyncio.Lock:
        """Whoever holds this may check a password of the operator, or, negative, at the terminal.

        One at a time.
        """
        return self._proving.setdefault(number, asyncio.Lock())

    def today(self) -> dt.date:
        """The fund's local day."""
        return date_of(day_at(self.config, self.clock.now_ms()))


@dataclass(slots=True)
class Exchange:
    """One request at the centre: who asked, what, and how long they will wait."""

    centre: Centre
    session: TerminalSession
    request: Request
    type: MessageType
    clock: StageClock
    deadline_ms: int  # on Centre.clock.monotonic_ms
    operator: Operator | None = None

    def time_left_ms(self) -> int:
        """How long the terminal will still wait."""
        return self.deadline_ms - self.centre.clock.monotonic_ms()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler decided.

    Attributes:
        body: The reply body as a struct, as stored bytes, or nothing.
        business_date: The fund's day as YYYYMMDD; 0 for today.
    """

    code: ResponseCode
    body: msgspec.Struct | bytes | None = None
    detail_zh: str = ""
    detail_en: str = ""
    is_duplicate: bool = False
    business_date: int = 0


def day_at(config: Config, time_ms: int) -> int:
    """The fund's local day at a moment, as YYYYMMDD."""
    return business_date(time_ms, config.timezone)
