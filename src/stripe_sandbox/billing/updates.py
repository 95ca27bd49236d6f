"""Changing a subscription: other prices and quantities with their prorations, its trial, its cycle, and its terms."""

from dataclasses import dataclass, replace

from stripe_sandbox import operations, tax_rates
from stripe_sandbox.billing import (
    collection,
    discounts,
    invoices,
    items,
    lifecycle,
    proration,
    standing,
    subscriptions,
)
from stripe_sandbox.errors import StripeError, missing
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

_BILLED = ("items", "billing_cycle_anchor", "trial_end", "trial_start", "status", "latest_invoice", "discounts")
PENDING_SECONDS = standing.INCOMPLETE_SECONDS


@dataclass(frozen=True, slots=True)
class _Swap:
    """An item before and after; one of them is None for an item that is new, or goes."""

    old: Object | None
    new: Object | None

    @property
    def is_billed(self) -> bool:
        """Whether it costs something else than before."""
        if self.old is None or self.new is None:
            return True
        return any(self.old[name] != self.new[name] for name in ("price", "quantity"))

    @property
    def changes_interval(self) -> bool:
        """Whether it is billed for other periods than before."""
        if self.old is None or self.new is None:
            return False
        terms = [
            (i["price"]["recurring"]["interval"], i["price"]["recurring"]["interval_count"])
            for i in (self.old, self.new)
        ]
        return terms[0] != terms[1]


def update(sandbox: Sandbox, subscription: Object, given: Object) -> Object:
    """Change a subscription as `given` says. Raises StripeError when it may not, or the payment for it must succeed."""
    if subscription["status"] in standing.ENDED and set(given) - {"metadata", "cancellation_details"}:
        raise StripeError("A canceled subscription can only update its cancellation_details and metadata.")
    if subscription["schedule"] is not None and set(given) & {"cancel_at", "cancel_at_period_end"}:
        raise StripeError(
            f"The subscription is managed by the subscription schedule `{subscription['schedule']}`, and updating any "
            "cancelation behavior directly is not allowed. Please update the schedule instead."
        )
    behavior = given.get("payment_behavior", "allow_incomplete")
    with sandbox.store.all_or_nothing():
        terms = _terms(sandbox, subscription, given)
        changed, invoice = bill_change(sandbox, {**subscription, **terms}, given)
        subscriptions.check_taxes(changed)
        changes = terms | {name: changed[name] for name in _BILLED}
        if invoice is None or not invoice["amount_due"]:
            _apply(sandbox, subscription, changes, invoice)
        elif behavior == "pending_if_incomplete":
            _apply_when_paid(sandbox, subscription, changes, invoice)
        else:
            standing.changed(sandbox, subscription, **changes)
            if behavior == "default_incomplete":
                standing.payment_failed(sandbox, invoices.finalize(sandbox, invoice))
            elif collection.take_on(sandbox, invoice)["status"] != "paid" and behavior == "error_if_incomplete":
                raise collection.refusal(sandbox, sandbox.get(invoice["id"], "invoice"))
    return sandbox.get(subscription["id"], "subscription")


def bill_change(sandbox: Sandbox, subscription: Object, given: Object) -> tuple[Object, Object | None]:
    """What `given` changes of items, trial and cycle, and the draft of what is billed at once, if anything.

    The subscription is returned, not kept; invoice items that wait for its next invoice are kept.
    """
    swaps = _swaps(sandbox, subscription, given)
    prorated = given.get("proration_behavior", "create_prorations") != "none"
    trial_end = given.get("trial_end")
    trialing = subscription["status"] == "trialing"
    anew = given.get("billing_cycle_anchor") in ("now", {"type": "now"}) or (trial_end == "now" and trialing)
    at = given.get("proration_date", sandbox.now())
    until = trial_end if isinstance(trial_end, int) and not anew else None
    if anew or until is not None:
        if prorated:
            for swap in swaps:
                _credit(sandbox, subscription, swap, at)
        data: list[Object] = [{**swap.new, "_billed": None} for swap in swaps if swap.new is not None]
        subscription = {**subscription, "items": {**subscription["items"], "data": data}}
        return _end_trial(sandbox, subscription) if until is None else _set_trial(sandbox, subscription, until)
    if prorated and subscription["status"] in standing.LIVE - {"trialing"}:
        swaps = [_prorate(sandbox, subscription, swap, at) for swap in swaps]
    data = [swap.new for swap in swaps if swap.new is not None]
    subscription = {**subscription, "items": {**subscription["items"], "data": data}}
    at_once = given.get("proration_behavior") == "always_invoice" or any(swap.changes_interval for swap in swaps)
    if prorated and at_once and not trialing:
        return subscriptions.bill_waiting(sandbox, subscription)
    return subscription, None


