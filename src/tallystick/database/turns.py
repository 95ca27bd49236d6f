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
        self._inside = 0
        self._holder = ""
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def take(self, queue: str, room: int = 1) -> AsyncIterator[None]:
        """Wait in `queue` for a turn, and have it for the block.

        A turn has `room` for so many of one queue, who have an order of their own among themselves. They come in
        while nobody waits in another queue.
        """
        await self._acquire(queue, room)
        try:
            yield
        finally:
            self._leave()

    async def _acquire(self, name: str, room: int) -> None:
        if not self._inside or (self._holder == name and self._inside < room and not self._waiting()):
            self._holder = name
            self._inside += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._queues.setdefault(name, deque())
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            else:
                with suppress(ValueError):
                    queue.remove(turn)
            raise

    def _waiting(self) -> bool:
        return any(not turn.done() for queue in self._queues.values() for turn in queue)

    def _leave(self) -> None:
        self._inside -= 1
        if self._inside:
            return
        for name in list(self._queues):
            queue = self._queues[name]
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    # To the end of the rotation.
                    self._queues[name] = self._queues.pop(name)
                    self._holder = name
                    self._inside = 1
                    turn.set_result(None)
                    return
