"""A process that archives, says when a step begins, and takes its time, to be killed.

Arguments: database, folder, the time it is.
"""

import asyncio
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.ledger import Ledger, archiving


async def main(url: str, folder: Path, now: datetime) -> None:
    ledger = await Ledger.open(url, Catalogue([Plan("free", 25)]), lambda: now)
    # A step of its own for every account, so that there are many moments to be killed at.
    archiving.STEP = 42
    take_out = archiving._take_out

    async def slowly(*arguments: Any) -> None:
        print("step", flush=True)
        await take_out(*arguments)
        await asyncio.sleep(0.05)

    archiving._take_out = slowly
    await archiving.archive(ledger.store, now - timedelta(days=100), folder, now, apply=True)
    await ledger.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), datetime.fromisoformat(sys.argv[3])))
