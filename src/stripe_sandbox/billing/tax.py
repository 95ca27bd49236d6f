"""The tax of an invoice's lines: by the seller's rates, or automatic, which is one rate that the settings say."""

from collections.abc import Iterable

from stripe_sandbox import tax_rates
from stripe_sandbox.billing import settings
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def on(
    sandbox: Sandbox, net: int, behavior: str, rates: Iterable[Object], *, automatic: bool
) -> list[tuple[int, int, Object]]:
    """Of each tax on an amount: the tax, the amount that it is on, and the rate it comes from.

    By these rates, or by Stripe itself at a price of that tax behaviour: `inclusive` tax is in the amount already, any
    other comes on top of it.
    """
    if not automatic:
        return tax_rates.on(net, rates)
    percent = settings.read(sandbox).tax_percent
    rate = _rate(sandbox, percent, inclusive=behavior == "inclusive")
    ((owed, _, _),) = tax_rates.on(net, [rate])
    return [(owed, net, rate)]


def of_line(sandbox: Sandbox, line: Object, net: int, default: Iterable[Object], *, automatic: bool) -> list[Object]:
    """The taxes of a line of an invoice that comes to `net`: by Stripe itself, by its own rates, or by the `default`."""
    own = line.get("_tax_rates")
    taxes = on(sandbox, net, line["_tax_behavior"], default if own is None else own, automatic=automatic)
    return [_line_tax(owed, rate, taxable) for owed, taxable, rate in taxes]


def is_automatic(rate: Object) -> bool:
    """Whether a rate is one that Stripe itself taxes with."""
    return "_automatic" in rate


def _line_tax(amount: int, rate: Object, taxable: int) -> Object:
    """What an invoice says of a tax."""
    return {
        "amount": amount,
        "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
        "tax_rate_details": {"tax_rate": rate["id"]},
        "taxability_reason": reason(rate) or "not_available",
        "taxable_amount": taxable,
        "type": "tax_rate_details",
    }


def reason(rate: Object) -> str | None:
    """Why an amount was taxed as it was. Of a rate that the seller made Stripe does not know why it is what it is."""
    if not is_automatic(rate):
        return None
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
