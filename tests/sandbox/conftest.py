"""A running sandbox, and the unmodified SDK in front of it."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import stripe

from stripe_sandbox import API_VERSION, Sandbox, SandboxServer
from tests.sandbox.subscribing import Shop


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxServer]:
    async with SandboxServer(Sandbox(), retry_seconds=(0.05,) * 20) as running:
        yield running


@pytest.fixture
def client(sandbox: SandboxServer) -> stripe.StripeClient:
    return make_client(sandbox.url)


@pytest.fixture
def shop(client: stripe.StripeClient, sandbox: SandboxServer) -> Shop:
    return Shop(client, sandbox)


@pytest.fixture
async def browser() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient() as http:
        yield http


def make_client(url: str, key: str = "sk_test_123", **options: Any) -> stripe.StripeClient:
    options.setdefault("max_network_retries", 0)
    return stripe.StripeClient(
        key,
        base_addresses={"api": url},
        stripe_version=API_VERSION,
        http_client=stripe.HTTPXClient(timeout=5, allow_sync_methods=True),
        **options,
    )


async def seed(client: stripe.StripeClient, *, recurring: bool = False, amount: int = 599) -> stripe.Price:
    product = await client.v1.products.create_async({"name": "200 bonus credits"})
    params: Any = {"product": product.id, "unit_amount": amount, "currency": "usd"}
    if recurring:
        params["recurring"] = {"interval": "month"}
    return await client.v1.prices.create_async(params)


async def open_session(client: stripe.StripeClient, **options: Any) -> stripe.checkout.Session:
    mode = options.pop("mode", "payment")
    price = await seed(client, recurring=mode == "subscription")
    return await client.v1.checkout.sessions.create_async(
        {
            "mode": mode,
            "line_items": [{"price": price.id, "quantity": 1}],
            "success_url": "http://shop.test/return?session_id={CHECKOUT_SESSION_ID}",
            "cancel_url": "http://shop.test/cancel",
            **options,
        }
    )


async def pay(client: stripe.StripeClient, payment_method: str | None, **options: Any) -> stripe.PaymentIntent:
    """A payment intent over $5.99, confirmed with a payment method. An option of None is left out."""
    params: Any = {
        "amount": 599,
        "currency": "usd",
        "confirm": True,
        "payment_method": payment_method,
        "return_url": "http://shop.test/return",
        **options,
    }
    return await client.v1.payment_intents.create_async({k: v for k, v in params.items() if v is not None})


def types(sandbox: SandboxServer) -> list[str]:
    """The types of all events, oldest first."""
    return [event["type"] for event in sandbox.sandbox.events()]


CARD = {
    "payment_method": "card",
    "card_number": "4242 4242 4242 4242",
    "exp": "12 / 40",
    "cvc": "123",
    "email": "buyer@example.com",
    "name": "Bo Buyer",
}
