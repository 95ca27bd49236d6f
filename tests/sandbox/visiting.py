"""What tests of the customer portal share: a shop with plans, its configuration, and a customer who visits."""

import re
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.sandbox.subscribing import Shop

CARD = {"card_number": "4242 4242 4242 4242", "exp": "12 / 40", "cvc": "123", "name": "Pat"}


@dataclass
class Prices:
    """One product by the month and the year, and a cheaper one."""

    product: str
    monthly: str
    yearly: str
    small: str


async def plans(shop: Shop) -> Prices:
    monthly = await shop.price(1900)
    product = str((await shop.client.v1.prices.retrieve_async(monthly)).product)
    yearly = await shop.client.v1.prices.create_async(
        {"product": product, "unit_amount": 19_000, "currency": "usd", "recurring": {"interval": "year"}}
    )
    return Prices(product, monthly, yearly.id, await shop.price(900, name="SMALL"))


async def features(shop: Shop, prices: Prices, **changes: Any) -> Any:
    """All features switched on, as a seller of these plans would have them; by name, what is otherwise."""
    small = str((await shop.client.v1.prices.retrieve_async(prices.small)).product)
    usual: dict[str, Any] = {
        "customer_update": {"enabled": True, "allowed_updates": ["email", "name"]},
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True},
        "subscription_cancel": {"enabled": True},
        "subscription_update": {
            "enabled": True,
            "default_allowed_updates": ["price"],
            "products": [
                {"product": prices.product, "prices": [prices.monthly, prices.yearly]},
                {"product": small, "prices": [prices.small]},
            ],
            "proration_behavior": "always_invoice",
            "schedule_at_period_end": {
                "conditions": [{"type": "decreasing_item_amount"}, {"type": "shortening_interval"}]
            },
        },
    }
    return {name: {**feature, **changes.get(name, {})} for name, feature in usual.items()}


@dataclass
class Guest:
    """A customer at the portal, who reads pages and sends forms without a browser."""

    http: httpx2.AsyncClient
    url: str

    async def see(self, path: str = "") -> str:
        """A page; where its flow begins, that is followed."""
        answer = await self.http.get(f"{self.url}{path}", follow_redirects=True)
        self.status = answer.status_code
        return readable(answer.text)

    async def send(self, path: str, **fields: str) -> str:
        """A form. Returns where it leads, or the page that says what was wrong."""
        answer = await self.http.post(f"{self.url}{path}", data=fields)
        self.status = answer.status_code
        return str(answer.headers["location"]) if answer.status_code == 303 else readable(answer.text)


def readable(html: str) -> str:
    """The text of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace("&#39;", "'").strip()


async def visit(shop: Shop, http: httpx2.AsyncClient, customer: str, **given: Any) -> Guest:
    params: Any = {"customer": customer, "return_url": "http://shop.test/settings", **given}
    return Guest(http, (await shop.client.v1.billing_portal.sessions.create_async(params)).url)
