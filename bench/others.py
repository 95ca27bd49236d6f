"""What the ledger is compared to: the smallest correct spend, written by hand in the usual ways."""

import asyncio
import re
import sqlite3
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import asyncpg
from sqlalchemy import BigInteger, ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.needs import find_pgbench

SCHEMA = (
    "CREATE TABLE balances (id bigint PRIMARY KEY, credits bigint NOT NULL)",
    "CREATE TABLE spends (key uuid PRIMARY KEY, id bigint NOT NULL, amount bigint NOT NULL, credits bigint NOT NULL)",
)
_SCRIPT = """\\set id random(1, {accounts})
BEGIN;
UPDATE balances SET credits = credits - 1 WHERE id = :id AND credits >= 1 RETURNING credits \\gset
INSERT INTO spends VALUES (gen_random_uuid(), :id, 1, :credits);
END;
"""


async def prepare(url: str, accounts: int) -> None:
    """The two tables of the smallest correct spend, filled."""
    connection = await asyncpg.connect(url)
    for statement in SCHEMA:
        await connection.execute(statement)
    await connection.execute("INSERT INTO balances SELECT n, 1000000000 FROM generate_series(1, $1) AS n", accounts)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


def pgbench(url: str, accounts: int, seconds: int, clients: int = 32) -> float:
    """Transactions a second: one guarded UPDATE and one INSERT, prepared."""
    program = find_pgbench()
    assert program is not None
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(_SCRIPT.format(accounts=accounts))
        script.flush()
        done = subprocess.run(
            [
                program,
                "-n",
                "-M",
                "prepared",
                "-c",
                str(clients),
                "-j",
                str(min(clients, 2)),
                "-T",
                str(seconds),
                "-f",
                script.name,
                url,
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if found is None:
        raise SystemExit(f"pgbench did not say how fast it was: {done.stdout}{done.stderr}")
    return float(found[1])


class Base(DeclarativeBase):
    """The tables of `prepare`, mapped."""


class Balance(Base):
    """One account."""

    __tablename__ = "balances"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    credits: Mapped[int] = mapped_column(BigInteger)


class Spent(Base):
    """One spend."""

    __tablename__ = "spends"
    key: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, ForeignKey("balances.id"))
    amount: Mapped[int] = mapped_column(BigInteger)
    credits: Mapped[int] = mapped_column(BigInteger)


async def orm(url: str, accounts: int, count: int) -> float:
    """Spends a second the way most people write it: an ORM, SELECT FOR UPDATE, 32 at once."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"), pool_size=32)
    sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(engine)
    todo = iter(range(count))

    async def call() -> None:
        for n in todo:
            async with sessions.begin() as session:
                wanted = select(Balance).where(Balance.id == n * 7_919 % accounts + 1).with_for_update()
                account = (await session.execute(wanted)).scalar_one()
                account.credits -= 1
                session.add(Spent(key=uuid.uuid4(), id=account.id, amount=1, credits=account.credits))

    start = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(32)))
    took = time.perf_counter() - start
    await engine.dispose()
    return count / took


def sqlite_alone(path: Path, accounts: int, before: int, count: int) -> float:
    """Spends a second with one transaction each, through plain sqlite3, as durable as the ledger.

    So many spends are there `before`: with few of them all would lie on the same pages.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE balances (id INTEGER PRIMARY KEY, credits INTEGER NOT NULL)")
    connection.execute("CREATE TABLE spends (key TEXT PRIMARY KEY, id INTEGER, amount INTEGER, credits INTEGER)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO balances VALUES (?, 1000000000)", [(n,) for n in range(accounts)])
    spent = [(str(uuid.uuid4()), n % accounts, 1, 1) for n in range(before)]
    connection.executemany("INSERT INTO spends VALUES (?, ?, ?, ?)", spent)
    connection.execute("COMMIT")
    start = time.perf_counter()
    for n in range(count):
        connection.execute("BEGIN IMMEDIATE")
        (left,) = connection.execute(
            "UPDATE balances SET credits = credits - 1 WHERE id = ? AND credits >= 1 RETURNING credits",
            (n * 7_919 % accounts,),
        ).fetchone()
        connection.execute("INSERT INTO spends VALUES (?, ?, 1, ?)", (str(uuid.uuid4()), n * 7_919 % accounts, left))
        connection.execute("COMMIT")
    took = time.perf_counter() - start
    connection.close()
    return count / took
