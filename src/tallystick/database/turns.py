"""Who writes next, for a database that has one writer at a time.

SQLite lets a writer that has to wait sleep and guess. Those of one process know of each other: they wait here
instead, and the next one goes on at once. Knows nothing of databases.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Turns:
    """A lock with several queues, which get their turns in rotation.

    However many wait in one queue, another one waits for one turn of each. Belongs to one event loop.
    """

    def __init__(self) -> None:
        self._taken = False
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def take(self, queue: str) -> AsyncIterator[None]:
        """Wait in `queue` for a turn, and have it for the block."""
        await self._acquire(queue)
        try:
            yield
        finally:
            self._pass_on()

    async def _acquire(self, name: str) -> None:
        if not self._taken:
            self._taken = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._queues.setdefault(name, deque())
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            else:
                with suppress(ValueError):
                    queue.remove(turn)
            raise

    def _pass_on(self) -> None:
        for name in list(self._queues):
            queue = self._queues[name]
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    # To the end of the rotation.
                    self._queues[name] = self._queues.pop(name)
                    turn.set_result(None)
                    return
        self._taken = False
