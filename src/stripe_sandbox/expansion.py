"""`expand`: objects in the place of their ids, and what is only sent to those who ask for it."""

from collections.abc import Callable, Mapping
from typing import Any

from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object, public

Includes = Mapping[tuple[str, str], Callable[[Sandbox, Object], Any]]
"""By type and name (a path, for what is deeper): what an object has there when it is asked for."""


def expand(sandbox: Sandbox, body: Object, paths: list[str], includes: Includes) -> Object:
    """`body` with what `paths` name in it."""
    answer: Object = public(body)
    for path in paths:
        _expand(sandbox, answer, path.split("."), path, includes, ({}, ""))
    return answer


def _expand(
    sandbox: Sandbox, body: Any, parts: list[str], path: str, includes: Includes, within: tuple[Object, str]
) -> None:
    """`within` is the object that `body` is a part of, and where in it."""
    if isinstance(body, list):
        for item in body:
            _expand(sandbox, item, parts, path, includes, within)
        return
    if not isinstance(body, dict):
        raise _refused(path)
    name = parts[0]
    whole, place = (body, "") if "object" in body else within
    if name not in body:
        include = includes.get((whole.get("object", ""), f"{place}{name}"))
        kept = sandbox.store.get(whole.get("id", ""))
        if include is None or kept is None:
            raise _refused(path)
        body[name] = public(include(sandbox, kept))
    if isinstance(body[name], list):
        body[name] = [_object(sandbox, item, path) for item in body[name]]
    else:
        body[name] = _object(sandbox, body[name], path)
    if len(parts) > 1 and body[name] is not None:
        _expand(sandbox, body[name], parts[1:], path, includes, (whole, f"{place}{name}."))


def _object(sandbox: Sandbox, value: Any, path: str) -> Any:
    if not isinstance(value, str):
        return value
    found = sandbox.store.get(value)
    if found is None:
        raise _refused(path)
    return public(found)


def _refused(path: str) -> StripeError:
    return StripeError(f"This property cannot be expanded ({path}).", param="expand[0]")
