"""Events, and the webhook endpoints that they are sent to. `delivery` does the sending."""

from typing import Any

from stripe import params

from stripe_sandbox import operations, shapes
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import new_id, webhook_secret
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def create(sandbox: Sandbox, given: Object) -> Object:
    """A new endpoint: the only answer that shows its secret."""
    if not given["url"].startswith(("http://", "https://")):
        raise StripeError(
            "Invalid URL: An explicit scheme (such as https) must be provided.", code="url_invalid", param="url"
        )
    made = shapes.webhook_endpoint(new_id("we"), sandbox.now(), given)
    secret = webhook_secret()
    sandbox.store.put({**made, "_secret": secret})
    return {**made, "secret": secret}


def update(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Change an endpoint, or disable it; nothing tells of that."""
    found = sandbox.get(id, "webhook_endpoint")
    found |= operations.changes(found, given)
    if "disabled" in given:
        found["status"] = "disabled" if given["disabled"] else "enabled"
    sandbox.store.put(found)
    return found


def _is_of_type(event: Object, wanted: str) -> bool:
    type: str = event["type"]
    return type.startswith(wanted[:-1]) if wanted.endswith("*") else type == wanted


def _was_delivered(event: Object, wanted: Any) -> bool:
    return wanted is (event["pending_webhooks"] == 0)


_ENDPOINTS = "/webhook_endpoints"
OPERATIONS = [
    operations.list_of(
        "event",
        "/events",
        params.EventListParams,
        {
            "delivery_success": _was_delivered,
            "type": _is_of_type,
            "types": lambda event, wanted: event["type"] in wanted,
        },
    ),
    operations.retrieve("event", "/events", params.EventRetrieveParams),
    operations.create(_ENDPOINTS, params.WebhookEndpointCreateParams, create),
    operations.list_of("webhook_endpoint", _ENDPOINTS, params.WebhookEndpointListParams),
    operations.retrieve("webhook_endpoint", _ENDPOINTS, params.WebhookEndpointRetrieveParams),
    operations.Operation("POST", f"{_ENDPOINTS}/{{id}}", params.WebhookEndpointUpdateParams, update),
    operations.Operation(
        "DELETE",
        f"{_ENDPOINTS}/{{id}}",
        params.WebhookEndpointDeleteParams,
        lambda s, id, _: operations.deleted(s, s.get(id, "webhook_endpoint")),
    ),
]
