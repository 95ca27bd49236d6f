"""Invoices from draft to their end: made, finalized, paid, voided or given up. `collection` charges for them."""

from collections.abc import Sequence
from dataclasses import dataclass

from stripe_sandbox import payments
from stripe_sandbox.billing import credit_balance, invoice_shapes, totals
from stripe_sandbox.errors import StripeError
from stripe_sandbox.money import MINIMUM
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

DESCRIPTIONS = {
    "subscription_create": "Subscription creation",
    "subscription_cycle": "Subscription update",
    "subscription_update": "Subscription update",
}
"""What the payment of an invoice is called, by the invoice's reason."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What an item of a subscription costs for its current period."""

    item: Object
    amount: int
    description: str


def draft(
    sandbox: Sandbox,
    customer_id: str,
    currency: str,
    reason: str,
    *,
    period: tuple[int, int],
    subscription: Object | None = None,
    charges: Sequence[Charge] = (),
    pending: Sequence[Object] = (),
    auto_advance: bool = True,
    wait: int = 0,
) -> Object:
    """A draft for these charges and the invoice items that wait.

    One that advances by itself is left to its maker, unless it is to `wait` for some seconds first.
    """
    customer = sandbox.get(customer_id, "customer")
    invoice = invoice_shapes.invoice(sandbox.now(), customer, currency, reason, period)
    invoice["auto_advance"] = auto_advance
    if auto_advance and wait:
        invoice["automatically_finalizes_at"] = invoice["_due"] = invoice["created"] + wait
    own = None if subscription is None else subscription["discounts"]
    of_customer = [customer["discount"]["id"]] if customer["discount"] else []
    invoice["discounts"] = own or of_customer
    taxed = False
    lines = []
    if subscription is not None:
        invoice["parent"] = invoice_shapes.subscription_parent(subscription)
        taxed = subscription["automatic_tax"]["enabled"]
        invoice["default_tax_rates"] = subscription["default_tax_rates"]
        lines = [
            invoice_shapes.item_line(
                invoice["id"], charge.item, charge.amount, charge.description, subscription["metadata"]
            )
            for charge in charges
        ]
    for item in pending:
        sandbox.store.put({**item, "invoice": invoice["id"]})
    lines = [invoice_shapes.invoice_item_line(invoice["id"], item) for item in pending] + lines
    invoice = totals.of(sandbox, invoice, lines, customer["balance"], taxed=taxed)
    sandbox.store.put(invoice)
    sandbox.emit("invoice.created", invoice)
    return invoice


def waiting(sandbox: Sandbox, customer_id: str, subscription_id: str | None) -> list[Object]:
    """The invoice items that go on the next invoice of a subscription (or, with None, of the customer), oldest first.

    Those that are on no subscription go on any.
    """

    def goes(item: Object) -> bool:
        of = item["parent"] and item["parent"]["subscription_details"]["subscription"]
        return bool(item["customer"] == customer_id and item["invoice"] is None and of in (None, subscription_id))

    return sandbox.store.newest_first("invoiceitem", goes)[::-1]


def recount(sandbox: Sandbox, invoice: Object, lines: Sequence[Object] | None = None) -> Object:
    """A draft with other lines or other discounts, counted anew and kept."""
    customer = sandbox.get(invoice["customer"], "customer")
    invoice = totals.of(
        sandbox,
        invoice,
        invoice["lines"]["data"] if lines is None else lines,
        customer["balance"],
        taxed=invoice["automatic_tax"]["enabled"],
    )
    sandbox.store.put(invoice)
    return invoice


