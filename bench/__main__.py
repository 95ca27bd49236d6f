"""`bench/run`: every case in turns with its comparison, medians of all rounds, one table and one JSON file."""

import argparse
import asyncio
import os
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from bench import alone, others, packages
from bench.callers import draw_callers
from bench.cases import Figures, report
from bench.house import (
    fill,
    ledger_of,
    multiply,
    new_database,
    postgresql,
    postmaster_of,
    processor_seconds,
    quiet,
    spends_per_second,
)
from bench.needs import require_all
from bench.over_http import service
from bench.pair import pair
from tallystick.cli.tuning import calm_garbage_collection
from tallystick.ledger import Ledger

SPREAD = 10_000
PGBENCH_SECONDS = 5
VERIFIED = (10_000, 100)
"""Accounts, and entries of each, of the ledger that is verified."""


class Bench:
    """What is measured, on one PostgreSQL and in one folder. Each method is one group of cases, one round of it."""

    def __init__(self, server: str, folder: Path, count: int, stack: AsyncExitStack) -> None:
        self.server = server
        self.folder = folder
        self.count = count
        self.stack = stack
        self.figures: Figures = defaultdict(list)
        self._urls: dict[str, str] = {}
        self._ledgers: dict[str, Ledger] = {}

    def note(self, name: str, value: float) -> None:
        """Keep one figure of this round."""
        self.figures[name].append(value)
        print(f"  {name}: {value:,.2f}", flush=True)

    async def url(self, name: str) -> str:
        """A database of that name, made when it is first asked for."""
        if name not in self._urls:
            self._urls[name] = await new_database(self.server, name)
        return self._urls[name]

    async def plain(self) -> str:
        """The database of the smallest correct spend."""
        made = "plain" in self._urls
        url = await self.url("plain")
        if not made:
            await others.prepare(url, SPREAD)
        return url

    async def ledger(self, name: str, accounts: int, grants: int = 1) -> Ledger:
        """A ledger of that name with so many accounts, made when it is first asked for."""
        if name not in self._ledgers:
            url = f"sqlite:///{self.folder}/{name}.db" if name.startswith("sqlite") else await self.url(name)
            ledger = self._ledgers[name] = await self.stack.enter_async_context(ledger_of(url))
            await fill(ledger, accounts, grants=grants)
            # The first look at each account is not what is measured.
            await spends_per_second(ledger, accounts, accounts)
            calm_garbage_collection()
        return self._ledgers[name]

    async def postgresql(self) -> None:
        """Against pgbench, and against the way most people write it."""
        plain, spread, hot = await self.plain(), await self.ledger("spread", SPREAD), await self.ledger("hot", 1)
        postmaster = await postmaster_of(self.server)
        for kind, ledger, accounts in (("spread", spread, SPREAD), ("hot", hot, 1)):
            start = processor_seconds(postmaster)
            rate = await asyncio.to_thread(others.pgbench, plain, accounts, PGBENCH_SECONDS)
            between = processor_seconds(postmaster)
            self.note(f"pgbench {kind}", rate)
            self.note(f"pg {kind}", await spends_per_second(ledger, accounts, self.count))
            self.note(f"pgbench {kind} µs", (between - start) / (rate * PGBENCH_SECONDS) * 1e6)
            self.note(f"pg {kind} µs", (processor_seconds(postmaster) - between) / self.count * 1e6)
            self.note(f"orm {kind}", await others.orm(plain, accounts, self.count // 20))

    async def packages(self) -> None:
        """Against what one would install instead."""
        url = await self.url("packages")
        for name, package, accounts in (
            ("credit-ledger", packages.CREDIT_LEDGER, SPREAD),
            ("hf-nostro", packages.NOSTRO, 1_000),
        ):
            for kind, number in (("spread", accounts), ("hot", 1)):
                count = self.count // 20
                self.note(
                    f"{name} {kind}", await asyncio.to_thread(packages.spends_per_second, package, url, number, count)
                )

    async def pair(self) -> None:
        """One process, then two on the same accounts, each time in processes of their own."""
        await self.ledger("spread", SPREAD)
        url = await self.url("spread")
        self.note("pg one process", await pair(url, SPREAD, self.count, 1))
        self.note("pg pair", await pair(url, SPREAD, self.count, 2))

    async def alone(self) -> None:
        """One caller that waits for each answer."""
        plain, hot = await self.plain(), await self.ledger("hot", 1)
        by_hand, ours = await alone.in_turns(plain, hot)
        self.note("by hand alone ms", by_hand)
        self.note("pg alone ms", ours)

    async def grants(self) -> None:
        """Accounts with few and with many open grants."""
        for number in (2, 10, 1_000):
            ledger = await self.ledger(f"grants{number}", 1, grants=number - 1)
            self.note(f"pg {number} grants", await spends_per_second(ledger, 1, self.count // 4))

    async def sqlite(self) -> None:
        """Against one transaction for each spend through plain sqlite3."""
        await quiet(self.server)
        for kind, accounts in (("spread", SPREAD), ("hot", 1)):
            ledger = await self.ledger(f"sqlite_{kind}", accounts)
            file = self.folder / f"{kind}{len(self.figures[f'sqlite3 {kind}'])}.db"
            by_hand = await asyncio.to_thread(others.sqlite_alone, file, accounts, 3 * SPREAD, self.count // 4)
            self.note(f"sqlite3 {kind}", by_hand)
            self.note(f"sqlite {kind}", await spends_per_second(ledger, accounts, self.count))

    async def http(self) -> None:
        """The service on one core, wrk on the other."""
        url = await new_database(self.server, f"http{len(self.figures['http empty'])}")
        async with service(url, SPREAD) as api:
            # The first look at every account is not what is measured.
            await api.batches(SPREAD, 2)
            empty, answered = await api.empty(5), await api.spends(SPREAD, 5)
            self.note("http empty", empty.per_second)
            self.note("http empty µs", empty.processor_us)
            self.note("http spread", answered.per_second)
            self.note("http spread µs", answered.processor_us)
            self.note("http p99 ms", answered.p99_ms)
            self.note("http hot", (await api.spends(1, 5)).per_second)
            self.note("http batch", await api.batches(SPREAD, 5))

    async def verify(self) -> None:
        """Proof of a million entries, while one caller goes on spending."""
        accounts, entries = VERIFIED
        if "verified" not in self._urls:
            ledger = await self.ledger("verified", 1)
            await spends_per_second(ledger, 1, entries - 3)
            await multiply(await self.url("verified"), accounts)
        self.note("verify s", await alone.seconds_to_verify(self._ledgers["verified"], accounts * entries))


GROUPS: dict[str, Callable[[Bench], Awaitable[None]]] = {
    name: getattr(Bench, name)
    for name in ("postgresql", "pair", "alone", "grants", "sqlite", "http", "packages", "verify")
}


async def measure(rounds: int, count: int, groups: list[str]) -> None:
    """All figures, `rounds` times, those that are compared close together in time. Reports after every round."""
    loads = [os.getloadavg()[0]]
    async with AsyncExitStack() as stack:
        server = stack.enter_context(postgresql())
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=Path.cwd()))
        bench = Bench(server, Path(folder), count, stack)
        for turn in range(rounds):
            for group in groups:
                await GROUPS[group](bench)
            loads.append(os.getloadavg()[0])
            report(bench.figures, turn + 1, loads)
        if "postgresql" in groups:
            await draw_callers(await bench.plain(), await bench.ledger("spread", SPREAD), SPREAD, count // 4)


def main() -> None:
    """Measure, print the table, write the figures."""
    parser = argparse.ArgumentParser(
        prog="bench/run", description="Measure the ledger beside what it is compared to."
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured; the median counts")
    parser.add_argument("--count", type=int, default=40_000, help="spends in each measurement of the ledger")
    parser.add_argument("groups", nargs="*", default=list(GROUPS), metavar="GROUP", help=f"of {', '.join(GROUPS)}")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.groups) - set(GROUPS)):
        parser.error(f"there is no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    require_all(asked.groups)
    asyncio.run(measure(asked.rounds, asked.count, asked.groups))


if __name__ == "__main__":
    main()
