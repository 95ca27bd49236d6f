"""What the seller and time do to a subscription: create, cancel, pause, resume, renew, end a trial, expire."""

from stripe_sandbox.billing import collection, invoices, proration, standing, subscriptions
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def create(sandbox: Sandbox, given: Object) -> Object:
    """A subscription, its first invoice collected as `payment_behavior` says. Raises StripeError when it may not be."""
    if not given.get("customer"):
        raise StripeError("Missing required param: customer.", code="parameter_missing", param="customer")
    if given.get("collection_method") == "send_invoice":
        raise StripeError("The sandbox charges automatically: it does not send invoices.", param="collection_method")
    customer = sandbox.get(given["customer"], "customer", param="customer", status=400)
    check_method(sandbox, customer["id"], given.get("default_payment_method"))
    behavior = given.get("payment_behavior", "allow_incomplete")
    with sandbox.store.all_or_nothing():
        subscription, invoice = subscriptions.begin(sandbox, customer, given)
        if invoice is None:
            return subscription
        if behavior == "default_incomplete":
            _open(sandbox, invoice)
        else:
            if invoice["amount_due"] and collection.method_for(sandbox, invoice) is None:
                raise collection.no_method()
            invoice = collection.take_on(sandbox, invoice)
            if behavior == "error_if_incomplete" and invoice["status"] != "paid":
                raise collection.refusal(sandbox, invoice)
    return sandbox.get(subscription["id"], "subscription")


def cancel(sandbox: Sandbox, subscription: Object, given: Object) -> Object:
    """End a subscription now. Raises StripeError when it has ended."""
    if subscription["status"] in standing.ENDED:
        id = subscription["id"]
        raise StripeError(f"No such subscription: '{id}'", status=404, code="resource_missing", param="id")
    began = subscription["status"] != "incomplete"
    if given.get("prorate"):
        subscription = subscriptions.credit_unused(sandbox, subscription)
    details = {name: value or None for name, value in (given.get("cancellation_details") or {}).items()}
    subscription = standing.end(sandbox, subscription, "cancellation_requested", details)
    if not began:
        _void_open(sandbox, subscription)
    if given.get("invoice_now"):
        subscription, invoice = subscriptions.bill_waiting(sandbox, subscription)
        if invoice is not None:
            standing.keep(sandbox, subscription)
            collection.take_on(sandbox, invoice)
    return sandbox.get(subscription["id"], "subscription")


def resume(sandbox: Sandbox, subscription: Object, given: Object) -> Object:
    """Bill a paused subscription again. It is active when the invoice for that is paid, which may be nothing."""
    if subscription["status"] != "paused":
        raise StripeError("Only a subscription with a status of `paused` can be resumed.", param="id")
    now = sandbox.now()
    unchanged = given.get("billing_cycle_anchor") in ("unchanged", {"type": "unchanged"})
    if unchanged:
        changed, invoice = _rest_of_period(sandbox, subscription, given)
    else:
        changed, invoice = subscriptions.restart(sandbox, subscription, anchor=now)
    changes = {name: changed[name] for name in ("items", "billing_cycle_anchor", "latest_invoice", "discounts")}
    changes["_resumed_by"] = invoice and invoice["id"]
    subscription = standing.changed(sandbox, subscription, **changes)
    if invoice is not None:
        collection.take_on(sandbox, invoice)
    else:
        subscription = standing.changed(sandbox, subscription, status="active")
        sandbox.emit("customer.subscription.resumed", subscription)
    return sandbox.get(subscription["id"], "subscription")


def pause(sandbox: Sandbox, subscription: Object, given: Object) -> Object:
    """Stop a subscription until it is resumed, crediting unused time unless `bill_for` says not to."""
    if subscription["status"] not in standing.LIVE:
        raise StripeError(f"A subscription with a status of `{subscription['status']}` cannot be paused.", param="id")
    unused = (given.get("bill_for") or {}).get("unused_time_from") or {}
    changed, invoice = subscription, None
    if unused.get("type", "now") != "none":
        changed = subscriptions.credit_unused(sandbox, subscription)
        if given.get("invoicing_behavior") == "invoice":
            changed, invoice = subscriptions.bill_waiting(sandbox, changed)
    changes = {name: changed[name] for name in ("items", "latest_invoice", "discounts")}
    paused = standing.pause(sandbox, subscription, **changes)
    if invoice is not None:
        collection.take_on(sandbox, invoice)
    return sandbox.get(paused["id"], "subscription")


