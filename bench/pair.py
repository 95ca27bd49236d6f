"""Processes that work on the same accounts at once."""

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process


async def pair(url: str, accounts: int, count: int, processes: int) -> float:
    """Spends a second of so many processes together."""
    spenders = [await _start(url, accounts, count // processes) for _ in range(processes)]
    for spender in spenders:
        await _line_of(spender)
    start = time.perf_counter()
    for spender in spenders:
        assert spender.stdin is not None
        spender.stdin.write(b"go\n")
    for spender in spenders:
        await _line_of(spender)
    took = time.perf_counter() - start
    await asyncio.gather(*(spender.wait() for spender in spenders))
    return count / took


async def _start(url: str, accounts: int, count: int) -> Process:
    """A process of its own that says when it is ready, spends when it is told to, and says when it is done."""
    command = (sys.executable, "-m", "bench.spender", url, str(accounts), str(count))
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)


async def _line_of(process: Process) -> None:
    """Wait until `process` has said something. Ends the bench when it has died."""
    assert process.stdout is not None
    if not await process.stdout.readline():
        raise SystemExit(f"A spender stopped with exit code {await process.wait()}.")
