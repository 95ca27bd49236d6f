"""Databases on a Citus cluster, for a run of the tests with TEST_DATABASE_URL naming its coordinator.

Written from Citus's documentation and not run on a cluster yet. A database that has to be on every server cannot be
copied from a template, so each test waits for one to be made.
"""

from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tallystick.database.schema import upgrade
from tallystick.ledger.postgres_distribute import distribute


async def workers(server: str) -> list[tuple[str, int]] | None:
    """The workers of the cluster whose coordinator `server` is, or None when it is no coordinator."""
    connection = await asyncpg.connect(server)
    try:
        if not await connection.fetchval("SELECT count(*) FROM pg_extension WHERE extname = 'citus'"):
            return None
        rows = await connection.fetch(
            "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid <> 0 AND noderole = 'primary' ORDER BY nodeid"
        )
        return [(row[0], row[1]) for row in rows]
    finally:
        await connection.close()


def _on(server: str, database: str, worker: tuple[str, int] | None = None) -> str:
    parts = urlsplit(server)
    if worker is None:
        return urlunsplit(parts._replace(path=f"/{database}"))
    login, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{login}{at}{worker[0]}:{worker[1]}", path=f"/{database}"))


async def _say(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def create(server: str, nodes: list[tuple[str, int]], name: str) -> None:
    """A migrated database on all servers, with the ledger distributed."""
    there = urlsplit(server).path.strip("/")
    for worker in nodes:
        await _say(_on(server, there, worker), f"CREATE DATABASE {name}")
        await _say(_on(server, name, worker), "CREATE EXTENSION citus")
    await _say(server, f"CREATE DATABASE {name}")
    parts = urlsplit(server)
    await _say(
        _on(server, name),
        "CREATE EXTENSION citus",
        *([f"SELECT citus_set_coordinator_host('{parts.hostname}', {parts.port or 5432})"] if nodes else []),
        *(f"SELECT citus_add_node('{host}', {port})" for host, port in nodes),
    )
    await upgrade(_on(server, name))
    await distribute(_on(server, name), lambda _step: None)


async def drop(server: str, nodes: list[tuple[str, int]], name: str) -> None:
    """Take the database from all servers again."""
    there = urlsplit(server).path.strip("/")
    for worker in (None, *nodes):
        await _say(_on(server, there, worker), f"DROP DATABASE {name} WITH (FORCE)")
