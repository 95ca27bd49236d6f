"""A server for an ASGI application in the running event loop, and ports of 127.0.0.1 for servers."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def bound(port: int = 0) -> Iterator[socket.socket]:
    """A socket that has `port`, or a free one, and does not listen.

    Nobody else is given that port meanwhile, and a server that asks for it by name can listen there: a port that was
    free a moment ago may be another test's by the time that a process has started.
    """
    # asyncio sends at once only where the protocol is named.
    with socket.socket(proto=socket.IPPROTO_TCP) as it:
        it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        it.bind(("127.0.0.1", port))
        yield it


@asynccontextmanager
async def serving(app: Any, port: int = 0) -> AsyncIterator[str]:
    with bound(port) as listening:
        server = _Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1))
        running = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started and not running.done():
            await asyncio.sleep(0.005)
        try:
            if running.done():
                await running
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running