def finalize(sandbox: Sandbox, invoice: Object, intent: Object | None = None) -> Object:
    """Number a draft and open it; `intent` is the payment that was begun for it. What costs nothing is paid.

    Raises StripeError when it is not a draft.
    """
    if invoice["status"] != "draft":
        raise StripeError("This invoice is already finalized, you can't re-finalize a non-draft invoice.")
    now = sandbox.now()
    invoice = recount(sandbox, invoice)
    customer = sandbox.get(invoice["customer"], "customer")
    number = customer["next_invoice_sequence"]
    customer = {
        **customer,
        "next_invoice_sequence": number + 1,
        "currency": customer["currency"] or invoice["currency"],
    }
    sandbox.store.put(customer)
    used = invoice["_ending_balance"] - customer["balance"]
    if used:
        too_small = 0 < invoice["total"] + customer["balance"] < MINIMUM
        kind = "invoice_too_small" if too_small else "applied_to_invoice"
        credit_balance.move(sandbox, customer, used, invoice["currency"], kind, {"invoice": invoice["id"]})
    invoice |= {
        "status": "open",
        "number": f"{customer['invoice_prefix']}-{number:04}",
        "automatically_finalizes_at": None,
        "effective_at": now,
        "ending_balance": invoice["_ending_balance"],
        "hosted_invoice_url": f"{sandbox.url}/i/{invoice['id']}",
        "status_transitions": {**invoice["status_transitions"], "finalized_at": now},
        "_due": None,
    }
    sandbox.store.put(invoice)
    sandbox.emit("invoice.finalized", invoice)
    if not invoice["amount_due"]:
        return paid(sandbox, invoice, None)
    if intent is None:
        intent = payments.new_intent(
            sandbox,
            invoice["amount_due"],
            invoice["currency"],
            invoice["customer"],
            {},
            description=DESCRIPTIONS.get(invoice["billing_reason"]),
            setup_future_usage="off_session" if invoice["parent"] else None,
        )
    sandbox.store.put({**intent, "_invoice": invoice["id"]})
    sandbox.store.put(invoice_shapes.invoice_payment(now, invoice, intent))
    return invoice


def payment_of(sandbox: Sandbox, invoice: Object) -> tuple[Object, Object]:
    """The open payment of an invoice, and its payment intent."""
    (payment,) = sandbox.store.newest_first(
        "invoice_payment", lambda p: bool(p["invoice"] == invoice["id"] and p["status"] != "canceled")
    )
    return payment, sandbox.get(payment["payment"]["payment_intent"], "payment_intent")


def paid(
    sandbox: Sandbox, invoice: Object, payment: Object | None, *, attempts: int = 0, out_of_band: bool = False
) -> Object:
    """An open invoice is paid: by `payment` at the last of `attempts`, otherwise, or because nothing was due."""
    now = sandbox.now()
    if payment is not None:
        times = {**payment["status_transitions"], "paid_at": now}
        payment = {**payment, "status": "paid", "amount_paid": invoice["amount_due"], "status_transitions": times}
        sandbox.store.put(payment)
        sandbox.emit("invoice_payment.paid", payment)
    invoice = sandbox.changed(
        "invoice.updated",
        invoice,
        status="paid",
        amount_paid=0 if out_of_band else invoice["amount_due"],
        amount_paid_off_stripe=invoice["amount_due"] if out_of_band else 0,
        amount_remaining=0,
        attempt_count=attempts or invoice["attempt_count"],
        attempted=True,
        auto_advance=False,
        next_payment_attempt=None,
        status_transitions={**invoice["status_transitions"], "paid_at": now},
        _due=None,
    )
    sandbox.emit("invoice.paid", invoice)
    sandbox.emit("invoice.payment_succeeded", invoice)
    return invoice


def void(sandbox: Sandbox, invoice: Object) -> Object:
    """Take an open invoice back as if it had never been. Raises StripeError when it is not open."""
    _must_be(invoice, ("open", "uncollectible"), "void")
    return _close(sandbox, invoice, "void", "voided_at", "invoice.voided", "void_invoice")


def give_up(sandbox: Sandbox, invoice: Object) -> Object:
    """Mark an open invoice as uncollectible. Raises StripeError when it is not open."""
    _must_be(invoice, ("open",), "mark as uncollectible")
    return _close(sandbox, invoice, "uncollectible", "marked_uncollectible_at", "invoice.marked_uncollectible", None)


def _close(
    sandbox: Sandbox, invoice: Object, status: str, moment: str, event: str, cancellation: str | None
) -> Object:
    now = sandbox.now()
    if cancellation is not None:
        payment, intent = payment_of(sandbox, invoice)
        times = {**payment["status_transitions"], "canceled_at": now}
        sandbox.store.put({**payment, "status": "canceled", "status_transitions": times})
        sandbox.changed(
            "payment_intent.canceled",
            intent,
            status="canceled",
            canceled_at=now,
            cancellation_reason=cancellation,
            next_action=None,
        )
    invoice = sandbox.changed(
        "invoice.updated",
        invoice,
        status=status,
        auto_advance=False,
        next_payment_attempt=None,
        amount_remaining=0 if status == "void" else invoice["amount_remaining"],
        status_transitions={**invoice["status_transitions"], moment: now},
        _due=None,
    )
    sandbox.emit(event, invoice)
    return invoice


def _must_be(invoice: Object, statuses: tuple[str, ...], what: str) -> None:
    if invoice["status"] not in statuses:
        raise StripeError(
            f"You can only {what} an invoice that is {' or '.join(statuses)}. This one is {invoice['status']}.",
            code="invoice_not_editable",
        )
