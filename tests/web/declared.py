"""Holds answers of /v1 to what its OpenAPI document declares."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx2
from jsonschema import Draft202012Validator

PROBLEM_JSON = "application/problem+json"
OPENAPI = Path(__file__).parents[2] / "docs" / "openapi.json"
DOCUMENT: dict[str, Any] = json.loads(OPENAPI.read_text())
OPERATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    described["operationId"]: (method.upper(), path, described)
    for path, methods in DOCUMENT["paths"].items()
    for method, described in methods.items()
}
_PATHS = [
    (name, method, re.compile(re.sub(r"\{\w+\}", "[^/]+", path))) for name, (method, path, _) in OPERATIONS.items()
]


def complaints(schema: dict[str, Any], value: Any) -> list[str]:
    """What is wrong with `value` where `schema`, a part of the document, describes it."""
    return [error.message for error in _validator(json.dumps(schema)).iter_errors(value)]


@cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator({**json.loads(schema), "components": DOCUMENT["components"]})


def examples(content: dict[str, Any]) -> dict[str, Any]:
    """The examples of a media type, by name."""
    kept = DOCUMENT["components"]["examples"]
    return {
        name: (kept[example["$ref"].rpartition("/")[2]] if "$ref" in example else example)["value"]
        for name, example in content["examples"].items()
    }


def operation_of(method: str, path: str) -> str | None:
    """The name of the operation that answers there."""
    return next((name for name, its, pattern in _PATHS if its == method and pattern.fullmatch(path)), None)


def hold_to_the_document(answer: httpx2.Response) -> str:
    """Fails when an answer is not as the document declares it. Returns the name of its operation."""
    # An encoded slash is one of an id.
    path = unquote(re.sub("%2f", "_", answer.request.url.raw_path.decode().partition("?")[0], flags=re.IGNORECASE))
    name = operation_of(answer.request.method, path)
    assert name is not None, answer.request.url
    where = (name, answer.status_code, answer.text[:300])
    declared = OPERATIONS[name][2]["responses"].get(str(answer.status_code))
    assert declared is not None, where
    kind = answer.headers["content-type"]
    assert list(declared["content"]) == [kind], where
    assert not complaints(declared["content"][kind]["schema"], answer.json()), where
    for header, described in declared.get("headers", {}).items():
        assert header in answer.headers or not described.get("required"), (header, where)
    if kind == PROBLEM_JSON:
        shown = examples(declared["content"][kind]).get(answer.json()["code"])
        assert shown is not None, where
        # A value that cannot be used is told in more than one way, and a refund's conflict names no account.
        assert shown["code"] == "invalid_input" or set(shown) - set(answer.json()) <= {"account_id"}, where
        assert shown["code"] == "invalid_input" or set(answer.json()) <= set(shown), where
    for result in answer.json().get("results", []) if name == "spend_batch" else []:
        single = OPERATIONS["spend"][2]["responses"][str(result["status"])]
        assert result["problem"] is None or result["problem"]["code"] in single["content"][PROBLEM_JSON]["examples"]
    return name


async def watch(answer: httpx2.Response) -> None:
    """A hook of a client: every answer that it gets is held to the document."""
    await answer.aread()
    hold_to_the_document(answer)
