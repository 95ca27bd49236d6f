"""The ledger's connections to PostgreSQL: opened with the right settings, used again when something got in the way.

Knows what may fail and what is worth another try; knows nothing of accounts.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import asyncpg

from tallystick.database.urls import DatabaseUrl
from tallystick.domain.errors import LedgerUnavailable
from tallystick.ledger.errors import PlannerSettingsMissing

ATTEMPTS = 6
"""How often a batch is tried when another process or the connection got in its way."""

FIRST_PAUSE = 0.05
PATIENCE_SECONDS = 10
"""How long one attempt may wait for a connection, or for the database's answer."""

T = TypeVar("T")

# The plans of the ledger's statements must not depend on statistics: while a table is small or its
# statistics are stale, the planner would rather read all of it and hash it than look up a few rows.
_PLANNER = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}

# Planned once for each connection: planning costs more than carrying out a small batch.
_PLANNED_ONCE = {"plan_cache_mode": "force_generic_plan"}


class AccountGone(Exception):
    """What was to be written is about an account whose row is not there any more."""


IN_THE_WAY = (
    AccountGone,
    # Two processes opened the same account, or used the same key, at once: the second one looks again.
    asyncpg.UniqueViolationError,
    # An account has gone on, and its entries are in the archive already, or is gone: see `changes` and `write_batch`.
    asyncpg.NotNullViolationError,
    # A migration has changed a column since the statement was prepared; the driver prepares it anew.
    asyncpg.InvalidCachedStatementError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)
REFUSED = asyncpg.CheckViolationError
"""What the guards of the ledger's tables raise: an entry does not follow, or a balance cannot be (S5)."""

CONNECTION_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    OSError,
    TimeoutError,
)


class Connections:
    """A pool of connections of the ledger's own."""

    def __init__(self, pool: asyncpg.Pool, most: int) -> None:
        self._pool = pool
        self._unused = asyncio.Semaphore(most)
        # Those that were used before. Handing one back to the pool and taking it out again costs a caller who is
        # alone as much as deciding a dozen spends.
        self._at_hand: list[Any] = []

    @classmethod
    async def open(cls, url: DatabaseUrl, most: int, *, planned_once: bool = True) -> Self:
        """Connect, at most so many times at once. Citus has to see a statement's values before it can plan it, so
        with it nothing is `planned_once`.

        Raises LedgerUnavailable when the database cannot be reached, and PlannerSettingsMissing.
        """
        # A connection of PgBouncer's is another one for every transaction: it must not be told anything, and
        # nothing can be prepared on it.
        ways = (
            {"statement_cache_size": 0}
            if url.pooled
            else {
                "server_settings": {
                    "application_name": "tallystick ledger",
                    **_PLANNER,
                    **(_PLANNED_ONCE if planned_once else {}),
                }
            }
        )
        try:
            pool = await asyncpg.create_pool(
                url.native,
                min_size=0,
                max_size=most,
                timeout=PATIENCE_SECONDS,
                command_timeout=PATIENCE_SECONDS,
                reset=_leave_as_it_is,
                **ways,
            )
            async with pool.acquire(timeout=PATIENCE_SECONDS) as connection:
                missing = await _missing_settings(connection) if url.pooled else []
        except (*CONNECTION_LOST, asyncpg.PostgresError) as error:
            raise LedgerUnavailable(
                f"The ledger's database cannot be reached ({error}). {_what_to_do(error)}"
            ) from error
        if missing:
            await pool.close()
            raise PlannerSettingsMissing(missing)
        return cls(pool, most)

    async def read(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Do `work` on a connection; see insist."""
        return await self.insist(lambda connection, _attempt: work(connection))

    async def insist(self, work: Callable[[Any, int], Awaitable[T]]) -> T:
        """Do `work` on a connection, again when another process or a lost connection got in its way.

        Repeating a batch is safe whatever became of the first try: a key that was committed is found and
        answered again (S7).
        """
        failure: Exception | None = None
        until = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        for attempt in range(ATTEMPTS):
            if asyncio.get_running_loop().time() > until:
                break
            if attempt > 1 or isinstance(failure, CONNECTION_LOST):
                await asyncio.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
            try:
                async with self.acquire() as connection:
                    return await work(connection, attempt)
            except (*IN_THE_WAY, *CONNECTION_LOST) as error:
                failure = error
        raise LedgerUnavailable(
            "The ledger's database did not confirm this, so it may or may not have taken effect. "
            "Repeat it with the same idempotency key: it will not happen twice."
        ) from failure

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """A connection, for one try. Raises TimeoutError when none becomes free."""
        if self._unused.locked():
            await asyncio.wait_for(self._unused.acquire(), PATIENCE_SECONDS)
        else:
            await self._unused.acquire()
        try:
            connection = await self._take()
            try:
                yield connection
            except BaseException as error:
                if isinstance(error, asyncpg.InternalClientError):
                    # The driver lost track of it, which a server that dies in mid-sentence can bring about.
                    connection.terminate()
                await self._pool.release(connection)
                raise
            self._at_hand.append(connection)
        finally:
            self._unused.release()

    async def _take(self) -> Any:
        while self._at_hand:
            connection = self._at_hand.pop()
            if not connection.is_closed():
                return connection
            await self._pool.release(connection)
        return await self._pool.acquire(timeout=PATIENCE_SECONDS)

    def terminate(self) -> None:
        """Cut all connections, without a word."""
        self._pool.terminate()

    async def close(self) -> None:
        """Close all connections."""
        while self._at_hand:
            await self._pool.release(self._at_hand.pop())
        await self._pool.close()


async def _leave_as_it_is(_connection: Any) -> None:
    """Instead of the driver's RESET ALL after every use, a round trip: nothing here changes a session.

    An open transaction is rolled back by the driver all the same.
    """


async def _missing_settings(connection: Any) -> list[str]:
    """The statements that would give the role the planner settings that it does not have."""
    role, database = await connection.fetchrow("SELECT quote_ident(current_user), quote_ident(current_database())")
    return [
        f"ALTER ROLE {role} IN DATABASE {database} SET {name} = {value};"
        for name, value in _PLANNER.items()
        if await connection.fetchval("SELECT current_setting($1)", name) != value
    ]


def _what_to_do(error: BaseException) -> str:
    if "unsupported startup parameter" in str(error):
        return "This is a PgBouncer: say so with ?pgbouncer=true at the end of DATABASE_URL."
    return "Check DATABASE_URL and that it is running."
