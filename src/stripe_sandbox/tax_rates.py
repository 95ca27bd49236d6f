"""Tax rates that a seller makes, and what they come to on an amount."""

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal

from stripe import params

from stripe_sandbox import operations
from stripe_sandbox.errors import StripeError, missing
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

_TYPE = "tax_rate"


def create(sandbox: Sandbox, given: Object) -> Object:
    """A new rate. Raises StripeError for a percentage that cannot be."""
    if not 0 <= given["percentage"] <= 100:
        raise StripeError("Invalid percentage: must be between 0 and 100.", param="percentage")
    made = shape(sandbox.now(), given)
    sandbox.store.put(made)
    sandbox.emit(f"{_TYPE}.created", made)
    return made


def shape(created: int, given: Object) -> Object:
    """A rate, complete: every key that Stripe sends."""
    return {
        "id": new_id("txr"),
        "object": _TYPE,
        "active": given.get("active", True),
        "country": given.get("country"),
        "created": created,
        "description": given.get("description"),
        "display_name": given["display_name"],
        "effective_percentage": given.get("effective_percentage"),
        "flat_amount": None,
        "inclusive": given["inclusive"],
        "jurisdiction": given.get("jurisdiction"),
        "jurisdiction_level": given.get("jurisdiction_level"),
        "livemode": False,
        "metadata": given.get("metadata") or {},
        "percentage": given["percentage"],
        "rate_type": "percentage",
        "state": given.get("state"),
        "tax_type": given.get("tax_type"),
    }


def chosen(sandbox: Sandbox, wanted: Iterable[str | Object], param: str) -> list[Object]:
    """The rates of these ids; one that was chosen before is given as it is, and stays though it is archived.

    Raises StripeError for one that is not there, or is archived.
    """
    found: list[Object] = []
    for n, id in enumerate(wanted):
        if not isinstance(id, str):
            found.append(id)
            continue
        rate = sandbox.store.get(id, _TYPE)
        if rate is None:
            raise missing("tax rate", id, param=f"{param}[{n}]", status=400)
        if not rate["active"]:
            raise StripeError(f"The tax rate {id} is archived, and cannot be used.", param=f"{param}[{n}]")
        found.append(rate)
    return found


def check_alone(automatic: Object, rates: Sequence[str | Object], name: str, param: str | None = None) -> None:
    """Raises StripeError where an object would be taxed both by Stripe itself and by rates.

    They are given by that `name`, which is the parameter too where no longer `param` says which of several it is.
    """
    if automatic["enabled"] and rates:
        raise StripeError(f"You cannot use `{name}` when `automatic_tax` is enabled.", param=param or name)


def on(net: int, rates: Iterable[Object]) -> list[tuple[int, int, Object]]:
    """Of each rate on an amount: the tax, the amount that it is on, and the rate. Each tax is rounded for itself.

    What is inclusive is in the amount already; what is not comes on top of what is left without those.
    """
    rates = list(rates)
    contained = sum((_percent(rate) for rate in rates if rate["inclusive"]), Decimal(0))
    base = net * 100 / (100 + contained)
    return [(_rounded(base * _percent(rate) / 100), _rounded(base), rate) for rate in rates]


def by_rate(taxes: Iterable[Object]) -> list[Object]:
    """Taxes put together where they are of the same rate."""
    together: dict[str, Object] = {}
    for tax in taxes:
        known = together.get(tax["rate"]["id"])
        sums = {} if known is None else {name: known[name] + tax[name] for name in ("amount", "taxable_amount")}
        together[tax["rate"]["id"]] = {**tax, **sums}
    return list(together.values())


def name(rate: Object) -> str:
    """What a buyer reads of a rate, like `VAT (20% inclusive)`."""
    return f"{rate['display_name']} ({rate['percentage']:g}%{' inclusive' if rate['inclusive'] else ''})"


def _percent(rate: Object) -> Decimal:
    return Decimal(str(rate["percentage"]))


def _rounded(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


_PATH = "/tax_rates"
OPERATIONS = [
    operations.create(_PATH, params.TaxRateCreateParams, create),
    operations.list_of(_TYPE, _PATH, params.TaxRateListParams),
    operations.retrieve(_TYPE, _PATH, params.TaxRateRetrieveParams),
    operations.update(_TYPE, _PATH, params.TaxRateUpdateParams),
]
