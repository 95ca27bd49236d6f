"""What one caller alone sees: the time of a spend, and of a proof."""

import asyncio
import itertools
import statistics
import time
import uuid
from contextlib import suppress

import asyncpg

from tallystick.domain.commands import Spend
from tallystick.ledger import Ledger
from tallystick.ledger.verify import verify

_alone = itertools.count()
TURNS = 600


async def in_turns(url: str, ledger: Ledger) -> tuple[float, float]:
    """The median times, in milliseconds, of a hand-written transaction and of a spend, one after the other."""
    connection = await asyncpg.connect(url)
    by_hand, ours = [], []
    for n in range(TURNS):
        start = time.perf_counter()
        await _by_hand(connection, n % 1_000 + 1)
        between = time.perf_counter()
        await _spend(ledger)
        by_hand.append(between - start)
        ours.append(time.perf_counter() - between)
    await connection.close()
    return statistics.median(by_hand) * 1_000, statistics.median(ours) * 1_000


async def _by_hand(connection: asyncpg.Connection, id: int) -> None:
    async with connection.transaction():
        left = await connection.fetchval(
            "UPDATE balances SET credits = credits - 1 WHERE id = $1 AND credits >= 1 RETURNING credits", id
        )
        await connection.execute("INSERT INTO spends VALUES ($1, $2, 1, $3)", uuid.uuid4(), id, left)


async def _spend(ledger: Ledger) -> None:
    await ledger.submit(Spend(account_id="acc0", key=f"alone{next(_alone)}", amount=1))


async def seconds_to_verify(ledger: Ledger, entries: int) -> float:
    """How long the proof of the whole ledger takes while one caller goes on spending."""

    async def go_on() -> None:
        while True:
            await _spend(ledger)

    spending = asyncio.create_task(go_on())
    start = time.perf_counter()
    found = await verify(ledger)
    took = time.perf_counter() - start
    spending.cancel()
    with suppress(asyncio.CancelledError):
        await spending
    assert found.entries >= entries, found
    assert not found.differences, found.differences[:3]
    return took
