"""Invoices, invoice items and invoice payments in the API."""

from stripe import params

from stripe_sandbox import lists, operations, tax_rates
from stripe_sandbox.billing import collection, discounts, invoice_items, invoices, previews
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.shapes import list_of
from stripe_sandbox.store import Object


def _create(sandbox: Sandbox, given: Object) -> Object:
    """A draft made by hand: with the items that wait if that is asked for."""
    if not given.get("customer"):
        raise StripeError("Missing required param: customer.", code="parameter_missing", param="customer")
    if given.get("collection_method") == "send_invoice":
        raise StripeError("The sandbox charges automatically: it does not send invoices.", param="collection_method")
    customer = sandbox.get(given["customer"], "customer", param="customer", status=400)
    named = given.get("subscription")
    subscription = sandbox.get(named, "subscription", param="subscription", status=400) if named else None
    wanted = given.get("pending_invoice_items_behavior", "exclude") == "include" or subscription is not None
    pending = invoices.waiting(sandbox, customer["id"], named) if wanted else []
    currency = given.get("currency") or (pending[0]["currency"] if pending else customer["currency"] or "usd")
    now = sandbox.now()
    invoice = invoices.draft(
        sandbox,
        customer["id"],
        currency,
        "manual",
        period=(now, now),
        subscription=subscription,
        pending=pending,
        auto_advance=given.get("auto_advance", False),
        wait=3600,
    )
    return _update(sandbox, invoice, {k: v for k, v in given.items() if k != "auto_advance"})


def _update(sandbox: Sandbox, invoice: Object, given: Object) -> Object:
    """Change what may still be changed of an invoice. Raises StripeError when it is too late for it."""
    late = set(given) & {"discounts", "automatic_tax", "default_tax_rates"}
    if late and invoice["status"] != "draft":
        raise StripeError(
            f"Finalized invoices can't be updated in this way: {', '.join(sorted(late))}.",
            code="invoice_not_editable",
        )
    plain = ("metadata", "description", "footer", "default_payment_method", "auto_advance", "custom_fields")
    changes = operations.changes(invoice, {name: given[name] for name in plain if name in given})
    if "discounts" in given:
        of = {"customer": invoice["customer"], "invoice": invoice["id"]}
        changes["discounts"] = discounts.given_discounts(
            sandbox, given["discounts"], of, invoice["subtotal"], invoice["currency"]
        )
    if "automatic_tax" in given:
        changes["automatic_tax"] = {**invoice["automatic_tax"], "enabled": given["automatic_tax"]["enabled"]}
    if "default_tax_rates" in given:
        changes["default_tax_rates"] = tax_rates.chosen(sandbox, given["default_tax_rates"], "default_tax_rates")
    if late:
        taxed = {**invoice, **changes}
        tax_rates.check_alone(taxed["automatic_tax"], taxed["default_tax_rates"], "default_tax_rates")
        changes = invoices.recount(sandbox, {**invoice, **changes})
    return sandbox.changed("invoice.updated", invoice, **changes)


def _delete(sandbox: Sandbox, id: str, _: Object) -> Object:
    """Throw a draft away; its items wait again. Raises StripeError when it is not a draft made by hand."""
    invoice = sandbox.get(id, "invoice")
    if invoice["status"] != "draft" or invoice["parent"] is not None:
        raise StripeError(
            "You can only delete draft invoices that no subscription made.", code="invoice_not_editable"
        )
    for item in sandbox.store.newest_first("invoiceitem", lambda i: bool(i["invoice"] == id)):
        sandbox.store.put({**item, "invoice": None})
    answer = operations.deleted(sandbox, invoice)
    sandbox.emit("invoice.deleted", invoice)
    return answer


def _finalize(sandbox: Sandbox, id: str, given: Object) -> Object:
    invoice = sandbox.get(id, "invoice")
    if "auto_advance" in given:
        invoice["auto_advance"] = given["auto_advance"]
    return invoices.finalize(sandbox, invoice)


def _lines(sandbox: Sandbox, id: str, given: Object) -> Object:
    return lists.page(sandbox.get(id, "invoice")["lines"]["data"], given, f"/v1/invoices/{id}/lines")


def _payments(sandbox: Sandbox, invoice: Object) -> Object:
    found = sandbox.store.newest_first("invoice_payment", lambda p: bool(p["invoice"] == invoice["id"]))
    return list_of(found, "/v1/invoice_payments")


def _secret(sandbox: Sandbox, invoice: Object) -> Object | None:
    if invoice["status"] != "open":
        return None
    _, intent = invoices.payment_of(sandbox, invoice)
    return {"client_secret": intent["client_secret"], "type": "payment_intent"}


def _of_subscription(invoice: Object, wanted: str) -> bool:
    parent = invoice["parent"]
    return bool(parent and parent["subscription_details"]["subscription"] == wanted)


INCLUDES = {("invoice", "payments"): _payments, ("invoice", "confirmation_secret"): _secret}

_PATH = "/invoices"
_ITEMS = "/invoiceitems"
_PAYMENTS = "/invoice_payments"
OPERATIONS = [
    operations.create(f"{_PATH}/create_preview", params.InvoiceCreatePreviewParams, previews.create),
    operations.create(_PATH, params.InvoiceCreateParams, _create),
    operations.list_of("invoice", _PATH, params.InvoiceListParams, {"subscription": _of_subscription}),
    operations.retrieve("invoice", _PATH, params.InvoiceRetrieveParams),
    operations.Operation(
        "POST",
        f"{_PATH}/{{id}}",
        params.InvoiceUpdateParams,
        lambda s, id, given: _update(s, s.get(id, "invoice"), given),
    ),
    operations.Operation("DELETE", f"{_PATH}/{{id}}", params.InvoiceDeleteParams, _delete),
    operations.Operation("POST", f"{_PATH}/{{id}}/finalize", params.InvoiceFinalizeInvoiceParams, _finalize),
    operations.Operation(
        "POST",
        f"{_PATH}/{{id}}/pay",
        params.InvoicePayParams,
        lambda s, id, given: collection.pay(s, s.get(id, "invoice"), given),
    ),
    operations.Operation(
        "POST",
        f"{_PATH}/{{id}}/void",
        params.InvoiceVoidInvoiceParams,
        lambda s, id, _: collection.void(s, s.get(id, "invoice")),
    ),
    operations.Operation(
        "POST",
        f"{_PATH}/{{id}}/mark_uncollectible",
        params.InvoiceMarkUncollectibleParams,
        lambda s, id, _: collection.give_up(s, s.get(id, "invoice")),
    ),
    operations.Operation("GET", f"{_PATH}/{{id}}/lines", params.InvoiceListLinesParams, _lines),
    operations.create(_ITEMS, params.InvoiceItemCreateParams, invoice_items.create),
    operations.list_of("invoiceitem", _ITEMS, params.InvoiceItemListParams, {"pending": invoice_items.is_pending}),
    operations.retrieve("invoiceitem", _ITEMS, params.InvoiceItemRetrieveParams),
    operations.Operation("POST", f"{_ITEMS}/{{id}}", params.InvoiceItemUpdateParams, invoice_items.update),
    operations.Operation("DELETE", f"{_ITEMS}/{{id}}", params.InvoiceItemDeleteParams, invoice_items.delete),
    operations.list_of(
        "invoice_payment",
        _PAYMENTS,
        params.InvoicePaymentListParams,
        {"payment": lambda p, wanted: p["payment"]["payment_intent"] == wanted.get("payment_intent")},
    ),
    operations.retrieve("invoice_payment", _PAYMENTS, params.InvoicePaymentRetrieveParams),
]
