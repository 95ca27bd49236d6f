"""What goes past the ledger: statements on its database, as an operator or a mistake would make them."""

import sqlite3
from typing import Any

import asyncpg

from tallystick.database.urls import parse_url


async def fetch(url: str, query: str) -> list[tuple[object, ...]]:
    """The rows that `query` finds."""
    parsed = parse_url(url)
    if parsed.dialect == "sqlite":
        with sqlite3.connect(parsed.native) as connection:
            return list(connection.execute(query))
    connection: Any = await asyncpg.connect(parsed.native)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def execute(url: str, statement: str) -> None:
    """Run a statement, and commit it."""
    parsed = parse_url(url)
    if parsed.dialect == "sqlite":
        with sqlite3.connect(parsed.native) as connection:
            connection.execute(statement)
        return
    connection: Any = await asyncpg.connect(parsed.native)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def tampered(url: str, statement: str) -> None:
    """Change what the database does not let anybody change: as its owner, with the guards taken off."""
    parsed = parse_url(url)
    if parsed.dialect == "sqlite":
        with sqlite3.connect(parsed.native) as connection:
            connection.execute("DROP TRIGGER IF EXISTS entries_no_update")
            connection.execute(statement)
        return
    connection: Any = await asyncpg.connect(parsed.native)
    await connection.execute(f"SET session_replication_role = replica; {statement}")
    await connection.close()
