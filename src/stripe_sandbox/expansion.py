"""`expand`: objects in the place of their ids."""

from typing import Any

from stripe_sandbox import shapes
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object, public


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
