"""Exchanges that were recorded with the real API are replayed against the sandbox, and have to end alike.

Alike means: the same status, the same error, the same headers of idempotency, the same state, and the same keys at any
depth; see `exchanges.differences` for what may differ with the version. What ends otherwise is listed here with its
reason, and the list is held to be true both ways.
"""

from dataclasses import replace
from typing import Any

import pytest

from tests.sandbox.exchanges import Answer, Exchange, differences, recorded, written
from tests.sandbox.setups import Replay, SetupFailed

_BY_INVOICE = "payment_details are on the payment intents of invoices; the one made here is not of an invoice"
_PLAN = "`plan` in the place of `price` was taken until the SDK's types gave it up; the sandbox takes what they name"
NOT_ALIKE: dict[str, str] = {
    "GET_charges_ID__200_succeeded__2025-10-29.clover": _BY_INVOICE,
    "GET_invoices_upcoming__400_nocode__2020-08-27": "removed in basil; it is /v1/invoices/create_preview now",
    "GET_payment_intents_ID__200_processing__2023-10-16": "a SEPA debit, which the sandbox does not have",
    "GET_payment_intents_ID__200_requires_action__2023-10-16": "a bank transfer to a customer balance, not there",
    "GET_payment_intents_ID__200_requires_action__2026-03-25.dahlia": _BY_INVOICE,
    "POST_credit_notes__200_issued__2025-10-29.clover": "credit notes are not there",
    "POST_payment_intents__200_requires_action__2020-08-27": (
        "before 2023-08-16 an intent took no method that redirects unless asked to, so it needed no return_url; the "
        "sandbox gives answers the shape of an earlier version, and behaves as today"
    ),
    "POST_payment_methods_ID_attach__200___2023-10-16": "radar_options are on methods made in a browser",
    "POST_payment_methods__200___2025-10-29.clover": "OXXO, which the sandbox does not have",
    "POST_subscriptions_ID__200_active__2020-08-27": _PLAN,
    "POST_subscriptions__200_active__2020-08-27": _PLAN,
    "POST_subscriptions__200_active__2023-08-16": _PLAN,
    "POST_subscriptions__200_incomplete__2020-08-27": _PLAN,
    "POST_subscriptions__400_resource_missing__2020-08-27": _PLAN,
    "POST_subscriptions__400_resource_missing__2020-08-27.2": _PLAN,
}
"""By exchange, why the sandbox answers otherwise."""


async def replayed(exchange: Exchange) -> list[str]:
    try:
        return differences(exchange, await Replay().run(exchange))
    except SetupFailed as failed:
        return [str(failed)]


async def test_every_exchange_ends_alike_but_for_those_with_a_reason() -> None:
    found = {exchange.name: await replayed(exchange) for exchange in [*written(), *recorded()]}
    assert {name: wrong for name, wrong in found.items() if wrong and name not in NOT_ALIKE} == {}
    assert [name for name in NOT_ALIKE if found.get(name) == []] == []


def body_of(**changes: Any) -> dict[str, Any]:
    kept = {"id": "we_1", "object": "webhook_endpoint", "status": "enabled", "metadata": {"a": "1"}, **changes}
    return {key: value for key, value in kept.items() if value is not ...}


KEY = {"idempotency-key": "k", "original-request": "req_1", "stripe-should-retry": "false"}
HEADERS = {"request-id": "req_1", "stripe-version": "2026-03-25.dahlia", **KEY}
REFUSED = {"error": {"type": "invalid_request_error", "code": "parameter_unknown", "param": "x", "message": ""}}


@pytest.mark.parametrize(
    ("then", "now", "complaint"),
    [
        ((200, HEADERS, body_of()), (200, HEADERS, body_of(metadata={"b": "2"})), None),
        ((200, HEADERS, body_of()), (200, HEADERS, body_of(id="we_2")), None),
        ((200, HEADERS, body_of()), (404, HEADERS, REFUSED), "status 404 instead of 200"),
        ((200, HEADERS, body_of()), (200, HEADERS, body_of(status="disabled")), "status 'disabled' instead"),
        ((200, HEADERS, body_of()), (200, HEADERS, body_of(status=...)), "status None instead"),
        ((200, HEADERS, body_of(url="x")), (200, HEADERS, body_of()), "webhook_endpoint.url is absent"),
        ((200, HEADERS, body_of()), (200, HEADERS, body_of(colour="red")), "webhook_endpoint.colour is here"),
        ((200, HEADERS, body_of(deep={"a": 1})), (200, HEADERS, body_of(deep={"b": 1})), "webhook_endpoint.deep.b"),
        ((200, HEADERS, body_of(deep=[{"a": 1}])), (200, HEADERS, body_of(deep=[{}])), "webhook_endpoint.deep[].a"),
        (
            (200, HEADERS, body_of()),
            (200, {**HEADERS, "stripe-should-retry": "true"}, body_of()),
            "Stripe-Should-Retry",
        ),
        ((200, {}, body_of()), (200, {"idempotency-key": "k"}, body_of()), "idempotency-key is here"),
        ((400, HEADERS, REFUSED), (400, HEADERS, {"error": {**REFUSED["error"], "code": "x"}}), "error.code 'x'"),
        ((400, HEADERS, REFUSED), (400, HEADERS, {"error": {**REFUSED["error"], "param": "y"}}), "error.param 'y'"),
    ],
)
def test_what_counts_as_a_difference(
    then: tuple[int, dict[str, str], Any], now: tuple[int, dict[str, str], Any], complaint: str | None
) -> None:
    found = differences(replace(written()[0], answer=Answer(*then)), Answer(*now))
    if complaint is None:
        assert found == []
    else:
        assert any(problem.startswith(complaint) for problem in found), found
