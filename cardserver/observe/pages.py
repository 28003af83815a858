"""`/metrics`, `/recent`, `/healthz`, `/readyz`: for Prometheus, the console, restarters."""

import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web

from cardserver.observe.metrics import Metrics
from cardserver.observe.recent import Recent

_NUMBER_LENGTH_MAX = 18
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class ObservePages:
    """The small HTTP server of one worker."""

    def __init__(
        self,
        metrics: Metrics,
        recent: Recent,
        unready: Callable[[], str],
        *,
        host: str,
        port: int,
        listening: socket.socket | None = None,
    ) -> None:
        """Serve `metrics`; `unready` says in words why not to send work here, or nothing.

        With `listening`, which is bound to host and port already, another worker that has it too
        may take this one's place.
        """
        self._metrics = metrics
        self._recent = recent
        self._unready = unready
        self._host = host
        self._port = port
        self._listening = listening
        application = web.Application(client_max_size=1024)
        application.add_routes(
            [
                web.get("/metrics", self._show_metrics),
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

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": _TEXT})

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
