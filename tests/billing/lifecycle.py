"""What tests of subscriptions' lives share: a shop whose time is the sandbox's, which stands still until it is moved."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from stripe_sandbox import Sandbox, SandboxServer, agenda
from tallystick.balance import Balance, balance_of
from tallystick.billing import Subscription
from tallystick.billing.inbox_table import EventStatus
from tallystick.domain.account import EntryKind
from tallystick.domain.catalogue import Catalogue, Pack, Plan
from tallystick.domain.commands import OpenAccount
from tallystick.web.subscription_view import SubscriptionView, subscription_view
from tests.billing.conftest import Shop, make_shop, seed
from tests.conftest import PACK_PRICE, PLUS_PRICE
from tests.sandbox.visiting import Guest

DAY = 86_400


def on(year: int, month: int, day: int) -> datetime:
    """That day at 09:30, the time of day at which everything here happens."""
    return datetime(year, month, day, 9, 30, tzinfo=UTC)


T0 = on(2026, 1, 31)
"""When every life begins: the months that follow end on 28 February and 31 March (S3)."""

GOOD, DECLINES_LATER = "pm_card_visa", "pm_card_chargeCustomerFail"
PLUS_YEAR, PRO, PRO_YEAR, LITE = "price_plusYearly", "price_proMonthly", "price_proYearly", "price_liteMonthly"
PLANS = Catalogue(
    [
        Plan("free", 25),
        Plan("lite", 100, stripe_price=LITE, trial_days=14),
        Plan("plus", 500, can_buy=True, stripe_price=PLUS_PRICE, stripe_price_yearly=PLUS_YEAR),
        Plan("pro", 2_000, can_buy=True, stripe_price=PRO, stripe_price_yearly=PRO_YEAR),
    ],
    [Pack("credits_200", credits=200, price="5.99 USD", stripe_price=PACK_PRICE)],
)


@dataclass(kw_only=True)
class Life(Shop):
    """The life of the account "acme", whose customer has a card."""

    http: httpx2.AsyncClient
    server: SandboxServer

    async def subscribe(self, plan: str = "plus", interval: str | None = None) -> str:
        """At our checkout, with a card. Returns the subscription's id."""
        started = await self.billing.start_plan_checkout("acme", plan=plan, interval=interval, email="a@example.com")
        assert await self.pay(started.url) == 303
        await self.deliver()
        return self.newest()["id"]

    async def customer(self, card: str | None = GOOD) -> str:
        """Our customer of the account, paying with `card` by default."""
        id = await self.billing._checkout._customers.ensure("acme", "a@example.com")
        if card is not None:
            await self.use_card(card, id)
        return id

    async def use_card(self, card: str, customer: str | None = None) -> None:
        """Have everything paid with another card, as the portal does it."""
        customer = customer or self.newest()["customer"]
        method = await self.stripe.v1.payment_methods.attach_async(card, {"customer": customer})
        default: Any = {"invoice_settings": {"default_payment_method": method.id}}
        await self.stripe.v1.customers.update_async(customer, default)
        for found in self.sandbox.store.newest_first("subscription"):
            if found["status"] not in ("canceled", "incomplete_expired"):
                await self.update(default_payment_method=method.id)
        await self.deliver()

    async def begin(self, price: str = PLUS_PRICE, **given: Any) -> str:
        """A subscription made with Stripe's API instead of our checkout."""
        params: Any = {"customer": await self.customer(None), "items": [{"price": price}], **given}
        made = await self.stripe.v1.subscriptions.create_async(params)
        await self.deliver()
        return made.id

    async def update(self, **given: Any) -> None:
        params: Any = given
        await self.stripe.v1.subscriptions.update_async(self.newest()["id"], params)
        await self.deliver()

    async def cancel(self) -> None:
        await self.stripe.v1.subscriptions.cancel_async(self.newest()["id"])
        await self.deliver()

    async def change(self, plan: str, interval: str | None = None, *, deliver: bool = True) -> None:
        """To another plan, through our checkout, which leads to the portal's page that confirms it."""
        started = await self.billing.start_plan_checkout("acme", plan=plan, interval=interval)
        found = PLANS.plan(plan)
        price = None if found is None else found.price_for(interval)
        assert price is not None
        guest = Guest(self.http, started.url)
        await guest.see()
        await guest.send(f"/subscriptions/{self.newest()['id']}/confirm", price=price.stripe_price)
        assert guest.status == 303
        if deliver:
            await self.deliver()

    async def reschedule(self, then: Any, *, end: str = "release", **given: Any) -> None:
        """Have the schedule of the subscription plan something else: `then` for what it bills next, if anything."""
        schedules = self.stripe.v1.subscription_schedules
        schedule = await schedules.retrieve_async(self.newest()["schedule"])
        now = schedule.phases[0]
        items = [{"price": item.price, "quantity": 1} for item in now["items"]]
        phases: Any = [{"start_date": now.start_date, "end_date": now.end_date, "items": items}]
        if then is not None:
            phases.append({"items": then, "proration_behavior": "none", **given})
        changes: Any = {"phases": phases, "end_behavior": end}
        await schedules.update_async(schedule.id, changes)
        await self.deliver()

    async def pay_open_invoice(self) -> None:
        (invoice,) = self.sandbox.store.newest_first("invoice", lambda i: bool(i["status"] == "open"))
        await self.stripe.v1.invoices.pay_async(invoice["id"])
        await self.deliver()

    async def pass_until(self, year: int, month: int, day: int, *, deliver: bool = True) -> None:
        """Let time go on until that day, at 09:30, and what it makes due happen and arrive."""
        self.sandbox.advance(int((on(year, month, day) - self.clock()).total_seconds()))
        agenda.run_due(self.sandbox)
        if deliver:
            await self.deliver()

    def newest(self) -> Any:
        return self.sandbox.store.newest_first("subscription")[0]

    async def subscription(self) -> Subscription:
        found = await self.billing.subscription("acme")
        assert found is not None
        return found

    async def balance(self) -> Balance:
        """What the customer is told at any moment, by the API and on the pages."""
        return balance_of(await self.account(), PLANS, self.clock())

    async def shows(self, plan: str, monthly: int, status: str | None = None) -> SubscriptionView:
        """Hold balance, subscription and proof to what they should be; returns what the settings page says."""
        await self.assert_proven()
        balance = await self.balance()
        assert (balance.plan, balance.monthly) == (plan, monthly)
        assert balance.can_buy is (plan in ("plus", "pro"))
        found = await self.billing.subscription("acme")
        assert (None if found is None else found.status) == status
        assert all(
            event.status is EventStatus.DONE for event in await self.billing.latest_events(200) if event.attempts
        )
        # The jobs that a running service has come after what must not wait for them (S14).
        await self.ledger.sweep()
        return subscription_view(found, PLANS)

    async def opened(self) -> list[tuple[datetime, int]]:
        """Every allowance after FREE's first one: from when it counts, and its size."""
        entries = await self.ledger.entries("acme", limit=500)
        kinds = (EntryKind.ALLOWANCE_OPENED, EntryKind.GRANT_STARTED)
        return sorted((e.effective_at, e.amount) for e in entries if e.kind in kinds)


@asynccontextmanager
async def living(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Life]:
    """A life that begins at T0 on FREE."""
    monkeypatch.setattr("stripe_sandbox.sandbox.time", SimpleNamespace(time=T0.timestamp))
    async with SandboxServer(Sandbox()) as server, httpx2.AsyncClient() as http:
        sandbox = server.sandbox
        seed_prices(sandbox)

        def clock() -> datetime:
            return datetime.fromtimestamp(sandbox.now(), UTC)

        async with make_shop(database_url, PLANS, server, clock) as shop:
            life = Life(**vars(shop), http=http, server=server)
            await life.ledger.submit(OpenAccount(account_id="acme", plan="free"))
            yield life


def seed_prices(sandbox: Sandbox) -> None:
    """Every price of the plans and the pack."""
    seed(sandbox)
    for price, amount, interval in (
        (PLUS_YEAR, 19_000, "year"),
        (PRO, 4900, "month"),
        (PRO_YEAR, 49_000, "year"),
        (LITE, 500, "month"),
    ):
        sandbox.seed_price(price_id=price, product_name=price, unit_amount=amount, currency="usd", recurring=interval)
