"""`bench/webhooks`: thousands of Stripe's events sent to `tallystick serve` while it works them.

Each event is about a purchase of its own, so a lost one is a purchase that is not credited. Prints a table and
writes `bench/webhooks.json`.
"""

import argparse
import asyncio
import json
import os
import platform
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console
from rich.table import Table
from sqlalchemy import Select, func, select

from bench.house import new_database, postgresql
from bench.paid import CREDITS, FIRST_BUYER, KEY, PACK_PRICE, PLUS_PRICE, SECRET, prepare
from stripe_sandbox.delivery import signature
from tallystick.billing import EventStatus, PurchaseStatus
from tallystick.cli.house import bound_socket
from tallystick.database.engine import Database
from tallystick.database.tables import accounts, purchases, stripe_events

ACCOUNTS = 500
AT_ONCE = 50
RESULTS = Path(__file__).parent / "webhooks.json"
SERVE = ("-c", "from tallystick.cli import app; app()", "serve")

Send = Callable[[str], Awaitable[int]]


@dataclass(frozen=True)
class Case:
    """One line of the table. Without `per_second`, as fast as AT_ONCE senders can."""

    database: str
    rush: str
    per_second: float | None


CASES = tuple(
    Case(database, rush, per_second)
    for database in ("SQLite", "PostgreSQL")
    for rush, per_second in (("10,000 a minute", 10_000 / 60), (f"{AT_ONCE} at once", None))
)


@dataclass(frozen=True)
class Answered:
    """What the sender saw. Times in milliseconds, of the answers that were 2xx, from when an event was due."""

    sent: int
    answered: int
    per_second: float
    p50_ms: float
    p99_ms: float
    longest_ms: float


@dataclass(frozen=True)
class Result:
    """One rush on one database, and what had become of its events in the end."""

    database: str
    rush: str
    answers: Answered
    stored: int
    credited: int
    lost: int
    done_after_seconds: float