def _apply(sandbox: Sandbox, subscription: Object, changes: Object, invoice: Object | None) -> None:
    standing.changed(sandbox, subscription, **changes)
    if invoice is not None:
        collection.take_on(sandbox, invoice)


def _apply_when_paid(sandbox: Sandbox, subscription: Object, changes: Object, invoice: Object) -> None:
    """Change nothing until the invoice for the change is paid, and never when it is not paid in time."""
    expires_at = sandbox.now() + PENDING_SECONDS
    pending = {
        "billing_cycle_anchor": None,
        "expires_at": expires_at,
        "subscription_items": changes["items"]["data"],
        "trial_end": None,
        "trial_from_plan": None,
    }
    waits = {"changes": changes, "invoice": invoice["id"]}
    standing.changed(sandbox, subscription, latest_invoice=invoice["id"], pending_update=pending, _pending=waits)
    collection.take_on(sandbox, invoice)


def _terms(sandbox: Sandbox, subscription: Object, given: Object) -> Object:
    """What changes without being billed."""
    plain = ("metadata", "description", "default_payment_method", "pause_collection", "trial_settings")
    terms = operations.changes(subscription, {name: given[name] for name in plain if name in given})
    lifecycle.check_method(sandbox, subscription["customer"], given.get("default_payment_method"))
    if "pause_collection" in given:
        pausing = given["pause_collection"]
        terms["pause_collection"] = (
            {"behavior": pausing["behavior"], "resumes_at": pausing.get("resumes_at")} if pausing else None
        )
    if "payment_settings" in given:
        terms["payment_settings"] = {**subscription["payment_settings"], **given["payment_settings"]}
    if "automatic_tax" in given:
        enabled = given["automatic_tax"]["enabled"]
        liability = {"type": "self"} if enabled else None
        terms["automatic_tax"] = {**subscription["automatic_tax"], "enabled": enabled, "liability": liability}
    if "default_tax_rates" in given:
        terms["default_tax_rates"] = tax_rates.chosen(sandbox, given["default_tax_rates"], "default_tax_rates")
    if "cancellation_details" in given:
        said = {name: value or None for name, value in given["cancellation_details"].items()}
        terms["cancellation_details"] = {**subscription["cancellation_details"], **said}
    if "discounts" in given:
        terms["discounts"] = _discounts(sandbox, subscription, given)
    cancels = subscriptions.cancellation(given, subscription["items"]["data"], sandbox.now())
    if cancels is not None:
        reason = "cancellation_requested" if cancels["cancel_at"] else None
        details: Object = terms.get("cancellation_details") or subscription["cancellation_details"]
        terms |= {**cancels, "cancellation_details": {**details, "reason": reason}}
    return terms


def _discounts(sandbox: Sandbox, subscription: Object, given: Object) -> list[str]:
    subtotal = sum(i["price"]["unit_amount"] * i["quantity"] for i in subscription["items"]["data"])
    of = {"customer": subscription["customer"], "subscription": subscription["id"]}
    wanted = discounts.given_discounts(sandbox, given["discounts"], of, subtotal, subscription["currency"])
    for gone in set(subscription["discounts"]) - set(wanted):
        sandbox.emit("customer.discount.deleted", sandbox.get(gone, "discount"))
    return wanted


