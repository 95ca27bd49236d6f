"""The HTTP of the API: keys, idempotency, parameters, errors and headers, around what each family of resources does."""

import base64
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stripe_sandbox import (
    account,
    balance,
    catalogue,
    charges,
    checkout_sessions,
    clocks,
    customers,
    destinations,
    disputes,
    forms,
    fraud_warnings,
    parameters,
    payment_intents,
    payment_methods,
    refunds,
    setup_intents,
    tax_rates,
    v2,
    versions,
    webhooks,
)
from stripe_sandbox.billing import (
    coupons,
    credit_balance,
    invoice_routes,
    portal_configurations,
    portal_sessions,
    schedules,
    subscription_routes,
)
from stripe_sandbox.errors import StripeError
from stripe_sandbox.expansion import expand
from stripe_sandbox.ids import new_id
from stripe_sandbox.operations import Operation
from stripe_sandbox.sandbox import API_VERSION, Sandbox, current_request
from stripe_sandbox.store import Object, public

V1_FAMILIES = (
    account,
    balance,
    catalogue,
    charges,
    checkout_sessions,
    clocks,
    coupons,
    credit_balance,
    customers,
    disputes,
    fraud_warnings,
    invoice_routes,
    payment_intents,
    payment_methods,
    portal_configurations,
    portal_sessions,
    refunds,
    schedules,
    setup_intents,
    subscription_routes,
    tax_rates,
    webhooks,
)
V2_FAMILIES = (destinations,)
"""Who has routes. A family lists its own in `OPERATIONS`, and in `INCLUDES` what is sent only when asked for."""

_IN_CLOCKS = ("test_clock", "customer", "subscription", "invoice", "from_subscription")
"""Parameters that name something in whose time a request is carried out, if that has a test clock."""

_INCLUDES = {key: include for family in V1_FAMILIES for key, include in getattr(family, "INCLUDES", {}).items()}


@dataclass(frozen=True, slots=True)
class Namespace:
    """What differs between /v1 and /v2: how parameters are written, what is done to an answer, which methods carry
    an idempotency key, and which parameters the SDK has no type for because it never lets a caller write them."""

    prefix: str
    families: tuple[ModuleType, ...]
    read: Callable[[str, bytes], Object]
    finish: Callable[[Sandbox, Object, list[str]], Object]
    keyed: frozenset[str]
    untyped: frozenset[str]


def _read_form(query: str, body: bytes) -> Object:
    pairs = parse_qsl(query, keep_blank_values=True)
    return forms.decode(pairs + parse_qsl(body.decode(errors="replace"), keep_blank_values=True))


def _expanded(sandbox: Sandbox, answer: Object, paths: list[str]) -> Object:
    return expand(sandbox, answer, paths, _INCLUDES)


V1 = Namespace("/v1", V1_FAMILIES, _read_form, _expanded, frozenset({"POST"}), frozenset())
V2 = Namespace(
    "/v2", V2_FAMILIES, v2.given, lambda _, answer, __: answer, frozenset({"POST", "DELETE"}), frozenset({"page"})
)


def routes(sandbox: Sandbox) -> list[Route]:
    """All routes of the API, and Stripe's answer to any other path below /v1 and /v2."""
    return [route for namespace in (V1, V2) for route in _routes(Api(sandbox, namespace), namespace)]


def _routes(api: "Api", namespace: Namespace) -> list[Route]:
    known = [
        Route(f"{namespace.prefix}{operation.path}", api.endpoint(operation), methods=[operation.method])
        for family in namespace.families
        for operation in family.OPERATIONS
    ]
    # The sandbox searches nothing, and "search" is nobody's id.
    searching = Route(f"{namespace.prefix}/{{resource}}/search", api.unknown, methods=["GET"])
    return [
        searching,
        *known,
        Route(f"{namespace.prefix}/{{path:path}}", api.unknown, methods=["GET", "POST", "DELETE"]),
    ]


class Api:
    """Answers the requests of one namespace as Stripe does."""

    def __init__(self, sandbox: Sandbox, namespace: Namespace) -> None:
        self._sandbox = sandbox
        self._namespace = namespace

    def endpoint(self, operation: Operation) -> Callable[[Request], Any]:
        """The handler of one operation."""

        async def handle(request: Request) -> Response:
            body = await request.body()
            return self._answer(request, body, operation)

        return handle

    async def unknown(self, request: Request) -> Response:
        """A path that the sandbox does not have."""
        message = f"Unrecognized request URL ({request.method}: {request.url.path})."
        return self._refuse(request, new_id("req"), StripeError(message, status=404))

    def _answer(self, request: Request, body: bytes, operation: Operation) -> Response:
        request_id = new_id("req")
        key = self._key(request)
        fingerprint = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + body).hexdigest()
        try:
            _authenticate(request)
            versions.of_request(request.headers.get("stripe-version"), API_VERSION)
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
                    status, answer = error.status, error.logged(request_id)
                finally:
                    current_request.reset(token)
                if key is not None:
                    self._sandbox.store.connection.execute(
                        "INSERT INTO answers VALUES (?, ?, ?, ?, ?)",
                        (key, fingerprint, status, json.dumps(answer), request_id),
                    )
            return self._respond(request, request_id, status, answer, original=request_id, saved=True)
        except StripeError as error:
            return self._refuse(request, request_id, error)

    def _act(self, request: Request, body: bytes, operation: Operation) -> Object:
        written = self._namespace.read(request.url.query, body)
        untyped = {name: written.pop(name) for name in self._namespace.untyped if name in written}
        given = {**parameters.check(written, operation.shape), **untyped}
        paths = given.pop("expand", [])
        ids = dict(request.path_params)
        id = ids.pop("id", "")
        with clocks.in_time_of(self._sandbox, id, *(given.get(name) for name in _IN_CLOCKS)):
            answer = operation.act(self._sandbox, id, given | ids)
        return self._namespace.finish(self._sandbox, answer, paths)

    def _key(self, request: Request) -> str | None:
        return request.headers.get("idempotency-key") if request.method in self._namespace.keyed else None

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
        response = self._respond(request, new_id("req"), status, json.loads(answer), original=request_id, saved=True)
        response.headers["Idempotent-Replayed"] = "true"
        return response

    def _refuse(self, request: Request, request_id: str, error: StripeError) -> Response:
        """Answer a request that was not carried out, whose key can be used again."""
        return self._respond(
            request, request_id, error.status, error.logged(request_id), original=request_id, saved=False
        )

    def _respond(
        self, request: Request, request_id: str, status: int, answer: Object, *, original: str, saved: bool
    ) -> Response:
        version = API_VERSION
        with suppress(StripeError):
            version = versions.of_request(request.headers.get("stripe-version"), API_VERSION)
        headers = {"Request-Id": request_id, "Stripe-Version": version}
        key = self._key(request)
        if key is not None:
            headers |= {"Idempotency-Key": key, "Original-Request": original}
            if saved:
                headers["Stripe-Should-Retry"] = "false"
        return JSONResponse(versions.render(self._sandbox.store, public(answer), version), status, headers)


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
