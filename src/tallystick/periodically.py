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
