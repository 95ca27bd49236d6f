"""Automatic tax: one rate for everything, which the sandbox's settings say."""

from decimal import ROUND_HALF_UP, Decimal

from stripe_sandbox.billing import settings
from stripe_sandbox.billing.discounts import percent_of
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def on(sandbox: Sandbox, net: int, behavior: str) -> tuple[int, Object]:
    """The tax on an amount at a price of that tax behaviour, and the rate it comes from.

    `inclusive` tax is in the amount already; any other comes on top of it.
    """
    percent = settings.read(sandbox).tax_percent
    rate = _rate(sandbox, percent, inclusive=behavior == "inclusive")
    if rate["inclusive"]:
        part = Decimal(net) * Decimal(percent) / (100 + Decimal(percent))
        return int(part.quantize(Decimal(1), ROUND_HALF_UP)), rate
    return percent_of(net, percent), rate


def line_tax(amount: int, rate: Object, taxable: int) -> Object:
    """What an invoice says of a tax."""
    return {
        "amount": amount,
        "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
        "tax_rate_details": {"tax_rate": rate["id"]},
        "taxability_reason": reason(rate),
        "taxable_amount": taxable,
        "type": "tax_rate_details",
    }


def reason(rate: Object) -> str:
    """Why an amount was taxed as it was."""
    return "standard_rated" if rate["percentage"] else "not_collecting"


def _rate(sandbox: Sandbox, percent: str, *, inclusive: bool) -> Object:
    found = sandbox.store.newest_first(
        "tax_rate", lambda r: bool(r["percentage"] == float(percent) and r["inclusive"] == inclusive)
    )
    if found:
        return found[0]
    made: Object = {
        "id": new_id("txr"),
        "object": "tax_rate",
        "active": True,
        "country": "US",
        "created": sandbox.now(),
        "description": None,
        "display_name": "Sales tax",
        "effective_percentage": float(percent),
        "flat_amount": None,
        "inclusive": inclusive,
        "jurisdiction": "Sandbox",
        "jurisdiction_level": "country",
        "livemode": False,
        "metadata": {},
        "percentage": float(percent),
        "rate_type": "percentage",
        "state": None,
        "tax_type": "sales_tax",
    }
    sandbox.store.put(made)
    return made
