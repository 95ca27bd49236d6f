"""What an invoice comes to: discounts and tax of each line, the sums, and what the balance adds or takes."""

from collections.abc import Iterable, Sequence

from stripe_sandbox.billing import discounts, invoice_shapes, tax
from stripe_sandbox.money import MINIMUM
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def of(sandbox: Sandbox, invoice: Object, lines: Sequence[Object], balance: int, *, taxed: bool) -> Object:
    """`invoice` with these lines and all its amounts, for a customer with that balance; `taxed` by Stripe itself."""
    lines = [{**line, "discount_amounts": [], "discounts": [], "taxes": []} for line in lines]
    held = discounts.holding(sandbox, invoice["discounts"], invoice["created"])
    for discount in held:
        _discount(lines, discount, invoice["currency"])
    for line in lines:
        net = line["amount"] - _sum(line["discount_amounts"])
        line["taxes"] = tax.of_line(sandbox, line, net, invoice["default_tax_rates"], automatic=taxed)
    amounts = [line["amount"] for line in lines]
    taken = [_sum(line["discount_amounts"]) for line in lines]
    on_top = sum(_sum(t for t in line["taxes"] if t["tax_behavior"] == "exclusive") for line in lines)
    within = sum(_sum(t for t in line["taxes"] if t["tax_behavior"] == "inclusive") for line in lines)
    subtotal, net = sum(amounts), sum(amounts) - sum(taken)
    total = net + on_top
    due, ending = _due(total, balance)
    return {
        **invoice,
        "lines": {**invoice["lines"], "data": lines},
        "automatic_tax": invoice_shapes.TAXED if taxed else invoice_shapes.NO_TAX,
        "starting_balance": balance,
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal - within,
        "total": total,
        "total_excluding_tax": net - within,
        "total_discount_amounts": [{"amount": _sum(_of_discount(lines, d["id"])), "discount": d["id"]} for d in held],
        "total_taxes": _total_taxes(lines),
        "amount_due": due,
        "amount_remaining": due,
        "_ending_balance": ending,
    }


def _due(total: int, balance: int) -> tuple[int, int]:
    """What is to be paid, and the balance that is left: less than can be charged goes on the next invoice."""
    wanted = total + balance
    if total <= 0 and balance <= 0:
        return 0, wanted
    return (wanted, 0) if wanted >= MINIMUM else (0, wanted)


def _discount(lines: Sequence[Object], discount: Object, currency: str) -> None:
    left = [line["amount"] - _sum(line["discount_amounts"]) if line["discountable"] else 0 for line in lines]
    products = [line["pricing"]["price_details"]["product"] for line in lines]
    for line, amount in zip(lines, discounts.off(discount["_coupon"], left, products, currency), strict=True):
        if amount:
            line["discount_amounts"].append({"amount": amount, "discount": discount["id"]})
            line["discounts"].append(discount["id"])


def _total_taxes(lines: Sequence[Object]) -> list[Object]:
    totals: dict[str, Object] = {}
    for part in (part for line in lines for part in line["taxes"]):
        rate = part["tax_rate_details"]["tax_rate"]
        before = totals.get(rate, {"amount": 0, "taxable_amount": 0})
        totals[rate] = {
            **part,
            "amount": part["amount"] + before["amount"],
            "taxable_amount": part["taxable_amount"] + before["taxable_amount"],
        }
    return list(totals.values())


def _of_discount(lines: Sequence[Object], id: str) -> list[Object]:
    return [part for line in lines for part in line["discount_amounts"] if part["discount"] == id]


def _sum(parts: Iterable[Object]) -> int:
    return sum(part["amount"] for part in parts)
