"""A process that spends from accounts as fast as it can, and says on its output which keys were acknowledged."""

import asyncio
import sys

from tallystick.clock import system_clock
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import Spend
from tallystick.domain.errors import InsufficientCredits
from tallystick.ledger import Ledger


async def main(url: str, name: str, accounts: int, count: int, shared: int) -> None:
    ledger = await Ledger.open(url, Catalogue([Plan("free", 25)]), system_clock)

    async def spend(account: int, key: str) -> None:
        try:
            receipt = await ledger.submit(Spend(account_id=f"acc{account}", key=key, amount=1))
        except InsufficientCredits:
            return
        print(f"{account} {key} {int(receipt.replayed)}", flush=True)

    for start in range(0, count, 50):
        keys = [f"{name}-{n}" for n in range(start, start + 50)] + [f"shared-{n}" for n in range(shared)]
        await asyncio.gather(*(spend(n % accounts, key) for n, key in enumerate(keys)))
    await ledger.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])))
