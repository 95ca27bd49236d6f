"""A process under full load: 256 callers that spend until their input ends, and say which keys were acknowledged.

A command whose outcome is unknown is repeated with the same key. Arguments: database, name of the run, accounts.
"""

import asyncio
import os
import sys
import traceback

from tallystick.clock import system_clock
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import Spend
from tallystick.domain.errors import Unavailable
from tallystick.ledger import Ledger

CALLERS = 256
CATALOGUE = Catalogue([Plan("free", 25)])


async def main(url: str, name: str, accounts: int) -> None:
    ledger = await Ledger.open(url, CATALOGUE, system_clock)
    going = asyncio.create_task(asyncio.to_thread(sys.stdin.read))

    async def call(caller: int) -> None:
        n = 0
        while not going.done():
            key, n = f"{name}-{caller}-{n}", n + 1
            command = Spend(account_id=f"acc{(caller + n) % accounts}", key=key, amount=1)
            while not await spent(command):
                if going.done():
                    return
                await asyncio.sleep(0.1)

    async def spent(command: Spend) -> bool:
        try:
            await ledger.submit(command)
        except Unavailable:
            return False
        sys.stdout.write(f"{command.account_id} {command.key}\n")
        sys.stdout.flush()
        return True

    try:
        await asyncio.gather(*map(call, range(CALLERS)))
    except BaseException:
        # The thread that waits for the end of the input would keep this process from ending.
        traceback.print_exc()
        os._exit(1)
    await ledger.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
