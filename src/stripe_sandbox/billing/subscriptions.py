"""Subscriptions from their beginning to their end: begun, billed period by period, paused, resumed, cancelled."""

from stripe_sandbox import tax_rates
from stripe_sandbox.billing import discounts, invoices, items, proration, settings, standing, subscription_shapes
from stripe_sandbox.billing.invoices import Charge
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def begin(sandbox: Sandbox, customer: Object, given: Object) -> tuple[Object, Object | None]:
    """A subscription from the parameters of its creation, and the draft of its first invoice, if it has one."""
    now = sandbox.now()
    id = new_id("sub")
    trial_end = _trial_end(given, now)
    anchor = trial_end or given.get("billing_cycle_anchor") or now
    until = anchor if anchor > now else None
    made = items.build(sandbox, id, given.get("items") or [], anchor, until)
    subscription = subscription_shapes.subscription(id, now, customer, made, given) | {
        "billing_cycle_anchor": anchor,
        **(cancellation(given, made, now) or {}),
    }
    subtotal = sum(item["price"]["unit_amount"] * item["quantity"] for item in made)
    of = {"customer": customer["id"], "subscription": id}
    subscription["default_tax_rates"] = tax_rates.chosen(
        sandbox, given.get("default_tax_rates") or [], "default_tax_rates"
    )
    check_taxes(subscription)
    subscription["discounts"] = discounts.given_discounts(
        sandbox, given.get("discounts"), of, subtotal, subscription["currency"]
    )
    if trial_end is not None:
        subscription |= {"status": "trialing", "trial_start": now, "trial_end": trial_end}
        charges = [_free(sandbox, item) for item in made]
    elif until is not None:
        charges = []
        if given.get("proration_behavior") != "none":
            _charge_until(sandbox, customer, subscription)
    else:
        charges = [_full(sandbox, item) for item in made]
    waits = invoices.waiting(sandbox, customer["id"], id)
    if not charges and not waits:
        subscription = standing.keep(sandbox, {**subscription, "status": "active"})
        sandbox.emit("customer.subscription.created", subscription)
        return subscription, None
    subscription, invoice = _bill(sandbox, subscription, "subscription_create", charges, waits, (now, now))
    subscription = standing.keep(sandbox, subscription)
    sandbox.emit("customer.subscription.created", subscription)
    return subscription, invoice


def cycle(sandbox: Sandbox, subscription: Object) -> tuple[Object, Object]:
    """The next period of every item whose period is over, and the draft of the invoice for them.

    Items go on as what a schedule has them become (`_renews_as`).
    """
    now = sandbox.now()
    current = subscription["items"]["data"]
    started = min(item["current_period_start"] for item in current)
    becomes = subscription.get("_renews_as")
    sold = becomes["sold"] if becomes is not None and becomes["at"] <= now else [None] * len(current)
    data, charges = [], []
    for item, other in zip(current, sold, strict=True):
        if item["current_period_end"] <= now:
            item = item if other is None else items.sold_as(sandbox, item, *other)
            start, end = items.period_of(item["price"], subscription["billing_cycle_anchor"], now)
            item = {**item, "current_period_start": start, "current_period_end": end}
            charges.append(_full(sandbox, item))
        data.append(item)
    renewed = {**subscription, "items": {**subscription["items"], "data": data}}
    if subscription["status"] == "trialing":
        renewed["status"] = "active"
    waits = invoices.waiting(sandbox, subscription["customer"], subscription["id"])
    renewed, invoice = _bill(sandbox, renewed, "subscription_cycle", charges, waits, (started, now))
    changes = {name: renewed[name] for name in ("items", "status", "latest_invoice", "discounts")}
    return standing.changed(sandbox, subscription, **changes), invoice


def restart(sandbox: Sandbox, subscription: Object, *, anchor: int) -> tuple[Object, Object]:
    """Everything billed anew from now on, with the cycle counted from `anchor`, and the draft for it.

    The subscription is returned changed but not kept; what was credited before goes on the draft too.
    """
    started = min(item["current_period_start"] for item in subscription["items"]["data"])
    renewed = in_current_periods(sandbox, {**subscription, "billing_cycle_anchor": anchor})
    waits = invoices.waiting(sandbox, subscription["customer"], subscription["id"])
    charges = [_full(sandbox, item) for item in renewed["items"]["data"]]
    return _bill(sandbox, renewed, "subscription_update", charges, waits, (started, sandbox.now()))


def in_current_periods(sandbox: Sandbox, subscription: Object) -> Object:
    """A subscription with every item in the period that now is in, counted from its anchor. It is not kept."""
    data = []
    for item in subscription["items"]["data"]:
        start, end = items.period_of(item["price"], subscription["billing_cycle_anchor"], sandbox.now())
        data.append({**item, "current_period_start": start, "current_period_end": end})
    return {**subscription, "items": {**subscription["items"], "data": data}}


def bill_trial(sandbox: Sandbox, subscription: Object) -> tuple[Object, Object]:
    """The draft that says that a trial costs nothing, with what waits. The subscription is returned, not kept."""
    waits = invoices.waiting(sandbox, subscription["customer"], subscription["id"])
    charges = [_free(sandbox, item) for item in subscription["items"]["data"]]
    now = sandbox.now()
    return _bill(sandbox, subscription, "subscription_update", charges, waits, (now, now))


