"""The console over HTTPS: TLS 1.3, sign-on, a session's cookie, and who may not go on without one.

Everything but the sign-on form wants a session, the pages' web sockets too. Not here: what pages
show (`pages/`), and who is who (`access.py`).
"""

import asyncio
import logging
import signal
import ssl
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import structlog
import uvicorn
from fastapi import FastAPI, Request, Response
from nicegui import ui
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse

from cardserver.config import Config, ConfigError
from cardserver.console.access import Language, Page, SignOnRefusal
from cardserver.console.desk import COOKIE, LANGUAGE_COOKIE, THEME_COOKIE, ConsoleDesk, Theme
from cardserver.console.sign_on_page import sign_on_page
from cardserver.console.site import register_pages
from ledger.store_errors import StoreError

log = structlog.get_logger("cardserver.console")

SIGN_ON = "/sign-on"
SIGN_OFF = "/sign-off"
PREFERENCE = "/preference"
_FORM_SIZE_MAX = 4_096
_YEAR_S = 365 * 24 * 3600
_HEADERS = (
    (b"strict-transport-security", b"max-age=31536000"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    # The page framework runs scripts that it writes into its pages; nothing comes from elsewhere.
    (
        b"content-security-policy",
        b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'",
    ),
)

# As ASGI has them: messages are dictionaries whose values are what each kind says.
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_Application = Callable[[_Message, _Receive, _Send], Awaitable[None]]


class OnlySignedOn:
    """Lets nobody past the form without a session."""

    def __init__(self, application: _Application, desk: ConsoleDesk) -> None:
        """Guard an application."""
        self._application = application
        self._desk = desk

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Serve, send to the form, or refuse."""
        if scope["type"] not in {"http", "websocket"}:
            await self._application(scope, receive, send)
            return

        async def with_headers(message: _Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        connection = HTTPConnection(scope)
        # Only what a person opens keeps a session alive, not what its open pages ask by themselves.
        # By the path that is routed by, not by an address that is put together from headers.
        is_page = scope["path"] in set(Page)
        if scope["path"] != SIGN_ON and not await self._is_signed_on(connection, is_use=is_page):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 4401})
            elif is_page:
                where = RedirectResponse(SIGN_ON, status_code=HTTPStatus.SEE_OTHER)
                await where(scope, receive, with_headers)
            else:
                refusal = PlainTextResponse("sign on first\n", status_code=HTTPStatus.UNAUTHORIZED)
                await refusal(scope, receive, with_headers)
            return
        await self._application(scope, receive, with_headers)

    async def _is_signed_on(self, connection: HTTPConnection, *, is_use: bool) -> bool:
        token = connection.cookies.get(COOKIE, "")
        sessions = self._desk.sessions
        if not is_use:
            return sessions.peek(token) is not None
        session = sessions.find(token)
        try:
            return session is not None and await sessions.confirm(session)
        except StoreError as error:  # what those on duty see without the database goes on
            log.warning("store failed", error=str(error))
            return True


async def serve_console(
    desk: ConsoleDesk, config: Config, *, on_ready: Callable[[int], None]
) -> None:
    """Serve the console until a signal.

    Raises:
        ConfigError: The address can't be bound, or a certificate can't be read.
    """
    application = _application(desk)
    section = config.console
    settings = uvicorn.Config(
        OnlySignedOn(application, desk),
        host=section.host,
        port=section.port,
        log_config=None,
        access_log=False,
        server_header=False,
        ssl_certfile=config.path(section.certificate_file or config.listener.certificate_file),
        ssl_keyfile=config.path(section.key_file or config.listener.key_file),
        ssl_ca_certs=str(config.path(section.browser_ca_file)) if section.browser_ca_file else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if section.browser_ca_file else ssl.CERT_NONE,
        timeout_graceful_shutdown=2,
    )
    try:
        settings.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the console's certificates can't be used: {error}") from error
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # not every web socket
    assert settings.ssl is not None, "a certificate was named"
    settings.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
    server = _Server(settings, on_ready)
    feed = asyncio.create_task(desk.feed.run())
    try:
        await server.serve()
    except SystemExit as error:  # as uvicorn says that an address is taken
        raise ConfigError(f"can't listen at {section.host}:{section.port}") from error
    finally:
        feed.cancel()
        await asyncio.gather(feed, return_exceptions=True)
        await desk.clearing_runs.stop()


class _Server(uvicorn.Server):
    """Tells its port once it listens."""

    def __init__(self, settings: uvicorn.Config, on_ready: Callable[[int], None]) -> None:
        super().__init__(settings)
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal, and end as told, not as if killed by it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def startup(self, sockets: list[Any] | None = None) -> None:  # as uvicorn declares it
        """Listen."""
        await super().startup(sockets)
        if self.started:
            self._on_ready(self.servers[0].sockets[0].getsockname()[1])


def _application(desk: ConsoleDesk) -> FastAPI:
    application = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    door = _Door(desk)
    application.add_api_route(SIGN_ON, door.form, methods=["GET"])
    application.add_api_route(SIGN_ON, door.sign_on, methods=["POST"])
    application.add_api_route(SIGN_OFF, door.sign_off, methods=["POST"])
    application.add_api_route(PREFERENCE, door.prefer, methods=["GET"])
    register_pages(desk)
    ui.run_with(
        application,
        title="cardserver",
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=10.0,
    )
    return application


class _Door:
    """Sign-on, sign-off, and what a browser remembers."""

    def __init__(self, desk: ConsoleDesk) -> None:
        self._desk = desk

    async def form(self, request: Request) -> Response:
        """Show the sign-on form."""
        return HTMLResponse(sign_on_page(self._desk, _language(request)))

    async def sign_on(self, request: Request) -> Response:
        """Begin a session, or say why not."""
        language = _language(request)
        fields = await _form(request)
        if fields is None:
            return PlainTextResponse("not a form\n", status_code=HTTPStatus.BAD_REQUEST)
        try:
            outcome = await self._desk.sessions.sign_on(
                fields.get("operator", ""), fields.get("password", ""), language
            )
        except StoreError as error:
            log.warning("store failed at sign-on", error=str(error))
            page = sign_on_page(self._desk, language, refusal="unavailable")
            return HTMLResponse(page, status_code=HTTPStatus.SERVICE_UNAVAILABLE)
        if isinstance(outcome, SignOnRefusal):
            # Not what was typed as number: it may be a password, typed too early.
            peer = "" if request.client is None else request.client.host
            log.warning("sign-on refused", reason=outcome.value, peer=peer)
            page = sign_on_page(self._desk, language, refusal=outcome.value)
            return HTMLResponse(page, status_code=HTTPStatus.FORBIDDEN)
        response = RedirectResponse(Page.LIVE, status_code=HTTPStatus.SEE_OTHER)
        response.set_cookie(COOKIE, outcome.token, secure=True, httponly=True, samesite="strict")
        return response

    async def sign_off(self, request: Request) -> Response:
        """End the session."""
        session = self._desk.sessions.peek(request.cookies.get(COOKIE, ""))
        if session is not None:
            await self._desk.sessions.sign_off(session)
        response = RedirectResponse(SIGN_ON, status_code=HTTPStatus.SEE_OTHER)
        response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="strict")
        return response

    async def prefer(self, request: Request) -> Response:
        """Remember a language or a theme in this browser, and go back."""
        after = urlsplit(request.query_params.get("next", "/"))
        path = after.path if after.path in set(Page) else Page.LIVE.value
        where = f"{path}?{after.query}" if after.query else path
        response = RedirectResponse(where, status_code=HTTPStatus.SEE_OTHER)
        for name, cookie, values in (
            ("language", LANGUAGE_COOKIE, set(Language)),
            ("theme", THEME_COOKIE, set(Theme)),
        ):
            value = request.query_params.get(name, "")
            if value in values:
                response.set_cookie(
                    cookie, value, max_age=_YEAR_S, secure=True, httponly=True, samesite="strict"
                )
        return response


def _language(request: Request) -> Language:
    chosen = request.query_params.get("language") or request.cookies.get(LANGUAGE_COOKIE, "")
    if chosen in set(Language):
        return Language(chosen)
    accepted = request.headers.get("accept-language", "zh")
    return Language.EN if accepted.lower().startswith("en") else Language.ZH


async def _form(request: Request) -> dict[str, str] | None:
    """Read a small form; None where it is none, or too large."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _FORM_SIZE_MAX:
            return None
    try:
        fields = parse_qs(body.decode(), max_num_fields=8)
    except ValueError:
        return None
    return {name: values[0] for name, values in fields.items()}
