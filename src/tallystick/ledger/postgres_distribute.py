"""Distributes the ledger over a Citus cluster, step by step. It can be killed, and run again."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tallystick.database.urls import parse_url
from tallystick.domain.errors import LedgerUnavailable
from tallystick.ledger.errors import CitusMissing, DistributionFailed
from tallystick.ledger.postgres_connections import CONNECTION_LOST
from tallystick.ledger.postgres_distribution import STEPS, UNGUARDED, Step

_EVERYWHERE = "on the coordinator and on every worker"


async def left(url: str) -> list[tuple[Step, bool]]:
    """Every step of the distribution, and whether it is done already. Changes nothing.

    Raises CitusMissing, and LedgerUnavailable.
    """
    await _require_citus(url)
    async with _connected(url) as connection:
        return [(step, bool(await connection.fetchval(step.done))) for step in STEPS]


async def distribute(url: str, tell: Callable[[Step], None]) -> int:
    """Do what is not done yet, and `tell` each step before it is begun. Returns how many there were.

    Every step is on a connection of its own: settings that a step gives a database are those of the connections
    after it, and Citus keeps its own to the workers as long as ours. Raises CitusMissing, DistributionFailed and
    LedgerUnavailable.
    """
    await _require_citus(url)
    done = 0
    for step in STEPS:
        async with _connected(url) as connection:
            if await connection.fetchval(step.done):
                continue
            tell(step)
            await _do(connection, step)
            done += 1
        async with _connected(url) as connection:
            if not await connection.fetchval(step.done):
                raise DistributionFailed(step.name, "it was carried out, and had no effect")
    async with _connected(url) as connection:
        unguarded = await connection.fetchval(UNGUARDED)
    if unguarded:
        raise DistributionFailed(
            "Look whether all triggers are on every shard", f"on these they are not: {unguarded}"
        )
    return done


async def _do(connection: Any, step: Step) -> None:
    try:
        await connection.execute(step.statement)
    except CONNECTION_LOST:
        raise
    except asyncpg.PostgresError as error:
        raise DistributionFailed(step.name, str(error)) from error


async def _require_citus(url: str) -> None:
    if parse_url(url).dialect == "sqlite":
        raise CitusMissing(
            "DATABASE_URL names a SQLite file, and Citus distributes PostgreSQL",
            "Start a ledger on a Citus cluster: set DATABASE_URL to its coordinator, then tallystick migrate.",
        )
    async with _connected(url) as connection:
        if await connection.fetchval("SELECT to_regclass('pg_dist_partition') IS NOT NULL"):
            return
        version = await connection.fetchval(
            "SELECT default_version FROM pg_available_extensions WHERE name = 'citus'"
        )
    if version is None:
        raise CitusMissing(
            "This PostgreSQL server has no Citus",
            f"Install Citus 12 or later {_EVERYWHERE}, put it first in shared_preload_libraries, restart, run "
            "CREATE EXTENSION citus; in this database there, and add the workers with citus_add_node.",
        )
    raise CitusMissing(
        f"This server has Citus {version}, but this database does not use it",
        f"Run CREATE EXTENSION citus; in this database {_EVERYWHERE}, and add the workers with citus_add_node.",
    )


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    parsed = parse_url(url)
    try:
        connection: Any = await asyncpg.connect(parsed.native, statement_cache_size=0)
        try:
            yield connection
        finally:
            await connection.close()
    except CONNECTION_LOST as error:
        raise LedgerUnavailable(
            f"The database cannot be reached, or was lost ({error}). What was done by then stays done. "
            "Check DATABASE_URL and that it is running, and run it again."
        ) from error