class Connections:
    """Keep-alive connections to one place, as many as are needed at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, body: str) -> int:
        """Send one event, signed now. Returns the status of the answer."""
        reader, writer = await self._connection()
        raw = body.encode()
        writer.write(
            b"POST /api/stripe/webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            + f"Content-Length: {len(raw)}\r\n".encode()
            + f"Stripe-Signature: {signature(raw, SECRET, int(time.time()))}\r\n\r\n".encode()
            + raw
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        self._idle.append((time.monotonic(), reader, writer))
        return int(head.split(b" ", 2)[1])

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._idle:
            since, reader, writer = self._idle.pop()
            # The service closes a connection that nobody uses for five seconds.
            if time.monotonic() - since < 2:
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self._port)

    def close(self) -> None:
        """Close those that are idle."""
        for _, _, writer in self._idle:
            writer.close()


async def in_a_stream(bodies: list[str], send: Send, per_second: float) -> Answered:
    """Each event at its own moment, whether or not the ones before it have been answered."""
    start = time.perf_counter()

    async def one(n: int, body: str) -> float | None:
        due = start + n / per_second
        await asyncio.sleep(due - time.perf_counter())
        return await _timed(send, body, due)

    return _answered(await asyncio.gather(*(one(n, body) for n, body in enumerate(bodies))), start)


async def all_at_once(bodies: list[str], send: Send) -> Answered:
    """AT_ONCE events under way at any time, the next one as soon as one is answered."""
    todo, times = iter(bodies), list[float | None]()
    start = time.perf_counter()

    async def sender() -> None:
        for body in todo:
            times.append(await _timed(send, body, time.perf_counter()))

    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    return _answered(times, start)


async def _timed(send: Send, body: str, since: float) -> float | None:
    status = await send(body)
    return 1_000 * (time.perf_counter() - since) if 200 <= status < 300 else None


def _answered(times: list[float | None], start: float) -> Answered:
    took = time.perf_counter() - start
    good = sorted(time for time in times if time is not None)
    if not good:
        raise SystemExit("Not one event was taken.")
    return Answered(
        sent=len(times),
        answered=len(good),
        per_second=len(times) / took,
        p50_ms=good[len(good) // 2],
        p99_ms=good[len(good) * 99 // 100],
        longest_ms=good[-1],
    )


@asynccontextmanager
async def running(*command: str, port: int, folder: Path, **environment: str) -> AsyncIterator[None]:
    """A process of its own, from when it listens on `port` to when it has stopped cleanly."""
    with (folder / f"{port}.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, env={**os.environ, **environment}, stdout=log, stderr=log
        )
    try:
        async with httpx2.AsyncClient() as http:
            while True:
                if process.returncode is not None:
                    raise SystemExit((folder / f"{port}.log").read_text())
                try:
                    await http.get(f"http://127.0.0.1:{port}/healthz")
                    break
                except httpx2.TransportError:
                    await asyncio.sleep(0.05)
        yield
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def measure(case: Case, url: str, folder: Path, ports: tuple[int, int], asked: argparse.Namespace) -> Result:
    """Prepare purchases, send their events, wait until all are worked, and count."""
    file = folder / f"{secrets.token_hex(4)}.db"
    bodies = await prepare(url, file, asked.count, ACCOUNTS)
    stripe_port, port = ports
    settings = {
        "DATABASE_URL": url,
        "STRIPE_SECRET_KEY": KEY,
        "STRIPE_WEBHOOK_SECRET": SECRET,
        "STRIPE_CREDIT_PACK_200_PRICE_ID": PACK_PRICE,
        "STRIPE_PLUS_PRICE_ID": PLUS_PRICE,
        "STRIPE_API_BASE": f"http://127.0.0.1:{stripe_port}",
        "SECRET_KEY": secrets.token_hex(20),
        "PORT": str(port),
    }
    stripe = ("-m", "bench.stripe", str(file), str(stripe_port), str(asked.stripe_ms))
    database = Database.connect(url)
    pending = select(func.count()).where(stripe_events.c.status == EventStatus.PENDING)
    async with (
        running(*stripe, port=stripe_port, folder=folder),
        running(*SERVE, port=port, folder=folder, **settings),
    ):
        connections = Connections(port)
        start = time.perf_counter()
        if case.per_second is None:
            answers = await all_at_once(bodies, connections.post)
        else:
            answers = await in_a_stream(bodies, connections.post, case.per_second)
        while await number(database, pending):
            await asyncio.sleep(1)
        done_after = time.perf_counter() - start
        connections.close()
    stored = await number(database, select(func.count()).select_from(stripe_events))
    done = (purchases.c.status == PurchaseStatus.CREDITED, purchases.c.account_id != FIRST_BUYER)
    credited = await number(database, select(func.count()).where(*done))
    bonus = await number(database, select(func.sum(accounts.c.bonus_credits)).where(accounts.c.id != FIRST_BUYER))
    await database.close()
    if bonus != credited * CREDITS:
        raise SystemExit(f"{credited:,} purchases are credited, and the ledger has {bonus:,} bonus credits.")
    return Result(case.database, case.rush, answers, stored, credited, answers.sent - credited, done_after)


async def number(database: Database, query: Select[Any]) -> int:
    """The one number that `query` asks for."""
    return int(await database.read(lambda connection: connection.execute(query).scalar_one()))


async def measure_all(asked: argparse.Namespace) -> list[Result]:
    """Every case, on a database of its own."""
    results = []
    with (
        postgresql() as server,
        tempfile.TemporaryDirectory(dir=Path.cwd()) as folder,
        bound_socket(0) as one,
        bound_socket(0) as other,
    ):
        ports = (one.getsockname()[1], other.getsockname()[1])
        for n, case in enumerate(case for case in CASES if asked.only in f"{case.database} {case.rush}"):
            on_sqlite = case.database == "SQLite"
            url = f"sqlite:///{folder}/{n}.db" if on_sqlite else await new_database(server, f"webhooks{n}")
            results.append(await measure(case, url, Path(folder), ports, asked))
    return results


def main() -> None:
    """Measure, print the table, write the figures."""
    parser = argparse.ArgumentParser(prog="bench/webhooks", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="events in each case")
    parser.add_argument("--stripe-ms", type=int, default=0, help="how long each answer of Stripe takes")
    parser.add_argument("--only", default="", help="only the cases in whose name this occurs, like SQLite")
    asked = parser.parse_args()
    results = asyncio.run(measure_all(asked))
    table = Table(title=f"{asked.count:,} events, each worked while the others arrive; times in ms")
    for column in ("database", "rush", "per second", "p50", "p99", "longest", "2xx", "lost", "all worked after"):
        table.add_column(column, justify="left" if column in ("database", "rush") else "right")
    for result in results:
        seen = result.answers
        times = (f"{ms:,.1f}" for ms in (seen.p50_ms, seen.p99_ms, seen.longest_ms))
        counts = (f"{n:,}" for n in (seen.answered, result.lost))
        rate, worked = f"{seen.per_second:,.0f}", f"{result.done_after_seconds:,.0f} s"
        table.add_row(result.database, result.rush, rate, *times, *counts, worked)
    Console(width=120).print(table)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    cases = [asdict(result) for result in results]
    RESULTS.write_text(json.dumps({"machine": machine, "asked": vars(asked), "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
