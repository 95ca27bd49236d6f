"""The ledger's connections to PostgreSQL."""

import asyncio
import time

import asyncpg
import pytest

from tallystick.database.urls import parse_url
from tallystick.domain.errors import LedgerUnavailable
from tallystick.ledger import postgres_connections
from tallystick.ledger.postgres_connections import Connections


async def test_more_callers_than_connections_take_turns(postgres_url: str) -> None:
    connections = await Connections.open(parse_url(postgres_url), 2)
    query = "SELECT pg_backend_pid() FROM pg_sleep(0.01)"
    start = time.monotonic()
    servers = await asyncio.gather(
        *(connections.read(lambda connection: connection.fetchval(query)) for _ in range(20))
    )
    assert len(set(servers)) == 2
    assert time.monotonic() - start < postgres_connections.PATIENCE_SECONDS
    await connections.close()


async def test_one_that_the_server_has_cut_is_replaced(postgres_url: str) -> None:
    connections = await Connections.open(parse_url(postgres_url), 1)
    ask = "SELECT pg_backend_pid()"
    first = await connections.read(lambda connection: connection.fetchval(ask))
    assert await connections.read(lambda connection: connection.fetchval(ask)) == first
    other = await asyncpg.connect(postgres_url)
    await other.execute("SELECT pg_terminate_backend($1)", first)
    await other.close()
    assert await connections.read(lambda connection: connection.fetchval(ask)) != first
    await connections.close()


async def test_one_that_was_left_in_a_transaction_is_rolled_back(postgres_url: str) -> None:
    connections = await Connections.open(parse_url(postgres_url), 1)
    with pytest.raises(ZeroDivisionError):
        async with connections.acquire() as connection:
            await connection.execute("BEGIN")
            await connection.execute("CREATE TABLE half_done (id int)")
            raise ZeroDivisionError
    assert await connections.read(lambda connection: connection.fetchval("SELECT to_regclass('half_done')")) is None
    await connections.close()


async def test_who_waits_for_too_long_is_told(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_connections, "PATIENCE_SECONDS", 0.05)
    connections = await Connections.open(parse_url(postgres_url), 1)
    async with connections.acquire():
        with pytest.raises(LedgerUnavailable):
            await connections.read(lambda connection: connection.fetchval("SELECT 1"))
    assert await connections.read(lambda connection: connection.fetchval("SELECT 1")) == 1
    await connections.close()
