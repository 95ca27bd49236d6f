"""S8, S21, S27: killed with SIGKILL at any point of a purchase and started again, it is credited exactly once."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from stripe_sandbox import Sandbox, SandboxServer
from tallystick.billing import EventStatus, PurchaseStatus
from tests.billing.conftest import SECRET, Shop, make_shop, seed
from tests.billing.mortal import CATALOGUE, make_app
from tests.serving import serving

POINTS = [
    "StripeApi.create_customer:after",
    "StripeApi.create_session:after",
    "Purchases.add:after",
    "InboxTable.write:before",
    "InboxTable.write:after",
    "InboxTable.lease:after",
    "Ledger.submit:before",
    "Ledger.submit:after",
    "Purchases.move:after",
]


@asynccontextmanager
async def mortal(shop: Shop, database_url: str, port: int, point: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The service in a process of its own, which will die at `point`."""
    arguments = (database_url, shop.url, str(port), SECRET, point)
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.billing.mortal", *arguments)
    try:
        async with httpx2.AsyncClient() as http:
            while process.returncode is None:
                try:
                    await http.get(f"http://127.0.0.1:{port}/")
                    break
                except httpx2.TransportError:
                    await asyncio.sleep(0.05)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def restarted(shop: Shop, port: int) -> AsyncIterator[None]:
    """The service again: nothing is left of the dead one but its database."""
    stopping = asyncio.Event()
    async with serving(make_app(shop.billing), port):
        working = asyncio.create_task(shop.billing.run(stopping))
        yield
        stopping.set()
        await working


async def buy(shop: Shop, port: int) -> bool:
    """Buy and pay. False when the service died before it could say where to pay."""
    async with httpx2.AsyncClient(timeout=20) as http:
        try:
            answer = await http.post(f"http://127.0.0.1:{port}/buy")
        except httpx2.TransportError:
            return False
    assert await shop.pay(answer.json()["url"]) == 303
    return True


async def settled(shop: Shop) -> bool:
    """Whether every event has arrived and been acted on."""
    undelivered = [e for e in shop.sandbox.events("checkout.session.completed") if e["pending_webhooks"]]
    return not undelivered and not await shop.billing.latest_events(10, EventStatus.PENDING)


@pytest.mark.parametrize("point", POINTS)
async def test_s8_s21_killed_at_any_point_a_purchase_is_credited_exactly_once(
    database_url: str, port: int, point: str
) -> None:
    async with (
        asyncio.timeout(60),
        SandboxServer(Sandbox(), retry_seconds=(0.1,) * 500) as server,
        make_shop(database_url, CATALOGUE, server) as shop,
    ):
        seed(server.sandbox)
        server.sandbox.register_webhook(f"http://127.0.0.1:{port}/webhook", SECRET)
        await shop.open()
        async with mortal(shop, database_url, port, point) as process:
            paid = await buy(shop, port)
            assert await process.wait() == -signal.SIGKILL
        async with restarted(shop, port):
            assert paid or await buy(shop, port)
            while not await settled(shop):
                await asyncio.sleep(0.05)
        assert [purchase.status for purchase in await shop.billing.purchases("acme")] == [PurchaseStatus.CREDITED]
        assert (await shop.account()).bonus == 200
        assert await shop.billing.latest_events(10, EventStatus.PARKED) == []
        await shop.assert_proven()
