"""Work that comes back, for as long as the service runs."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog

from tallystick.domain.errors import TallystickError
from tallystick.logs import traceback_of

log = structlog.get_logger(__name__)


async def periodically(
    name: str, work: Callable[[], Awaitable[Any]], seconds: float, stopping: asyncio.Event, *, first_in: float = 0
) -> None:
    """Do `work` every so many seconds until `stopping` is set; what stops it once is logged, and it is tried again.

    `first_in` are the seconds before the first time.
    """
    wait = first_in
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), wait)
        if stopping.is_set():
            return
        try:
            await work()
        except TallystickError as error:
            log.warning("postponed", work=name, code=error.code, reason=error.message)
        except Exception as error:
            # A mistake in one round must not end all rounds to come.
            log.error("stumbled", work=name, exception=traceback_of(error))
        wait = seconds


async def broken_off(work: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
    """Do `work`, but break it off as soon as `stopping` is set.

    For what takes long, may end anywhere, and goes on from there the next time.
    """
    working, stopped = asyncio.ensure_future(work()), asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        if not working.done():
            working.cancel()
    with suppress(asyncio.CancelledError):
        await working
