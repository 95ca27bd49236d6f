"""What a route of the API is, and the routes that all families of resources have in the same way.

Each family lists its own in a module-level `OPERATIONS`; `api` puts them together and knows the HTTP around them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from stripe_sandbox import lists
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

Act = Callable[[Sandbox, str, Object], Object]
"""What a route does: the sandbox, the `id` in the path (or ""), the checked parameters with any other id of the path."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One route: its method, its path below /v1, the SDK type of its parameters, and what it does."""

    method: str
    path: str
    shape: type
    act: Act


def create(path: str, shape: type, act: Callable[[Sandbox, Object], Object]) -> Operation:
    """POST on a collection."""
    return Operation("POST", path, shape, lambda sandbox, _, given: act(sandbox, given))


def list_of(
    type: str, path: str, shape: type, filters: lists.Filters | None = None, defaults: Object | None = None
) -> Operation:
    """GET on a collection; `filters` judges the parameters that are not compared with a key of the same name,
    `defaults` holds for those that are not given."""

    def act(sandbox: Sandbox, _: str, given: Object) -> Object:
        return lists.list_objects(sandbox, type, {**(defaults or {}), **given}, f"/v1{path}", filters or {})

    return Operation("GET", path, shape, act)


def retrieve(type: str, path: str, shape: type) -> Operation:
    """GET on one object."""
    return Operation("GET", f"{path}/{{id}}", shape, lambda sandbox, id, _: sandbox.get(id, type))


def update(type: str, path: str, shape: type) -> Operation:
    """POST on one object: sets what is given, merges metadata, and tells of it."""
    return Operation(
        "POST",
        f"{path}/{{id}}",
        shape,
        lambda sandbox, id, given: _update(sandbox, sandbox.get(id, type), given),
    )


def changes(found: Object, given: Object) -> Object:
    """The keys of `found` that `given` sets, metadata merged: an empty value takes its key out."""
    changed = {name: value for name, value in given.items() if name in found and name != "metadata"}
    if "metadata" in given:
        merged = {**found["metadata"], **(given["metadata"] or {})}
        changed["metadata"] = {key: value for key, value in merged.items() if value != ""}
    return changed


def deleted(sandbox: Sandbox, found: Object) -> Object:
    """Take an object away. Returns what is answered to that."""
    sandbox.store.delete(found["id"])
    return {"id": found["id"], "object": found["object"], "deleted": True}


def _update(sandbox: Sandbox, found: Object, given: Object) -> Object:
    return sandbox.changed(f"{found['object']}.updated", found, **changes(found, given))
