"""Control routes for what time does: subscriptions and the cards they are paid with, and clocks to move."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from stripe_sandbox import agenda, catalogue, clocks, payment_methods
from stripe_sandbox.billing import lifecycle, portal_configurations, standing, updates
from stripe_sandbox.card_table import card_of
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

_SHOWN = 20
_CLOCK = "test_helpers.test_clock"
SPANS = {"1 hour": 3600, "1 day": 86_400, "1 week": 7 * 86_400, "1 month": 31 * 86_400, "1 year": 366 * 86_400}
"""How far the index page can move a clock, in seconds."""


def _pay_with(card: str) -> Callable[[Sandbox, Object], Object]:
    def change(sandbox: Sandbox, subscription: Object) -> Object:
        method = payment_methods.find(sandbox, card)
        method = payment_methods.attach(sandbox, method, subscription["customer"], set_up=True)
        return updates.update(sandbox, subscription, {"default_payment_method": method["id"]})

    return change


_CHANGES: Mapping[str, Callable[[Sandbox, Object], Object]] = {
    "cancel": lambda sandbox, subscription: lifecycle.cancel(sandbox, subscription, {}),
    "cancel_at_period_end": lambda sandbox, subscription: updates.update(
        sandbox, subscription, {"cancel_at_period_end": True}
    ),
    "keep": lambda sandbox, subscription: updates.update(sandbox, subscription, {"cancel_at_period_end": False}),
    "let_payments_fail": _pay_with("pm_card_chargeCustomerFail"),
    "let_payments_succeed": _pay_with("pm_card_visa"),
    "pause": lambda sandbox, subscription: lifecycle.pause(sandbox, subscription, {}),
    "resume": lambda sandbox, subscription: lifecycle.resume(sandbox, subscription, {}),
}


def change(sandbox: Sandbox, fields: dict[str, str], id: str) -> Object:
    """Let `do` happen to a subscription: one of `_CHANGES`."""
    wanted = fields.get("do", "")
    if wanted not in _CHANGES:
        raise StripeError(f"Give do={', '.join(_CHANGES)}.", param="do")
    with sandbox.store.transaction(), clocks.in_time_of(sandbox, id):
        return _CHANGES[wanted](sandbox, sandbox.get(id, "subscription"))


def move_clock(sandbox: Sandbox, fields: dict[str, str], _: str) -> Object:
    """Move the sandbox's own clock forward by `advance` seconds."""
    sandbox.advance(_seconds(fields))
    agenda.run_due(sandbox)
    return {"now": sandbox.now()}


def move_test_clock(sandbox: Sandbox, fields: dict[str, str], id: str) -> Object:
    """Move a test clock forward by `advance` seconds."""
    clock = sandbox.get(id, _CLOCK)
    clocks.advance(sandbox, id, {"frozen_time": clock["frozen_time"] + _seconds(fields)})
    agenda.run_due(sandbox)
    return sandbox.get(id, _CLOCK)


def save_portal(sandbox: Sandbox, _: dict[str, str], __: str) -> Object:
    """Save the customer portal's default configuration, as it is when nothing was chosen."""
    return portal_configurations.save_default(sandbox)


def overview(sandbox: Sandbox) -> Object:
    """What the index page shows of subscriptions and clocks, newest first."""
    store = sandbox.store
    return {
        "subscriptions": [_subscription(sandbox, found) for found in store.newest_first("subscription")[:_SHOWN]],
        "clocks": [{**clock, "time": _time(clock["frozen_time"])} for clock in store.newest_first(_CLOCK)[:_SHOWN]],
        "spans": SPANS,
        "portal_is_saved": portal_configurations.default(sandbox) is not None,
    }


def _subscription(sandbox: Sandbox, found: Object) -> Object:
    customer = sandbox.store.get(found["customer"], "customer") or {}
    method_id = found["default_payment_method"] or (customer.get("invoice_settings") or {}).get(
        "default_payment_method"
    )
    method = sandbox.store.get(method_id or "", "payment_method")
    sold = [f"{item['quantity']} × {catalogue.price_text(item['price'])}" for item in found["items"]["data"]]
    return {
        **found,
        "who": customer.get("email") or found["customer"],
        "sold": ", ".join(sold),
        "ends": _time(standing.period_end(found)),
        "cancels": found["cancel_at"] and _time(found["cancel_at"]),
        "has_ended": found["status"] in standing.ENDED,
        "fails": method is not None and card_of(method).decline is not None,
    }


def _seconds(fields: dict[str, str]) -> int:
    given = fields.get("advance", "").strip()
    if not given.isdecimal():
        raise ValueError("Give advance=SECONDS, a whole number: a clock only goes forward.")
    return int(given)


def _time(instant: int) -> str:
    return f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%d %H:%M} UTC"


CONTROLS = {
    "/sandbox/clock": move_clock,
    "/sandbox/subscriptions/{id}": change,
    "/sandbox/test_clocks/{id}": move_test_clock,
    "/sandbox/portal": save_portal,
}
