"""A webhook endpoint for tests, and waiting for what arrives there."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.serving import serving


@dataclass
class Inbox:
    """What an endpoint got, in order of arrival."""

    url: str = ""
    got: list[tuple[bytes, str]] = field(default_factory=list)
    """Raw bodies and their signatures."""

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body, _ in self.got]

    def types(self) -> list[str]:
        return [event["type"] for event in self.events()]


@asynccontextmanager
async def receiver(*statuses: int) -> AsyncIterator[Inbox]:
    """A webhook endpoint that answers with `statuses`, the last one (or 200) for ever, and keeps what it got."""
    inbox, answers = Inbox(), list(statuses) or [200]

    async def hook(request: Request) -> Response:
        inbox.got.append((await request.body(), request.headers["stripe-signature"]))
        return Response(status_code=answers.pop(0) if len(answers) > 1 else answers[0])

    async with serving(Starlette(routes=[Route("/hook", hook, methods=["POST"])])) as url:
        inbox.url = f"{url}/hook"
        yield inbox


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)
