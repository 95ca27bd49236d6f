"""Collecting invoices: finalized when their time has come, charged to a stored card, and tried again when that fails."""

from stripe_sandbox import payments
from stripe_sandbox.billing import invoices, settings, standing
from stripe_sandbox.card_table import card_of
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def take_on(sandbox: Sandbox, invoice: Object) -> Object:
    """A new draft: finalize it and charge for it at once, unless it waits or is left to somebody."""
    if invoice["auto_advance"] and invoice["automatically_finalizes_at"] is None:
        return advance(sandbox, invoice)
    return invoice


def advance(
    sandbox: Sandbox, invoice: Object, intent: Object | None = None, *, authenticated: bool = False
) -> Object:
    """Finalize a draft and charge for it, unless its subscription says otherwise.

    `intent` is the payment that the buyer began for it, and has perhaps `authenticated`.
    """
    subscription = standing.of_invoice(sandbox, invoice)
    pausing = ((subscription or {}).get("pause_collection") or {}).get("behavior")
    invoice = invoices.finalize(sandbox, invoice, intent)
    if invoice["status"] == "paid":
        standing.invoice_paid(sandbox, invoice)
        return invoice
    if pausing == "void":
        return invoices.void(sandbox, invoice)
    if pausing == "mark_uncollectible":
        return invoices.give_up(sandbox, invoice)
    return attempt(sandbox, invoice, authenticated=authenticated)


def wake(sandbox: Sandbox, invoice: Object) -> None:
    """What an invoice does by itself: a draft is finalized, an open one is tried again."""
    if invoice["status"] == "draft":
        advance(sandbox, invoice)
    else:
        attempt(sandbox, invoice)


def attempt(
    sandbox: Sandbox,
    invoice: Object,
    method: Object | None = None,
    *,
    automatic: bool = True,
    authenticated: bool = False,
) -> Object:
    """Charge an open invoice to `method`, or to the one that is set up for it. Its status says how that went."""
    payment, intent = invoices.payment_of(sandbox, invoice)
    method = method or method_for(sandbox, invoice)
    if method is not None:
        intent = _charge(sandbox, intent, method, authenticated=authenticated)
    return _settle(sandbox, invoice, payment, intent, automatic=automatic)


def follow(sandbox: Sandbox, intent: Object) -> None:
    """A payment intent came to an end otherwise, by its own API or at a page: so does its invoice."""
    if intent.get("_invoice") is None:
        return
    invoice = sandbox.get(intent["_invoice"], "invoice")
    if invoice["status"] == "open":
        payment, intent = invoices.payment_of(sandbox, invoice)
        _settle(sandbox, invoice, payment, intent, automatic=False)
        standing.paid_with(sandbox, invoice, intent)


def pay(sandbox: Sandbox, invoice: Object, given: Object) -> Object:
    """Pay an invoice now, because somebody asks to. Raises StripeError when that does not succeed."""
    if invoice["status"] not in ("draft", "open", "uncollectible"):
        raise StripeError(f"Invoice is already {invoice['status']}")
    if invoice["status"] == "draft":
        invoice = invoices.finalize(sandbox, invoice)
    if invoice["status"] == "paid":
        standing.invoice_paid(sandbox, invoice)
        return invoice
    if given.get("paid_out_of_band"):
        invoice = invoices.paid(sandbox, invoice, None, out_of_band=True)
        standing.invoice_paid(sandbox, invoice)
        return invoice
    named = given.get("payment_method")
    method = sandbox.get(named, "payment_method", param="payment_method", status=400) if named else None
    if method is None and method_for(sandbox, invoice) is None:
        raise no_method()
    invoice = attempt(sandbox, invoice, method, automatic=False)
    if invoice["status"] != "paid":
        raise refusal(sandbox, invoice)
    return invoice


def void(sandbox: Sandbox, invoice: Object) -> Object:
    """Take an open invoice back, because somebody asks to. Raises StripeError when it is not open."""
    invoice = invoices.void(sandbox, invoice)
    standing.invoice_closed(sandbox, invoice)
    return invoice


