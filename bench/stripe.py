"""The sandbox's API and nothing else of it, for a bench: `python -m bench.stripe FILE PORT MILLISECONDS`.

No deliveries, and no clock that goes through thousands of sessions. Every answer takes so long on the way.
"""

import asyncio
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from stripe_sandbox import Sandbox, api


def main(file: str, port: int, milliseconds: int) -> None:
    """Serve until stopped."""
    answers = Starlette(routes=api.routes(Sandbox(file)))

    async def far_away(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await asyncio.sleep(milliseconds / 1_000)
        await answers(scope, receive, send)

    uvicorn.run(far_away, port=port, log_level="error", access_log=False)


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
