"""A sandbox stops when it is told to, whatever it was just about to do."""

import asyncio

import pytest

from stripe_sandbox import Sandbox
from stripe_sandbox.delivery import Deliverer


@pytest.mark.parametrize("steps", range(6))
async def test_delivering_ends_when_it_is_cancelled_just_as_there_is_something_to_deliver(steps: int) -> None:
    deliverer = Deliverer(Sandbox())
    running = asyncio.create_task(deliverer.run())
    for _ in range(20):
        await asyncio.sleep(0)
    deliverer.wake()
    for _ in range(steps):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=5)
    assert done == {running}
    assert running.cancelled()
