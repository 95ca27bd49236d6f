"""Natural batching for billing's own tables: what arrives while a transaction is under way goes into the next one.

Knows nothing of events or of databases. The ledger has lanes of its own, for commands that can be refused.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from tallystick.domain.errors import Overloaded

MOST_AT_ONCE = 200
MOST_WAITING = 5_000

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Together(Generic[Asked, Answer]):
    """A queue in front of `do`, which does many things in one transaction and answers each in order."""

    def __init__(self, do: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer]]]) -> None:
        self._do = do
        self._waiting: deque[tuple[Asked, asyncio.Future[Answer]]] = deque()
        self._working: asyncio.Task[None] | None = None

    async def submit(self, asked: Asked) -> Answer:
        """Wait until `asked` is done. Raises what `do` raises, and Overloaded when too many wait already."""
        if len(self._waiting) >= MOST_WAITING:
            raise Overloaded("Too much is waiting to be written already. Nothing was changed. Try again in a moment.")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work(), name="billing writes")
        return await answer

    async def close(self) -> None:
        """Wait for what was asked."""
        if self._working is not None:
            await self._working

    async def _work(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_AT_ONCE))]
            try:
                answers = await self._do([asked for asked, _ in batch])
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
