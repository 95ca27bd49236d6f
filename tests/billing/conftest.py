"""Billing on a fresh database in front of a running sandbox; events are carried over by hand, so that a test
decides what arrives, how often and in which order."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import stripe
from sqlalchemy import Executable, text

from stripe_sandbox import Sandbox, SandboxServer
from stripe_sandbox.delivery import signature
from tallystick.billing import Billing, BillingSettings, Purchase
from tallystick.billing.stripe_api import StripeApi
from tallystick.clock import Clock, system_clock
from tallystick.database.engine import Database
from tallystick.domain.account import Account
from tallystick.domain.catalogue import Catalogue, Pack
from tallystick.domain.commands import OpenAccount, SetPlan
from tallystick.ledger import Ledger
from tallystick.ledger.verify import verify
from tests.conftest import PACK_PRICE, PLUS_PRICE
from tests.sandbox.conftest import CARD, make_client
from tests.transactions import Watch, watch

SECRET = "whsec_test"
BANK = {"payment_method": "bank", "email": "a@example.com", "name": "A"}


@dataclass
class Shop:
    """Everything a billing test needs in its hand."""

    billing: Billing
    ledger: Ledger
    database: Database
    sandbox: Sandbox
    url: str
    stripe: stripe.StripeClient
    settings: BillingSettings
    clock: Clock = system_clock
    delivered: set[str] = field(default_factory=set)

    async def open(self, account_id: str = "acme", plan: str = "plus") -> str:
        await self.ledger.submit(OpenAccount(account_id=account_id, plan="free"))
        if plan != "free":
            await self.ledger.submit(SetPlan(account_id=account_id, key="plan", plan=plan))
        return account_id

    async def account(self, account_id: str = "acme") -> Account:
        return await self.ledger.account(account_id)

    async def pay(self, url: str, form: dict[str, str] = CARD) -> int:
        async with httpx2.AsyncClient() as browser:
            return (await browser.post(url, data=form)).status_code

    async def buy(self, account_id: str = "acme", form: dict[str, str] = CARD) -> Purchase:
        started = await self.billing.start_pack_checkout(account_id)
        assert started.purchase_id is not None
        assert await self.pay(started.url, form) == 303
        return await self.billing.purchase(account_id, started.purchase_id)

    def events(self) -> list[dict[str, Any]]:
        """What the sandbox has to say and has not been delivered yet."""
        new = [event for event in self.sandbox.events() if event["id"] not in self.delivered]
        self.delivered |= {event["id"] for event in new}
        return new

    async def deliver(self, events: Iterable[dict[str, Any]] | None = None) -> None:
        await self.receive_all(self.events() if events is None else events)
        while await self.billing.work_inbox():
            pass

    async def receive_all(self, events: Iterable[dict[str, Any]]) -> None:
        """Events that come one right after the other, without waiting for the answers."""
        await asyncio.gather(*map(self.receive, events))

    async def receive(self, event: dict[str, Any], secret: str = SECRET, at: float | None = None) -> None:
        body = json.dumps(event).encode()
        await self.billing.receive_webhook(body, signature(body, secret, int(at or self.clock().timestamp())))

    async def sql(self, statement: str | Executable) -> None:
        executable = text(statement) if isinstance(statement, str) else statement
        await self.database.write(lambda connection: connection.execute(executable))

    async def number(self, query: str) -> int:
        return int(await self.database.read(lambda connection: connection.execute(text(query)).scalar_one()))

    async def assert_proven(self) -> None:
        assert (await verify(self.ledger)).differences == []


@pytest.fixture(autouse=True)
def transactions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Stripe is never called within a transaction: this holds in every test."""
    watched = watch(monkeypatch)
    yield watched
    assert watched.within == []


@pytest.fixture
async def shop(database_url: str, catalogue: Catalogue) -> AsyncIterator[Shop]:
    async with proven_shop(database_url, catalogue) as made:
        yield made


@asynccontextmanager
async def proven_shop(database_url: str, catalogue: Catalogue) -> AsyncIterator[Shop]:
    """A shop in front of a sandbox of its own, whose ledger is proven in the end."""
    async with SandboxServer(Sandbox()) as server:
        seed(server.sandbox)
        async with make_shop(database_url, catalogue, server) as made:
            yield made
            await made.assert_proven()


@pytest.fixture
async def generous(database_url: str, catalogue: Catalogue) -> AsyncIterator[Shop]:
    """A shop whose pack can be bought up to five at a time, with promotion codes."""
    pack = Pack(
        "credits_200",
        credits=200,
        price="5.99 USD",
        stripe_price=PACK_PRICE,
        max_quantity=5,
        promotion_codes=True,
    )
    async with SandboxServer(Sandbox()) as server:
        seed(server.sandbox)
        async with make_shop(database_url, Catalogue(catalogue.plans, [pack]), server) as made:
            await made.open()
            yield made
            await made.assert_proven()


@pytest.fixture
async def browser() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient() as http:
        yield http


@pytest.fixture
async def server() -> AsyncIterator[SandboxServer]:
    """An account at Stripe with nothing in it."""
    async with SandboxServer(Sandbox()) as running:
        yield running


@pytest.fixture
def client(server: SandboxServer) -> stripe.StripeClient:
    return make_client(server.url)


async def subscribe_double(shop: Shop, *, price: str = PLUS_PRICE, **metadata: str) -> str:
    """A subscription of another customer, made in the dashboard."""
    customer = await shop.stripe.v1.customers.create_async({"metadata": metadata})
    params: Any = {
        "mode": "subscription",
        "customer": customer.id,
        "success_url": "http://x",
        "line_items": [{"price": price, "quantity": 1}],
    }
    session = await shop.stripe.v1.checkout.sessions.create_async(params)
    await shop.pay(str(session.url))
    return customer.id


def forget_events(patch: pytest.MonkeyPatch) -> None:
    """Let Stripe have no events to list, as it has none that are older than 30 days."""
    page = StripeApi.page

    async def forgetful(self: StripeApi, of: str, params: dict[str, Any], after: str | None) -> Any:
        return ([], None) if of == "events" else await page(self, of, params, after)

    patch.setattr(StripeApi, "page", forgetful)


def seed(sandbox: Sandbox) -> None:
    sandbox.seed_price(price_id=PACK_PRICE, product_name="200 bonus credits", unit_amount=599, currency="usd")
    sandbox.seed_price(price_id=PLUS_PRICE, product_name="PLUS", unit_amount=1900, currency="usd", recurring="month")


@asynccontextmanager
async def make_shop(
    database_url: str, catalogue: Catalogue, server: SandboxServer, clock: Clock = system_clock, **settings: Any
) -> AsyncIterator[Shop]:
    given: dict[str, Any] = {
        "secret_key": "sk_test_1",
        "webhook_secrets": (SECRET,),
        "base_url": "http://shop.test",
        "api_base": server.url,
        **settings,
    }
    checked = BillingSettings(**given)
    database = Database.connect(database_url)
    ledger = await Ledger.open(database_url, catalogue, clock)
    billing = Billing(checked, database, ledger, catalogue, clock)
    try:
        yield Shop(billing, ledger, database, server.sandbox, server.url, make_client(server.url), checked, clock)
    finally:
        await billing.close()
        await ledger.close()
        await database.close()
