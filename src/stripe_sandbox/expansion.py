"""`expand`: objects in the place of their ids, and lists that are sent only when they are asked for."""

from collections.abc import Callable
from typing import Any

from stripe_sandbox import shapes
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object, public


def expand(sandbox: Sandbox, body: Object, paths: list[str]) -> Object:
    """`body` with the objects that `paths` name in the place of their ids."""
    body = public(body)
    for path in paths:
        _expand(sandbox, body, path.split("."), path)
    return body


def _expand(sandbox: Sandbox, body: Any, parts: list[str], path: str) -> None:
    if isinstance(body, list):
        for item in body:
            _expand(sandbox, item, parts, path)
        return
    name = parts[0]
    if isinstance(body, dict) and name not in body and (body.get("object"), name) in _ON_DEMAND:
        body[name] = public(_ON_DEMAND[body["object"], name](sandbox, body["id"]))
    if not isinstance(body, dict) or name not in body:
        raise StripeError(f"This property cannot be expanded ({path}).", param="expand[0]")
    value = body[name]
    if isinstance(value, str):
        found = sandbox.store.get(value)
        if found is None:
            raise StripeError(f"This property cannot be expanded ({path}).", param="expand[0]")
        value = body[name] = public(found)
    if len(parts) > 1 and value is not None:
        _expand(sandbox, value, parts[1:], path)


def _line_items(sandbox: Sandbox, id: str) -> Object:
    lines = sandbox.get(id, "checkout.session")["_line_items"]
    return shapes.list_of(lines, f"/v1/checkout/sessions/{id}/line_items")


def _refunds(sandbox: Sandbox, id: str) -> Object:
    found = sandbox.store.newest_first("refund", lambda refund: bool(refund["charge"] == id))
    return shapes.list_of(found[:10], f"/v1/charges/{id}/refunds", has_more=len(found) > 10)


_ON_DEMAND: dict[tuple[str, str], Callable[[Sandbox, str], Object]] = {
    ("checkout.session", "line_items"): _line_items,
    ("charge", "refunds"): _refunds,
}
