"""The errors that operations of /v1 declare, one of each code, and how the OpenAPI document tells them.

What a problem document says is made by the same code that answers with it.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from fastapi.exceptions import RequestValidationError

from tallystick.api_keys import InvalidApiKey, MissingScope, Scope
from tallystick.billing.errors import (
    NothingToRefund,
    RefundRejected,
    RefundTooLarge,
    StripeRejected,
    StripeUnavailable,
    UnknownPurchase,
)
from tallystick.database.engine import DatabaseUnavailable
from tallystick.domain.amounts import MAX_BALANCE
from tallystick.domain.errors import (
    AlreadyReversed,
    BalanceTooLarge,
    EntryArchived,
    GrantExpired,
    HoldNotOpen,
    IdempotencyConflict,
    InsufficientCredits,
    InvalidInstant,
    LedgerUnavailable,
    NotReversible,
    Overloaded,
    TallystickError,
    TooManyHolds,
    Unavailable,
    UnknownAccount,
    UnknownEntry,
    UnknownPlan,
)
from tallystick.domain.holds import MAX_HOLDS
from tallystick.service import BillingNotConfigured
from tallystick.web.problems import PROBLEM_JSON, STATUSES, body_too_large, from_validation, problem_body, title_of
from tallystick.web.security import NotJson
from tallystick.web.v1_access import KeyMissing
from tallystick.web.v1_examples import ACCOUNT, DASHBOARD, NOW, PURCHASE, SPEND
from tallystick.web.v1_shapes import with_buy_at

_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_INSUFFICIENT = {"$ref": "#/components/schemas/InsufficientCreditsProblem"}
_RESETS_AT = NOW.replace(month=12)


def _invalid(kind: str, *where: str, what: str = "") -> TallystickError:
    return from_validation(RequestValidationError([{"type": kind, "loc": where, "msg": what}]))


_ERRORS: tuple[TallystickError, ...] = (
    KeyMissing(),
    _invalid("json_invalid"),
    InvalidApiKey(),
    with_buy_at(
        InsufficientCredits(
            required=10_000, available=635, can_buy=True, resets_at=_RESETS_AT, ways=["buy bonus credits"]
        ),
        DASHBOARD,
    ),
    MissingScope(Scope.ADMIN),
    UnknownAccount("nobody"),
    UnknownEntry(ACCOUNT, 99),
    UnknownPlan("gold", ("free", "plus")),
    UnknownPurchase(PURCHASE),
    AlreadyReversed(SPEND, 3),
    NotReversible(1, "account_opened"),
    HoldNotOpen(99),
    TooManyHolds(MAX_HOLDS),
    NothingToRefund(PURCHASE),
    RefundRejected("Stripe refused a request (charge_disputed, request req_1a2b3c). Nothing was changed."),
    EntryArchived(ACCOUNT, SPEND, 1_000),
    body_too_large(),
    NotJson("application/x-www-form-urlencoded"),
    _invalid("greater_than_equal", "body", "amount", what="Input should be greater than or equal to 1"),
    InvalidInstant("expires_at lies outside the years 1 to 9999 in UTC. Nothing was changed.", name="expires_at"),
    IdempotencyConflict(ACCOUNT, "request-8122"),
    GrantExpired(NOW.replace(month=1)),
    BalanceTooLarge(ACCOUNT, MAX_BALANCE),
    RefundTooLarge("7.00 USD", "5.99 USD"),
    StripeRejected(
        "Stripe refused a request (api_key_expired, request req_1a2b3c). Nothing was changed. An operator has to "
        "look at the settings.",
        stripe_code="api_key_expired",
        stripe_status=401,
    ),
    DatabaseUnavailable(),
    LedgerUnavailable(
        "The ledger's database did not confirm this, so it may or may not have taken effect. "
        "Repeat it with the same idempotency key: it will not happen twice."
    ),
    Overloaded(
        "10,000 commands are waiting already, so this one was not taken. Nothing was changed. "
        "Try again with the same idempotency key."
    ),
    StripeUnavailable(),
    BillingNotConfigured(),
)
_OF_CODE = {error.code: error for error in _ERRORS}


def by_status(codes: Iterable[str]) -> dict[int, tuple[str, ...]]:
    """The codes that each status may come with."""
    ordered = sorted(codes, key=lambda code: STATUSES[code])
    return {status: tuple(same) for status, same in groupby(ordered, lambda code: STATUSES[code])}


def problem_examples(codes: Iterable[str]) -> dict[str, dict[str, Any]]:
    """An example of each code, as OpenAPI has them."""
    return {
        code: {"summary": _OF_CODE[code].message.partition(". ")[0] + ".", "value": problem_body(_OF_CODE[code])}
        for code in codes
    }


def problem_response(status: int, codes: tuple[str, ...]) -> dict[str, Any]:
    """How a route declares that it may answer `status` with problems of these codes."""
    described: dict[str, Any] = {
        "description": f"{title_of(status)}: {', '.join(f'`{code}`' for code in codes)}.",
        "content": {PROBLEM_JSON: {"schema": _INSUFFICIENT if status == 402 else _PROBLEM}},
    }
    later = [isinstance(_OF_CODE[code], Unavailable) for code in codes]
    if any(later):
        described["headers"] = {"Retry-After": {**_RETRY_AFTER, "required": all(later)}}
    if status == 401:
        described["headers"] = {"WWW-Authenticate": _WWW_AUTHENTICATE}
    return described


_RETRY_AFTER = {
    "description": "Seconds to wait before the request is repeated, with the same Idempotency-Key.",
    "schema": {"type": "integer", "minimum": 1},
    "example": 1,
}
_WWW_AUTHENTICATE = {"required": True, "schema": {"type": "string", "const": "Bearer"}, "example": "Bearer"}
