"""One lock for each name, for as long as somebody holds it or waits for it."""

import asyncio
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
