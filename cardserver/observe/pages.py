"""`/metrics`, `/recent`, `/healthz`, `/readyz`: for Prometheus, the console, restarters."""

import socket
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from aiohttp import web

from cardserver.observe.recent import Recent
from cardserver.observe.runbooks import read_runbook

_NUMBER_LENGTH_MAX = 18
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS_ACCEPTED = "application/openmetrics-text"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class MetricsText(Protocol):
    """Metrics that can be shown."""

    def text(self, *, is_openmetrics: bool = False) -> bytes:
        """Give them in Prometheus' text format, or in OpenMetrics with exemplars."""


class ObservePages:
    """The small HTTP server of one worker."""

    def __init__(
        self,
        metrics: MetricsText,
        own_metrics: MetricsText,
        recent: Recent,
        unready: Callable[[], str],
        *,
        host: str,
        port: int,
        listening: socket.socket | None = None,
    ) -> None:
        """Serve `metrics`; `unready` says in words why not to send work here, or nothing.

        `metrics` are the whole centre's, `own_metrics` this worker's alone.

        With `listening`, which is bound to host and port already, another worker that has it too
        may take this one's place.
        """
        self._metrics = metrics
        self._own_metrics = own_metrics
        self._recent = recent
        self._unready = unready
        self._host = host
        self._port = port
        self._listening = listening
        application = web.Application(client_max_size=1024)
        application.add_routes(
            [
                web.get("/metrics", self._show_metrics),
                web.get("/metrics/worker", self._show_own_metrics),
                web.get("/runbooks/{name}", self._show_runbook),
                web.get("/recent", self._show_recent),
                web.get("/healthz", self._show_health),
                web.get("/readyz", self._show_readiness),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None)

    @property
    def port(self) -> int:
        """The port bound."""
        return int(self._runner.addresses[0][1])

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site: web.BaseSite
        if self._listening is None:
            site = web.TCPSite(self._runner, self._host, self._port)
        else:
            site = web.SockSite(self._runner, self._listening)
        await site.start()
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    async def _show_metrics(self, request: web.Request) -> web.Response:
        return _shown(request, self._metrics)

    async def _show_own_metrics(self, request: web.Request) -> web.Response:
        return _shown(request, self._own_metrics)

    async def _show_runbook(self, request: web.Request) -> web.Response:
        """What to do about an alert, as Markdown."""
        try:
            text = read_runbook(request.match_info["name"])
        except KeyError as error:
            raise web.HTTPNotFound from error
        return web.Response(text=text, content_type="text/markdown")

    async def _show_recent(self, request: web.Request) -> web.Response:
        """Requests answered from a number on, as `recent.RecentPage`."""
        start = request.query.get("from", "0")
        if not (start.isascii() and start.isdecimal() and len(start) <= _NUMBER_LENGTH_MAX):
            return web.Response(text="`from` is a number of requests\n", status=400)
        page = self._recent.page(int(start), request.query.get("life", ""))
        return web.Response(body=page, content_type="application/msgpack")

    async def _show_health(self, _request: web.Request) -> web.Response:
        """Alive: the loop turns."""
        return web.Response(text="ok\n")

    async def _show_readiness(self, _request: web.Request) -> web.Response:
        reason = self._unready()
        return web.Response(text=f"{reason or 'ready'}\n", status=503 if reason else 200)


def _shown(request: web.Request, metrics: MetricsText) -> web.Response:
    is_openmetrics = _OPENMETRICS_ACCEPTED in request.headers.get("Accept", "")
    return web.Response(
        body=metrics.text(is_openmetrics=is_openmetrics),
        headers={"Content-Type": _OPENMETRICS if is_openmetrics else _TEXT},
    )
