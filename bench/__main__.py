"""`bench/run`: every case in turns with its comparison, medians of all rounds, one table and one JSON file."""

import argparse
import asyncio
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import others, packages
from bench.house import fill, ledger_of, new_database, postgresql, spends_per_second
from bench.over_http import service
from tallystick.cli.tuning import calm_garbage_collection
from tallystick.domain.commands import Spend
from tallystick.ledger import Ledger

SPREAD = 10_000
RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Case:
    """One line of the table: a figure, what it is compared to, and the ratio it should reach.

    `at_most` turns the target round, for times.
    """

    name: str
    figure: str
    baseline: str
    target: float
    at_most: bool = False


CASES = (
    Case("PostgreSQL, 10,000 accounts, 256 callers", "pg spread", "pgbench spread", 1.2),
    Case("PostgreSQL, one hot account, 256 callers", "pg hot", "pgbench hot", 10),
    Case("beside an ORM with SELECT FOR UPDATE, 10,000 accounts", "pg spread", "orm spread", 1.2),
    Case("beside an ORM with SELECT FOR UPDATE, one account", "pg hot", "orm hot", 10),
    Case("beside credit-ledger, 10,000 accounts", "pg spread", "credit-ledger spread", 1.2),
    Case("beside credit-ledger, one account", "pg hot", "credit-ledger hot", 10),
    Case("beside hf-nostro, 1,000 accounts", "pg spread", "hf-nostro spread", 1.2),
    Case("beside hf-nostro, one account", "pg hot", "hf-nostro hot", 10),
    Case("two processes on the same accounts, beside one", "pg pair", "pg spread", 0.9),
    Case("one caller alone, p50 in ms", "pg alone ms", "by hand alone ms", 1.3, at_most=True),
    Case("SQLite, 256 callers", "sqlite spread", "sqlite3 alone", 4),
    Case("POST spends over HTTP, beside an empty JSON route", "http spread", "http empty", 0.4),
    Case("POST spends over HTTP, one hot account", "http hot", "pgbench hot", 1.5),
    Case("POST spends over HTTP, p99 in ms", "http p99 ms", "50 ms", 1, at_most=True),
    Case("POST batches of 100, in spends", "http batch", "http spread", 3),
    Case("10 open grants on the account, beside 2", "pg 10 grants", "pg hot", 1 / 1.2),
    Case("1,000 open grants on the account, beside 2", "pg 1000 grants", "pg hot", 1 / 3),
)

Figures = dict[str, list[float]]


