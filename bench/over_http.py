"""The HTTP cases: wrk on one core, the service on the other."""

import asyncio
import re
import subprocess
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.house import processor_seconds_of

CONNECTIONS = 64
_SPEND = """
local n = 0
local run = "{run}"
request = function()
  n = n + 1
  wrk.headers["Idempotency-Key"] = run .. n
  return wrk.format("POST", "/v1/accounts/acc" .. (n * 7919 % {accounts}) .. "/spends", nil, '{{"amount":1}}')
end
"""
_BATCH = """
local n = 0
local run = "{run}"
request = function()
  local spends = {{}}
  for i = 1, 100 do
    n = n + 1
    spends[i] = '{{"account_id":"acc' .. (n * 7919 % {accounts}) .. '","key":"' .. run .. n .. '","amount":1}}'
  end
  return wrk.format("POST", "/v1/spends:batch", nil, '{{"spends":[' .. table.concat(spends, ",") .. ']}}')
end
"""
_HEADERS = 'wrk.headers["Authorization"] = "Bearer {secret}"\nwrk.headers["Content-Type"] = "application/json"\n'


@dataclass(frozen=True)
class Answered:
    """What wrk saw: answers a second, and the time within which 99 of 100 came, in milliseconds.

    `processor_us` is the service's own processor time for each answer, in microseconds.
    """

    per_second: float
    p99_ms: float
    processor_us: float


class Service:
    """A service under measurement."""

    def __init__(self, process: int, address: str, secret: str) -> None:
        self._process = process
        self._address = address
        self._secret = secret
        self._runs = 0

    async def empty(self, seconds: int) -> Answered:
        """The empty JSON route."""
        return await self._wrk("", "/empty", seconds)

    async def spends(self, accounts: int, seconds: int) -> Answered:
        """One spend for each request, over so many accounts."""
        return await self._wrk(_SPEND.format(accounts=accounts, run=self._run()), "", seconds)

    async def batches(self, accounts: int, seconds: int) -> float:
        """Batches of 100 spends; returns spends a second."""
        return 100 * (await self._wrk(_BATCH.format(accounts=accounts, run=self._run()), "", seconds)).per_second

    def _run(self) -> str:
        self._runs += 1
        return f"run{self._runs}-"

    async def _wrk(self, script: str, path: str, seconds: int) -> Answered:
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
            file.write(_HEADERS.format(secret=self._secret) + script)
            file.flush()
            command = [
                "taskset",
                "-c",
                "1",
                "wrk",
                "-t1",
                f"-c{CONNECTIONS}",
                f"-d{seconds}s",
                "--latency",
                "--timeout=30s",
            ]
            start = processor_seconds_of(self._process)
            done = await asyncio.to_thread(
                subprocess.run,
                [*command, "-s", file.name, self._address + path],
                capture_output=True,
                text=True,
                check=True,
            )
        used = processor_seconds_of(self._process) - start
        answers = re.search(r"(\d+) requests in", done.stdout)
        rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
        p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", done.stdout)
        if (
            rate is None
            or p99 is None
            or answers is None
            or "Non-2xx" in done.stdout
            or "Socket errors" in done.stdout
        ):
            raise SystemExit(f"wrk saw something else than answers:\n{done.stdout}{done.stderr}")
        return Answered(
            float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1, "s": 1_000}[p99[2]], used / int(answers[1]) * 1e6
        )


@asynccontextmanager
async def service(url: str, accounts: int) -> AsyncIterator[Service]:
    """The service in a process of its own, stopped at the end."""
    command = (sys.executable, "-m", "bench.server", url, str(accounts))
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode().split()
        if len(line) != 2:
            raise SystemExit(f"The service did not start: exit code {await process.wait()}.")
        yield Service(process.pid, *line)
    finally:
        process.stdin.close()
        await process.wait()
