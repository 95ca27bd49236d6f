"""Subscriptions and their items in the API."""

from typing import Any

from stripe import params

from stripe_sandbox import clocks, lists, operations
from stripe_sandbox.billing import lifecycle, standing, updates
from stripe_sandbox.errors import StripeError, missing
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def find_item(sandbox: Sandbox, id: str) -> tuple[Object, Object]:
    """A subscription and its item of that id. Raises StripeError when there is none."""
    for subscription in sandbox.store.newest_first("subscription"):
        for item in subscription["items"]["data"]:
            if item["id"] == id:
                return subscription, item
    raise missing("subscription_item", id)


def _has_status(subscription: Object, wanted: Any) -> bool:
    if wanted == "ended":
        return subscription["status"] in standing.ENDED
    if wanted == "not ended":
        return subscription["status"] not in standing.ENDED
    return bool(wanted == "all" or subscription["status"] == wanted)


def _has_price(subscription: Object, wanted: str) -> bool:
    return any(item["price"]["id"] == wanted for item in subscription["items"]["data"])


def _create_item(sandbox: Sandbox, given: Object) -> Object:
    subscription = sandbox.get(given.pop("subscription"), "subscription", param="subscription", status=400)
    before = {item["id"] for item in subscription["items"]["data"]}
    changed = updates.update(sandbox, subscription, _item_change(given, {}))
    return next(item for item in changed["items"]["data"] if item["id"] not in before)


def _update_item(sandbox: Sandbox, id: str, given: Object) -> Object:
    subscription, _ = find_item(sandbox, id)
    with clocks.in_time_of(sandbox, subscription["id"]):
        updates.update(sandbox, subscription, _item_change(given, {"id": id}))
    return find_item(sandbox, id)[1]


def _delete_item(sandbox: Sandbox, id: str, given: Object) -> Object:
    subscription, _ = find_item(sandbox, id)
    with clocks.in_time_of(sandbox, subscription["id"]):
        updates.update(sandbox, subscription, _item_change(given, {"id": id, "deleted": True}))
    return {"id": id, "object": "subscription_item", "deleted": True}


def _item_change(given: Object, entry: Object) -> Object:
    """The update of a subscription that changes one item."""
    how = {name: given.pop(name) for name in _HOW if name in given}
    return {**how, "items": [{**entry, **given}]}


def _list_items(sandbox: Sandbox, _: str, given: Object) -> Object:
    subscription = sandbox.get(given["subscription"], "subscription", param="subscription", status=400)
    return lists.page(subscription["items"]["data"], given, "/v1/subscription_items")


def _migrate(sandbox: Sandbox, id: str, _: Object) -> Object:
    sandbox.get(id, "subscription")
    raise StripeError("The subscription is already in flexible billing mode.", param="billing_mode[type]")


_HOW = ("payment_behavior", "proration_behavior", "proration_date", "off_session")
_PATH = "/subscriptions"
_ITEMS = "/subscription_items"
OPERATIONS = [
    operations.create(_PATH, params.SubscriptionCreateParams, lifecycle.create),
    operations.list_of(
        "subscription",
        _PATH,
        params.SubscriptionListParams,
        {"status": _has_status, "price": _has_price},
        defaults={"status": "not ended"},
    ),
    operations.retrieve("subscription", _PATH, params.SubscriptionRetrieveParams),
    operations.Operation(
        "POST",
        f"{_PATH}/{{id}}",
        params.SubscriptionUpdateParams,
        lambda s, id, given: updates.update(s, s.get(id, "subscription"), given),
    ),
    operations.Operation(
        "DELETE",
        f"{_PATH}/{{id}}",
        params.SubscriptionCancelParams,
        lambda s, id, given: lifecycle.cancel(s, s.get(id, "subscription"), given),
    ),
    operations.Operation(
        "POST",
        f"{_PATH}/{{id}}/resume",
        params.SubscriptionResumeParams,
        lambda s, id, given: lifecycle.resume(s, s.get(id, "subscription"), given),
    ),
    operations.Operation(
        "POST",
        f"{_PATH}/{{id}}/pause",
        params.SubscriptionPauseParams,
        lambda s, id, given: lifecycle.pause(s, s.get(id, "subscription"), given),
    ),
    operations.Operation("POST", f"{_PATH}/{{id}}/migrate", params.SubscriptionMigrateParams, _migrate),
    operations.create(_ITEMS, params.SubscriptionItemCreateParams, _create_item),
    operations.Operation("GET", _ITEMS, params.SubscriptionItemListParams, _list_items),
    operations.Operation(
        "GET", f"{_ITEMS}/{{id}}", params.SubscriptionItemRetrieveParams, lambda s, id, _: find_item(s, id)[1]
    ),
    operations.Operation("POST", f"{_ITEMS}/{{id}}", params.SubscriptionItemUpdateParams, _update_item),
    operations.Operation("DELETE", f"{_ITEMS}/{{id}}", params.SubscriptionItemDeleteParams, _delete_item),
]
