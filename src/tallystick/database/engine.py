"""Connections for everything that is not the ledger's hot path: SQLAlchemy Core over both databases."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol, Self, TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tallystick.database.sqlite import BUSY_SECONDS, prepare
from tallystick.database.turns import Turns
from tallystick.database.urls import DatabaseUrl, Dialect, parse_url
from tallystick.domain.errors import Unavailable

# Behind PgBouncer the next transaction may find another connection, which has not seen what was prepared.
_NOTHING_PREPARED = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": str,
}

CONNECTIONS = 10
"""The most connections of one process. All are kept: under load, opening one costs more than what it is for."""

THREADS = 4
"""How many may read a SQLite file at once; one of them may write meanwhile."""

T = TypeVar("T")

_WRITES = "tallystick_writes"
_SQLITE_IS_GONE = ("database is locked", "unable to open", "disk I/O error", "disk is full", "readonly database")


class DatabaseUnavailable(Unavailable):
    """The database could not be reached, or did not answer."""

    code = "database_unavailable"

    def __init__(self) -> None:
        super().__init__("The database does not answer right now. It is safe to try again in a moment.")


class Database:
    """One database, for reading and for short transactions.

    What is done for one caller is a function of a connection, that waits for nothing else.
    """

    def __init__(self, door: "_Door") -> None:
        self._door = door

    @classmethod
    def connect(cls, url: str) -> Self:
        """Prepare connections to `url`; the first one is made when it is needed."""
        parsed = parse_url(url)
        return cls(_File(parsed) if parsed.dialect == "sqlite" else _Server(parsed))

    @property
    def dialect(self) -> Dialect:
        """Which of the two kinds it is."""
        return self._door.dialect

    @property
    def turns(self) -> Turns | None:
        """Where the writers of this process wait for each other, on SQLite."""
        return self._door.turns

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` finds; it must not write. Each of its statements sees what is committed by then.

        Raises DatabaseUnavailable.
        """
        with _unavailable_when_gone():
            return await self._door.read(work)

    async def write(self, work: Callable[[Connection], T], queue: str = "others") -> T:
        """What `work` returns, after its one transaction is committed; rolled back when it raises.

        On SQLite it waits for its turn in `queue`, and takes the write lock at once, so that it never fails
        half-way because another writer came first. Raises DatabaseUnavailable.
        """
        with _unavailable_when_gone():
            return await self._door.write(work, queue)

    async def close(self) -> None:
        """Close all connections."""
        await self._door.close()


class _Door(Protocol):
    dialect: Dialect
    turns: Turns | None

    async def read(self, work: Callable[[Connection], T]) -> T: ...

    async def write(self, work: Callable[[Connection], T], queue: str) -> T: ...

    async def close(self) -> None: ...


class _File:
    """SQLite, in a few threads. All that is done for one caller is done at once, without a look at the event loop."""

    dialect: Dialect = "sqlite"

    def __init__(self, url: DatabaseUrl) -> None:
        self.turns: Turns | None = Turns()
        self._turns = self.turns
        self._engine = create_engine(
            url.sqlalchemy, pool_size=THREADS, max_overflow=0, connect_args={"timeout": BUSY_SECONDS}
        )
        event.listen(self._engine, "connect", _prepare_sqlite)
        event.listen(self._engine, "begin", _begin_sqlite)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="database")

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, work)

    async def write(self, work: Callable[[Connection], T], queue: str) -> T:
        async with self._turns.take(queue):
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._write, work)

    async def close(self) -> None:
        self._threads.shutdown()
        self._engine.dispose()

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self._connect() as connection:
            return work(connection)

    def _write(self, work: Callable[[Connection], T]) -> T:
        with self._connect() as connection:
            writing = connection.execution_options(**{_WRITES: True})
            with writing.begin():
                return work(writing)

    def _connect(self) -> Connection:
        with _unavailable_when_it_fails():
            return self._engine.connect()


class _Server:
    """PostgreSQL."""

    dialect: Dialect = "postgresql"
    turns: Turns | None = None

    def __init__(self, url: DatabaseUrl) -> None:
        self._engine = create_async_engine(
            url.sqlalchemy,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args=_NOTHING_PREPARED if url.pooled else {},
        )

    async def read(self, work: Callable[[Connection], T]) -> T:
        async with self._connect() as connection:
            # Without a transaction around it: that would be two more messages to the server and back.
            reading = await connection.execution_options(isolation_level="AUTOCOMMIT")
            return await reading.run_sync(work)

    async def write(self, work: Callable[[Connection], T], queue: str) -> T:  # noqa: ARG002
        async with self._connect() as connection, connection.begin():
            return await connection.run_sync(work)

    async def close(self) -> None:
        await self._engine.dispose()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[AsyncConnection]:
        with _unavailable_when_it_fails():
            connection = await self._engine.connect()
        try:
            yield connection
        finally:
            await connection.close()


@contextmanager
def _unavailable_when_it_fails() -> Iterator[None]:
    """For connecting, where every error means that there is no database."""
    try:
        yield
    except (OSError, SQLAlchemyError) as error:
        raise DatabaseUnavailable from error


@contextmanager
def _unavailable_when_gone() -> Iterator[None]:
    try:
        yield
    except (OSError, DBAPIError) as error:
        if isinstance(error, DBAPIError) and not _is_gone(error):
            raise
        raise DatabaseUnavailable from error


def _is_gone(error: DBAPIError) -> bool:
    """Whether the database is the problem, and not what was asked of it."""
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return True
    return isinstance(error, OperationalError) and any(word in str(error.orig) for word in _SQLITE_IS_GONE)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own BEGIN would come late and never take the write lock; `_begin_sqlite` does it.
    connection.isolation_level = None
    prepare(connection)


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
