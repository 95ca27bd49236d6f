"""Does an answer look like Stripe's? Checked against the SDK's own classes always, and against Stripe's
official description where that is at hand."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import stripe
from stripe._object_classes import OBJECT_CLASSES, get_object_class

_SPECIFICATION = Path(__file__).parents[3] / "shared" / "stripe" / "spec3.2026-08-26.pruned.json"


def problems(body: Any) -> list[str]:
    """Everything about `body` that Stripe would not send."""
    if isinstance(body, dict) and body.get("deleted"):
        return [] if set(body) == {"id", "object", "deleted"} else [f"{body['object']}: more than that it is deleted"]
    found = _against_sdk(body, body.get("object", "error") if isinstance(body, dict) else "?")
    schemas = _schemas()
    if schemas and isinstance(body, dict) and body.get("object") in schemas:
        found += _against_schema(body, {"$ref": f"#/components/schemas/{body['object']}"}, body["object"])
    elif isinstance(body, dict) and body.get("object") == "list":
        for item in body["data"]:
            found += problems(item)
    return found


@cache
def _schemas() -> dict[str, Any]:
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
    name = body.get("object")
    cls = get_object_class("V1", name) if isinstance(name, str) and name in OBJECT_CLASSES else None
    if cls is not None and cls is not stripe.ListObject and not body.get("deleted"):
        known = {name for base in cls.__mro__ for name in getattr(base, "__annotations__", {})}
        found = [f"{path}: the SDK knows no {name!r} on {cls.__name__}" for name in body if name not in known]
    for name, value in body.items():
        if name != "metadata":
            found += _against_sdk(value, f"{path}.{name}")
    return found


def _against_schema(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    """What the official description does not allow; undeclared properties count."""
    if "$ref" in schema:
        schema = _schemas()[schema["$ref"].rsplit("/", 1)[1]]
    if value is None:
        return [] if schema.get("nullable") or "anyOf" in schema else [f"{path}: is null"]
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
