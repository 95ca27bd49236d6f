"""What each API route does with checked parameters. One function a route; `api` knows the HTTP around them."""

from typing import Any

from stripe_sandbox import checkout, shapes, subscriptions
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import new_id, webhook_secret
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object, public

MAX_PAGE = 100


def create_customer(sandbox: Sandbox, given: Object) -> Object:
    """POST /v1/customers"""
    made = shapes.customer(new_id("cus"), sandbox.now(), given)
    sandbox.store.put(made)
    sandbox.emit("customer.created", made)
    return made


def update_object(sandbox: Sandbox, type: str, id: str, given: Object) -> Object:
    """POST on a customer, product, price or webhook endpoint: sets what is given, merges metadata."""
    found = sandbox.get(id, type)
    changes = {name: value for name, value in given.items() if name in found and name != "metadata"}
    if "metadata" in given:
        merged = {**found["metadata"], **(given["metadata"] or {})}
        changes["metadata"] = {key: value for key, value in merged.items() if value != ""}
    if type == "webhook_endpoint":
        if "disabled" in given:
            changes["status"] = "disabled" if given["disabled"] else "enabled"
        found = {**found, **changes}
        sandbox.store.put(found)
        return found
    return sandbox.changed(f"{type}.updated", found, **changes)


def delete_object(sandbox: Sandbox, type: str, id: str) -> Object:
    """DELETE on a customer or webhook endpoint."""
    found = sandbox.get(id, type)
    with sandbox.store.transaction():
        sandbox.store.connection.execute("DELETE FROM objects WHERE id = ?", (id,))
        if type == "customer":
            sandbox.emit("customer.deleted", found)
    return {"id": id, "object": type, "deleted": True}


def create_product(sandbox: Sandbox, given: Object) -> Object:
    """POST /v1/products"""
    made = shapes.product(given.get("id") or new_id("prod"), sandbox.now(), given)
    sandbox.store.put(made)
    sandbox.emit("product.created", made)
    return made


def create_price(sandbox: Sandbox, given: Object) -> Object:
    """POST /v1/prices"""
    if "unit_amount" not in given:
        raise StripeError("Missing required param: unit_amount.", code="parameter_missing", param="unit_amount")
    if "product_data" in given:
        product = create_product(sandbox, {"name": given["product_data"]["name"]})
    else:
        product = sandbox.get(given.get("product", ""), "product", param="product", status=400)
    made = shapes.price(new_id("price"), sandbox.now(), product["id"], given)
    sandbox.store.put(made)
    sandbox.emit("price.created", made)
    return made


def create_webhook_endpoint(sandbox: Sandbox, given: Object) -> Object:
    """POST /v1/webhook_endpoints: the only answer that shows the secret."""
    if not given["url"].startswith(("http://", "https://")):
        raise StripeError(
            "Invalid URL: An explicit scheme (such as https) must be provided.", code="url_invalid", param="url"
        )
    made = shapes.webhook_endpoint(new_id("we"), sandbox.now(), given)
    secret = webhook_secret()
    sandbox.store.put({**made, "_secret": secret})
    return {**made, "secret": secret}


def create_session(sandbox: Sandbox, given: Object) -> Object:
    """POST /v1/checkout/sessions"""
    return checkout.create(sandbox, given)


def update_session(sandbox: Sandbox, id: str, given: Object) -> Object:
    """POST /v1/checkout/sessions/{id}"""
    return checkout.update(sandbox, sandbox.get(id, "checkout.session"), given)


def expire_session(sandbox: Sandbox, id: str) -> Object:
    """POST /v1/checkout/sessions/{id}/expire"""
    return checkout.expire(sandbox, sandbox.get(id, "checkout.session"))


def session_lines(sandbox: Sandbox, id: str, given: Object) -> Object:
    """GET /v1/checkout/sessions/{id}/line_items"""
    session = sandbox.get(id, "checkout.session")
    return page(session["_line_items"], given, f"/v1/checkout/sessions/{id}/line_items")


def update_subscription(sandbox: Sandbox, id: str, given: Object) -> Object:
    """POST /v1/subscriptions/{id}"""
    unknown = set(given) - {"metadata", "cancel_at_period_end"}
    if unknown:
        raise StripeError(f"The sandbox cannot change {', '.join(sorted(unknown))} of a subscription yet.")
    return subscriptions.update(sandbox, sandbox.get(id, "subscription"), given)


