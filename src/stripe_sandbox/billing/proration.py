"""Prorations: what is credited for time that was billed and is not used, and what the rest of a period costs.

An item remembers what it was last billed (`_billed`), so that a credit is a share of what was really asked for
it, discounts included, however often it changes within one period; and taxed as that was.
"""

from datetime import UTC, datetime

from stripe_sandbox.billing import discounts, invoice_shapes
from stripe_sandbox.money import share
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def billed(items: list[Object], invoice: Object) -> list[Object]:
    """The items, each with what `invoice` asks for it remembered."""
    result = []
    for item in items:
        for line in invoice["lines"]["data"]:
            details = line["parent"]["subscription_item_details"]
            if details is None or details["subscription_item"] != item["id"] or line["amount"] < 0:
                continue
            net = line["amount"] - sum(part["amount"] for part in line["discount_amounts"])
            rates = line.get("_tax_rates") or invoice["default_tax_rates"]
            item = {**item, "_billed": _memory(net, line["period"], invoice["id"], line["id"], rates)}
        result.append(item)
    return result


def credit(sandbox: Sandbox, customer: Object, item: Object, at: int) -> Object | None:
    """The invoice item that gives back what was billed for an item after `at`; None when that is nothing."""
    memory = item.get("_billed")
    if memory is None or memory["end"] <= at or not memory["amount"]:
        return None
    start = max(at, memory["start"])
    amount = -share(memory["amount"], memory["end"] - start, memory["end"] - memory["start"])
    made = _item(
        sandbox, customer, item, amount, (start, memory["end"]), f"Unused time on {_what(sandbox, item)}", at
    )
    # The tax goes back as it was asked for, whatever the rates are by now.
    made["tax_rates"] = memory.get("rates", [])
    made["_taxed_alone"] = True
    if memory["invoice"] is not None:
        made["_credited"] = {"invoice": memory["invoice"], "invoice_line_items": [memory["line"]]}
    return made


def debit(sandbox: Sandbox, customer: Object, subscription: Object, item: Object, at: int) -> Object | None:
    """The invoice item that bills an item for the rest of its period; None when that is nothing."""
    start, end = item["current_period_start"], item["current_period_end"]
    full = net_price(sandbox, subscription, item)
    amount = share(full, end - at, end - start)
    if not amount:
        return None
    made = _item(sandbox, customer, item, amount, (at, end), f"Remaining time on {_what(sandbox, item)}", at)
    made["tax_rates"] = item["tax_rates"] or subscription["default_tax_rates"]
    return made


def remember(item: Object, made: Object) -> Object:
    """An item with a debit that waits for its invoice remembered."""
    return {**item, "_billed": _memory(made["amount"], made["period"], None, None, made["tax_rates"])}


def net_price(sandbox: Sandbox, subscription: Object, item: Object) -> int:
    """What a period of an item costs after the subscription's discounts."""
    amount: int = item["price"]["unit_amount"] * item["quantity"]
    for discount in discounts.holding(sandbox, subscription["discounts"], sandbox.now()):
        taken = discounts.off(discount["_coupon"], [amount], [item["price"]["product"]], item["price"]["currency"])
        amount -= taken[0]
    return amount


def _memory(amount: int, period: Object, invoice: str | None, line: str | None, rates: list[Object]) -> Object:
    span = {"start": period["start"], "end": period["end"]}
    return {"amount": amount, **span, "invoice": invoice, "line": line, "rates": rates}


def _what(sandbox: Sandbox, item: Object) -> str:
    name = sandbox.get(item["price"]["product"], "product")["name"]
    return name if item["quantity"] == 1 else f"{item['quantity']} × {name}"


def _item(
    sandbox: Sandbox, customer: Object, item: Object, amount: int, period: tuple[int, int], what: str, at: int
) -> Object:
    day = datetime.fromtimestamp(at, UTC)
    made = invoice_shapes.invoice_item(
        sandbox.now(),
        customer,
        amount,
        item["price"],
        item["quantity"],
        period,
        {"description": f"{what} after {day.day} {day:%b %Y}", "discountable": False},
    )
    made["proration"] = True
    made["proration_details"] = {"discount_amounts": []}
    made["pricing"]["unit_amount_decimal"] = None
    made["parent"] = {
        "subscription_details": {"subscription": item["subscription"], "subscription_item": item["id"]},
        "type": "subscription_details",
    }
    return made
