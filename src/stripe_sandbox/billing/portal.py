"""What a customer does at the customer portal, as far as its configuration lets them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from stripe_sandbox import customers, payment_methods, payment_shapes, payments, setup_intents
from stripe_sandbox.billing import (
    coupons,
    invoices,
    lifecycle,
    portal_configurations,
    portal_sessions,
    previews,
    schedules,
    standing,
    updates,
)
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

_INTERVALS = {"day": 1, "week": 7, "month": 30, "year": 365}


class Over(Exception):
    """The visit is over: its address was not opened in time, or nothing was done for long."""

    def __init__(self, return_url: str | None) -> None:
        super().__init__("This visit is over.")
        self.return_url = return_url


class When(StrEnum):
    """When a change of plan happens."""

    NOW = "now"
    AT_PERIOD_END = "at_period_end"


@dataclass(frozen=True, slots=True)
class Visit:
    """A customer at the portal."""

    session: Object
    configuration: Object
    customer: Object

    def feature(self, name: str) -> Object:
        """What the configuration says of a feature."""
        found: Object = self.configuration["features"][name]
        return found

    def require(self, name: str) -> Object:
        """The same for one that is used. Raises StripeError when it is switched off."""
        found = self.feature(name)
        if not found["enabled"]:
            raise StripeError("This is not open to you here. Ask the seller.")
        return found


@dataclass(frozen=True, slots=True)
class Change:
    """What a subscription is to become: one price, so many of it, with a promotion code or without."""

    price: str
    quantity: int
    discounts: tuple[Object, ...] = ()


def enter(sandbox: Sandbox, token: str) -> Visit | None:
    """The visit that an address names, which goes on from now. Raises Over."""
    session = portal_sessions.named(sandbox, token)
    if session is None:
        return None
    now = sandbox.now()
    customer = sandbox.store.get(session["customer"], "customer")
    if session["_good_until"] <= now or customer is None:
        raise Over(session["return_url"])
    session = {**session, "_good_until": now + portal_sessions.IDLE_SECONDS}
    sandbox.store.put(session)
    return Visit(session, sandbox.get(session["configuration"], portal_configurations.TYPE), customer)


def subscription_of(sandbox: Sandbox, visit: Visit, id: str) -> Object:
    """The customer's subscription of that id, which has not ended. Raises StripeError."""
    found = sandbox.get(id, "subscription")
    if found["customer"] != visit.customer["id"] or found["status"] in standing.ENDED:
        raise StripeError("This subscription has ended, or is not yours.", status=404)
    return found


def cancel(sandbox: Sandbox, visit: Visit, id: str, feedback: str | None, comment: str | None) -> Object:
    """Cancel a subscription, when the configuration says. In flexible billing mode its end becomes a date."""
    how = visit.require("subscription_cancel")
    subscription = _without_schedule(sandbox, subscription_of(sandbox, visit, id))
    details = {"feedback": feedback or "", "comment": comment or ""}
    if how["mode"] == "at_period_end" and subscription["status"] in standing.LIVE:
        given = {"cancel_at": "max_period_end", "cancellation_details": details}
        return updates.update(sandbox, subscription, given)
    prorates = how["proration_behavior"] != "none"
    at_once = how["proration_behavior"] == "always_invoice"
    given = {"prorate": prorates, "invoice_now": at_once, "cancellation_details": details}
    return lifecycle.cancel(sandbox, subscription, given)


def renew(sandbox: Sandbox, visit: Visit, id: str) -> Object:
    """Take a cancellation back that has not happened yet."""
    visit.require("subscription_cancel")
    subscription = subscription_of(sandbox, visit, id)
    given = {"cancel_at": "", "cancellation_details": {"feedback": "", "comment": ""}}
    return updates.update(sandbox, subscription, given)


def keep_plan(sandbox: Sandbox, visit: Visit, id: str) -> Object:
    """Take a change of plan back that has not happened yet."""
    visit.require("subscription_update")
    return _without_schedule(sandbox, subscription_of(sandbox, visit, id))


def is_changeable(visit: Visit, subscription: Object) -> bool:
    """Whether a subscription can be switched to another price: one item, running, not about to end."""
    update = visit.feature("subscription_update")
    runs = subscription["status"] in ("active", "trialing") and subscription["cancel_at"] is None
    return bool(
        update["enabled"]
        and runs
        and subscription["pending_update"] is None
        and len(subscription["items"]["data"]) == 1
        and portal_sessions.products(visit.configuration)
    )


def adjustable(visit: Visit, price: Object) -> Object | None:
    """Between which numbers a customer may choose how many of a price; None for one that has no choice."""
    if "quantity" not in visit.feature("subscription_update")["default_allowed_updates"]:
        return None
    for product in portal_sessions.products(visit.configuration):
        if price["id"] in product["prices"] and product["adjustable_quantity"]["enabled"]:
            found: Object = product["adjustable_quantity"]
            return found
    return None


