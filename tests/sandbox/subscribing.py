"""What tests of subscriptions share: a customer with a card, prices by the month and the year, time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import stripe

from stripe_sandbox import Sandbox, SandboxServer, agenda

DAY = 86_400
GOOD, DECLINES_LATER, ASKS = "pm_card_visa", "pm_card_chargeCustomerFail", "pm_card_authenticationRequired"


@dataclass
class Shop:
    """A seller's hands: its SDK client, and the sandbox behind it."""

    client: stripe.StripeClient
    server: SandboxServer

    @property
    def sandbox(self) -> Sandbox:
        return self.server.sandbox

    async def price(self, amount: int = 1900, interval: str = "month", name: str = "PLUS", **given: Any) -> str:
        product = await self.client.v1.products.create_async({"name": name})
        recurring: Any = {"interval": interval}
        params: Any = {"product": product.id, "unit_amount": amount, "currency": "usd", "recurring": recurring}
        return (await self.client.v1.prices.create_async({**params, **given})).id

    async def customer(self, card: str | None = GOOD, **given: Any) -> str:
        params: Any = {"email": "a@example.com", **given}
        id = (await self.client.v1.customers.create_async(params)).id
        if card is not None:
            await self.set_card(id, card)
        return id

    async def card(self, customer: str, name: str = GOOD) -> str:
        return (await self.client.v1.payment_methods.attach_async(name, {"customer": customer})).id

    async def set_card(self, customer: str, name: str) -> str:
        id = await self.card(customer, name)
        await self.client.v1.customers.update_async(customer, {"invoice_settings": {"default_payment_method": id}})
        return id

    async def subscribe(self, customer: str, *prices: str, **given: Any) -> stripe.Subscription:
        params: Any = {"customer": customer, "items": [{"price": price} for price in prices], **given}
        return await self.client.v1.subscriptions.create_async(params)

    async def subscription(self, id: str, **given: Any) -> Any:
        return await self.client.v1.subscriptions.retrieve_async(
            id, *([{"expand": given["expand"]}] if given else [])
        )

    async def latest_invoice(self, id: str) -> Any:
        return (await self.subscription(id, expand=["latest_invoice"])).latest_invoice

    def pass_days(self, days: float) -> None:
        """Move everybody's clock, and let happen what that makes due."""
        self.sandbox.advance(int(days * DAY))
        agenda.run_due(self.sandbox)

    def mark(self) -> int:
        return len(self.sandbox.events())

    def types(self, since: int = 0) -> list[str]:
        return [event["type"] for event in self.sandbox.events()[since:]]

    def last(self, type: str) -> Any:
        return self.sandbox.events(type)[-1]


def lines(invoice: Any) -> list[tuple[str, int]]:
    """What an invoice's lines say, without the date of a proration, and cost."""
    return [(line.description.split(" after ")[0], line.amount) for line in invoice.lines.data]


def in_order(events: Sequence[str], *wanted: str) -> bool:
    """Whether `wanted` are among `events`, in that order."""
    rest = iter(events)
    return all(type in rest for type in wanted)
