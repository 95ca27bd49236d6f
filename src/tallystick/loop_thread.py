"""An event loop in a thread of its own, for threads that cannot await.

Whoever waits for something here is answered or told that it was given up, also when the loop is stopped meanwhile.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, wait
from typing import Any, TypeVar

from tallystick.service import NotOpen

FINISH_SECONDS = 5.0
"""How long stopping waits for what is under way before it is given up."""

T = TypeVar("T")


class ClosedMeanwhile(NotOpen):
    """Tallystick was closed while this was under way, and it did not end in time. It may or may not have taken
    effect: repeat it with the same idempotency key to learn which (S7)."""

    code = "closed_meanwhile"

    def __init__(self) -> None:
        super().__init__(
            "Tallystick was closed before this was finished, so it may or may not have taken effect. Open it, and ask "
            "again with the same idempotency key: it will not happen twice."
        )


class LoopThread:
    """Runs coroutines for any number of threads, from when it is made until it is stopped."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tallystick", daemon=True)
        self._taking = threading.Lock()
        self._under_way: set[Future[Any]] = set()
        self._stopping = False
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` and wait for it. Raises NotOpen when it was not begun, ClosedMeanwhile when it was given up."""
        with self._taking:
            if self._stopping:
                work.close()
                raise NotOpen
            answer = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._under_way.add(answer)
        try:
            return answer.result()
        except CancelledError:
            if self._stopping:
                raise ClosedMeanwhile from None
            raise
        finally:
            with self._taking:
                self._under_way.discard(answer)

    def stop(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Take no more work, finish what is under way or give it up after FINISH_SECONDS, do `last`, and end."""
        with self._taking:
            self._stopping = True
            under_way = set(self._under_way)
        try:
            wait(under_way, FINISH_SECONDS)
        finally:
            for answer in under_way:
                answer.cancel()
            self._end(last)

    def _end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            asyncio.run_coroutine_threadsafe(last(), self._loop).result()
        finally:
            asyncio.run_coroutine_threadsafe(_leave_nothing_behind(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _leave_nothing_behind() -> None:
    """Let what was given up come to its end, but do not wait for ever for what will not."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=FINISH_SECONDS)
    await asyncio.get_running_loop().shutdown_asyncgens()
