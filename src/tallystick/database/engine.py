"""Connections for everything that is not the ledger's hot path: SQLAlchemy Core over both databases."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Any, Self

from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tallystick.database.urls import DatabaseUrl, Dialect, parse_url
from tallystick.domain.errors import Unavailable

BUSY_SECONDS = 10
"""How long a writer waits for another one on SQLite, which has one writer at a time."""

# Behind PgBouncer the next transaction may find another connection, which has not seen what was prepared.
_NOTHING_PREPARED = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": str,
}

_WRITES = "tallystick_writes"
_SQLITE_IS_GONE = ("database is locked", "unable to open", "disk I/O error", "disk is full", "readonly database")


class DatabaseUnavailable(Unavailable):
    """The database could not be reached, or did not answer."""

    code = "database_unavailable"

    def __init__(self) -> None:
        super().__init__("The database does not answer right now. It is safe to try again in a moment.")


class Database:
    """One database, for reading and for short transactions."""

    def __init__(self, engine: AsyncEngine, dialect: Dialect) -> None:
        self._engine = engine
        self.dialect = dialect
        # Waiting here is fair and wakes at once; SQLite's own wait for its one writer sleeps and guesses.
        self._turn: AbstractAsyncContextManager[None] = asyncio.Lock() if dialect == "sqlite" else nullcontext()

    @classmethod
    def connect(cls, url: str) -> Self:
        """Prepare connections to `url`; the first one is made when it is needed."""
        parsed = parse_url(url)
        return cls(make_engine(parsed), parsed.dialect)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read with. What is written on it is rolled back. Raises DatabaseUnavailable."""
        with _unavailable_when_gone():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at the end of the block, rolled back when it raises.

        On SQLite it takes the write lock at once, so that it never fails half-way because another
        writer came first. Raises DatabaseUnavailable.
        """
        with _unavailable_when_gone():
            async with self._turn, self._engine.connect() as connection:
                connection = await connection.execution_options(**{_WRITES: True})
                async with connection.begin():
                    yield connection

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


@contextmanager
def _unavailable_when_gone() -> Iterator[None]:
    try:
        yield
    except (OSError, PoolTimeout, DBAPIError) as error:
        if isinstance(error, DBAPIError) and not _is_gone(error):
            raise
        raise DatabaseUnavailable from error


def _is_gone(error: DBAPIError) -> bool:
    """Whether the database is the problem, and not what was asked of it."""
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return True
    return isinstance(error, OperationalError) and any(word in str(error.orig) for word in _SQLITE_IS_GONE)


def make_engine(url: DatabaseUrl) -> AsyncEngine:
    """An engine with the settings that Tallystick relies on."""
    if url.dialect == "postgresql":
        return create_async_engine(
            url.sqlalchemy,
            pool_size=5,
            max_overflow=5,
            pool_pre_ping=True,
            connect_args=_NOTHING_PREPARED if url.pooled else {},
        )
    engine = create_async_engine(url.sqlalchemy, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own BEGIN would come late and never take the write lock; `_begin_sqlite` does it.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