def cancel_subscription(sandbox: Sandbox, id: str) -> Object:
    """DELETE /v1/subscriptions/{id}"""
    found = sandbox.get(id, "subscription")
    if found["status"] == "canceled":
        raise StripeError(f"No such subscription: '{id}'", status=404, code="resource_missing", param="id")
    return subscriptions.cancel(sandbox, found)


def list_objects(sandbox: Sandbox, type: str, given: Object, url: str) -> Object:
    """GET on a collection: newest first, filtered by what is given, in cursor pages."""
    return page(sandbox.store.newest_first(type, lambda body: _matches(body, given)), given, url)


def page(objects: list[Object], given: Object, url: str) -> Object:
    """One cursor page of `objects`."""
    limit = given.get("limit", 10)
    if not 1 <= limit <= MAX_PAGE:
        raise StripeError(f"Invalid integer: {limit} must be between 1 and {MAX_PAGE}", param="limit")
    after, before = given.get("starting_after"), given.get("ending_before")
    if after and before:
        raise StripeError("You cannot parameterize both starting_after and ending_before.")
    if after:
        objects = objects[_index(objects, after, "starting_after") + 1 :]
        return shapes.list_of(objects[:limit], url, has_more=len(objects) > limit)
    if before:
        objects = objects[: _index(objects, before, "ending_before")]
        return shapes.list_of(objects[-limit:], url, has_more=len(objects) > limit)
    return shapes.list_of(objects[:limit], url, has_more=len(objects) > limit)


def _index(objects: list[Object], id: str, param: str) -> int:
    for n, body in enumerate(objects):
        if body["id"] == id:
            return n
    raise StripeError(f"No such object: '{id}'", code="resource_missing", param=param)


_PAGING = {"limit", "starting_after", "ending_before", "expand"}


def _matches(body: Object, given: Object) -> bool:
    return all(_matches_one(body, name, wanted) for name, wanted in given.items() if name not in _PAGING)


def _matches_one(body: Object, name: str, wanted: Any) -> bool:
    if name == "types":
        return bool(body["type"] in wanted)
    if name == "type" and wanted.endswith("*"):
        return bool(body["type"].startswith(wanted[:-1]))
    if name == "delivery_success":
        return wanted is (body["pending_webhooks"] == 0)
    if name == "status" and isinstance(wanted, str) and wanted in ("all", "ended"):
        return bool(wanted == "all" or body["status"] == "canceled")
    if name == "payment":
        return bool(body["payment"]["payment_intent"] == wanted.get("payment_intent"))
    if name == "customer_details":
        return bool((body["customer_details"] or {}).get("email") == wanted.get("email"))
    if name == "subscription" and body["object"] == "invoice":
        return bool(body["parent"]["subscription_details"]["subscription"] == wanted)
    if isinstance(wanted, dict):
        compare = {"gt": int.__gt__, "gte": int.__ge__, "lt": int.__lt__, "lte": int.__le__}
        return all(compare[op](body[name], bound) for op, bound in wanted.items())
    if isinstance(wanted, list):
        return bool((body["id"] if name == "ids" else body.get(name)) in wanted)
    return bool(body.get(name) == wanted)


def hide_canceled(given: Object) -> Object:
    """Subscriptions are listed without the cancelled ones unless a status is asked for."""
    return given if "status" in given else {**given, "status": ["active", "past_due", "trialing", "unpaid"]}


def expand(sandbox: Sandbox, body: Object, paths: list[str]) -> Object:
    """`body` with the objects that `paths` name in the place of their ids."""
    body = public(body) if not any(path.split(".")[0] == "line_items" for path in paths) else _with_lines(body)
    for path in paths:
        if path != "line_items":
            _expand(sandbox, body, path.split("."), path)
    return body


def _with_lines(session: Object) -> Object:
    lines = shapes.list_of(public(session["_line_items"]), f"/v1/checkout/sessions/{session['id']}/line_items")
    return {**public(session), "line_items": lines}


def _expand(sandbox: Sandbox, body: Any, parts: list[str], path: str) -> None:
    if isinstance(body, list):
        for item in body:
            _expand(sandbox, item, parts, path)
        return
    if not isinstance(body, dict) or parts[0] not in body:
        raise StripeError(f"This property cannot be expanded ({path}).", param="expand[0]")
    value = body[parts[0]]
    if isinstance(value, str):
        found = sandbox.store.get(value)
        if found is None:
            raise StripeError(f"This property cannot be expanded ({path}).", param="expand[0]")
        value = body[parts[0]] = public(found)
    if len(parts) > 1 and value is not None:
        _expand(sandbox, value, parts[1:], path)
