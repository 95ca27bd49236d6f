"""The HTTP of the API: keys, idempotency, parameters, errors and headers, around what each family of resources does."""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stripe_sandbox import (
    catalogue,
    checkout,
    customers,
    forms,
    parameters,
    payments,
    subscriptions,
    webhooks,
)
from stripe_sandbox.errors import StripeError
from stripe_sandbox.expansion import expand
from stripe_sandbox.ids import new_id
from stripe_sandbox.operations import Operation
from stripe_sandbox.sandbox import API_VERSION, Sandbox, current_request
from stripe_sandbox.store import Object, public

FAMILIES = (
    catalogue,
    checkout,
    customers,
    payments,
    subscriptions,
    webhooks,
)
"""Who has routes. A family lists its own in `OPERATIONS`."""


def routes(sandbox: Sandbox) -> list[Route]:
    """All routes of the API, and Stripe's answer to any other path under /v1."""
    api = Api(sandbox)
    known = [
        Route(f"/v1{operation.path}", api.endpoint(operation), methods=[operation.method])
        for family in FAMILIES
        for operation in family.OPERATIONS
    ]
    return [*known, Route("/v1/{path:path}", api.unknown, methods=["GET", "POST", "DELETE"])]


class Api:
    """Answers requests as Stripe does."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def endpoint(self, operation: Operation) -> Callable[[Request], Any]:
        """The handler of one operation."""

        async def handle(request: Request) -> Response:
            body = await request.body()
            return self._answer(request, body, operation)

        return handle

    async def unknown(self, request: Request) -> Response:
        """A path that the sandbox does not have."""
        message = f"Unrecognized request URL ({request.method}: {request.url.path})."
        return self._respond(request, new_id("req"), 404, StripeError(message).body, executed=None)

    def _answer(self, request: Request, body: bytes, operation: Operation) -> Response:
        request_id = new_id("req")
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        fingerprint = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + body).hexdigest()
        try:
            _authenticate(request)
            with self._sandbox.store.transaction():
                if key is not None:
                    replay = self._replay(request, key, fingerprint)
                    if replay is not None:
                        return replay
                token = current_request.set({"id": request_id, "idempotency_key": key})
                try:
                    status, answer = 200, self._act(request, body, operation)
                except StripeError as error:
                    if not error.saved:
                        raise
                    status, answer = error.status, error.body
                finally:
                    current_request.reset(token)
                if key is not None:
                    self._sandbox.store.connection.execute(
                        "INSERT INTO answers VALUES (?, ?, ?, ?, ?)",
                        (key, fingerprint, status, json.dumps(answer), request_id),
                    )
            return self._respond(request, request_id, status, answer, executed=request_id)
        except StripeError as error:
            return self._respond(request, request_id, error.status, error.body, executed=None)

    def _act(self, request: Request, body: bytes, operation: Operation) -> Object:
        pairs = parse_qsl(request.url.query, keep_blank_values=True)
        pairs += parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
        given = parameters.check(forms.decode(pairs), operation.shape)
        paths = given.pop("expand", [])
        answer = operation.act(self._sandbox, request.path_params.get("id", ""), given)
        return expand(self._sandbox, answer, paths)

    def _replay(self, request: Request, key: str, fingerprint: str) -> Response | None:
        row = self._sandbox.store.connection.execute(
            "SELECT request, status, body, request_id FROM answers WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        first, status, answer, request_id = row
        if first != fingerprint:
            raise StripeError(
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request.",
                type="idempotency_error",
            )
        response = self._respond(request, new_id("req"), status, json.loads(answer), executed=request_id)
        response.headers["Idempotent-Replayed"] = "true"
        return response

    def _respond(
        self, request: Request, request_id: str, status: int, answer: Object, *, executed: str | None
    ) -> Response:
        headers = {"Request-Id": request_id, "Stripe-Version": API_VERSION}
        key = request.headers.get("idempotency-key")
        if request.method == "POST" and key is not None:
            headers["Idempotency-Key"] = key
        if request.method == "POST" and executed is not None:
            headers |= {"Original-Request": executed, "Stripe-Should-Retry": "false"}
        return JSONResponse(public(answer), status, headers)


def _authenticate(request: Request) -> None:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    key = credentials
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(credentials).decode().split(":")[0]
        except ValueError:
            key = ""
    if not key:
        raise StripeError(
            "You did not provide an API key. You need to provide your API key in the Authorization header, using "
            "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
            status=401,
        )
    if not key.startswith(("sk_test_", "rk_test_")):
        shown = f"{key[:7]}{'*' * 8}{key[-4:]}" if len(key) > 12 else "*" * len(key)
        raise StripeError(f"Invalid API Key provided: {shown}", status=401)
