"""What the catalogue needs at Stripe: a price for each pack and for each way a plan is paid. Pure.

It knows nothing of how a price is looked for or made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tallystick.domain.amounts import Money
from tallystick.domain.catalogue import Catalogue, Pack, PlanPrice


@dataclass(frozen=True, slots=True)
class Offer:
    """One price that the catalogue sells something under.

    `lookup_key` is the name by which it is found again at Stripe, `product` the id of a product that is made for
    it. `price` is None for a plan whose catalogue does not say what it comes to; `interval` is `month`, `year`, or
    None for what is paid once. `configured` is the price that is used now, and stands in the environment as
    `setting`, or in the catalogue itself where that is None.
    """

    lookup_key: str
    product: str
    title: str
    price: Money | None
    interval: str | None
    configured: str | None
    setting: str | None

    @property
    def terms(self) -> str:
        """What it comes to, like `19.00 USD a month`."""
        return f"{self.price or 'any amount'} {f'a {self.interval}' if self.interval else 'once'}"

    @property
    def place(self) -> str:
        """Where its price is named, for people."""
        return self.setting or f"stripe_price of {self.title!r} in the catalogue"


def offers(catalogue: Catalogue, environment: Mapping[str, str]) -> tuple[Offer, ...]:
    """What has to be for sale at Stripe, plans first. `$NAME` in the catalogue stands for what the environment says."""
    plans = [_of_plan(price, environment) for plan in catalogue.plans for price in plan.prices]
    return (*plans, *(_of_pack(pack, environment) for pack in catalogue.packs))


def _of_plan(price: PlanPrice, environment: Mapping[str, str]) -> Offer:
    product = f"tallystick_plan_{price.plan.name}"
    configured, setting = _named(price.stripe_price, environment)
    return Offer(
        f"{product}_{price.interval}", product, price.plan.title, price.price, price.interval, configured, setting
    )


def _of_pack(pack: Pack, environment: Mapping[str, str]) -> Offer:
    product = f"tallystick_pack_{pack.id}"
    return Offer(product, product, pack.title, pack.price, None, *_named(pack.stripe_price, environment))


def _named(stripe_price: str, environment: Mapping[str, str]) -> tuple[str | None, str | None]:
    if not stripe_price.startswith("$"):
        return stripe_price, None
    setting = stripe_price[1:]
    return environment.get(setting) or None, setting


def disagreements(offer: Offer, price: Mapping[str, Any]) -> list[str]:
    """How a price of Stripe differs from what the catalogue sells, in words; whether it is archived apart."""
    found = []
    amount = price["unit_amount"]
    if amount is None or price["billing_scheme"] != "per_unit" or price["transform_quantity"] is not None:
        found.append("it has no plain amount for each")
    elif offer.price is not None and Money(amount, price["currency"].upper()) != offer.price:
        found.append(f"it comes to {Money(amount, price['currency'].upper())} instead of {offer.price}")
    billed, wanted = _rhythm(price["recurring"]), _words(offer.interval, 1)
    if billed != wanted:
        found.append(f"it is paid {billed} instead of {wanted}")
    if (price["recurring"] or {}).get("usage_type") == "metered":
        found.append("it is metered")
    return found


def _rhythm(recurring: Mapping[str, Any] | None) -> str:
    return "once" if recurring is None else _words(recurring["interval"], recurring["interval_count"])


def _words(interval: str | None, count: int) -> str:
    if interval is None:
        return "once"
    return f"every {interval}" if count == 1 else f"every {count} {interval}s"
