"""Lists: newest first, filtered by what is given, in cursor pages."""

from collections.abc import Callable, Mapping
from typing import Any

from stripe_sandbox import shapes
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

MAX_PAGE = 100

Filters = Mapping[str, Callable[[Object, Any], bool]]
"""By parameter: whether an object is one of those that its value asks for."""

_PAGING = {"limit", "starting_after", "ending_before", "expand"}


def list_objects(sandbox: Sandbox, type: str, given: Object, url: str, filters: Filters) -> Object:
    """One page of all objects of a type that `given` asks for."""
    return page(sandbox.store.newest_first(type, lambda body: _matches(body, given, filters)), given, url)


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


def _matches(body: Object, given: Object, filters: Filters) -> bool:
    return all(
        filters.get(name, lambda body, wanted, name=name: _equals(body, name, wanted))(body, wanted)
        for name, wanted in given.items()
        if name not in _PAGING
    )


def _equals(body: Object, name: str, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        compare = {"gt": int.__gt__, "gte": int.__ge__, "lt": int.__lt__, "lte": int.__le__}
        return all(compare[op](body[name], bound) for op, bound in wanted.items())
    if isinstance(wanted, list):
        return bool((body["id"] if name == "ids" else body.get(name)) in wanted)
    return bool(body.get(name) == wanted)
