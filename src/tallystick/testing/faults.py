"""A database that fails now and then, at every point at which a real one can."""

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from tallystick.domain.errors import LedgerUnavailable
from tallystick.ledger.sqlite_store import connect, unavailable_when_it_fails

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FaultRates:
    """How often something goes wrong, as shares of the chances it has.

    `locked`: another process holds the file when a transaction begins. `disk_full`: while it writes.
    `lost_before_commit` and `lost_after_commit`: the answer to COMMIT does not arrive, and nothing or
    everything has happened. `lost_answer`: the connection is gone after the work. `impatient`: a caller
    gives up waiting. `crash`: a process dies between two steps of anybody.
    """

    locked: float = 0.02
    disk_full: float = 0.02
    lost_before_commit: float = 0.03
    lost_after_commit: float = 0.03
    lost_answer: float = 0.02
    impatient: float = 0.1
    crash: float = 0.02


class Faults:
    """Decides, from one source of chance, what goes wrong when; counts it."""

    def __init__(self, rates: FaultRates, chance: random.Random) -> None:
        self.rates = rates
        self.chance = chance
        self.seen: Counter[str] = Counter()

    def strikes(self, name: str) -> bool:
        """Whether the fault of that name happens now."""
        if self.chance.random() >= getattr(self.rates, name):
            return False
        self.seen[name] += 1
        return True


class FaultyWorker:
    """A connection whose statements fail now and then, and whose answers take a while."""

    def __init__(self, path: str, faults: Faults) -> None:
        self._faults = faults
        self._dead = False
        self._connection = _FaultyConnection(connect(path), faults)
        # What a power cut does to the disk is not simulated; what a fault does to a transaction is.
        self._connection.execute("PRAGMA synchronous=OFF")

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` at one instant of virtual time, some time before and after it."""
        await self._pause()
        await self._stop_if_dead()
        with unavailable_when_it_fails():
            done = work(cast(sqlite3.Connection, self._connection))
        await self._pause()
        await self._stop_if_dead()
        if self._faults.strikes("lost_answer"):
            raise LedgerUnavailable("The simulated connection was lost. Repeat it with the same idempotency key.")
        return done

    async def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def die(self) -> None:
        """From now on nothing is done, and nobody is answered, about what was done already either."""
        self._dead = True

    async def _stop_if_dead(self) -> None:
        if self._dead:
            await asyncio.Event().wait()

    async def _pause(self) -> None:
        await asyncio.sleep(self._faults.chance.choice((0, 0, 0.001, 0.05)))


class _FaultyConnection:
    def __init__(self, connection: sqlite3.Connection, faults: Faults) -> None:
        self._connection = connection
        self._faults = faults

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
        inserts = statement.startswith("INSERT")
        # A batch decided from memory is one statement, which begins and commits by itself.
        alone = inserts and not self._connection.in_transaction
        if (alone or statement == "BEGIN IMMEDIATE") and self._faults.strikes("locked"):
            raise sqlite3.OperationalError("database is locked")
        if inserts and self._faults.strikes("disk_full"):
            raise sqlite3.OperationalError("database or disk is full")
        if (alone or statement == "COMMIT") and self._faults.strikes("lost_before_commit"):
            raise sqlite3.OperationalError("disk I/O error")
        cursor = self._connection.execute(statement, values)
        if (alone or statement == "COMMIT") and self._faults.strikes("lost_after_commit"):
            raise sqlite3.OperationalError("disk I/O error")
        return cursor

    def close(self) -> None:
        self._connection.close()
