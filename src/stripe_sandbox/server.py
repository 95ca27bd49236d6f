"""Running a sandbox: the ASGI application, a server inside an event loop, and one in a thread of its own."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from stripe_sandbox import agenda, api, bank_pages, checkout_pages, controls, invoice_pages, pages, portal_pages
from stripe_sandbox.delivery import RETRY_SECONDS, Deliverer
from stripe_sandbox.gate import ABORT, Gate
from stripe_sandbox.sandbox import Sandbox

HOST = "127.0.0.1"
TICK_SECONDS = 0.5


def create_app(sandbox: Sandbox, *, retry_seconds: Sequence[float] = RETRY_SECONDS) -> Starlette:
    """The ASGI application. Its lifespan delivers events, and lets happen what time brings.

    Connections can be made to break only where a `SandboxServer` runs it.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        deliverer = Deliverer(sandbox, retry_seconds)
        advanced = asyncio.Event()
        loop = asyncio.get_running_loop()
        sandbox.on_delivery = deliverer.wake
        sandbox.on_advance = lambda: _set(loop, advanced)
        tasks = [asyncio.create_task(deliverer.run()), asyncio.create_task(_tick(sandbox, advanced))]
        try:
            yield
        finally:
            sandbox.on_delivery = sandbox.on_advance = lambda: None
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task

    return Starlette(
        routes=[
            *api.routes(sandbox),
            *controls.routes(sandbox),
            *bank_pages.routes(sandbox),
            *checkout_pages.routes(sandbox),
            *invoice_pages.routes(sandbox),
            *portal_pages.routes(sandbox),
            *pages.routes(sandbox),
        ],
        middleware=[Middleware(Gate, sandbox=sandbox)],
        lifespan=lifespan,
    )


def _set(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set an event of that loop, from any thread."""
    loop.call_soon_threadsafe(event.set)


async def _tick(sandbox: Sandbox, advanced: asyncio.Event) -> None:
    """Let happen what is due, again and again, and at once when time is advanced."""
    while True:
        advanced.clear()
        agenda.run_due(sandbox)
        with suppress(TimeoutError):
            await asyncio.wait_for(advanced.wait(), TICK_SECONDS)


class _Server(uvicorn.Server):
    """A uvicorn that leaves signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, whose requests know how to break their connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        app = self.config.loaded_app

        async def breakable(scope: Scope, receive: Receive, send: Send) -> None:
            scope[ABORT] = lambda: self.transport.abort()
            await app(scope, receive, send)

        self.app = breakable


class SandboxServer:
    """A sandbox on 127.0.0.1, as an async context manager (or, with `in_thread`, a plain one).

    `port` 0 takes a free one. `url` is set once it runs.
    """

    def __init__(self, sandbox: Sandbox, *, port: int = 0, retry_seconds: Sequence[float] = RETRY_SECONDS) -> None:
        self.sandbox = sandbox
        self.url = ""
        self._port = port
        self._retry_seconds = retry_seconds

    async def __aenter__(self) -> Self:
        # asyncio sends at once only where the protocol is named; else each answer waits 40 ms for its second half.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((HOST, self._port))
        self.url = self.sandbox.url = f"http://{HOST}:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            create_app(self.sandbox, retry_seconds=self._retry_seconds),
            log_config=None,
            access_log=False,
            server_header=False,
            http=_Protocol,
            timeout_graceful_shutdown=2,
        )
        self._server = _Server(config)
        self._running = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started and not self._running.done():
            await asyncio.sleep(0.005)
        if self._running.done():
            await self._running
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = True
        await self._running
        self._socket.close()

    @contextmanager
    def in_thread(self) -> Iterator[Self]:
        """Run in a thread of its own, for programs without an event loop."""
        started, stop = threading.Event(), threading.Event()

        async def serve() -> None:
            async with self:
                started.set()
                await asyncio.to_thread(stop.wait)

        thread = threading.Thread(target=asyncio.run, args=(serve(),), name="stripe sandbox")
        thread.start()
        started.wait()
        try:
            yield self
        finally:
            stop.set()
            thread.join()