def give_up(sandbox: Sandbox, invoice: Object) -> Object:
    """Mark an open invoice as uncollectible, because somebody asks to. Raises StripeError when it is not open."""
    invoice = invoices.give_up(sandbox, invoice)
    standing.invoice_closed(sandbox, invoice)
    return invoice


def refusal(sandbox: Sandbox, invoice: Object) -> StripeError:
    """The error that says why an invoice could not be paid."""
    _, intent = invoices.payment_of(sandbox, invoice)
    error = intent["last_payment_error"]
    if intent["status"] == "requires_action" or error is None:
        return StripeError(
            "This payment requires additional user action before it can be completed successfully. Payment can be "
            "completed using the PaymentIntent associated with the invoice.",
            status=402,
            type="card_error",
            code="invoice_payment_intent_requires_action",
            saved=True,
        )
    extra = {name: error[name] for name in ("charge", "decline_code", "payment_method") if name in error}
    return StripeError(
        error["message"],
        status=402,
        type="card_error",
        code=error["code"],
        saved=True,
        payment_intent=sandbox.get(intent["id"], "payment_intent"),
        **extra,
    )


def no_method() -> StripeError:
    """The error for a customer who has nothing to pay with."""
    return StripeError(
        "This customer has no attached payment source or default payment method. Please consider adding a default "
        "payment method. For more information, visit https://stripe.com/docs/billing/subscriptions/"
        "payment-methods-setting#payment-method-priority.",
        code="resource_missing",
        saved=True,
    )


def method_for(sandbox: Sandbox, invoice: Object) -> Object | None:
    """What an invoice is charged to: its own payment method, else its subscription's, else the customer's."""
    subscription = standing.of_invoice(sandbox, invoice)
    customer = sandbox.store.get(invoice["customer"], "customer")
    ids = (
        invoice["default_payment_method"],
        subscription and subscription["default_payment_method"],
        customer and customer["invoice_settings"]["default_payment_method"],
    )
    return next((sandbox.get(id, "payment_method") for id in ids if id), None)


def _charge(sandbox: Sandbox, intent: Object, method: Object, *, authenticated: bool) -> Object:
    asks = card_of(method).asks(off_session=True, set_up=bool(method.get("_set_up")))
    if authenticated or not asks:
        return payments.take(sandbox, intent, method, authenticated=authenticated)
    return sandbox.changed(
        "payment_intent.requires_action",
        intent,
        status="requires_action",
        payment_method=method["id"],
        next_action=payments.next_action(sandbox, intent["id"], None),
    )


def _settle(sandbox: Sandbox, invoice: Object, payment: Object, intent: Object, *, automatic: bool) -> Object:
    # Every try counts as the first one; after it only those count that the sandbox makes by itself.
    attempts = invoice["attempt_count"] + 1 if automatic or not invoice["attempt_count"] else invoice["attempt_count"]
    if intent["status"] == "succeeded":
        invoice = invoices.paid(sandbox, invoice, payment, attempts=attempts)
        standing.invoice_paid(sandbox, invoice)
        return invoice
    return _failed(sandbox, invoice, intent, attempts, automatic=automatic)


def _failed(sandbox: Sandbox, invoice: Object, intent: Object, attempts: int, *, automatic: bool) -> Object:
    next_attempt = invoice["next_payment_attempt"]
    retried = invoice["auto_advance"] and invoice["billing_reason"] != "subscription_create"
    if retried and attempts > invoice["attempt_count"]:
        days = settings.read(sandbox).retry_days
        waits = days[attempts - 1] * standing.DAY if attempts <= len(days) else None
        next_attempt = None if waits is None else sandbox.now() + waits
    invoice = sandbox.changed(
        "invoice.updated",
        invoice,
        attempt_count=attempts,
        attempted=True,
        next_payment_attempt=next_attempt,
        _due=next_attempt,
    )
    if intent["status"] == "requires_action":
        sandbox.emit("invoice.payment_action_required", invoice)
    sandbox.emit("invoice.payment_failed", invoice)
    standing.payment_failed(sandbox, invoice)
    if retried and automatic and next_attempt is None:
        standing.retries_over(sandbox, invoice)
    return sandbox.get(invoice["id"], "invoice")
