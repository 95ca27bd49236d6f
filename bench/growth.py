"""`bench/growth`: what a spend costs, and what memory holds, while a ledger grows to millions of entries and accounts.

A ledger that stays small is measured in turns with the growing one, so that a busy machine is busy for both.
Prints a line for every step, writes `bench/growth.json` and the curves `docs/growth.svg` and `docs/memory.svg`.
"""

import argparse
import asyncio
import json
import resource
import statistics
from pathlib import Path

import asyncpg

from bench.curves import Curve, chart
from bench.house import (
    checkpoint,
    fill,
    ledger_of,
    machine,
    multiply,
    new_database,
    postgresql,
    spends_per_second,
)
from tallystick.cli.tuning import calm_garbage_collection
from tallystick.ledger import Ledger

ACCOUNTS = 10_000
FEW_ACCOUNTS = 1_000
TURNS = 3
SAMPLE = 10_000
SETTLING = 100_000
AT_MOST = 1.2
HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
Step = dict[str, float]


def resident_mb() -> float:
    """What this process holds now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


async def megabytes(url: str) -> float:
    """What the database takes on the disk, in MB."""
    connection = await asyncpg.connect(url)
    size: int = await connection.fetchval("SELECT pg_database_size(current_database())")
    await connection.close()
    return size / 1e6


async def grow(server: str, entries: int, steps: int) -> list[Step]:
    """Spend until there are so many entries. For each step: entries, what a spend costs, memory and disk."""
    found: list[Step] = []
    url = await new_database(server, "growing")
    async with ledger_of(url) as ledger:
        await fill(ledger, ACCOUNTS)
        calm_garbage_collection()
        written = 2 * ACCOUNTS
        for step in range(1, steps + 1):
            todo = round(entries * step / steps) - written - (TURNS + 1) * SAMPLE
            written += max(0, todo) + (TURNS + 1) * SAMPLE
            if todo > 0:
                await spends_per_second(ledger, ACCOUNTS, todo)
            # A new one each time: what it is measured with would make it grow, too.
            async with ledger_of(await new_database(server, f"small{step}")) as small:
                await fill(small, ACCOUNTS)
                pair = ((small, ACCOUNTS, 1), (ledger, ACCOUNTS, 1))
                await settled(server, SAMPLE, *pair)
                ratios, rate = await in_turns(*pair, TURNS)
            disk = await megabytes(url)
            found.append(
                {
                    "entries": written,
                    "cost": statistics.median(ratios),
                    "per_second": rate,
                    "resident_mb": resident_mb(),
                    "disk_mb": disk,
                }
            )
            print(
                f"{written:>12,} entries  a spend costs {found[-1]['cost']:.2f} of one in a small ledger  "
                f"{found[-1]['resident_mb']:>6,.0f} MB of memory  {disk:>8,.0f} MB on the disk",
                flush=True,
            )
    return found


Load = tuple[Ledger, int, int]
"""A ledger, how many of its accounts spend, and how far apart these are."""


async def settled(server: str, count: int, *loads: Load) -> None:
    """Spend so often that what only comes once is left behind.

    After a checkpoint PostgreSQL writes each page to its log whole, and rows that were copied onto full pages move to
    others as they are changed.
    """
    await checkpoint(server)
    for ledger, accounts, apart in loads:
        await spends_per_second(ledger, accounts, count, apart=apart)


async def in_turns(small: Load, large: Load, turns: int) -> tuple[list[float], float]:
    """What a spend in `large` costs of one in `small`, for each turn, and the median of spends a second."""
    ratios, rates = [], []
    for _ in range(turns):
        first, second = [
            await spends_per_second(ledger, accounts, SAMPLE, apart=apart)
            for ledger, accounts, apart in (small, large)
        ]
        ratios.append(first / second)
        rates.append(second)
    return ratios, statistics.median(rates)


async def many_accounts(server: str, accounts: int, turns: int) -> dict[str, float]:
    """What a spend costs among so many accounts, beside one among a thousand.

    `busy` is that of a thousand accounts scattered among all; `all` that of ever other ones, which are more
    than a process remembers, so that each has to be read.
    """
    small_url, url = await new_database(server, "few_accounts"), await new_database(server, "many_accounts")
    async with ledger_of(small_url) as small, ledger_of(url) as large:
        await fill(small, FEW_ACCOUNTS)
        await fill(large, 1)
        await multiply(url, accounts)
        calm_garbage_collection()
        apart = accounts // FEW_ACCOUNTS
        few, scattered, every_one = (small, FEW_ACCOUNTS, 1), (large, FEW_ACCOUNTS, apart), (large, accounts, 1)
        await settled(server, SETTLING, few, scattered)
        busy, _ = await in_turns(few, scattered, turns)
        await settled(server, SETTLING, few, every_one)
        everyone, _ = await in_turns(few, every_one, turns)
    return {"accounts": accounts, "busy": statistics.median(busy), "all": statistics.median(everyone)}


def draw(steps: list[Step]) -> None:
    """The curves for the docs."""
    costs = Curve("growing ledger", [(step["entries"], step["cost"]) for step in steps])
    limit = Curve("at most", [(steps[0]["entries"], AT_MOST), (steps[-1]["entries"], AT_MOST)], is_limit=True)
    title = "What a spend costs, beside one in a ledger that stays small"
    (DOCS / "growth.svg").write_text(chart(title, "entries", [costs, limit]))
    memory = Curve("one process", [(step["entries"], step["resident_mb"]) for step in steps])
    (DOCS / "memory.svg").write_text(chart("Memory of the process, in MB", "entries", [memory]))


async def measure(
    entries: int, steps: int, accounts: int, shared_buffers: str
) -> tuple[list[Step], dict[str, float]]:
    """Both kinds of growth, on one server."""
    with postgresql(shared_buffers) as server:
        steps_taken = await grow(server, entries, steps)
        among = await many_accounts(server, accounts, 3 * TURNS)
        print(
            f"Among {accounts:,} accounts a spend costs {among['busy']:.2f} of one among {FEW_ACCOUNTS:,} while a "
            f"thousand of them are busy (at most {AT_MOST}), {among['all']:.2f} while all are.",
            flush=True,
        )
        return steps_taken, among


def main() -> None:
    """Grow, print, write."""
    parser = argparse.ArgumentParser(prog="bench/growth", description=__doc__)
    parser.add_argument("--entries", type=int, default=5_000_000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--shared-buffers", default="1GB", help="the memory PostgreSQL keeps pages in")
    asked = parser.parse_args()
    steps, among = asyncio.run(measure(asked.entries, asked.steps, asked.accounts, asked.shared_buffers))
    cost = statistics.median(step["cost"] for step in steps[-(len(steps) // 5 or 1) :])
    memory = steps[-1]["resident_mb"] - steps[len(steps) // 5]["resident_mb"]
    print(
        f"At {steps[-1]['entries']:,} entries a spend costs {cost:.2f} of one in a small ledger (at most {AT_MOST})."
    )
    print(f"Memory grew by {memory:,.0f} MB over the last four fifths.")
    found = {
        "machine": machine(),
        "shared_buffers": asked.shared_buffers,
        "cost": cost,
        "memory_grew_mb": memory,
        "among_accounts": among,
        "steps": steps,
    }
    (HERE / "growth.json").write_text(json.dumps(found, indent=1) + "\n")
    draw(steps)


if __name__ == "__main__":
    main()
