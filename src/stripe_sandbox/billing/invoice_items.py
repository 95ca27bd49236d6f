"""Invoice items made by hand: amounts that wait for a customer's next invoice, or are put on a draft."""

from stripe_sandbox import catalogue, tax_rates
from stripe_sandbox.billing import invoice_shapes, invoices
from stripe_sandbox.errors import StripeError, missing
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def create(sandbox: Sandbox, given: Object) -> Object:
    """A new invoice item. Raises StripeError when it has no amount, or its invoice is no draft."""
    if not given.get("customer"):
        raise StripeError("Missing required param: customer.", code="parameter_missing", param="customer")
    customer = sandbox.get(given["customer"], "customer", param="customer", status=400)
    quantity = given.get("quantity", 1)
    price, amount = _price(sandbox, customer, given, quantity)
    now = sandbox.now()
    period = given.get("period") or {"start": now, "end": now}
    item = invoice_shapes.invoice_item(
        now, customer, amount, price, quantity, (period["start"], period["end"]), given
    )
    item["tax_rates"] = tax_rates.chosen(sandbox, given.get("tax_rates") or [], "tax_rates")
    if item["description"] is None:
        item["description"] = sandbox.get(price["product"], "product")["name"]
    if given.get("subscription"):
        sandbox.get(given["subscription"], "subscription", param="subscription", status=400)
        item["parent"] = {
            "subscription_details": {"subscription": given["subscription"]},
            "type": "subscription_details",
        }
    if given.get("invoice"):
        invoice = _draft(sandbox, given["invoice"])
        item["invoice"] = invoice["id"]
        lines = [*invoice["lines"]["data"], invoice_shapes.invoice_item_line(invoice["id"], item)]
        sandbox.changed("invoice.updated", invoice, **invoices.recount(sandbox, invoice, lines))
    sandbox.store.put(item)
    sandbox.emit("invoiceitem.created", item)
    return item


def update(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Change an invoice item that is not on a finalized invoice."""
    item = sandbox.get(id, "invoiceitem")
    changes: Object = {name: given[name] for name in ("amount", "description", "discountable") if name in given}
    if "quantity" in given:
        unit = item["pricing"]["unit_amount_decimal"]
        changes |= {"quantity": given["quantity"], "quantity_decimal": str(given["quantity"])}
        changes["amount"] = int(unit) * given["quantity"] if unit is not None else item["amount"]
    if "tax_rates" in given:
        changes["tax_rates"] = tax_rates.chosen(sandbox, given["tax_rates"], "tax_rates")
    if "metadata" in given:
        changes["metadata"] = {**item["metadata"], **(given["metadata"] or {})}
    changed = {**item, **changes}
    if item["invoice"]:
        _replace(sandbox, item, changed)
    sandbox.store.put(changed)
    return changed


def delete(sandbox: Sandbox, id: str, _: Object) -> Object:
    """Take an invoice item away that is not on a finalized invoice."""
    item = sandbox.get(id, "invoiceitem")
    if item["invoice"]:
        _replace(sandbox, item, None)
    sandbox.store.delete(id)
    sandbox.emit("invoiceitem.deleted", item)
    return {"id": id, "object": "invoiceitem", "deleted": True}


def is_pending(item: Object, wanted: bool) -> bool:
    """Whether it waits for an invoice, or is on one."""
    return (item["invoice"] is None) is wanted


def _price(sandbox: Sandbox, customer: Object, given: Object, quantity: int) -> tuple[Object, int]:
    """The price an item is of, and what it comes to: a plain amount has a price made for it."""
    named = (given.get("pricing") or {}).get("price")
    if named:
        price = sandbox.store.get(named, "price")
        if price is None:
            raise missing("price", named, param="pricing[price]", status=400)
        if price["type"] != "one_time":
            raise StripeError("The price of an invoice item must be `type=one_time`.", param="pricing[price]")
        return price, price["unit_amount"] * quantity
    if given.get("price_data"):
        price = catalogue.create_price(sandbox, given["price_data"])
        return price, price["unit_amount"] * quantity
    if given.get("amount") is None:
        raise StripeError("You must pass either `amount` or a price.", code="parameter_missing", param="amount")
    price = catalogue.create_price(
        sandbox,
        {
            "currency": given.get("currency") or customer["currency"] or "usd",
            "unit_amount": given["amount"],
            "product_data": {"name": given.get("description") or "Invoice item"},
            "active": False,
        },
    )
    return price, given["amount"]


def _replace(sandbox: Sandbox, item: Object, changed: Object | None) -> None:
    """Change, or take away, the line of an invoice item on its draft."""
    invoice = _draft(sandbox, item["invoice"])
    lines = []
    for line in invoice["lines"]["data"]:
        details = line["parent"]["invoice_item_details"] or line["parent"]["subscription_item_details"]
        if details["invoice_item"] != item["id"]:
            lines.append(line)
        elif changed is not None:
            lines.append({**invoice_shapes.invoice_item_line(invoice["id"], changed), "id": line["id"]})
    sandbox.changed("invoice.updated", invoice, **invoices.recount(sandbox, invoice, lines))


def _draft(sandbox: Sandbox, id: str) -> Object:
    invoice = sandbox.get(id, "invoice", param="invoice", status=400)
    if invoice["status"] != "draft":
        raise StripeError("This invoice is no longer editable.", code="invoice_not_editable", param="invoice")
    return invoice
