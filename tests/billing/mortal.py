"""A small service that can be told where to die: `test_killed` runs it in a process of its own, and then again.

Arguments: database, Stripe's address, port, webhook secret, and where to die, like `Purchases.add:after`.
"""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tallystick.billing import Billing, BillingSettings, inbox
from tallystick.billing.inbox_table import InboxTable
from tallystick.billing.purchases import Purchases
from tallystick.billing.stripe_api import StripeApi
from tallystick.clock import system_clock
from tallystick.database.engine import Database
from tallystick.domain.catalogue import Catalogue, Pack, Plan
from tallystick.ledger import Ledger

OWNERS: dict[str, type] = {kind.__name__: kind for kind in (InboxTable, Ledger, Purchases, StripeApi)}
CATALOGUE = Catalogue(
    [Plan("free", 25), Plan("plus", 500, can_buy=True, stripe_price="price_plusMonthly")],
    [Pack("credits_200", credits=200, price="5.99 USD", stripe_price="price_credits200")],
)


def make_app(billing: Billing) -> Starlette:
    async def buy(_: Request) -> Response:
        started = await billing.start_pack_checkout("acme")
        return JSONResponse({"url": started.url})

    async def webhook(request: Request) -> Response:
        await billing.receive_webhook(await request.body(), request.headers["stripe-signature"])
        return Response()

    return Starlette(routes=[Route("/buy", buy, methods=["POST"]), Route("/webhook", webhook, methods=["POST"])])


def make_deadly(point: str) -> None:
    name, _, when = point.partition(":")
    owner, _, method = name.partition(".")
    original = getattr(OWNERS[owner], method)

    async def deadly(*args: Any, **options: Any) -> Any:
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = await original(*args, **options)
        # An empty list is the inbox with nothing to do yet.
        if result != []:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(OWNERS[owner], method, deadly)


async def main(database_url: str, api_base: str, port: str, secret: str) -> None:
    ledger = await Ledger.open(database_url, CATALOGUE, system_clock)
    settings = BillingSettings("sk_test_1", (secret,), "http://shop.test", api_base)
    billing = Billing(settings, Database.connect(database_url), ledger, CATALOGUE, system_clock)
    server = uvicorn.Server(uvicorn.Config(make_app(billing), port=int(port), log_level="error"))
    await asyncio.gather(billing.run(asyncio.Event()), server.serve())


if __name__ == "__main__":
    *where, point = sys.argv[1:]
    inbox.LEASE = timedelta(seconds=1)
    make_deadly(point)
    asyncio.run(main(*where))
