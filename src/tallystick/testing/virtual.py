"""Time that passes only when everybody waits for it."""

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from tallystick.domain.periods import require_instant

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which sleeping takes no time: when nothing can run, its time jumps to the next timer."""

    def __init__(self) -> None:
        self._seconds = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._seconds

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._seconds += seconds


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("Everybody waits, and for nothing that time could bring.")
        if timeout > 0:
            self._loop.jump(timeout)
        return super().select(0)


class VirtualClock:
    """A clock that stands still until it is moved ahead (S2); in a VirtualLoop it follows the loop's time as well.

    It may be the `clock` of a Tallystick, and be moved and read in any thread.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)) -> None:
        """Raises InvalidInstant for a `start` without a timezone."""
        self._start = require_instant(start, "start")

    def __call__(self) -> datetime:
        """Now, in UTC."""
        return self._start + timedelta(seconds=_virtual_seconds())

    def advance(self, by: timedelta) -> None:
        """Move on, past the ends of periods and holds perhaps."""
        self._start += by


def _virtual_seconds() -> float:
    """The time of the VirtualLoop that runs in this thread; 0 where none does, as in a database's own thread."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return 0
    return loop.time() if isinstance(loop, VirtualLoop) else 0


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` in virtual time, from the start to the end."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
