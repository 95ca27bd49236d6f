"""A service that hears of Stripe's events and acts on them when it is told to: `test_lives_of_processes` runs several of
them, each a process of its own, and kills them.

Arguments: database, Stripe's address, port, webhook secret. What time it is comes with each request.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallystick.billing import Billing, BillingSettings, account_leases, inbox
from tallystick.database.engine import Database
from tallystick.ledger import Ledger
from tests.billing.lives import CATALOGUE

TICK = timedelta(milliseconds=1)
"""How long leases last: time stands still while nobody is killed."""


class Listener:
    def __init__(self) -> None:
        self._now = datetime.min.replace(tzinfo=UTC)

    def clock(self) -> datetime:
        return self._now

    async def main(self, database_url: str, api_base: str, port: str, secret: str) -> None:
        ledger = await Ledger.open(database_url, CATALOGUE, self.clock)
        settings = BillingSettings("sk_test_1", (secret,), "http://shop.test", api_base)
        billing = Billing(settings, Database.connect(database_url), ledger, CATALOGUE, self.clock)

        async def tell(request: Request) -> Response:
            self._now = datetime.fromisoformat(request.headers["now"])
            return Response()

        async def webhook(request: Request) -> Response:
            await tell(request)
            await billing.receive_webhook(await request.body(), request.headers["stripe-signature"])
            return Response()

        async def work(request: Request) -> Response:
            await tell(request)
            while await billing.work_inbox():
                pass
            return Response()

        routes = {"/time": tell, "/webhook": webhook, "/work": work}
        app = Starlette(routes=[Route(path, does, methods=["POST"]) for path, does in routes.items()])
        server = uvicorn.Server(uvicorn.Config(app, port=int(port), log_level="error"))
        await server.serve()


if __name__ == "__main__":
    inbox.LEASE = account_leases.LEASE = TICK
    asyncio.run(Listener().main(*sys.argv[1:]))
