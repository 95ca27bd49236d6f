"""Natural batching: callers that arrive while a transaction is under way share the next one.

No timer and no added latency: an idle lane starts at once, a busy one takes everybody who waited.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from zlib import crc32

from tallystick.domain.commands import Command
from tallystick.domain.errors import LedgerUnavailable, Overloaded, Unavailable
from tallystick.ledger.batch import Answer, Outcome

MAX_BATCH = 250
"""The most commands in one transaction: enough to pay for a commit, few enough that one is written while the next
one is decided, however many wait."""

MAX_WAITING = 10_000
"""How many commands may wait in one lane before further ones are refused with `overloaded`."""

MAX_WAIT_SECONDS = 10.0
"""How long a command waits for its turn at most; then it is refused with `overloaded`, not taken late."""

Commit = Callable[[Sequence[Command]], Awaitable[list[Outcome]]]


class Lane:
    """A queue of commands with one transaction under way at a time."""

    def __init__(
        self,
        commit: Commit,
        *,
        max_batch: int = MAX_BATCH,
        max_waiting: int = MAX_WAITING,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
    ) -> None:
        self._commit = commit
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._max_wait = max_wait_seconds
        self._waiting: deque[tuple[Command, asyncio.Future[Answer], float]] = deque()
        self._working: asyncio.Task[None] | None = None
        self._closed = False

    def submit(self, command: Command) -> asyncio.Future[Answer]:
        """Take `command` in. What comes back raises the Refusal, or Unavailable when it was not taken."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        if self._closed:
            answer.set_exception(LedgerUnavailable("The ledger is closed. Nothing was changed."))
        elif len(self._waiting) >= self._max_waiting:
            answer.set_exception(
                Overloaded(
                    f"{len(self._waiting):,} commands are waiting already, so this one was not taken. "
                    "Nothing was changed. Try again with the same idempotency key."
                )
            )
        else:
            self._waiting.append((command, answer, loop.time()))
            if self._working is None or self._working.done():
                self._working = loop.create_task(self._work(), name="ledger lane")
        return answer

    async def close(self) -> None:
        """Take no more commands, and wait for those that were taken."""
        self._closed = True
        if self._working is not None:
            await self._working

    async def _work(self) -> None:
        while self._waiting:
            batch = self._take()
            if not batch:
                continue
            try:
                outcomes = await self._outcomes([command for command, _ in batch])
            except Exception as error:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for (_, answer), outcome in zip(batch, outcomes, strict=True):
                if answer.done():
                    continue
                if isinstance(outcome, Exception):
                    answer.set_exception(outcome)
                else:
                    answer.set_result(outcome)
            # Who was answered and asks again at once is in the next batch.
            await asyncio.sleep(0)

    async def _outcomes(self, commands: Sequence[Command]) -> list[Outcome]:
        """What becomes of `commands`. One at which something fails does not take the others of its batch with it.

        Which one it is is found by halves. What was written in spite of a failure is a replay then (S7).
        """
        try:
            return await self._commit(commands)
        except Unavailable:
            raise
        except Exception as failure:
            if len(commands) == 1:
                return [failure]
        half = len(commands) // 2
        return [*await self._outcomes(commands[:half]), *await self._outcomes(commands[half:])]

    def _take(self) -> list[tuple[Command, asyncio.Future[Answer]]]:
        """The next batch, without those whose caller has gone away, or who have waited for too long."""
        batch: list[tuple[Command, asyncio.Future[Answer]]] = []
        since = asyncio.get_running_loop().time() - self._max_wait
        while self._waiting and len(batch) < self._max_batch:
            command, answer, asked = self._waiting.popleft()
            if answer.done():
                continue
            if asked < since:
                answer.set_exception(
                    Overloaded(
                        f"This waited for {self._max_wait:g} seconds without getting its turn, so it was not taken. "
                        "Nothing was changed. Try again with the same idempotency key."
                    )
                )
                continue
            batch.append((command, answer))
        return batch


Spread = Callable[[str], int]
"""Gives an account a number: those of one number, counted round the lanes, share a lane."""


def by_hash(account_id: str) -> int:
    """Spread accounts evenly, the same in every process."""
    return crc32(account_id.encode())


class Lanes:
    """Accounts spread over a few lanes, so that one slow batch does not hold up all."""

    def __init__(self, lanes: Sequence[Lane], spread: Spread = by_hash) -> None:
        self._lanes = tuple(lanes)
        self._spread = spread

    def submit(self, command: Command) -> asyncio.Future[Answer]:
        """Put `command` into its account's lane; see Lane.submit."""
        return self._lanes[self._spread(command.account_id) % len(self._lanes)].submit(command)

    async def close(self) -> None:
        """Close every lane."""
        await asyncio.gather(*(lane.close() for lane in self._lanes))
