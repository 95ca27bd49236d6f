"""What the tests of `stripe setup` and `stripe doctor` share: a running sandbox, and an installation in front of it."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import stripe

from stripe_sandbox import Sandbox
from tallystick.billing import HANDLED_EVENTS, BillingSettings, Setup, StripeApi
from tallystick.domain.amounts import Money
from tallystick.domain.catalogue import Catalogue, Pack, Plan

BASE_URL = "https://credits.shop.example"
WEBHOOK_URL = f"{BASE_URL}/api/stripe/webhook"
MADE = ("product", "price", "webhook_endpoint", "billing_portal.configuration")
_OWN = re.compile(r"\b(?:price|prod|we|bpc)_[A-Za-z0-9]{10,}")


def selling(
    plus: str = "19.00 USD", year: str = "190.00 USD", pack: str = "5.99 USD", title: str = "PLUS"
) -> Catalogue:
    """A catalogue whose prices are named by the environment."""
    return Catalogue(
        [
            Plan("free", 25),
            Plan(
                "plus",
                500,
                can_buy=True,
                title=title,
                stripe_price="$PLUS",
                price=Money.parse(plus),
                stripe_price_yearly="$PLUS_YEARLY",
                price_yearly=Money.parse(year),
            ),
        ],
        [Pack("credits_200", credits=200, price=pack, stripe_price="$PACK")],
    )


def settings(url: str, **changed: Any) -> BillingSettings:
    given = {"secret_key": "sk_test_1", "webhook_secrets": (), "base_url": BASE_URL, "api_base": url, **changed}
    return BillingSettings(**given)


@asynccontextmanager
async def setting_up(
    url: str,
    environment: Mapping[str, str] | None = None,
    catalogue: Catalogue | None = None,
    api: type[StripeApi] = StripeApi,
    **changed: Any,
) -> AsyncIterator[Setup]:
    """Setup as a process that begins would have it."""
    given = settings(url, **changed)
    talks = api(given)
    try:
        yield Setup(given, talks, catalogue or selling(), environment or {}, HANDLED_EVENTS)
    finally:
        await talks.close()


async def set_up(url: str, environment: Mapping[str, str] | None = None, **options: Any) -> dict[str, str]:
    """Set it up, and return the environment that comes of it."""
    new_secret = options.pop("new_secret", False)
    async with setting_up(url, environment, **options) as setup:
        done = await setup.apply(await setup.plan(new_secret=new_secret))
        return {**(environment or {}), **setup.environment_lines(done)}


async def make_destination(client: stripe.StripeClient, **given: Any) -> str:
    """An event destination that sends thin events of all that is handled to us, or what is given. Returns its id."""
    thin = given.get("event_payload", "thin") == "thin"
    params: Any = {
        "name": "made by hand",
        "type": "webhook_endpoint",
        "event_payload": "thin",
        "enabled_events": [f"v1.{kind}" if thin else kind for kind in HANDLED_EVENTS],
        "webhook_endpoint": {"url": WEBHOOK_URL},
        **given,
    }
    return (await client.v2.core.event_destinations.create_async(params)).id


def state(sandbox: Sandbox) -> list[dict[str, Any]]:
    """All that was set up, oldest first, with numbers in the place of ids that are made up and of instants."""
    found = [body for kind in MADE for body in sandbox.store.newest_first(kind)[::-1]]
    names: dict[str, str] = {}
    for body in found:
        names.setdefault(body["id"], f"{body['object']} {len(names)}")

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            gone = ("created", "updated", "_secret", "tallystick_portal")
            return {key: plain(inner) for key, inner in value.items() if key not in gone}
        if isinstance(value, list):
            return [plain(inner) for inner in value]
        return names.get(value, value) if isinstance(value, str) and _OWN.fullmatch(value) else value

    return [plain(body) for body in found]


def made(sandbox: Sandbox) -> dict[str, int]:
    """How many products and prices were ever made, and how many endpoints and portal configurations there are."""
    return {
        **{kind: len(sandbox.events(f"{kind}.created")) for kind in MADE[:2]},
        **{kind: len(sandbox.store.newest_first(kind)) for kind in MADE[2:]},
    }


async def prices(client: stripe.StripeClient) -> dict[str, stripe.Price]:
    """All prices that have a lookup key, by that."""
    return {p.lookup_key: p for p in (await client.v1.prices.list_async({"limit": 100})).data if p.lookup_key}
