"""What is on offer: plans with their allowance, packs with their price. Plain data, checked when made."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from tallystick.domain.amounts import MAX_CREDITS, Money, require_credits
from tallystick.domain.errors import InvalidAmount, InvalidInput, InvalidMoney, shown

MAX_QUANTITY = 999
"""The most of one pack that can be bought at once: as many as Stripe lets a buyer choose."""

MAX_TRIAL_DAYS = 730
"""The longest trial that Stripe allows."""

_Offer = TypeVar("_Offer", "Plan", "Pack")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def _require_name(value: str, what: str) -> None:
    if not _NAME.fullmatch(value):
        raise InvalidInput(
            f"A {what} is named in lower case letters, digits, '_' and '-', starting with a letter, "
            f"not {shown(value)}."
        )


def _require_count(value: object, what: str, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidInput(f"{what} must be a whole number from {least} to {most}, not {shown(value)}.")


@dataclass(frozen=True, slots=True)
class Plan:
    """What an account may do and how many credits it gets each month.

    A plan with a `stripe_price` (monthly), a `stripe_price_yearly` or both is paid: its next allowance opens
    when an invoice is paid, and a paid year opens one each month (S15). One without renews by itself.
    `price` and `price_yearly` are what those come to, to be shown. `can_buy` says whether its accounts may
    buy packs (S19). Whoever had no subscription before may try it for `trial_days`.
    """

    name: str
    allowance: int
    can_buy: bool = False
    stripe_price: str | None = None
    price: Money | None = None
    title: str = ""
    stripe_price_yearly: str | None = None
    price_yearly: Money | None = None
    trial_days: int = 0

    def __post_init__(self) -> None:
        _require_name(self.name, "plan")
        if isinstance(self.allowance, bool) or not isinstance(self.allowance, int):
            raise InvalidAmount(f"The allowance of plan {self.name!r} must be a whole number of credits.")
        if not 0 <= self.allowance <= MAX_CREDITS:
            raise InvalidAmount(f"The allowance of plan {self.name!r} must be from 0 to {MAX_CREDITS:,}.")
        for price in (self.price, self.price_yearly):
            if price is not None and not isinstance(price, Money):
                raise InvalidMoney(
                    f"A price of plan {self.name!r} is Money, like Money.parse('19.99 USD'), not {shown(price)}."
                )
        _require_count(self.trial_days, f"trial_days of plan {self.name!r}", 0, MAX_TRIAL_DAYS)
        if not self.title:
            object.__setattr__(self, "title", self.name.upper())

    @property
    def renews_by_itself(self) -> bool:
        """True when no invoice has to be paid for the next allowance to open (S15)."""
        return not (self.stripe_price or self.stripe_price_yearly)

    @property
    def prices(self) -> tuple["PlanPrice", ...]:
        """What it is sold under, the monthly price first."""
        found = (
            PlanPrice(self, self.stripe_price or "", 1, self.price),
            PlanPrice(self, self.stripe_price_yearly or "", 12, self.price_yearly),
        )
        return tuple(price for price in found if price.stripe_price)

    def price_for(self, interval: str | None) -> "PlanPrice | None":
        """The price that is billed every `interval` (`month` or `year`), the first one if none is named, or None."""
        return next((price for price in self.prices if interval in (None, price.interval)), None)


@dataclass(frozen=True, slots=True)
class PlanPrice:
    """One price of a plan: the Stripe price that bills for `months` at a time, and what it comes to."""

    plan: Plan
    stripe_price: str
    months: int
    price: Money | None

    @property
    def interval(self) -> str:
        """How often it is billed: `month` or `year`."""
        return "month" if self.months == 1 else "year"


@dataclass(frozen=True, slots=True, init=False)
class Pack:
    """A product in the catalogue: so many credits for so much money, sold under one Stripe price.

    A buyer may take up to `max_quantity` at once, and use promotion codes at the checkout if
    `promotion_codes` says so.
    """

    id: str
    credits: int
    price: Money
    stripe_price: str
    title: str = field(default="")
    max_quantity: int = 1
    promotion_codes: bool = False

    def __init__(
        self,
        id: str,
        *,
        credits: int,
        price: Money | str,
        stripe_price: str,
        title: str = "",
        max_quantity: int = 1,
        promotion_codes: bool = False,
    ) -> None:
        _require_name(id, "pack")
        object.__setattr__(self, "id", id)
        object.__setattr__(self, "credits", require_credits(credits, f"credits of pack {id!r}"))
        object.__setattr__(self, "price", price if isinstance(price, Money) else Money.parse(price))
        object.__setattr__(self, "stripe_price", stripe_price)
        object.__setattr__(self, "title", title or f"{credits:,} bonus credits")
        _require_count(max_quantity, f"max_quantity of pack {id!r}", 1, MAX_QUANTITY)
        require_credits(credits * max_quantity, f"max_quantity times credits of pack {id!r}")
        object.__setattr__(self, "max_quantity", max_quantity)
        object.__setattr__(self, "promotion_codes", promotion_codes)


def _all_of(kind: type[_Offer], given: Iterable[_Offer]) -> tuple[_Offer, ...]:
    offers = tuple(given) if isinstance(given, Iterable) else ()
    if not isinstance(given, Iterable) or not all(isinstance(offer, kind) for offer in offers):
        raise InvalidInput(f"A catalogue is made of {kind.__name__} objects, in a list, not of {shown(given)}.")
    return offers


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All plans and packs of one installation. The first plan is where an account starts."""

    plans: tuple[Plan, ...]
    packs: tuple[Pack, ...] = ()

    def __init__(self, plans: Iterable[Plan], packs: Iterable[Pack] = ()) -> None:
        object.__setattr__(self, "plans", _all_of(Plan, plans))
        object.__setattr__(self, "packs", _all_of(Pack, packs))
        if not self.plans:
            raise InvalidInput("A catalogue needs at least one plan.")
        if not self.plans[0].renews_by_itself:
            raise InvalidInput(
                "The first plan is where every account starts, so it cannot be paid: "
                f"{self.plans[0].name!r} has a Stripe price."
            )
        sold = [price.stripe_price for plan in self.plans for price in plan.prices]
        for what, names in (
            ("plan", [p.name for p in self.plans]),
            ("pack", [p.id for p in self.packs]),
            ("plan with Stripe price", sold),
        ):
            doubled = sorted({name for name in names if names.count(name) > 1})
            if doubled:
                raise InvalidInput(f"The catalogue has more than one {what} named {', '.join(doubled)}.")

    @property
    def first_plan(self) -> Plan:
        """The plan of a new account, and of one whose subscription has ended."""
        return self.plans[0]

    def plan(self, name: str) -> Plan | None:
        """The plan of that name, or None."""
        for plan in self.plans:
            if plan.name == name:
                return plan
        return None

    def pack(self, id: str) -> Pack | None:
        """The pack of that id, or None."""
        return next((pack for pack in self.packs if pack.id == id), None)

    def sold_as(self, stripe_price: str) -> PlanPrice | None:
        """The plan's price that is that one at Stripe, or None."""
        prices = (price for plan in self.plans for price in plan.prices)
        return next((price for price in prices if price.stripe_price == stripe_price), None)
