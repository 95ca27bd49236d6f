"""A running sandbox, the unmodified SDK in front of it, and a check of every answer it gives."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import stripe
from starlette.types import Message

from stripe_sandbox import API_VERSION, Sandbox, SandboxServer, server
from tests.sandbox.conformance import problems


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every body that the API answered in this test; each must look like Stripe's."""
    seen: list[Any] = []
    create_app = server.create_app

    def recording(*args: Any, **kwargs: Any) -> Any:
        app = create_app(*args, **kwargs)

        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            async def watch(message: Message) -> None:
                if message["type"] == "http.response.body" and scope["path"].startswith("/v1/"):
                    seen.append(json.loads(message["body"]))
                await send(message)

            await app(scope, receive, watch)

        return wrapped

    monkeypatch.setattr(server, "create_app", recording)
    return seen


@pytest.fixture
async def sandbox(answers: list[Any]) -> AsyncIterator[SandboxServer]:
    async with SandboxServer(Sandbox(), retry_seconds=(0.05,) * 20) as running:
        yield running
        wrong = sorted({problem for body in [*answers, *running.sandbox.events()] for problem in problems(body)})
    assert wrong == []


@pytest.fixture
def client(sandbox: SandboxServer) -> stripe.StripeClient:
    return make_client(sandbox.url)


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
        http_client=stripe.HTTPXClient(timeout=5),
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


CARD = {
    "payment_method": "card",
    "card_number": "4242 4242 4242 4242",
    "exp": "12 / 40",
    "cvc": "123",
    "email": "buyer@example.com",
    "name": "Bo Buyer",
}
