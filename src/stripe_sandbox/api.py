"""The HTTP of the API: keys, idempotency, parameters, errors and headers, around the functions of `resources`."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from stripe import params

from stripe_sandbox import forms, parameters, resources
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import API_VERSION, Sandbox, current_request
from stripe_sandbox.store import Object, public

Act = Callable[[Sandbox, str, Object], Object]
"""What a route does: the sandbox, the id in the path (or ""), the checked parameters."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One route: its method, its path below /v1, the SDK type of its parameters, and what it does."""

    method: str
    path: str
    shape: type
    act: Act


def _list(type: str, path: str, shape: type, prepare: Callable[[Object], Object] = lambda given: given) -> Operation:
    return Operation(
        "GET",
        path,
        shape,
        lambda sandbox, _, given: resources.list_objects(sandbox, type, prepare(given), f"/v1{path}"),
    )


def _retrieve(type: str, path: str, shape: type) -> Operation:
    return Operation("GET", f"{path}/{{id}}", shape, lambda sandbox, id, _: sandbox.get(id, type))


def _update(type: str, path: str, shape: type) -> Operation:
    return Operation(
        "POST", f"{path}/{{id}}", shape, lambda sandbox, id, given: resources.update_object(sandbox, type, id, given)
    )


def _delete(type: str, path: str, shape: type) -> Operation:
    return Operation(
        "DELETE", f"{path}/{{id}}", shape, lambda sandbox, id, _: resources.delete_object(sandbox, type, id)
    )


_SESSIONS = "/checkout/sessions"
OPERATIONS = [
    Operation("POST", "/customers", params.CustomerCreateParams, lambda s, _, g: resources.create_customer(s, g)),
    _list("customer", "/customers", params.CustomerListParams),
    _retrieve("customer", "/customers", params.CustomerRetrieveParams),
    _update("customer", "/customers", params.CustomerUpdateParams),
    _delete("customer", "/customers", params.CustomerDeleteParams),
    Operation("POST", "/products", params.ProductCreateParams, lambda s, _, g: resources.create_product(s, g)),
    _list("product", "/products", params.ProductListParams),
    _retrieve("product", "/products", params.ProductRetrieveParams),
    _update("product", "/products", params.ProductUpdateParams),
    Operation("POST", "/prices", params.PriceCreateParams, lambda s, _, g: resources.create_price(s, g)),
    _list("price", "/prices", params.PriceListParams),
    _retrieve("price", "/prices", params.PriceRetrieveParams),
    _update("price", "/prices", params.PriceUpdateParams),
    Operation("POST", _SESSIONS, params.checkout.SessionCreateParams, lambda s, _, g: resources.create_session(s, g)),
    _list("checkout.session", _SESSIONS, params.checkout.SessionListParams),
    _retrieve("checkout.session", _SESSIONS, params.checkout.SessionRetrieveParams),
    Operation("POST", f"{_SESSIONS}/{{id}}", params.checkout.SessionUpdateParams, resources.update_session),
    Operation(
        "POST",
        f"{_SESSIONS}/{{id}}/expire",
        params.checkout.SessionExpireParams,
        lambda s, id, _: resources.expire_session(s, id),
    ),
    Operation(
        "GET", f"{_SESSIONS}/{{id}}/line_items", params.checkout.SessionListLineItemsParams, resources.session_lines
    ),
    _list("payment_intent", "/payment_intents", params.PaymentIntentListParams),
    _retrieve("payment_intent", "/payment_intents", params.PaymentIntentRetrieveParams),
    _list("charge", "/charges", params.ChargeListParams),
    _retrieve("charge", "/charges", params.ChargeRetrieveParams),
    _list("subscription", "/subscriptions", params.SubscriptionListParams, resources.hide_canceled),
    _retrieve("subscription", "/subscriptions", params.SubscriptionRetrieveParams),
    Operation("POST", "/subscriptions/{id}", params.SubscriptionUpdateParams, resources.update_subscription),
    Operation(
        "DELETE",
        "/subscriptions/{id}",
        params.SubscriptionCancelParams,
        lambda s, id, _: resources.cancel_subscription(s, id),
    ),
    _list("invoice", "/invoices", params.InvoiceListParams),
    _retrieve("invoice", "/invoices", params.InvoiceRetrieveParams),
    _list("invoice_payment", "/invoice_payments", params.InvoicePaymentListParams),
    _retrieve("invoice_payment", "/invoice_payments", params.InvoicePaymentRetrieveParams),
    _list("event", "/events", params.EventListParams),
    _retrieve("event", "/events", params.EventRetrieveParams),
    Operation(
        "POST",
        "/webhook_endpoints",
        params.WebhookEndpointCreateParams,
        lambda s, _, g: resources.create_webhook_endpoint(s, g),
    ),
    _list("webhook_endpoint", "/webhook_endpoints", params.WebhookEndpointListParams),
    _retrieve("webhook_endpoint", "/webhook_endpoints", params.WebhookEndpointRetrieveParams),
    _update("webhook_endpoint", "/webhook_endpoints", params.WebhookEndpointUpdateParams),
    _delete("webhook_endpoint", "/webhook_endpoints", params.WebhookEndpointDeleteParams),
]


def routes(sandbox: Sandbox) -> list[Route]:
    """All routes of the API, and Stripe's answer to any other path under /v1."""
    api = Api(sandbox)
    known = [Route(f"/v1{op.path}", api.endpoint(op), methods=[op.method]) for op in OPERATIONS]
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
        return resources.expand(self._sandbox, answer, paths)

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
