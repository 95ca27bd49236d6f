"""One lock for each name, for as long as somebody holds it or waits for it, and looks that several share."""

import asyncio
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary


class Locks:
    """Locks by name, within one process. A name that nobody uses takes no memory."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, name: str) -> asyncio.Lock:
        """The lock of that name, to be used at once: `async with locks.of(name):`."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock


class SharedLooks:
    """Looks at things outside, one at a time for each name; whoever waited while one began and ended needs none.

    Within one process. `look` returns what it has covered.
    """

    def __init__(self) -> None:
        self._series: WeakValueDictionary[str, _Series] = WeakValueDictionary()

    async def at(self, name: str, look: Callable[[], Awaitable[frozenset[str]]], *, covering: str | None) -> None:
        """Wait until a look at `name` that began after this was called has ended, one that has covered `covering`."""
        series = self._series.get(name)
        if series is None:
            series = self._series[name] = _Series()
        before = series.begun
        async with series.lock:
            if series.ended > before and (covering is None or covering in series.covered):
                return
            # Those that are about to ask at this very moment share the look that begins after it.
            await asyncio.sleep(0)
            series.begun += 1
            series.covered = await look()
            series.ended = series.begun


class _Series:
    """The looks at one name: how many began, the number of the last that ended well, and what that one covered."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.begun = self.ended = 0
        self.covered: frozenset[str] = frozenset()
