"""The hosted page of an invoice: what it is for, whether it is paid, and a form to pay it."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from stripe_sandbox import agenda, clocks, payment_intents, payment_methods, portal_views, tax_rates
from stripe_sandbox.billing import collection, invoices, tax
from stripe_sandbox.cards import BadField
from stripe_sandbox.errors import StripeError
from stripe_sandbox.html import fields, page, see
from stripe_sandbox.money import shown
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

PATH = "/i/{id}"
_NOT_AUTHENTICATED = "Your bank did not confirm this. Nothing was paid. Try again, or use another card."


def routes(sandbox: Sandbox) -> list[BaseRoute]:
    """The page, and its form."""

    async def show(request: Request) -> Response:
        agenda.run_due(sandbox)
        invoice = _finalized(sandbox, request)
        if invoice is None:
            return _nothing()
        failed = request.query_params.get("redirect_status") == "failed"
        return _page(sandbox, invoice, _NOT_AUTHENTICATED if failed else "")

    async def pay(request: Request) -> Response:
        typed = await fields(request)
        with sandbox.store.transaction(), clocks.in_time_of(sandbox, request.path_params["id"]):
            invoice = _finalized(sandbox, request)
            if invoice is None:
                return _nothing()
            if invoice["status"] != "open":
                return see(f"/i/{invoice['id']}")
            return _pay(sandbox, invoice, typed)

    return [Route(PATH, show, methods=["GET"]), Route(PATH, pay, methods=["POST"])]


def _pay(sandbox: Sandbox, invoice: Object, typed: dict[str, str]) -> Response:
    number, expiry, cvc = (typed.get(name, "") for name in ("card_number", "exp", "cvc"))
    try:
        method = payment_methods.from_form(sandbox, number, expiry, cvc)
    except BadField as wrong:
        return _page(sandbox, invoice, str(wrong))
    method["billing_details"] |= {"email": invoice["customer_email"], "name": typed.get("name", "").strip() or None}
    sandbox.store.put(method)
    _, intent = invoices.payment_of(sandbox, invoice)
    given = {"payment_method": method["id"], "return_url": invoice["hosted_invoice_url"]}
    try:
        intent = payment_intents.confirm(sandbox, intent, given)
    except StripeError as refused:
        collection.follow(sandbox, sandbox.get(intent["id"], "payment_intent"))
        return _page(sandbox, sandbox.get(invoice["id"], "invoice"), str(refused))
    if intent["status"] == "requires_action":
        return see(intent["next_action"]["redirect_to_url"]["url"])
    collection.follow(sandbox, intent)
    return see(f"/i/{invoice['id']}")


def _page(sandbox: Sandbox, invoice: Object, message: str) -> Response:
    currency = invoice["currency"]
    paid_at = invoice["status_transitions"]["paid_at"]
    return page(
        "invoice.html",
        status=402 if message else 200,
        invoice=invoice,
        total=shown(invoice["total"], currency),
        due=shown(invoice["amount_remaining"], currency),
        payable=invoice["status"] == "open",
        when=portal_views.day(paid_at or invoice["status_transitions"]["finalized_at"] or invoice["created"]),
        method=_method(sandbox, invoice),
        lines=[
            {
                "text": line["description"],
                "amount": shown(line["amount"], currency),
                "period": _period(line["period"]),
            }
            for line in invoice["lines"]["data"]
        ],
        rows=[
            {"text": text, "amount": shown(amount, currency)} for text, amount in _between(sandbox, invoice) if amount
        ],
        message=message,
    )


def _between(sandbox: Sandbox, invoice: Object) -> list[tuple[str, int]]:
    """What is between the lines and the total, and what a credit balance pays."""
    discount = sum(part["amount"] for part in invoice["total_discount_amounts"])
    taxes = [(_rate(sandbox, part), part["amount"]) for part in invoice["total_taxes"]]
    return [("Discount", -discount), *taxes]


def _rate(sandbox: Sandbox, owed: Object) -> str:
    """What a tax is called: a rate that the seller made by its name."""
    rate = sandbox.get(owed["tax_rate_details"]["tax_rate"], "tax_rate")
    return "Tax" if tax.is_automatic(rate) else tax_rates.name(rate)


def _method(sandbox: Sandbox, invoice: Object) -> str | None:
    """The card that an invoice was paid with."""
    if invoice["status"] != "paid" or not invoice["amount_paid"]:
        return None
    _, intent = invoices.payment_of(sandbox, invoice)
    method = sandbox.store.get(intent["payment_method"] or "", "payment_method")
    return None if method is None or not method.get("card") else portal_views.card_text(method)


def _period(period: Object) -> str:
    start, end = portal_views.day(period["start"]), portal_views.day(period["end"])
    return start if start == end else f"{start} to {end}"


def _finalized(sandbox: Sandbox, request: Request) -> Object | None:
    invoice = sandbox.store.get(request.path_params["id"], "invoice")
    return None if invoice is None or invoice["hosted_invoice_url"] is None else invoice


def _nothing() -> Response:
    return page(
        "message.html",
        status=404,
        heading="There is no such invoice",
        text="The address is not one of this sandbox, or the invoice is a draft. Nothing was paid.",
    )
