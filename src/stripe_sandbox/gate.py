"""What a call of the API passes on its way in and out: idempotency keys that are in use at this moment, and outages.

It does not know what calls do. `outages` says which of them fail.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import new_id
from stripe_sandbox.outages import Fails, Outage
from stripe_sandbox.sandbox import API_VERSION, Sandbox

ABORT = "stripe_sandbox.abort"
"""Where the server puts, into a request's scope, what breaks its connection."""

_RATE_LIMIT = StripeError(
    "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
    status=429,
    code="rate_limit",
)
_LOCK_TIMEOUT = StripeError(
    "This object cannot be accessed right now because another API request or Stripe process is currently accessing "
    "it. If you see this error intermittently, retry the request. If you see this error frequently and are making "
    "multiple concurrent requests to a single object, make your requests serially or at a lower rate.",
    status=429,
    code="lock_timeout",
)
_SERVER_ERROR = StripeError("An unknown error occurred.", status=500, type="api_error")
_NAMESPACES = ("billing_portal", "checkout", "radar")
_PERMISSIONS = {"price": "plan", "refund": "charge", "webhook_endpoint": "webhook"}
"""What the permission for a resource is called, where that is not the resource's own name."""

_REFUSALS: dict[Fails, tuple[StripeError, dict[str, str]]] = {
    Fails.RATE_LIMIT: (_RATE_LIMIT, {"Stripe-Rate-Limited-Reason": "global-rate"}),
    Fails.LOCK_TIMEOUT: (_LOCK_TIMEOUT, {"Stripe-Should-Retry": "true"}),
    Fails.SERVER_ERROR: (_SERVER_ERROR, {}),
}


class Gate:
    """The ASGI application of the sandbox, with the gate before its API."""

    def __init__(self, app: ASGIApp, sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox
        self._in_use: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(("/v1/", "/v2/")):
            await self._app(scope, receive, send)
            return
        key = Request(scope).headers.get("idempotency-key")
        if key is None:
            await self._pass(scope, receive, send, key)
        elif key in self._in_use:
            await _refuse(scope, receive, send, _key_in_use(key))
        else:
            self._in_use.add(key)
            try:
                await self._pass(scope, receive, send, key)
            finally:
                self._in_use.discard(key)

    async def _pass(self, scope: Scope, receive: Receive, send: Send, key: str | None) -> None:
        outage = self._sandbox.outages.next(scope["method"], scope["path"])
        if outage is None:
            await self._app(scope, receive, send)
            return
        if outage.fails is Fails.SLOW:
            await self._app(scope, receive, _after(outage.seconds, send))
            return
        if outage.executed:
            await self._app(scope, receive, _nowhere)
        if outage.fails is Fails.FORBIDDEN:
            await _refuse(scope, receive, send, _forbidden(scope["method"], scope["path"]))
            return
        if outage.fails in _REFUSALS:
            error, headers = _REFUSALS[outage.fails]
            if outage.executed and key is not None:
                self._keep(key, error)
            await _refuse(scope, receive, send, error, headers)
            return
        await _break(scope, receive, outage)

    def _keep(self, key: str, error: StripeError) -> None:
        with self._sandbox.store.transaction():
            self._sandbox.store.connection.execute(
                "UPDATE answers SET status = ?, body = ? WHERE key = ?", (error.status, json.dumps(error.body), key)
            )


async def _refuse(
    scope: Scope, receive: Receive, send: Send, error: StripeError, headers: dict[str, str] | None = None
) -> None:
    request_id = new_id("req")
    given = {"Request-Id": request_id, "Stripe-Version": API_VERSION, **(headers or {})}
    await JSONResponse(error.logged(request_id), error.status, given)(scope, receive, send)


async def _break(scope: Scope, receive: Receive, outage: Outage) -> None:
    """Break the connection, at once or when the caller has waited long enough or has gone away."""
    if outage.fails is Fails.TIMEOUT:
        with suppress(TimeoutError):
            async with asyncio.timeout(outage.seconds):
                while (await receive())["type"] != "http.disconnect":
                    pass
    abort: Callable[[], Any] = scope[ABORT]
    abort()


async def _nowhere(_: Message) -> None:
    """Where the answer goes that is lost."""


def _after(seconds: float, send: Send) -> Send:
    """`send`, but the first message waits."""
    waited = False

    async def later(message: Message) -> None:
        nonlocal waited
        if not waited:
            waited = True
            await asyncio.sleep(seconds)
        await send(message)

    return later


def _forbidden(method: str, path: str) -> StripeError:
    """What a restricted key is told that lacks the permission for a call."""
    parts = path.split("/")[2:]
    resource = "_".join(parts[:2] if parts[0] in _NAMESPACES else parts[:1]).removesuffix("s")
    permission = f"rak_{_PERMISSIONS.get(resource, resource)}_{'read' if method == 'GET' else 'write'}"
    return StripeError(
        "The provided key 'rk_test_********' does not have the required permissions for this endpoint. "
        f"Having the '{permission}' permission would allow this request to continue.",
        status=403,
    )


def _key_in_use(key: str) -> StripeError:
    return StripeError(
        "There is currently another in-progress request using this Idempotent Key (that probably means you submitted "
        f"twice, and the other request is still going through): {key}. Please try again later.",
        status=409,
        code="idempotency_key_in_use",
    )
