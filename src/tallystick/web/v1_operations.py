"""The operations of /v1: which key each needs, what each may answer, and an example of both.

The one place that says so. Routes are declared from it, so the document cannot say otherwise; tests hold every
answer they see to it.
"""

import inspect
from dataclasses import dataclass
from typing import Any

from fastapi import Depends

from tallystick.api_keys import Scope
from tallystick.service import Tallystick
from tallystick.web.security import json_only
from tallystick.web.v1_access import KEY_HEADER, requires
from tallystick.web.v1_examples import EXAMPLES
from tallystick.web.v1_problems import by_status, problem_response

_REPLAYED = "Idempotent-Replayed"
REPLAYED = {_REPLAYED: "true"}
"""The headers of an answer that was given before (S7)."""

_ALWAYS = ("invalid_api_key", "missing_scope", "invalid_input", "database_unavailable")
_WITH_KEY = ("idempotency_key_missing", "idempotency_conflict", "overloaded")
_WITH_BODY = ("malformed_json", "body_too_large", "unsupported_media_type")
_REFUNDING = (
    "unknown_purchase",
    "nothing_to_refund",
    "refund_too_large",
    "stripe_rejected",
    "stripe_unavailable",
    "billing_not_configured",
)


@dataclass(frozen=True, slots=True)
class Operation:
    """What one operation asks for, and the codes of its own; it has others with all that are like it."""

    scope: Scope
    own: tuple[str, ...]
    status: int = 201
    keyed: bool = True
    body: bool = True
    ledger: bool = True

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of all problems that it may answer with."""
        shared = (
            *_ALWAYS,
            *(_WITH_KEY if self.keyed else ()),
            *(_WITH_BODY if self.body else ()),
            *(("ledger_unavailable",) if self.ledger else ()),
        )
        return (*shared, *self.own)

    @property
    def problems(self) -> dict[int, tuple[str, ...]]:
        """These codes by their status."""
        return by_status(self.codes)


OPERATIONS = {
    "spend": Operation(Scope.SPEND, ("unknown_account", "insufficient_credits")),
    # The refusals of its spends, and what hinders them, are in their results.
    "spend_batch": Operation(Scope.SPEND, (), status=200, keyed=False, ledger=False),
    "get_account": Operation(Scope.READ, ("unknown_account",), status=200, keyed=False, body=False),
    "put_account": Operation(Scope.ADMIN, ("unknown_plan",), status=200),
    "reverse_spend": Operation(
        Scope.SPEND, ("unknown_account", "unknown_entry", "already_reversed", "not_reversible", "entry_archived")
    ),
    "place_hold": Operation(Scope.SPEND, ("unknown_account", "insufficient_credits", "too_many_holds")),
    "capture_hold": Operation(Scope.SPEND, ("unknown_account", "insufficient_credits", "hold_not_open")),
    "extend_hold": Operation(Scope.SPEND, ("unknown_account", "insufficient_credits", "hold_not_open")),
    "release_hold": Operation(Scope.SPEND, ("unknown_account", "hold_not_open"), body=False),
    "grant_credits": Operation(
        Scope.GRANT, ("unknown_account", "invalid_instant", "grant_expired", "balance_too_large")
    ),
    "remove_credits": Operation(Scope.ADMIN, ("unknown_account", "insufficient_credits")),
    "list_entries": Operation(Scope.READ, ("unknown_account",), status=200, keyed=False, body=False),
    "quote_refund": Operation(Scope.READ, _REFUNDING, status=200, keyed=False, body=False),
    "refund_purchase": Operation(Scope.ADMIN, (*_REFUNDING, "refund_rejected")),
}


def declare(credits: Tallystick, name: str) -> dict[str, Any]:
    """What the route of an operation is declared with: how it answers, what it asks for, how it is described."""
    operation, example = OPERATIONS[name], EXAMPLES[name]
    success: dict[str, Any] = {"description": inspect.getdoc(example.answer), "links": _LINKS.get(name, {})}
    if operation.keyed:
        success["headers"] = {_REPLAYED: _REPLAYED_HEADER}
    problems = {status: problem_response(status, codes) for status, codes in operation.problems.items()}
    return {
        "operation_id": name,
        "summary": name.replace("_", " ").capitalize(),
        "status_code": operation.status,
        "dependencies": [requires(credits, operation.scope), *([Depends(json_only)] if operation.body else [])],
        "responses": {operation.status: success, **problems},
        "openapi_extra": {"parameters": [_KEY | {"example": example.key}]} if operation.keyed else None,
    }


def _links(operations: tuple[str, ...], **parameters: str) -> dict[str, Any]:
    taken = {name: f"$response.body#/{pointer}" for name, pointer in parameters.items()}
    return {name: {"operationId": name, "parameters": taken} for name in operations}


_LINKS = {
    "spend": _links(("reverse_spend",), id="account_id", seq="seq"),
    "capture_hold": _links(("reverse_spend",), id="account_id", seq="seq"),
    "place_hold": _links(("capture_hold", "extend_hold", "release_hold"), id="entry/account_id", hold="id"),
    "list_entries": {
        "next_page": {
            "operationId": "list_entries",
            "parameters": {"id": "$request.path.id", "before": "$response.body#/next_before"},
        }
    },
}
_KEY = {
    "name": KEY_HEADER,
    "in": "header",
    "required": True,
    "description": (
        "Names this request, uniquely within the account (S7). Sent again with the same request it answers the first "
        f"result again, marked `{_REPLAYED}: true`, however late; with another request it is refused "
        "(422 `idempotency_conflict`)."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
_REPLAYED_HEADER = {
    "description": "There, and `true`, when the key was used before for this request: nothing was done again.",
    "schema": {"type": "string", "const": "true"},
}