def wake(sandbox: Sandbox, subscription: Object) -> None:
    """The one thing that is due for a subscription at this instant."""
    now = sandbox.now()
    status = subscription["status"]
    pausing = subscription["pause_collection"] or {}
    pending = standing.pending_until(subscription)
    warning, announcing = standing.trial_warning_at(subscription), standing.upcoming_at(sandbox, subscription)
    if status == "incomplete":
        standing.expire(sandbox, subscription)
        _void_open(sandbox, subscription)
    elif pending is not None and pending <= now:
        drop_pending(sandbox, subscription)
    elif pausing.get("resumes_at") is not None and pausing["resumes_at"] <= now:
        standing.changed(sandbox, subscription, pause_collection=None)
    elif subscription["cancel_at"] is not None and subscription["cancel_at"] <= now:
        standing.end(sandbox, subscription, "cancellation_requested")
    elif warning is not None and warning <= now:
        kept = standing.keep(sandbox, {**subscription, "_warned": subscription["trial_end"]})
        sandbox.emit("customer.subscription.trial_will_end", kept)
    elif announcing is not None and announcing <= now < standing.period_end(subscription):
        kept = standing.keep(sandbox, {**subscription, "_announced": standing.period_end(subscription)})
        sandbox.emit("invoice.upcoming", upcoming(sandbox, kept))
    else:
        _next_period(sandbox, subscription)


def upcoming(sandbox: Sandbox, subscription: Object) -> Object:
    """The invoice that the next renewal will make, as it looks now. Nothing is kept of it."""
    at = standing.period_end(subscription)
    with sandbox.store.rehearsal(), sandbox.at(at):
        _, invoice = subscriptions.cycle(sandbox, subscription)
    return preview_of(invoice, next_payment_attempt=at)


def preview_of(invoice: Object, **changes: object) -> Object:
    """A draft under the id of an invoice that is not yet there."""
    id = f"upcoming_{new_id('in')}"
    lines = [{**line, "invoice": id} for line in invoice["lines"]["data"]]
    return {**invoice, "id": id, "lines": {**invoice["lines"], "data": lines}, **changes}


def drop_pending(sandbox: Sandbox, subscription: Object) -> None:
    """An update was not paid for in time: it never happens."""
    invoice = sandbox.get(subscription["_pending"]["invoice"], "invoice")
    subscription = standing.keep(sandbox, {**subscription, "pending_update": None, "_pending": None})
    sandbox.emit("customer.subscription.pending_update_expired", subscription)
    if invoice["status"] == "open":
        invoices.void(sandbox, invoice)


def check_method(sandbox: Sandbox, customer: str, id: str | None) -> None:
    """Raises StripeError when a payment method is not the customer's."""
    if id:
        method = sandbox.get(id, "payment_method", param="default_payment_method", status=400)
        if method["customer"] != customer:
            raise StripeError(
                "The customer does not have a payment method with the ID "
                f"{id}. The payment method must be attached to the customer.",
                code="resource_missing",
                param="default_payment_method",
            )


def _open(sandbox: Sandbox, invoice: Object) -> None:
    """Finalize a first invoice and leave its payment to the customer."""
    invoice = invoices.finalize(sandbox, invoice)
    if invoice["status"] == "paid":
        standing.invoice_paid(sandbox, invoice)
        return
    method = collection.method_for(sandbox, invoice)
    if method is not None:
        _, intent = invoices.payment_of(sandbox, invoice)
        sandbox.store.put({**intent, "payment_method": method["id"], "status": "requires_confirmation"})


def _next_period(sandbox: Sandbox, subscription: Object) -> None:
    if subscription["status"] == "trialing" and not _has_method(sandbox, subscription):
        without = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
        if without == "cancel":
            standing.end(sandbox, subscription, None)
            return
        if without == "pause":
            standing.pause(sandbox, subscription)
            return
    subscription, invoice = subscriptions.cycle(sandbox, subscription)
    collection.take_on(sandbox, invoice)


def _has_method(sandbox: Sandbox, subscription: Object) -> bool:
    customer = sandbox.get(subscription["customer"], "customer")
    default = customer["invoice_settings"]["default_payment_method"]
    return bool(subscription["default_payment_method"] or default)


def _rest_of_period(sandbox: Sandbox, subscription: Object, given: Object) -> tuple[Object, Object | None]:
    """The current period of every item, and a draft for what is left of it."""
    from_now = subscriptions.in_current_periods(sandbox, subscription)
    if given.get("proration_behavior") == "none":
        return from_now, None
    customer = sandbox.get(subscription["customer"], "customer")
    for item in from_now["items"]["data"]:
        subscriptions.put_waiting(sandbox, proration.debit(sandbox, customer, subscription, item, sandbox.now()))
    return subscriptions.bill_waiting(sandbox, from_now)


def _void_open(sandbox: Sandbox, subscription: Object) -> None:
    invoice = sandbox.store.get(subscription["latest_invoice"] or "", "invoice")
    if invoice is not None and invoice["status"] == "open":
        invoices.void(sandbox, invoice)
