"""Thin events: the small, unversioned twins of snapshot events, and which types have one.

Nothing is listed by hand: the SDK has a class for each type, and knows where each object is found.
"""

from datetime import UTC, datetime
from functools import cache

import stripe
from stripe._object_classes import OBJECT_CLASSES, get_object_class
from stripe.events._event_classes import get_v2_event_class

from stripe_sandbox.store import Object

_PUSHED = ("id", "object", "context", "created", "livemode", "reason", "related_object", "type")


def twin(id: str, event: Object) -> Object | None:
    """The thin event of a snapshot event as it is fetched, or None when Stripe has none of that type."""
    type, body = f"v1.{event['type']}", event["data"]["object"]
    path = _path(body["object"])
    if path is None or not has_class(type):
        return None
    if not _has_related_object(type):
        return _alone(id, event, type)
    previous = event["data"].get("previous_attributes")
    changes = None if previous is None else {"before": previous, "after": {name: body.get(name) for name in previous}}
    related = {"id": body["id"], "type": body["object"], "url": f"{path}/{body['id']}"}
    return {
        **new(id, event["created"], type, related, event["request"]),
        "changes": changes,
        "snapshot_event": event["id"],
    }


def new(id: str, created: int, type: str, related: Object, request: Object) -> Object:
    """A thin event without changes and without a snapshot."""
    caused = {"id": request["id"], "idempotency_key": request["idempotency_key"] or ""}
    return {
        "id": id,
        "object": "v2.core.event",
        "changes": None,
        "context": None,
        "created": timestamp(created),
        "livemode": False,
        "reason": {"type": "request", "request": caused} if request["id"] else None,
        "related_object": related,
        "snapshot_event": None,
        "type": type,
    }


def _alone(id: str, event: Object, type: str) -> Object:
    """The event of an object that cannot be fetched. That of an invoice still to come says itself what it is of."""
    made = new(id, event["created"], type, {}, event["request"])
    del made["related_object"], made["changes"]
    if type == "v1.invoice.upcoming":
        invoice = event["data"]["object"]
        subscription = invoice["parent"]["subscription_details"]["subscription"]
        made["data"] = {"customer": invoice["customer"], "subscription": subscription}
    return {**made, "snapshot_event": event["id"]}


def pushed(event: Object) -> Object:
    """A thin event as it is delivered: what the rest is for must be fetched."""
    return {name: event[name] for name in _PUSHED if name in event}


@cache
def has_class(type: str) -> bool:
    """Whether Stripe has thin events of that type."""
    return get_v2_event_class(type) is not stripe.StripeObject


@cache
def _has_related_object(type: str) -> bool:
    """Whether the object of such an event can be fetched."""
    return any("related_object" in vars(cls).get("__annotations__", {}) for cls in get_v2_event_class(type).__mro__)


@cache
def _path(object: str) -> str | None:
    """Where objects of that kind are retrieved; None for those that cannot be."""
    cls = get_object_class("V1", object) if object in OBJECT_CLASSES else None
    if cls is None or not issubclass(cls, stripe.APIResource):
        return None
    path: str = cls.class_url()
    return path


def timestamp(seconds: int) -> str:
    """An instant as API v2 writes it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.000Z"
