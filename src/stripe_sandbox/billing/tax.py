"""The tax of an invoice's lines: by the seller's rates, or automatic, which is one rate that the settings say."""

from collections.abc import Iterable

from stripe_sandbox import tax_rates
from stripe_sandbox.billing import settings
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def on(sandbox: Sandbox, net: int, behavior: str) -> tuple[int, Object]:
    """The tax on an amount at a price of that tax behaviour, and the rate it comes from.

    `inclusive` tax is in the amount already; any other comes on top of it.
    """
    percent = settings.read(sandbox).tax_percent
    rate = _rate(sandbox, percent, inclusive=behavior == "inclusive")
    ((owed, _, _),) = tax_rates.on(net, [rate])
    return owed, rate


def of_line(sandbox: Sandbox, line: Object, net: int, default: Iterable[Object], *, automatic: bool) -> list[Object]:
    """The taxes of a line of an invoice that comes to `net`: by Stripe itself, by its own rates, or by the `default`."""
    if automatic:
        owed, rate = on(sandbox, net, line["_tax_behavior"])
        return [_line_tax(owed, rate, net, reason(rate))]
    own = line.get("_tax_rates")
    rates = default if own is None else own
    # Of a rate that the seller made Stripe does not know why it is what it is.
    return [_line_tax(owed, rate, taxable, "not_available") for owed, taxable, rate in tax_rates.on(net, rates)]


def is_automatic(rate: Object) -> bool:
    """Whether a rate is one that Stripe itself taxes with."""
    return "_automatic" in rate


def _line_tax(amount: int, rate: Object, taxable: int, reason: str) -> Object:
    """What an invoice says of a tax."""
    return {
        "amount": amount,
        "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
        "tax_rate_details": {"tax_rate": rate["id"]},
        "taxability_reason": reason,
        "taxable_amount": taxable,
        "type": "tax_rate_details",
    }


def reason(rate: Object) -> str:
    """Why an amount was taxed as it was."""
    return "standard_rated" if rate["percentage"] else "not_collecting"


def _rate(sandbox: Sandbox, percent: str, *, inclusive: bool) -> Object:
    found = sandbox.store.newest_first(
        "tax_rate",
        lambda r: bool(is_automatic(r) and r["percentage"] == float(percent) and r["inclusive"] == inclusive),
    )
    if found:
        return found[0]
    made = tax_rates.shape(
        sandbox.now(),
        {
            "country": "US",
            "display_name": "Sales tax",
            "effective_percentage": float(percent),
            "inclusive": inclusive,
            "jurisdiction": "Sandbox",
            "jurisdiction_level": "country",
            "percentage": float(percent),
            "tax_type": "sales_tax",
        },
    )
    made["_automatic"] = True
    sandbox.store.put(made)
    return made