async def measure(rounds: int, count: int) -> Figures:
    """All figures, `rounds` times, those that are compared close together in time."""
    program = others.find_pgbench()
    figures: Figures = defaultdict(list)
    with postgresql() as server, tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        spread = await new_database(server, "spread")
        hot = await new_database(server, "hot")
        many = {n: await new_database(server, f"grants{n}") for n in (10, 1_000)}
        plain = await new_database(server, "plain")
        await others.prepare(plain, SPREAD)
        other = await new_database(server, "packages")
        file = f"sqlite:///{folder}/ledger.db"
        async with ledger_of(spread) as a, ledger_of(hot) as b, ledger_of(file) as c:
            await fill(a, SPREAD)
            await fill(b, 1)
            await fill(c, SPREAD)
            for grants, url in many.items():
                async with ledger_of(url) as ledger:
                    await fill(ledger, 1, grants=grants - 1)
            calm_garbage_collection()
            figures["50 ms"] = [50.0]
            for turn in range(rounds):
                note = figures.__getitem__
                note("pgbench spread").append(await asyncio.to_thread(others.pgbench, program, plain, SPREAD, 5))
                note("pg spread").append(await spends_per_second(a, SPREAD, count))
                note("orm spread").append(await others.orm(plain, SPREAD, count // 20))
                note("pgbench hot").append(await asyncio.to_thread(others.pgbench, program, plain, 1, 5))
                note("pg hot").append(await spends_per_second(b, 1, count))
                note("orm hot").append(await others.orm(plain, 1, count // 20))
                for name, package, accounts in (
                    ("credit-ledger", packages.CREDIT_LEDGER, SPREAD),
                    ("hf-nostro", packages.NOSTRO, 1_000),
                ):
                    for kind, number in (("spread", accounts), ("hot", 1)):
                        rate = await asyncio.to_thread(
                            packages.spends_per_second, package, other, number, count // 20
                        )
                        note(f"{name} {kind}").append(rate)
                for grants, url in many.items():
                    async with ledger_of(url, create=False) as ledger:
                        note(f"pg {grants} grants").append(await spends_per_second(ledger, 1, count))
                note("pg pair").append(await pair(spread, count))
                note("by hand alone ms").append(await others.by_hand_alone(plain, 500))
                note("pg alone ms").append(await alone(b, 500))
                note("sqlite3 alone").append(
                    await asyncio.to_thread(others.sqlite_alone, Path(folder) / f"{turn}.db", SPREAD, count // 20)
                )
                note("sqlite spread").append(await spends_per_second(c, SPREAD, count))
                async with service(await new_database(server, f"http{turn}"), SPREAD) as api:
                    # The first look at every account is not what is measured.
                    await api.batches(SPREAD, 2)
                    note("http empty").append((await api.empty(5)).per_second)
                    answered = await api.spends(SPREAD, 5)
                    note("http spread").append(answered.per_second)
                    note("http p99 ms").append(answered.p99_ms)
                    note("http hot").append((await api.spends(1, 5)).per_second)
                    note("http batch").append(await api.batches(SPREAD, 5))
    return figures


async def pair(url: str, count: int) -> float:
    """Spends a second of two processes that work on the same accounts at once."""
    spenders = [await start_spender(url, SPREAD, count // 2) for _ in range(2)]
    for spender in spenders:
        await line_of(spender)
    start = time.perf_counter()
    for spender in spenders:
        assert spender.stdin is not None
        spender.stdin.write(b"go\n")
    for spender in spenders:
        await line_of(spender)
    took = time.perf_counter() - start
    await asyncio.gather(*(spender.wait() for spender in spenders))
    return count / took


async def start_spender(url: str, accounts: int, count: int) -> Process:
    """A process of its own that says when it is ready, spends when it is told to, and says when it is done."""
    command = (sys.executable, "-m", "bench.spender", url, str(accounts), str(count))
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)


async def line_of(process: Process) -> None:
    """Wait until `process` has said something. Ends the bench when it has died."""
    assert process.stdout is not None
    if not await process.stdout.readline():
        raise SystemExit(f"A spender stopped with exit code {await process.wait()}.")


_alone = itertools.count()


async def alone(ledger: Ledger, count: int) -> float:
    """The median time of one spend after the other, in milliseconds."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        await ledger.submit(Spend(account_id="acc0", key=f"alone{next(_alone)}", amount=1))
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1_000


def main() -> None:
    """Measure, print the table, write the figures."""
    parser = argparse.ArgumentParser(
        prog="bench/run", description="Measure the ledger beside what it is compared to."
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured; the median counts")
    parser.add_argument("--count", type=int, default=40_000, help="spends in each measurement of the ledger")
    asked = parser.parse_args()
    figures = asyncio.run(measure(asked.rounds, asked.count))
    medians = {name: statistics.median(values) for name, values in figures.items()}
    table = Table(title=f"{asked.rounds} rounds, medians; spends a second unless said otherwise")
    for column in ("case", "figure", "compared to", "baseline", "ratio", "target", "met"):
        table.add_column(column, justify="left" if column in ("case", "compared to") else "right")
    lines = []
    for case in CASES:
        figure, baseline = medians[case.figure], medians[case.baseline]
        ratio = figure / baseline
        met = ratio <= case.target if case.at_most else ratio >= case.target
        target = f"{'≤' if case.at_most else '≥'} {case.target:.2f}"
        table.add_row(
            case.name, f"{figure:,.2f}" if figure < 100 else f"{figure:,.0f}", case.baseline,
            f"{baseline:,.2f}" if baseline < 100 else f"{baseline:,.0f}", f"{ratio:.2f}", target, "yes" if met else "no",
        )  # fmt: skip
        lines.append({**asdict(case), "value": figure, "baseline_value": baseline, "ratio": ratio, "met": met})
    Console(width=150).print(table)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    RESULTS.write_text(json.dumps({"machine": machine, "cases": lines, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
