"""Services, PostgreSQL and disks that go away in the middle of full load (S7, S8)."""

import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.clock import system_clock
from tallystick.database.schema import upgrade
from tallystick.domain.commands import GrantBonus, OpenAccount, Spend
from tallystick.domain.errors import LedgerUnavailable, Overloaded, Unavailable
from tallystick.ledger import Ledger
from tallystick.ledger.lanes import MAX_WAITING
from tallystick.ledger.verify import verify
from tests.rough.conftest import Load, Server, prepared, proven, times
from tests.rough.load import CATALOGUE


async def test_s8_a_service_that_is_killed_under_load_loses_nothing(any_url: str) -> None:
    await prepared(any_url)
    loads = []
    for n in range(times()):
        load = await Load.start(any_url, f"run{n}")
        await load.goes_on()
        await asyncio.sleep(random.random() * 0.2)
        await load.kill()
        loads.append(load)
    await proven(any_url, loads)


@pytest.mark.parametrize("way", ["kill", "stop_immediately"])
async def test_s8_a_postgresql_that_goes_down_under_load_loses_nothing(server: Server, way: str) -> None:
    await prepared(server.url)
    load = await Load.start(server.url, "run")
    for _ in range(times()):
        await load.goes_on()
        await asyncio.sleep(random.random() * 0.2)
        await asyncio.to_thread(getattr(server, way))
        await asyncio.to_thread(server.start)
    # The same process goes on by itself.
    await load.goes_on()
    await load.stop()
    await proven(server.url, [load])


async def test_a_database_that_is_away_is_told_soon_and_never_piles_up(server: Server) -> None:
    """Callers get a retryable error in bounded time, the queue is bounded, and work resumes by itself."""
    await prepared(server.url)
    ledger = await Ledger.open(server.url, CATALOGUE, system_clock)
    loop = asyncio.get_running_loop()
    away, longest, told = True, 0.0, 0
    assert Unavailable.retry_after >= 1

    async def call(caller: int) -> None:
        nonlocal longest, told
        n = 0
        while away:
            n += 1
            start = loop.time()
            try:
                await ledger.submit(Spend(account_id=f"acc{caller % 40}", key=f"{caller}-{n}", amount=1))
            except Unavailable:
                told += 1
                await asyncio.sleep(0.05)
            longest = max(longest, loop.time() - start)

    callers = [asyncio.create_task(call(n)) for n in range(500)]
    await asyncio.sleep(0.3)
    await asyncio.to_thread(server.stop_immediately)
    await asyncio.sleep(30 if times() > 3 else 5)
    # Far more at once than may wait: the rest is refused at once, whatever the database does.
    crowd = [ledger.submit(Spend(account_id="acc0", key=f"crowd-{n}", amount=1)) for n in range(MAX_WAITING + 500)]
    answers = await asyncio.gather(*crowd, return_exceptions=True)
    assert sum(isinstance(answer, Overloaded) for answer in answers) >= 500
    assert all(isinstance(answer, Overloaded | LedgerUnavailable) for answer in answers)
    away = False
    await asyncio.gather(*callers)
    assert told > 500
    # Ten seconds for a turn, and what one batch may take after that.
    assert longest < 40
    await asyncio.to_thread(server.start)
    async with asyncio.timeout(20):
        receipt = None
        while receipt is None:
            try:
                receipt = await ledger.submit(Spend(account_id="acc0", key="after", amount=1))
            except Unavailable:
                await asyncio.sleep(0.1)
    assert (await verify(ledger)).differences == []
    await ledger.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB. To mount it takes root, or sudo."""
    folder = tmp_path / "disk"
    folder.mkdir()
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    subprocess.run([*as_root, "mount", "-t", "tmpfs", "-o", "size=4m,mode=1777", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run([*as_root, "umount", str(folder)], check=True)


async def test_s8_a_full_disk_loses_nothing_and_work_resumes_when_there_is_room(small_disk: Path) -> None:
    filler = small_disk / "filler"
    url = f"sqlite:///{small_disk / 'ledger.db'}"
    for turn in range(times()):
        for file in small_disk.iterdir():
            file.unlink()
        filler.write_bytes(b"x" * 1_500_000)
        await prepared_small(url)
        ledger = await Ledger.open(url, CATALOGUE, system_clock)
        kept = []
        with pytest.raises(LedgerUnavailable, match="full"):
            for n in range(5_000):
                keys = [f"k{turn}-{n}-{m}" for m in range(50)]
                await asyncio.gather(*(ledger.submit(Spend(account_id="acc0", key=key, amount=1)) for key in keys))
                kept += keys
        assert kept
        filler.unlink()
        again = await ledger.submit(Spend(account_id="acc0", key="after", amount=1))
        assert not again.replayed
        account = await ledger.account("acc0")
        entries = await ledger.entries_up_to("acc0", account.seq)
        assert set(kept) <= {entry.key for entry in entries}
        assert (await verify(ledger)).differences == []
        await ledger.close()


async def prepared_small(url: str) -> None:
    await upgrade(url)
    ledger = await Ledger.open(url, CATALOGUE, system_clock)
    await ledger.submit(OpenAccount(account_id="acc0", plan="free"))
    await ledger.submit(GrantBonus(account_id="acc0", key="g", credits=1_000_000))
    await ledger.close()
