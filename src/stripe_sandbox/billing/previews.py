"""Invoice previews: what is asked is really done, looked at, and put back as it was."""

from stripe_sandbox import tax_rates
from stripe_sandbox.billing import discounts, invoice_items, lifecycle, standing, subscriptions, updates
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def create(sandbox: Sandbox, given: Object) -> Object:
    """The next invoice, as it would be with what is given. Raises StripeError when there would be none."""
    details = given.get("subscription_details") or {}
    with sandbox.store.rehearsal():
        if given.get("subscription"):
            subscription = sandbox.get(given["subscription"], "subscription", param="subscription", status=400)
            if subscription["status"] in standing.ENDED:
                raise _none()
            _add_items(sandbox, subscription["customer"], given)
            return _of_existing(sandbox, _discounted(sandbox, subscription, given), details)
        if not given.get("customer"):
            raise StripeError("Missing required param: customer.", code="parameter_missing", param="customer")
        customer = sandbox.get(given["customer"], "customer", param="customer", status=400)
        _add_items(sandbox, customer["id"], given)
        _, invoice = subscriptions.begin(sandbox, customer, {**details, "discounts": given.get("discounts")})
        if invoice is None:
            raise _none()
        return lifecycle.preview_of(invoice)


def _of_existing(sandbox: Sandbox, subscription: Object, details: Object) -> Object:
    invoice = None
    if details.get("cancel_now"):
        credited = subscriptions.credit_unused(sandbox, subscription) if _prorates(details) else subscription
        _, invoice = subscriptions.bill_waiting(sandbox, credited)
        if invoice is None:
            raise _none()
    elif details:
        if "default_tax_rates" in details:
            rates = tax_rates.chosen(sandbox, details["default_tax_rates"], "subscription_details[default_tax_rates]")
            subscription = standing.keep(sandbox, {**subscription, "default_tax_rates": rates})
        cancels = subscriptions.cancellation(details, subscription["items"]["data"], sandbox.now()) or {}
        subscription, invoice = updates.bill_change(sandbox, {**subscription, **cancels}, details)
        standing.keep(sandbox, subscription)
    if invoice is not None:
        return lifecycle.preview_of(invoice)
    if subscription["cancel_at"] is not None and subscription["cancel_at"] <= standing.period_end(subscription):
        raise _none()
    return lifecycle.upcoming(sandbox, subscription)


def _prorates(details: Object) -> bool:
    return bool(details.get("proration_behavior", "create_prorations") != "none")


def _discounted(sandbox: Sandbox, subscription: Object, given: Object) -> Object:
    if "discounts" not in given:
        return subscription
    of = {"customer": subscription["customer"], "subscription": subscription["id"]}
    wanted = discounts.given_discounts(sandbox, given["discounts"], of, 0, subscription["currency"])
    return standing.keep(sandbox, {**subscription, "discounts": wanted})


def _add_items(sandbox: Sandbox, customer: str, given: Object) -> None:
    for entry in given.get("invoice_items") or []:
        pricing = {"pricing": {"price": entry["price"]}} if entry.get("price") else {}
        invoice_items.create(sandbox, {**entry, **pricing, "customer": customer})


def _none() -> StripeError:
    return StripeError("No upcoming invoices for customer", code="invoice_upcoming_none", status=404)
