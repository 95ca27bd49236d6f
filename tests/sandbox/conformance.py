"""Does an answer look like Stripe's? Checked against the SDK's own classes always, and against Stripe's
official description where that is at hand."""

import json
import re
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, cast, get_args, get_origin

import stripe
from stripe._object_classes import OBJECT_CLASSES, V2_OBJECT_CLASSES, get_object_class
from stripe.events._event_classes import get_v2_event_class

_SPECIFICATION = Path(__file__).parents[3] / "shared" / "stripe" / "spec3.2026-08-26.pruned.json"


def problems(body: Any) -> list[str]:
    """Everything about `body` that Stripe would not send."""
    if not isinstance(body, dict):
        return ["the answer is not an object"]
    kind = body.get("object")
    if body.get("deleted"):
        return [] if set(body) == {"id", "object", "deleted"} else [f"{kind}: more than that it is deleted"]
    if kind == "list" or "next_page_url" in body:
        expected = {"object", "data", "has_more", "url"} if kind else {"data", "next_page_url", "previous_page_url"}
        lacking = [] if set(body) >= expected else [f"list: lacks {sorted(expected - set(body))}"]
        return [*lacking, *(problem for item in body["data"] for problem in problems(item))]
    if "error" in body:
        kind = "error"
    found = _against_sdk(body, str(kind))
    if description() and kind in description():
        found += _against_schema(body, {"$ref": f"#/components/schemas/{kind}"}, str(kind))
    if kind == "event":
        # The description leaves open what an event is about; that has a description of its own.
        found += [f"{body['type']}: {problem}" for problem in _of_event(body["data"])]
    return found


def _of_event(data: dict[str, Any]) -> list[str]:
    body = data["object"]
    known = description().get(body["object"], {}).get("properties") or body
    unknown = set(data.get("previous_attributes") or {}) - set(known)
    return [*problems(body), *(f"previous_attributes: {name} is not declared" for name in sorted(unknown))]


@cache
def description() -> dict[str, Any]:
    """The schemas of Stripe's official description; none where it is not at hand."""
    if not _SPECIFICATION.exists():
        return {}
    schemas: dict[str, Any] = json.loads(_SPECIFICATION.read_text())["components"]["schemas"]
    return schemas


def _against_sdk(body: Any, path: str) -> list[str]:
    """Keys that the SDK's class of this object does not know."""
    if isinstance(body, list):
        return [p for n, item in enumerate(body) for p in _against_sdk(item, f"{path}[{n}]")]
    if not isinstance(body, dict):
        return []
    found = []
    cls = _class(body)
    if cls is not None:
        fields = _fields(cls)
        found = [f"{path}: the SDK knows no {name!r} on {cls.__name__}" for name in body if name not in fields]
        # No description of API v2 is at hand. (For v1 it is asked: there the SDK names fields of earlier versions.)
        # Of a deleted destination only its name is left.
        if cls.__module__.startswith(("stripe.v2", "stripe.events")) and set(body) != {"id", "object"}:
            found += [f"{path}: lacks {name}" for name, needed in fields.items() if needed and name not in body]
    for name, value in body.items():
        if name != "metadata":
            found += _against_sdk(value, f"{path}.{name}")
    return found


def _class(body: dict[str, Any]) -> type | None:
    """The SDK's class of an object; a list has none, it is looked into."""
    name = body.get("object")
    if not isinstance(name, str) or name == "list" or body.get("deleted"):
        return None
    if name == "v2.core.event":
        return cast(type, get_v2_event_class(body["type"]))
    mode: Any = "V2" if name.startswith("v2.") else "V1"
    classes = V2_OBJECT_CLASSES if mode == "V2" else OBJECT_CLASSES
    return get_object_class(mode, name) if name in classes else None


@cache
def _fields(cls: type) -> dict[str, bool]:
    """The fields of an SDK class, and whether each is there always: those that may be null may be absent too."""
    fields = {}
    for base in cls.__mro__:
        for name, hint in getattr(base, "__annotations__", {}).items():
            fields[name] = get_origin(hint) is not ClassVar and NoneType not in get_args(hint)
    return {name: needed and not name.startswith("_") for name, needed in fields.items()}


def _against_schema(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    """What the official description does not allow; undeclared properties count."""
    if "$ref" in schema:
        schema = description()[schema["$ref"].rsplit("/", 1)[1]]
    if value is None:
        return [] if schema.get("nullable") else [f"{path}: is null"]
    if "anyOf" in schema:
        tries = [_against_schema(value, option, path) for option in schema["anyOf"]]
        return min(tries, key=len)
    if "enum" in schema and value not in schema["enum"]:
        return [f"{path}: {value!r} is none of {schema['enum'][:8]}"]
    kind = schema.get("type")
    types = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict, "number": (int, float)}
    if kind and not isinstance(value, types[kind]):
        return [f"{path}: {value!r:.40} is not {kind}"]
    found = []
    if kind == "array":
        for n, item in enumerate(value):
            found += _against_schema(item, schema["items"], f"{path}[{n}]")
    if kind == "object" and "properties" in schema:
        properties = schema["properties"]
        found += [f"{path}: lacks {name}" for name in schema.get("required", []) if name not in value]
        free = path in {"event.data.object", "event.data.previous_attributes"} or path.endswith("next_action")
        for name, item in value.items():
            if name in properties:
                found += _against_schema(item, properties[name], f"{path}.{name}")
            elif not free and not schema.get("additionalProperties"):
                found.append(f"{path}: {name} is not declared")
    return found


@cache
def paths() -> set[tuple[str, str]]:
    """Stripe's routes, ids as {}: those that the SDK calls, and those of the description where that is at hand.

    Neither has all: the SDK leaves out some that are old, the description was cut.
    """
    call = re.compile(r'"(get|post|delete)",\s+"(/v[12]/[^"]*)"')
    services = Path(str(stripe.__file__)).parent.rglob("_*_service.py")
    found = {match for service in services for match in call.findall(service.read_text())}
    if _SPECIFICATION.exists():
        described = json.loads(_SPECIFICATION.read_text())["paths"]
        found |= {(method, path) for path, methods in described.items() for method in methods}
    return {(method.upper(), re.sub(r"{\w+}", "{}", path)) for method, path in found}