def change_of(sandbox: Sandbox, visit: Visit, subscription: Object, typed: dict[str, str]) -> Change:
    """The change that a customer asks for. Raises StripeError for one that is not on offer."""
    item = subscription["items"]["data"][0]
    allowed = visit.require("subscription_update")["default_allowed_updates"]
    price = typed.get("price") or item["price"]["id"]
    sold = {id for product in portal_sessions.products(visit.configuration) for id in product["prices"]}
    if price != item["price"]["id"] and (price not in sold or "price" not in allowed):
        raise StripeError("This plan is not on offer. Choose another one.")
    quantity = _quantity(visit, sandbox.get(price, "price"), typed.get("quantity", "").strip(), item["quantity"])
    if (price, quantity) == (item["price"]["id"], item["quantity"]):
        raise StripeError("You have this plan already. Choose another one.")
    code = typed.get("promotion_code", "").strip()
    if not code or "promotion_code" not in allowed:
        return Change(price, quantity)
    found = coupons.find_code(sandbox, code)
    if found is None:
        raise StripeError("This promotion code is not valid.")
    return Change(price, quantity, ({"promotion_code": found["id"]},))


def when(visit: Visit, subscription: Object, change: Change, price: Object) -> When:
    """Whether a change to `price` waits for the period's end: that of a trial, which costs nothing, never does."""
    old = subscription["items"]["data"][0]
    terms = visit.feature("subscription_update")["schedule_at_period_end"]["conditions"]
    less = price["unit_amount"] * change.quantity < old["price"]["unit_amount"] * old["quantity"]
    shorter = _days(price) < _days(old["price"])
    holds = {"decreasing_item_amount": less, "shortening_interval": shorter}
    waits = subscription["status"] == "active" and any(holds[term["type"]] for term in terms)
    return When.AT_PERIOD_END if waits else When.NOW


def preview(sandbox: Sandbox, visit: Visit, subscription: Object, change: Change) -> Object:
    """The invoice that a change now would make, or that comes next."""
    given = _now(visit, subscription, change)
    wanted: Object = {"subscription": subscription["id"], "subscription_details": given}
    if "discounts" in given:
        wanted["discounts"] = given.pop("discounts")
    return previews.create(sandbox, wanted)


def change(sandbox: Sandbox, visit: Visit, subscription: Object, change: Change, back: str) -> str | None:
    """Switch a subscription to another price, now or at its period's end.

    A change that costs something now happens only if it is paid. Returns the address of the bank's page when that
    wants a confirmation first, which leads on to `back`. Raises Stripe's error for a card that is declined; nothing
    has changed then.
    """
    visit.require("subscription_update")
    price = sandbox.get(change.price, "price")
    if when(visit, subscription, change, price) is When.AT_PERIOD_END:
        _schedule(sandbox, subscription, change)
        return None
    subscription = _without_schedule(sandbox, subscription)
    given = _now(visit, subscription, change)
    try:
        updates.update(sandbox, subscription, {**given, "payment_behavior": "error_if_incomplete"})
    except StripeError as refused:
        if refused.body["error"].get("code") != "invoice_payment_intent_requires_action":
            raise
        if default_card(sandbox, visit.customer["id"]) is None:
            raise StripeError("Add a card first: this change costs something now.") from refused
        return _ask(sandbox, subscription, given, back)
    return None


def give_up_change(sandbox: Sandbox, visit: Visit) -> None:
    """The bank did not let a change be paid that waits for it: it never happens."""
    for subscription in live_subscriptions(sandbox, visit.customer["id"]):
        if subscription["pending_update"] is not None:
            lifecycle.drop_pending(sandbox, subscription)


def add_card(sandbox: Sandbox, visit: Visit, method: Object, name: str, back: str) -> Object:
    """Save a card and have everything paid with it. Returns the setup intent, whose status says how that went.

    `requires_action` means that its bank wants a confirmation first; `finish_card` does the rest after it.
    """
    visit.require("payment_method_update")
    email = visit.customer["email"]
    sandbox.store.put({**method, "billing_details": payment_shapes.billing_details(email, name)})
    given = {"customer": visit.customer["id"], "usage": "off_session"}
    intent = setup_intents.choose(sandbox, setup_intents.create(sandbox, given), method["id"])
    intent = setup_intents.attempt(sandbox, intent, payments.next_action(sandbox, intent["id"], back))
    finish_card(sandbox, visit, intent)
    return intent


def finish_card(sandbox: Sandbox, visit: Visit, intent: Object) -> None:
    """A card that has been saved is from now on what everything is paid with."""
    if intent["status"] == "succeeded" and intent["customer"] == visit.customer["id"]:
        use_card(sandbox, visit, intent["payment_method"])


def use_card(sandbox: Sandbox, visit: Visit, method_id: str) -> None:
    """Have everything paid with a card that is saved: what comes, and what subscriptions had a card of their own for."""
    visit.require("payment_method_update")
    customer = visit.customer["id"]
    customers.update(sandbox, customer, {"invoice_settings": {"default_payment_method": method_id}})
    for subscription in live_subscriptions(sandbox, customer):
        if subscription["default_payment_method"] not in (None, method_id):
            updates.update(sandbox, subscription, {"default_payment_method": method_id})


