"""The service on one core, for the HTTP cases: `python -m bench.server DATABASE_URL ACCOUNTS`.

Prints its address and an API key, and serves until its input ends.
"""

import asyncio
import os
import sys
from contextlib import suppress

import uvicorn

from bench.house import CATALOGUE, fill
from tallystick import Tallystick
from tallystick.api_keys import Scope
from tallystick.cli.tuning import calm_garbage_collection
from tallystick.web.app import WebSettings, create_app


async def _empty() -> dict[str, str]:
    return {}


async def main(url: str, accounts: int) -> None:
    """Fill the database, then serve /v1 and, to compare it with, one empty JSON route."""
    base_url = "http://127.0.0.1"
    credits = Tallystick(url, plans=CATALOGUE.plans, base_url=base_url)
    async with credits:
        await fill(credits.ledger, accounts)
        _, secret = await credits.api_keys.create("bench", frozenset([Scope.SPEND]))
    app = create_app(credits, WebSettings(base_url=base_url, secret_key="b" * 32))
    app.add_api_route("/empty", _empty)
    # First, as the routes are that it is compared to: they are tried in order.
    app.router.routes.insert(0, app.router.routes.pop())
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, server_header=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    calm_garbage_collection()
    port = server.servers[0].sockets[0].getsockname()[1]
    print(f"{base_url}:{port} {secret}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving


with suppress(AttributeError):
    os.sched_setaffinity(0, {0})
# The event loop that `tallystick serve` gets from uvicorn.
with asyncio.Runner(loop_factory=uvicorn.Config(main).get_loop_factory()) as runner:
    runner.run(main(sys.argv[1], int(sys.argv[2])))
