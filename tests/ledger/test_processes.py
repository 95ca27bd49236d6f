"""Several processes on one ledger, and processes that are killed: S7 to S9 when the day is rough."""

import asyncio
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from tallystick.clock import system_clock
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import GrantBonus, OpenAccount
from tallystick.ledger import Ledger
from tallystick.ledger.verify import verify

HAMMER = Path(__file__).with_name("hammer.py")
ACCOUNTS = 5
CATALOGUE = Catalogue([Plan("free", 25)])


async def opened(url: str, bonus: int) -> Ledger:
    ledger = await Ledger.open(url, CATALOGUE, system_clock)
    for n in range(ACCOUNTS):
        await ledger.submit(OpenAccount(account_id=f"acc{n}", plan="free"))
        await ledger.submit(GrantBonus(account_id=f"acc{n}", key="g", credits=bonus))
    return ledger


async def hammer(url: str, name: str, count: int, shared: int = 0) -> asyncio.subprocess.Process:
    words = (str(HAMMER), url, name, str(ACCOUNTS), str(count), str(shared))
    return await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)


async def acknowledged(process: asyncio.subprocess.Process) -> list[tuple[str, str, bool]]:
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    # A line that the kill cut short was not acknowledged to anybody.
    lines = [line.split() for line in out.decode().splitlines(keepends=True) if line.endswith("\n")]
    return [(f"acc{account}", key, replayed == "1") for account, key, replayed in lines]


async def test_s9_two_processes_on_the_same_accounts_spend_exactly_what_is_there(database_url: str) -> None:
    ledger = await opened(database_url, bonus=75)
    processes = [await hammer(database_url, name, 400, shared=10) for name in ("one", "two")]
    answers = [await acknowledged(process) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    for n in range(ACCOUNTS):
        account = await ledger.account(f"acc{n}")
        spent = {(a, key) for answer in answers for a, key, _ in answer if a == account.id}
        assert account.available == 100 - len(spent)
    # The keys both used took effect once, whoever came first.
    firsts = Counter((a, key) for answer in answers for a, key, replayed in answer if not replayed)
    assert set(firsts.values()) == {1}
    assert (await verify(ledger)).differences == []
    await ledger.close()


async def test_two_processes_that_open_the_same_account_end_with_one(database_url: str) -> None:
    ledgers = [await Ledger.open(database_url, CATALOGUE, system_clock) for _ in range(2)]
    receipts = await asyncio.gather(
        *(ledgers[n % 2].submit(OpenAccount(account_id=f"acc{n // 4}", plan="free")) for n in range(40))
    )
    assert sum(not receipt.replayed for receipt in receipts) == 10
    assert (await verify(ledgers[0])).differences == []
    for ledger in ledgers:
        await ledger.close()


@pytest.mark.parametrize("after", [0.6, 0.9, 1.2])
async def test_s8_a_killed_process_loses_nothing_that_was_acknowledged(database_url: str, after: float) -> None:
    ledger = await opened(database_url, bonus=100_000)
    process = await hammer(database_url, "killed", 1_000_000)
    assert process.stdout is not None
    first = await process.stdout.readline()
    await asyncio.sleep(after)
    process.send_signal(signal.SIGKILL)
    answers = await acknowledged(process)
    assert len(answers) > 50
    account, key, _ = first.decode().split()
    for account_id, used, _ in [(f"acc{account}", key, False), *answers]:
        entry = await ledger.entry_by_key(account_id, used)
        assert entry is not None
        assert entry.amount == -1
    proof = await verify(ledger)
    assert proof.differences == []
    await ledger.close()