def remove_card(sandbox: Sandbox, visit: Visit, method_id: str) -> None:
    """Take a card away. Raises StripeError for one that something is paid with."""
    visit.require("payment_method_update")
    method = payment_methods.find(sandbox, method_id, status=404)
    if method["customer"] != visit.customer["id"]:
        raise StripeError("This card is not yours.", status=404)
    if method_id == default_card(sandbox, visit.customer["id"]):
        raise StripeError("Subscriptions are paid with this card. Add another one first.")
    payment_methods.detach(sandbox, method_id)


def default_card(sandbox: Sandbox, customer_id: str) -> str | None:
    """The card that a customer's subscriptions are paid with."""
    settings = sandbox.get(customer_id, "customer")["invoice_settings"]
    own = [subscription["default_payment_method"] for subscription in live_subscriptions(sandbox, customer_id)]
    return next(filter(None, [*own, settings["default_payment_method"]]), None)


def live_subscriptions(sandbox: Sandbox, customer_id: str) -> list[Object]:
    """A customer's subscriptions that have not ended, newest first."""
    return sandbox.store.newest_first(
        "subscription", lambda s: bool(s["customer"] == customer_id and s["status"] not in standing.ENDED)
    )


def update_customer(sandbox: Sandbox, visit: Visit, typed: dict[str, str]) -> None:
    """Change what the configuration lets a customer change of themselves. Raises StripeError for what cannot be."""
    allowed = visit.require("customer_update")["allowed_updates"]
    given: Object = {name: typed.get(name, "").strip() for name in ("email", "name", "phone") if name in allowed}
    if "@" not in given.get("email", "@"):
        raise StripeError("Your e-mail is incomplete.")
    if "address" in allowed:
        lines = ("line1", "line2", "city", "state", "postal_code", "country")
        address: dict[str, Any] = {line: typed.get(line, "").strip() or None for line in lines}
        given["address"] = address if any(address.values()) else None
    customers.update(sandbox, visit.customer["id"], {name: value or None for name, value in given.items()})


def _quantity(visit: Visit, price: Object, typed: str, current: int) -> int:
    limits = adjustable(visit, price)
    if limits is None or not typed:
        return current
    most = limits["maximum"]
    if not typed.isdigit() or int(typed) < limits["minimum"] or (most is not None and int(typed) > most):
        upto = "" if most is None else f" and at most {most}"
        raise StripeError(f"Choose a quantity of at least {limits['minimum']}{upto}.")
    return int(typed)


def _now(visit: Visit, subscription: Object, change: Change) -> Object:
    """The parameters of an update that makes a change now."""
    feature = visit.feature("subscription_update")
    item = subscription["items"]["data"][0]
    given: Object = {
        "items": [{"id": item["id"], "price": change.price, "quantity": change.quantity}],
        "proration_behavior": feature["proration_behavior"],
    }
    if subscription["status"] == "trialing" and feature["trial_update_behavior"] == "end_trial":
        given["trial_end"] = "now"
    elif feature["billing_cycle_anchor"] == "now":
        given["billing_cycle_anchor"] = "now"
    if change.discounts:
        given["discounts"] = list(change.discounts)
    return given


def _schedule(sandbox: Sandbox, subscription: Object, change: Change) -> None:
    """Have a change wait for the period's end; it takes the place of one that waits already."""
    schedule = sandbox.store.get(subscription["schedule"] or "", "subscription_schedule")
    if schedule is None:
        schedule = schedules.attach(sandbox, subscription)
    item = subscription["items"]["data"][0]
    now = {
        **schedule["current_phase"],
        "end_date": standing.period_end(subscription),
        "items": [{"price": item["price"]["id"], "quantity": item["quantity"]}],
    }
    then = {
        "items": [{"price": change.price, "quantity": change.quantity}],
        "proration_behavior": "none",
    }
    schedules.update(sandbox, schedule, {"phases": [now, then], "end_behavior": "release"})


def _ask(sandbox: Sandbox, subscription: Object, given: Object, back: str) -> str:
    """Make a change that waits for its payment. Returns where the customer confirms that to the bank."""
    changed = updates.update(sandbox, subscription, {**given, "payment_behavior": "pending_if_incomplete"})
    _, intent = invoices.payment_of(sandbox, sandbox.get(changed["latest_invoice"], "invoice"))
    action = payments.next_action(sandbox, intent["id"], back)
    sandbox.store.put({**intent, "next_action": action})
    url: str = action["redirect_to_url"]["url"]
    return url


def _without_schedule(sandbox: Sandbox, subscription: Object) -> Object:
    schedule = sandbox.store.get(subscription["schedule"] or "", "subscription_schedule")
    if schedule is not None and schedule["status"] == "active":
        schedules.release(sandbox, schedule)
    return sandbox.get(subscription["id"], "subscription")


def _days(price: Object) -> int:
    recurring = price["recurring"]
    return int(_INTERVALS[recurring["interval"]] * recurring["interval_count"])
