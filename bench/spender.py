"""A process that spends when it is told to: `python -m bench.spender DATABASE_URL ACCOUNTS COUNT`."""

import asyncio
import random
import sys

from bench.house import ledger_of, spends_per_second
from tallystick.cli.tuning import calm_garbage_collection


async def main(url: str, accounts: int, count: int) -> None:
    """Connect, say so, wait for a line, spend, say so."""
    async with ledger_of(url, create=False) as ledger:
        calm_garbage_collection()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        # Each in an order of its own: in the same one, processes go round the accounts and do not meet.
        await spends_per_second(ledger, accounts, count, chance=random.Random())  # noqa: S311
        print("done", flush=True)


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
