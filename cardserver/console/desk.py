"""The console's parts, and what a page knows of whoever opened it."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum, unique

from nicegui import ui

from cardserver.config import Config
from cardserver.console.access import ConsoleSession, Language, Sessions
from cardserver.console.clearing_runs import ClearingRuns
from cardserver.console.feed import Feed
from cardserver.console.window import Window
from cardserver.registry.registry_store import Registry
from ledger.calendar import Clock
from ledger.database_store import Database

COOKIE = "__Host-console"
LANGUAGE_COOKIE = "__Host-language"
THEME_COOKIE = "__Host-theme"


@unique
class Theme(StrEnum):
    """Light on dark, or dark on light."""

    AUTO = "auto"
    DARK = "dark"
    LIGHT = "light"


@dataclass(frozen=True, slots=True)
class ConsoleDesk:
    """What pages are made from."""

    config: Config
    database: Database
    registry: Registry
    sessions: Sessions
    feed: Feed
    window: Window
    clearing_runs: ClearingRuns
    clock: Clock
    timezone: dt.tzinfo


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever opened a page."""

    session: ConsoleSession
    language: Language
    theme: Theme

    @property
    def role(self) -> str:
        """What they may do."""
        return self.session.operator.role


def visitor(desk: ConsoleDesk) -> Visitor | None:
    """Return who opened the page that is being built; None once their session has ended."""
    request = ui.context.client.request
    session = desk.sessions.peek(request.cookies.get(COOKIE, ""))
    if session is None:
        return None
    language = request.cookies.get(LANGUAGE_COOKIE, session.language)
    theme = request.cookies.get(THEME_COOKIE, Theme.AUTO)
    return Visitor(
        session,
        Language(language) if language in set(Language) else session.language,
        Theme(theme) if theme in set(Theme) else Theme.AUTO,
    )
