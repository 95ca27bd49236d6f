"""The OpenAPI 3.1 document of /v1: what the routes declare, and an example of everything."""

from typing import Any

from fastapi import FastAPI

from tallystick.service import Tallystick
from tallystick.web.problems import PROBLEM_JSON
from tallystick.web.v1 import make_v1
from tallystick.web.v1_examples import EXAMPLES
from tallystick.web.v1_operations import OPERATIONS
from tallystick.web.v1_problems import problem_examples

_DESCRIPTION = """\
Credits for any back end: accounts, spends, holds, grants and refunds over HTTP.

Send a secret key as `Authorization: Bearer tsk_…`. Every write but the batch needs an `Idempotency-Key`: whenever an
answer did not arrive, repeat the request with the same key, and it happens once. Errors are problem documents
(RFC 9457); decide by their `code`, which is stable. What this document does not list is an error on our side:
500 `internal_error`, with an `incident` to ask for; it is safe to repeat too. Credits are whole numbers up to 10^12 in
one operation and 10^15 in an account: 64 bits. Instants are RFC 3339, in UTC.
"""


class Documented(FastAPI):
    """An application whose description shows examples of /v1.

    They are put in last, because the framework leaves out what is null.
    """

    def openapi(self) -> dict[str, Any]:
        """The description."""
        document = super().openapi()
        _put_in_examples(document)
        return document


def openapi_document(credits: Tallystick) -> dict[str, Any]:
    """The OpenAPI 3.1 description of /v1: what `docs/openapi.json` holds."""
    app = Documented(
        title="Tallystick",
        version="1",
        summary="Credits for any back end.",
        description=_DESCRIPTION,
        servers=[{"url": "http://127.0.0.1:8000", "description": "`tallystick serve` on this machine."}],
    )
    app.include_router(make_v1(credits))
    return app.openapi()


def _put_in_examples(document: dict[str, Any]) -> None:
    shown: set[str] = set()
    for methods in document["paths"].values():
        for described in methods.values():
            name = described["operationId"]
            if name not in OPERATIONS:
                continue
            example = EXAMPLES[name]
            if example.body is not None:
                described["requestBody"]["content"]["application/json"]["examples"] = {name: {"value": example.body}}
            success = described["responses"][str(OPERATIONS[name].status)]["content"]["application/json"]
            success["examples"] = {name: {"value": example.answered()}}
            for status, codes in OPERATIONS[name].problems.items():
                problems = described["responses"][str(status)]["content"][PROBLEM_JSON]
                problems["examples"] = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}
                shown.update(codes)
    document["components"]["examples"] = problem_examples(sorted(shown))