def _swaps(sandbox: Sandbox, subscription: Object, given: Object) -> list[_Swap]:
    """Every item before and after. Raises StripeError for items that are not there or cannot be together."""
    entries = {entry["id"]: (n, entry) for n, entry in enumerate(given.get("items") or []) if entry.get("id")}
    swaps = []
    for old in subscription["items"]["data"]:
        n, entry = entries.pop(old["id"], (0, {}))
        swaps.append(_Swap(old, None if entry.get("deleted") else _changed(sandbox, subscription, old, entry, n)))
    if entries:
        n, entry = next(iter(entries.values()))
        raise missing("subscription_item", entry["id"], param=f"items[{n}][id]", status=400)
    until = subscription["trial_end"] if subscription["status"] == "trialing" else None
    for n, entry in enumerate(given.get("items") or []):
        if not entry.get("id"):
            anchor = subscription["billing_cycle_anchor"]
            made = items.new(sandbox, subscription["id"], entry, f"items[{n}]", anchor, until)
            swaps.append(_Swap(None, made))
    left = [swap.new for swap in swaps if swap.new is not None]
    if not left:
        raise StripeError("A subscription must have at least one item.", param="items")
    items.check_together(left)
    return swaps


def _changed(sandbox: Sandbox, subscription: Object, old: Object, entry: Object, n: int) -> Object:
    new = {**old, **operations.changes(old, {k: v for k, v in entry.items() if k in ("quantity", "metadata")})}
    if entry.get("price") or entry.get("price_data"):
        new["price"] = items.price_of(sandbox, entry, f"items[{n}]")
    if "tax_rates" in entry:
        new["tax_rates"] = tax_rates.chosen(sandbox, entry["tax_rates"], f"items[{n}][tax_rates]")
    if _Swap(old, new).changes_interval and subscription["status"] != "trialing":
        period = items.period_of(new["price"], subscription["billing_cycle_anchor"], sandbox.now())
        new |= {"current_period_start": period[0], "current_period_end": period[1]}
    return new


def _prorate(sandbox: Sandbox, subscription: Object, swap: _Swap, at: int) -> _Swap:
    """Credit what an item no longer is, and bill what it is now. Returns the swap with that remembered."""
    if not swap.is_billed:
        return swap
    _credit(sandbox, subscription, swap, at)
    if swap.new is None:
        return swap
    customer = sandbox.get(subscription["customer"], "customer")
    made = proration.debit(sandbox, customer, subscription, swap.new, at)
    subscriptions.put_waiting(sandbox, made)
    new = {**swap.new, "_billed": None}
    return replace(swap, new=new if made is None else proration.remember(new, made))


def _credit(sandbox: Sandbox, subscription: Object, swap: _Swap, at: int) -> None:
    if swap.old is not None:
        customer = sandbox.get(subscription["customer"], "customer")
        subscriptions.put_waiting(sandbox, proration.credit(sandbox, customer, swap.old, at))


def _end_trial(sandbox: Sandbox, subscription: Object) -> tuple[Object, Object]:
    """The cycle begins now, and a trial is over."""
    now = sandbox.now()
    if subscription["status"] == "trialing":
        subscription = {**subscription, "status": "active", "trial_end": now}
    return subscriptions.restart(sandbox, subscription, anchor=now)


def _set_trial(sandbox: Sandbox, subscription: Object, trial_end: int) -> tuple[Object, Object | None]:
    """A trial until then, whatever was before."""
    now = sandbox.now()
    if trial_end <= now:
        raise StripeError("Invalid timestamp: must be an integer Unix timestamp in the future.", param="trial_end")
    extends = subscription["status"] == "trialing"
    period = {"current_period_end": trial_end}
    if not extends:
        period["current_period_start"] = now
    subscription = {
        **subscription,
        "billing_cycle_anchor": trial_end,
        "items": {
            **subscription["items"],
            "data": [{**item, **period} for item in subscription["items"]["data"]],
        },
        "status": "trialing",
        "trial_end": trial_end,
        "trial_start": subscription["trial_start"] if extends else now,
    }
    if extends:
        return subscription, None
    return subscriptions.bill_trial(sandbox, subscription)
