"""Natural batching: callers that arrive while a transaction is under way share the next one.

No timer and no added latency: an idle lane starts at once, a busy one takes everybody who waited. Several lanes are
taken together, one batch at a time, while that is better for the database.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import takewhile
from typing import Protocol

from tallystick.domain.commands import Command
from tallystick.domain.errors import LedgerUnavailable, Overloaded, Unavailable
from tallystick.ledger.batch import Answer, Outcome
from tallystick.ledger.places import Places, Spread

MAX_BATCH = 250
"""The most commands in one transaction: enough to pay for a commit, few enough that one is written while the next
one is decided, however many wait."""

MAX_WAITING = 10_000
"""How many commands may wait in one lane before further ones are refused with `overloaded`."""

MAX_WAIT_SECONDS = 10.0
"""How long a command waits for its turn at most; then it is refused with `overloaded`, not taken late."""

PUT_OFF_AT_MOST = 3
"""How many times a command goes to the next batch because another process is at work with its account. Then that is
waited for."""


class Commit(Protocol):
    """Decides and writes a batch; see `Store.commit`."""

    def __call__(self, commands: Sequence[Command], *, wait: bool) -> Awaitable[Sequence[Outcome | None]]:
        """An outcome for each, None for one that has to come again. There is none of those with `wait`."""


_Waiting = tuple[Command, asyncio.Future[Answer], float, int]
"""A command that was taken, what its caller waits for, since when, by the event loop's clock, and how many times it
was put off."""


def never() -> bool:
    """Lanes are taken each by itself, always."""
    return False


class Lanes:
    """Queues of commands, each with one batch under way at a time, so that a slow one does not hold up all, or all
    with one together.

    All commands of an account that wait or are under way are in one lane, so no two batches under way are about the same
    account.
    """

    def __init__(
        self,
        commit: Commit,
        count: int = 1,
        spread: Spread | None = None,
        in_one: Callable[[], bool] = never,
        *,
        max_batch: int = MAX_BATCH,
        max_waiting: int = MAX_WAITING,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
    ) -> None:
        """Accounts go where there is least to do, or where a `spread` says.

        `in_one` says whether, just now, one batch of all lanes at a time is better than one of each.
        """
        self._commit = commit
        self._places = Places(count, spread)
        self._in_one = in_one if count > 1 else never
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._max_wait = max_wait_seconds
        self._waiting: tuple[deque[_Waiting], ...] = tuple(deque() for _ in range(count))
        self._all = range(count)
        # The lanes of which a batch is under way, and the tasks that each see to one.
        self._busy: set[int] = set()
        self._working: set[asyncio.Task[None]] = set()
        self._closed = False

    def submit(self, command: Command) -> asyncio.Future[Answer]:
        """Take `command` in. What comes back raises the Refusal, or Unavailable when it was not taken."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        lane = self._places.lane_of(command.account_id)
        waiting = self._waiting[lane]
        if self._closed:
            answer.set_exception(LedgerUnavailable("The ledger is closed. Nothing was changed."))
        elif len(waiting) >= self._max_waiting:
            answer.set_exception(
                Overloaded(
                    f"{len(waiting):,} commands are waiting already, so this one was not taken. "
                    "Nothing was changed. Try again with the same idempotency key."
                )
            )
        else:
            self._places.take(command.account_id, lane)
            waiting.append((command, answer, loop.time(), 0))
            if lane not in self._busy:
                self._begin()
        return answer

    async def close(self) -> None:
        """Take no more commands, and wait for those that were taken."""
        self._closed = True
        while self._working:
            await asyncio.wait(self._working)

    def _begin(self) -> None:
        """Begin every batch that can be: of each lane that is not busy, or of all when none is."""
        if self._in_one():
            together = [] if self._busy else [self._all]
        else:
            together = [range(n, n + 1) for n in self._all if n not in self._busy]
        for lanes in together:
            # One that was begun a moment ago may have begun others already.
            if any(self._waiting[n] for n in lanes) and self._busy.isdisjoint(lanes):
                self._busy.update(lanes)
                working = asyncio.get_running_loop().create_task(self._work(lanes), name="ledger lanes")
                self._working.add(working)
                working.add_done_callback(self._working.discard)

    async def _work(self, lanes: range) -> None:
        """One batch of these lanes. What waits then is taken as is best by then."""
        try:
            batch, wait = self._take(lanes)
            if batch:
                await self._carry_out(batch, wait)
                # Who was answered and asks again at once is in the next batch.
                await asyncio.sleep(0)
        finally:
            self._busy.difference_update(lanes)
        self._begin()

    async def _carry_out(self, batch: Sequence[_Waiting], wait: bool) -> None:
        try:
            outcomes = await self._outcomes([command for command, _, _, _ in batch], wait)
        except Exception as error:
            outcomes = [error] * len(batch)
        again: list[_Waiting] = []
        for waiting, outcome in zip(batch, outcomes, strict=True):
            command, answer, _, _ = waiting
            if outcome is None and not answer.done():
                again.append(waiting)
                continue
            self._places.leave(command.account_id)
            if answer.done() or outcome is None:
                continue
            if isinstance(outcome, Exception):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)
        # Before all others of their accounts, and in the order in which they came.
        for command, answer, asked, put_off in reversed(again):
            self._waiting[self._places.lane_of(command.account_id)].appendleft((command, answer, asked, put_off + 1))

    async def _outcomes(self, commands: Sequence[Command], wait: bool) -> Sequence[Outcome | None]:
        """What becomes of `commands`. One at which something fails does not take the others of its batch with it.

        Which one it is is found by halves. What was written in spite of a failure is a replay then (S7).
        """
        try:
            return await self._commit(commands, wait=wait)
        except Unavailable:
            raise
        except Exception as failure:
            if len(commands) == 1:
                return [failure]
        half = len(commands) // 2
        # Were one half's put off, the other's of the same account would come before them.
        return [*await self._outcomes(commands[:half], True), *await self._outcomes(commands[half:], True)]

    def _take(self, lanes: range) -> tuple[list[_Waiting], bool]:
        """The next batch, and whether it is one that waits for other processes.

        Each of several lanes has its share of it, and what the others leave of theirs. Empty when
        nobody waits any longer.
        """
        since = asyncio.get_running_loop().time() - self._max_wait
        for n in lanes:
            if overdue := self._overdue(self._waiting[n]):
                return [waiting for waiting in overdue if self._still(waiting, since)], True
        batch: list[_Waiting] = []
        shortest_first = sorted((self._waiting[n] for n in lanes), key=len)
        for sharing, lane in zip(range(len(lanes), 0, -1), shortest_first, strict=True):
            full = len(batch) + (self._max_batch - len(batch)) // sharing
            while lane and len(batch) < full:
                waiting = lane.popleft()
                if self._still(waiting, since):
                    batch.append(waiting)
        return batch, False

    def _still(self, waiting: _Waiting, since: float) -> bool:
        """Whether its caller still waits, and has not waited for too long, which it is told here. Otherwise it leaves."""
        command, answer, asked, _ = waiting
        if not answer.done() and asked >= since:
            return True
        self._places.leave(command.account_id)
        if answer.done():
            return False
        answer.set_exception(
            Overloaded(
                f"This waited for {self._max_wait:g} seconds without getting its turn, so it was not taken. "
                "Nothing was changed. Try again with the same idempotency key."
            )
        )
        return False

    def _overdue(self, lane: deque[_Waiting]) -> list[_Waiting]:
        """Take out what was put off of one account, when some of it was put off as often as can be.

        It is alone, since whoever waits for one account holds up those who need the others that it has locked.
        """
        put_off = list(takewhile(_was_put_off, lane))
        account_id = next((w[0].account_id for w in put_off if w[3] >= PUT_OFF_AT_MOST), None)
        if account_id is None:
            return []
        for _ in put_off:
            lane.popleft()
        lane.extendleft(w for w in reversed(put_off) if w[0].account_id != account_id)
        return [w for w in put_off if w[0].account_id == account_id]


def _was_put_off(waiting: _Waiting) -> bool:
    return waiting[3] > 0
