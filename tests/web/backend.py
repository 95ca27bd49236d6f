"""The /v1 API in front of a database of its own, without a network between it and its callers.

Every answer is held to the OpenAPI document. There is no Stripe: what needs one has a house.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tallystick import Plan, Tallystick
from tallystick.api_keys import Scope
from tallystick.clock import Clock, system_clock
from tallystick.web.v1 import make_v1
from tallystick.web.v1_document import Documented
from tallystick.web.v1_examples import DASHBOARD
from tests.web.declared import watch


@dataclass(frozen=True)
class Backend:
    """A service and a way to call it."""

    credits: Tallystick
    app: Documented
    callers: AsyncExitStack

    async def caller(self, *scopes: Scope) -> httpx2.AsyncClient:
        """A client with a new key of these scopes; `admin` if there are none."""
        _, secret = await self.credits.api_keys.create("test", frozenset(scopes or [Scope.ADMIN]))
        return await self.callers.enter_async_context(calling(httpx2.ASGITransport(self.app), "http://v1", secret))


def calling(transport: httpx2.AsyncBaseTransport | None, url: str, secret: str) -> httpx2.AsyncClient:
    hooks: Any = {"response": [watch]}
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return httpx2.AsyncClient(transport=transport, base_url=url, headers=headers, timeout=20, event_hooks=hooks)


@asynccontextmanager
async def open_backend(
    folder: Path, plans: Iterable[Plan], *, stripe: bool = True, clock: Clock = system_clock
) -> AsyncIterator[Backend]:
    folder.mkdir(exist_ok=True)
    ways: Any = {
        "stripe_secret_key": "sk_test_nobody",
        "stripe_api_base": "http://127.0.0.1:9",
        "base_url": DASHBOARD.removesuffix("/dashboard"),
    }
    url = f"sqlite:///{folder}/tallystick.db"
    async with (
        Tallystick(url, plans=plans, clock=clock, **(ways if stripe else {})) as credits,
        AsyncExitStack() as callers,
    ):
        app = Documented()
        app.include_router(make_v1(credits))
        yield Backend(credits, app, callers)


async def put(api: httpx2.AsyncClient, path: str, body: Any, key: str) -> Any:
    return await api.put(path, json=body, headers={"Idempotency-Key": key})


async def post(api: httpx2.AsyncClient, path: str, body: Any, key: str) -> Any:
    return await api.post(path, json=body, headers={"Idempotency-Key": key})
