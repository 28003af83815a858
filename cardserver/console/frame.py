"""What every page has around it: navigation, language, theme, keys, and who is signed on.

Not here: what is on a page (`pages/`).
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from urllib.parse import urlencode

import structlog
from nicegui import events, ui

from cardserver.console.access import Language, Page, may_open
from cardserver.console.desk import ConsoleDesk, Theme, Visitor, visitor
from cardserver.console.words import word
from ledger.store_errors import StoreError

log = structlog.get_logger("cardserver.console")

_SIGN_ON = "/sign-on"
_DARK = {Theme.AUTO: None, Theme.DARK: True, Theme.LIGHT: False}
# One key a page, in the order of the navigation.
_KEYS = dict(zip("1234567890-=", Page, strict=True))
_STYLE = """
:root { --nicegui-default-padding: .75rem; --link: #166534 }
.body--dark { --link: #4ade80 }
a { color: var(--link) }
header.q-header { background: #14532d; color: #fff }
.q-table th, .q-table td { font-size: 14px }
"""
CHART_TEXT = "#888"
"""Readable on light and on dark."""


@contextmanager
def frame(desk: ConsoleDesk, page: Page) -> Iterator[Visitor | None]:
    """Build a page's frame around its content.

    Yields:
        Who opened it, or None where they may not see it: then the content is left out.
    """
    who = visitor(desk)
    if who is None:  # between the request and the page being built
        ui.navigate.to(_SIGN_ON)
        yield None
        return
    ui.dark_mode(_DARK[who.theme])
    ui.add_css(_STYLE)
    ui.colors(primary="#15803d")
    ui.page_title(f"{word(f'page.{page.name}', who.language)} · {word('title', who.language)}")
    with ui.header().props("reveal=false").style("gap: .25rem; flex-wrap: wrap"):
        _navigation(page, who)
    with ui.column().style("width: 100%"):
        if may_open(page, who.role):
            yield who
        else:
            ui.label(word("not_yours", who.language)).props("role=alert")
            yield None
    ui.timer(5.0, lambda: _leave_when_ended(desk, who))


def _navigation(page: Page, who: Visitor) -> None:
    for key, other in _KEYS.items():
        if may_open(other, who.role):
            link = ui.link(word(f"page.{other.name}", who.language), other.value)
            link.style("color: inherit; padding: .25rem .5rem; text-decoration: none")
            link.props(f'title="{key}" data-page={other.name}')
            if other is page:
                link.style("font-weight: bold; border-bottom: 2px solid currentColor")
                link.props("aria-current=page")
    ui.space()
    ui.label(f"{who.session.operator.code} · {who.role}")
    query_text = ui.context.client.request.url.query
    next_page = f"{page.value}?{query_text}" if query_text else page.value
    other_language = Language.EN if who.language is Language.ZH else Language.ZH
    other_theme = Theme.LIGHT if who.theme is Theme.DARK else Theme.DARK
    for text, query, name in (
        (word("language", who.language), {"language": other_language.value}, "language"),
        (word("theme", who.language), {"theme": other_theme.value}, "theme"),
    ):
        link = ui.link(text, _preference(query, next_page))
        link.style("color: inherit").props(f"data-preference={name}")
    with ui.element("form").props('method=post action="/sign-off"').style("margin: 0"):
        ui.element("button").props("type=submit").style(
            "background: none; border: 0; color: inherit; font: inherit; cursor: pointer"
        ).add_slot("default", word("sign_off", who.language))
    _listen_to_keys(page, who, next_page)


def _listen_to_keys(page: Page, who: Visitor, next_page: str) -> None:
    help_dialog = ui.dialog()
    with help_dialog, ui.card():
        ui.label(word("keys", who.language)).style("font-weight: bold")
        for key, other in _KEYS.items():
            if may_open(other, who.role):
                ui.label(f"{key}  {word(f'page.{other.name}', who.language)}")
        for key, name in (("/", "search"), ("l", "language"), ("d", "theme"), ("?", "help")):
            ui.label(f"{key}  {word(f'keys.{name}', who.language)}")

    other_language = Language.EN if who.language is Language.ZH else Language.ZH
    other_theme = Theme.LIGHT if who.theme is Theme.DARK else Theme.DARK
    acts: dict[str, Callable[[], object]] = {
        key: partial(ui.navigate.to, other.value)
        for key, other in _KEYS.items()
        if other is not page and may_open(other, who.role)
    }
    acts |= {
        "/": lambda: ui.run_javascript("document.querySelector('input')?.focus()"),
        "?": help_dialog.open,
        "l": partial(_prefer, {"language": other_language.value}, next_page),
        "d": partial(_prefer, {"theme": other_theme.value}, next_page),
    }

    def on_key(event: events.KeyEventArguments) -> None:
        act = acts.get(event.key.name)
        if act is not None and event.action.keydown and not _is_chord(event):
            act()

    ui.keyboard(on_key, repeating=False)


def _prefer(query: dict[str, str], next_page: str) -> None:
    ui.navigate.to(_preference(query, next_page))


def _preference(query: dict[str, str], next_page: str) -> str:
    return f"/preference?{urlencode({**query, 'next': next_page})}"


def _is_chord(event: events.KeyEventArguments) -> bool:
    return bool(event.modifiers.ctrl or event.modifiers.alt or event.modifiers.meta)


async def _leave_when_ended(desk: ConsoleDesk, who: Visitor) -> None:
    try:
        goes_on = await desk.sessions.confirm(who.session)
    except StoreError:  # each page says so itself
        goes_on = desk.sessions.is_alive(who.session)
    if not goes_on:
        ui.navigate.to(_SIGN_ON)


def every(
    seconds: float, show: Callable[[], Awaitable[None]], language: Language
) -> Callable[[], Awaitable[None]]:
    """Show something now and again and again; a database that is away is said, and tried again.

    Returns:
        What shows it at any other moment, in the same way.
    """
    fault = ui.label().props("role=alert")
    fault.visible = False

    async def shown() -> None:
        try:
            await show()
        except StoreError as error:
            log.warning("store failed", error=str(error))
            fault.text = word("unavailable", language)
            fault.visible = True
        else:
            fault.visible = False

    ui.timer(seconds, shown)
    return shown


def asks_on_enter(field: ui.input, page: Page, parameter: str) -> None:
    """Open a page with what is typed: in the browser, as keys may be pressed before it is served.

    What was typed before the page's socket stood never reaches the field's value here.
    """
    address = f"{page}?{parameter}="
    field.on(
        "keydown.enter",
        js_handler=f"(e) => window.location.assign({address!r} +"
        " encodeURIComponent(e.target.value.trim()))",
    )


def milliseconds(microseconds: float) -> str:
    """Write a duration as people on duty read it."""
    return f"{microseconds / 1000:.{2 if microseconds < 100_000 else 0}f} ms"  # noqa: PLR2004