def bill_waiting(sandbox: Sandbox, subscription: Object) -> tuple[Object, Object | None]:
    """A draft for the invoice items that wait, if there are any. The subscription is returned, not kept."""
    waits = invoices.waiting(sandbox, subscription["customer"], subscription["id"])
    if not waits:
        return subscription, None
    started = min(item["current_period_start"] for item in subscription["items"]["data"])
    return _bill(sandbox, subscription, "subscription_update", [], waits, (started, sandbox.now()))


def cancellation(given: Object, data: list[Object], now: int) -> Object | None:
    """What `cancel_at` and `cancel_at_period_end` change; None when neither is given."""
    ends = [item["current_period_end"] for item in data]
    if "cancel_at_period_end" in given:
        at = max(ends) if given["cancel_at_period_end"] else None
    elif "cancel_at" in given:
        named = {"": None, "min_period_end": min(ends), "max_period_end": max(ends), "max_billed_until": max(ends)}
        wanted = given["cancel_at"]
        at = named[wanted] if isinstance(wanted, str) else wanted
    else:
        return None
    if at is not None and at <= now:
        raise StripeError("cancel_at must be in the future.", param="cancel_at")
    return {
        "cancel_at": at,
        "cancel_at_period_end": bool(given.get("cancel_at_period_end")),
        "canceled_at": None if at is None else now,
    }


def check_taxes(subscription: Object) -> None:
    """Raises StripeError for one that is taxed both by Stripe itself and by rates."""
    of_items = [rate for item in subscription["items"]["data"] for rate in item["tax_rates"]]
    for param, rates in (("default_tax_rates", subscription["default_tax_rates"]), ("tax_rates", of_items)):
        tax_rates.check_alone(subscription["automatic_tax"], rates, param)


def credit_unused(sandbox: Sandbox, subscription: Object) -> Object:
    """Credit what was billed for the time to come. Returns the subscription, whose items remember nothing more."""
    customer = sandbox.get(subscription["customer"], "customer")
    data = []
    for item in subscription["items"]["data"]:
        put_waiting(sandbox, proration.credit(sandbox, customer, item, sandbox.now()))
        data.append({**item, "_billed": None})
    return {**subscription, "items": {**subscription["items"], "data": data}}


def put_waiting(sandbox: Sandbox, item: Object | None) -> None:
    """Keep an invoice item until the next invoice, and tell of it."""
    if item is not None:
        sandbox.store.put(item)
        sandbox.emit("invoiceitem.created", item)


def _bill(
    sandbox: Sandbox,
    subscription: Object,
    reason: str,
    charges: list[Charge],
    waits: list[Object],
    period: tuple[int, int],
) -> tuple[Object, Object]:
    """A draft, and the subscription with it as its latest invoice, its items' memory and its discounts' end."""
    held = (subscription["pause_collection"] or {}).get("behavior") == "keep_as_draft"
    invoice = invoices.draft(
        sandbox,
        subscription["customer"],
        subscription["currency"],
        reason,
        period=period,
        subscription=subscription,
        charges=charges,
        pending=waits,
        auto_advance=subscription["status"] != "unpaid" and not held,
        wait=settings.read(sandbox).draft_seconds if reason == "subscription_cycle" else 0,
    )
    data = proration.billed(subscription["items"]["data"], invoice)
    return {
        **subscription,
        "items": {**subscription["items"], "data": data},
        "latest_invoice": invoice["id"],
        "discounts": discounts.left(sandbox, subscription["discounts"], invoice),
    }, invoice


def _full(sandbox: Sandbox, item: Object) -> Charge:
    return Charge(item, item["price"]["unit_amount"] * item["quantity"], items.description(sandbox, item))


def _free(sandbox: Sandbox, item: Object) -> Charge:
    product = sandbox.get(item["price"]["product"], "product")
    return Charge(item, 0, f"Trial period for {product['name']}")


def _charge_until(sandbox: Sandbox, customer: Object, subscription: Object) -> None:
    """Bill the time up to the first full period, as its share of a full one."""
    now, anchor = sandbox.now(), subscription["billing_cycle_anchor"]
    for item in subscription["items"]["data"]:
        start, _ = items.period_of(item["price"], anchor, anchor - 1)
        if now < start:
            raise StripeError(
                f"billing_cycle_anchor cannot be later than next natural billing date for price {item['price']['id']}",
                param="billing_cycle_anchor",
            )
        whole = {**item, "current_period_start": start}
        put_waiting(sandbox, proration.debit(sandbox, customer, subscription, whole, now))


def _trial_end(given: Object, now: int) -> int | None:
    if given.get("trial_period_days"):
        return now + int(given["trial_period_days"]) * standing.DAY
    wanted = given.get("trial_end")
    if wanted is None or wanted == "now":
        return None
    if wanted <= now:
        raise StripeError("Invalid timestamp: must be an integer Unix timestamp in the future.", param="trial_end")
    return int(wanted)
