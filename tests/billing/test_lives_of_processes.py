"""S27: the events of some lives arrive at several processes, of which now and then one is killed in the middle of its work
and started again. It ends as if each had come at once and in its order, as `test_lives` has it for many more lives.
"""

import asyncio
import json
import random
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from stripe_sandbox import SandboxServer
from tallystick.clock import Clock
from tests.billing.conftest import SECRET, signature
from tests.billing.lifecycle import T0
from tests.billing.listener import TICK
from tests.billing.test_lives import some_lives
from tests.billing.worlds import Event, Process, live

PROCESSES = 3


@dataclass
class Listeners:
    """Some processes on one database, and by how much their time is ahead of that at Stripe."""

    database_url: str
    api_base: str
    clock: Clock
    chance: random.Random
    ahead: timedelta = timedelta(0)
    deaths: int = 0
    all: list["Listener"] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return self.clock() + self.ahead

    async def die(self, one: "Listener") -> None:
        """One is killed in the middle of its work, and what it had on lease becomes free by the clock on the wall."""
        await asyncio.sleep(self.chance.random() * 0.2)
        await one.kill()
        self.deaths += 1
        self.ahead += TICK
        await asyncio.gather(*(other.hear_the_time() for other in self.all))
        await one.start()


class Listener:
    """One of them, that may die while it works, and is started again."""

    def __init__(self, listeners: Listeners, http: httpx2.AsyncClient, port: int) -> None:
        self._listeners = listeners
        self._http = http
        self._port = port

    async def start(self) -> None:
        where = (self._listeners.database_url, self._listeners.api_base, str(self._port), SECRET)
        self._process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.billing.listener", *where)
        self._url = f"http://127.0.0.1:{self._port}"
        while True:
            assert self._process.returncode is None, "the listener did not start"
            try:
                await self.post("/time")
                break
            except httpx2.TransportError:
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        assert await self._process.wait() == -signal.SIGKILL

    async def hear_the_time(self) -> None:
        # Who is dead hears it as soon as it is started again.
        with suppress(httpx2.TransportError):
            await self.post("/time")

    async def take(self, events: Sequence[Event]) -> None:
        for event in events:
            body = json.dumps(event).encode()
            signed = signature(body, SECRET, int(self._listeners.now.timestamp()))
            await self.post("/webhook", body, {"stripe-signature": signed})

    async def work(self) -> None:
        if self._listeners.chance.random() < 0.8:
            await self.post("/work")
            return
        dying = asyncio.create_task(self._listeners.die(self))
        with suppress(httpx2.TransportError):
            await self.post("/work")
        await dying
        await self.post("/work")

    async def post(self, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        now = {"now": self._listeners.now.isoformat()}
        answer = await self._http.post(self._url + path, content=body, headers={**now, **(headers or {})})
        assert answer.status_code == 200


async def test_s27_lives_of_which_several_processes_hear_that_are_killed_end_as_they_would_have_in_order(
    sqlite_template: Path,
    tmp_path: Path,
    database_url: str,
    new_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stripe_sandbox.sandbox.time", SimpleNamespace(time=T0.timestamp))
    chance = random.Random(27)
    heard: list[Listeners] = []

    @asynccontextmanager
    async def killed(url: str, server: SandboxServer, clock: Clock) -> AsyncIterator[Sequence[Process]]:
        listeners = Listeners(url, server.url, clock, chance)
        heard.append(listeners)
        async with httpx2.AsyncClient(timeout=60) as http:
            listeners.all += [Listener(listeners, http, new_port()) for _ in range(PROCESSES)]
            await asyncio.gather(*(listener.start() for listener in listeners.all))
            try:
                yield listeners.all
            finally:
                await asyncio.gather(*(listener.kill() for listener in listeners.all))

    at_once = shutil.copy(sqlite_template, tmp_path / "at once.db")
    async with asyncio.timeout(300):
        await live(some_lives(chance), 5, (f"sqlite:///{at_once}", database_url), killed, chance)
    assert heard[0].deaths > 0
