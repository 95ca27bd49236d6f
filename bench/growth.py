"""`bench/growth`: what a spend costs, and what memory holds, while a ledger grows to millions of entries.

Prints a line for every step and writes `bench/growth.json` and the curve `docs/growth.svg`.
"""

import argparse
import asyncio
import json
import resource
import statistics
from pathlib import Path

import asyncpg

from bench.house import fill, ledger_of, new_database, postgresql, spends_per_second
from tallystick.cli.tuning import calm_garbage_collection

ACCOUNTS = 10_000
HERE = Path(__file__).parent
PICTURE = HERE.parent / "docs" / "growth.svg"
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


async def grow(entries: int, steps: int) -> list[Step]:
    """Spend until there are so many entries; for each step, entries, spends a second, memory and disk."""
    found: list[Step] = []
    with postgresql() as server:
        url = await new_database(server, "growing")
        async with ledger_of(url) as ledger:
            await fill(ledger, ACCOUNTS)
            calm_garbage_collection()
            await spends_per_second(ledger, ACCOUNTS, ACCOUNTS)
            written = 3 * ACCOUNTS
            for step in range(steps):
                # The first figures are those of a small ledger, several of them since one alone is chance.
                count = 10_000 if step < 3 else (entries - written) // (steps - step)
                rate = await spends_per_second(ledger, ACCOUNTS, count)
                written += count
                disk = await megabytes(url)
                found.append({"entries": written, "per_second": rate, "resident_mb": resident_mb(), "disk_mb": disk})
                print(
                    f"{written:>12,} entries  {rate:>8,.0f} spends a second  {resident_mb():>6,.0f} MB of memory  "
                    f"{disk:>8,.0f} MB on the disk",
                    flush=True,
                )
    return found


def picture(steps: list[Step]) -> str:
    """The curve of spends a second over entries, as SVG that follows the reader's colours."""
    width, height, left, top = 640, 260, 64, 24
    most, fastest = steps[-1]["entries"], max(step["per_second"] for step in steps) * 1.1

    def at(step: Step) -> tuple[float, float]:
        return left + step["entries"] / most * (width - left - 16), height - 40 - step["per_second"] / fastest * (
            height - 40 - top
        )

    line = " ".join(f"{x:.0f},{y:.0f}" for x, y in map(at, steps))
    marks = "".join(
        f'<text x="{left - 8}" y="{height - 40 - share * (height - 40 - top) + 4:.0f}" text-anchor="end">'
        f"{share * fastest:,.0f}</text>"
        for share in (0, 0.5, 1)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12" fill="currentColor" role="img" aria-label="Spends a second while the ledger grows">'
        f'<text x="{left}" y="14">spends a second, 256 callers, 10,000 accounts, PostgreSQL</text>{marks}'
        f'<path d="M{left} {top}V{height - 40}H{width - 16}" fill="none" stroke="currentColor" opacity=".4"/>'
        f'<polyline points="{line}" fill="none" stroke="#3b6fd4" stroke-width="2"/>'
        f'<text x="{left}" y="{height - 22}">0</text>'
        f'<text x="{width - 16}" y="{height - 22}" text-anchor="end">{most:,.0f} entries</text></svg>\n'
    )


def main() -> None:
    """Grow, print, write."""
    parser = argparse.ArgumentParser(prog="bench/growth", description=__doc__)
    parser.add_argument("--entries", type=int, default=5_000_000)
    parser.add_argument("--steps", type=int, default=25)
    asked = parser.parse_args()
    steps = asyncio.run(grow(asked.entries, asked.steps))
    small, large = ([step["per_second"] for step in part] for part in (steps[:3], steps[-3:]))
    cost = statistics.median(small) / statistics.median(large)
    memory = steps[-1]["resident_mb"] - steps[len(steps) // 5]["resident_mb"]
    print(f"A spend at the end costs {cost:.2f} of one at the beginning (at most 1.20).")
    print(f"Memory grew by {memory:,.0f} MB over the last four fifths.")
    (HERE / "growth.json").write_text(json.dumps(steps, indent=1) + "\n")
    PICTURE.write_text(picture(steps))


if __name__ == "__main__":
    main()
