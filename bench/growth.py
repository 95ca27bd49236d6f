"""`bench/growth`: what a spend costs, and what memory holds, while a ledger grows to millions of entries and accounts.

A ledger that stays small is measured in turns with the growing one, so that a busy machine is busy for both.
Prints a line for every step, writes `bench/growth.json` and the curves `docs/growth.svg` and `docs/memory.svg`.
"""

import argparse
import asyncio
import json
import resource
import statistics
from dataclasses import asdict, dataclass
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
    postmaster_of,
    processor_seconds,
    spends_per_second,
)
from tallystick.cli.tuning import calm_garbage_collection
from tallystick.ledger import Ledger
from tallystick.ledger.memory import REMEMBERED

ACCOUNTS = 10_000
FEW_ACCOUNTS = 1_000
TURNS = 3
SAMPLE = 20_000
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


async def grow(server: str, entries: int, steps: int, callers: int) -> list[Step]:
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
                cost = await in_turns(server, *pair, TURNS, callers)
            disk = await megabytes(url)
            found.append(
                {"entries": written, **asdict(cost), "resident_mb": resident_mb(), "disk_mb": disk},
            )
            print(
                f"{written:>12,} entries  a spend takes {cost}  "
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


@dataclass(frozen=True)
class Cost:
    """What a spend takes of one in a small ledger: of the processors' time, and of the time until it is through.

    The first is that of this process, which is the service and its callers, and of all of PostgreSQL's together. It is
    what has to be paid for. The second is also made of what nobody uses: while both sides wait for each other, for the
    disk, or for a core that is busy while another one is not; the more callers, the less there is of that.
    """

    processor: float
    time: float
    per_second: float

    def __str__(self) -> str:
        return f"{self.processor:.2f} of the processor and {self.time:.2f} of the time"


async def in_turns(server: str, small: Load, large: Load, turns: int, callers: int) -> Cost:
    """What a spend in `large` takes of one in `small`: of the processors in all turns, of time the median turn."""
    postmaster = await postmaster_of(server)
    rates: dict[Load, list[float]] = {small: [], large: []}
    seconds = dict.fromkeys(rates, 0.0)
    for load in [small, large] * turns:
        before = processor_seconds(postmaster)
        ledger, accounts, apart = load
        rates[load].append(await spends_per_second(ledger, accounts, SAMPLE, callers, apart=apart))
        seconds[load] += processor_seconds(postmaster) - before
    times = [first / second for first, second in zip(rates[small], rates[large], strict=True)]
    return Cost(seconds[large] / seconds[small], statistics.median(times), statistics.median(rates[large]))


async def many_accounts(server: str, accounts: int, turns: int, callers: int) -> dict[str, Cost]:
    """What a spend takes among so many accounts, of one among a thousand: while a thousand of them are busy, while all
    are, and while all are and each has to be read, since they are more than the process remembers.
    """
    small_url, url = await new_database(server, "few_accounts"), await new_database(server, "many_accounts")
    found: dict[str, Cost] = {}
    async with ledger_of(small_url) as small:
        await fill(small, FEW_ACCOUNTS)
        few = (small, FEW_ACCOUNTS, 1)
        async with ledger_of(url, remembered=accounts) as large:
            await fill(large, 1)
            await multiply(url, accounts)
            calm_garbage_collection()
            busy, everyone = (large, FEW_ACCOUNTS, accounts // FEW_ACCOUNTS), (large, accounts, 1)
            await settled(server, SETTLING, few, busy)
            found["a thousand of them"] = await in_turns(server, few, busy, turns, callers)
            await settled(server, accounts, everyone)
            found["all of them"] = await in_turns(server, few, everyone, turns, callers)
        async with ledger_of(url, create=False) as forgetful:
            everyone = (forgetful, accounts, 1)
            await settled(server, accounts, everyone)
            found[f"all of them, {REMEMBERED:,} remembered"] = await in_turns(server, few, everyone, turns, callers)
    return found


def draw(steps: list[Step]) -> None:
    """The curves for the docs."""
    costs = [
        Curve(name, [(step["entries"], step[what]) for step in steps])
        for name, what in (("of the processor", "processor"), ("of the time", "time"))
    ]
    limit = Curve("at most", [(steps[0]["entries"], AT_MOST), (steps[-1]["entries"], AT_MOST)], is_limit=True)
    title = "What a spend takes of one in a ledger that stays small"
    (DOCS / "growth.svg").write_text(chart(title, "entries", [*costs, limit]))
    memory = Curve("one process", [(step["entries"], step["resident_mb"]) for step in steps])
    (DOCS / "memory.svg").write_text(chart("Memory of the process, in MB", "entries", [memory]))


async def measure(asked: argparse.Namespace) -> tuple[list[Step], dict[str, Cost]]:
    """Both kinds of growth, on one server."""
    accounts = asked.accounts
    # Checkpoints by the clock, not whenever there is 1 GB of log.
    with postgresql(shared_buffers=asked.shared_buffers, max_wal_size="16GB") as server:
        steps_taken = await grow(server, asked.entries, asked.steps, asked.callers)
        among = await many_accounts(server, accounts, 3 * TURNS, asked.callers)
        print(f"Among {accounts:,} accounts, of a spend among {FEW_ACCOUNTS:,} (at most {AT_MOST}):")
        for which, cost in among.items():
            print(f"  {which}: {cost}", flush=True)
        return steps_taken, among


def main() -> None:
    """Grow, print, write."""
    parser = argparse.ArgumentParser(prog="bench/growth", description=__doc__)
    parser.add_argument("--entries", type=int, default=5_000_000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--callers", type=int, default=1_024, help="how many spend at once while a cost is measured")
    parser.add_argument("--shared-buffers", default="1GB", help="the memory PostgreSQL keeps pages in")
    asked = parser.parse_args()
    steps, among = asyncio.run(measure(asked))
    late = steps[-(len(steps) // 5 or 1) :]
    cost = Cost(*(statistics.median(step[what] for step in late) for what in ("processor", "time", "per_second")))
    memory = steps[-1]["resident_mb"] - steps[len(steps) // 5]["resident_mb"]
    print(f"At {steps[-1]['entries']:,} entries a spend takes {cost} of one in a small ledger (at most {AT_MOST}).")
    print(f"Memory grew by {memory:,.0f} MB over the last four fifths.")
    found = {
        "machine": machine(),
        "shared_buffers": asked.shared_buffers,
        "callers": asked.callers,
        "cost": asdict(cost),
        "memory_grew_mb": memory,
        "among_accounts": {"accounts": asked.accounts} | {kind: asdict(one) for kind, one in among.items()},
        "steps": steps,
    }
    (HERE / "growth.json").write_text(json.dumps(found, indent=1) + "\n")
    draw(steps)


if __name__ == "__main__":
    main()
