"""The routes that a host application mounts, in front of a sandbox that delivers its events itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import stripe
from fastapi import FastAPI

from stripe_sandbox import SandboxServer
from tallystick import Tallystick
from tallystick.billing import WEBHOOK_PATH, EventStatus
from tallystick.domain.account import EntryKind
from tallystick.domain.catalogue import Catalogue
from tallystick.ledger.verify import verify
from tallystick.web.subscription_view import subscription_view
from tests.billing.conftest import seed
from tests.sandbox.conftest import CARD
from tests.sandbox.visiting import Guest
from tests.serving import serving

OLD, NEW = "whsec_old", "whsec_new"


@dataclass
class Host:
    """A host application that has mounted Tallystick, and the browser of its one user, "acme"."""

    credits: Tallystick
    url: str
    browser: httpx2.AsyncClient

    async def post(self, path: str, **body: Any) -> Any:
        answer = await self.browser.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def pay(self, path: str, **body: Any) -> None:
        started = await self.post(path, **body)
        assert (await self.browser.post(started["url"], data=CARD)).status_code == 303

    async def has(self, **expected: Any) -> None:
        """Wait until the balance says so; what is more than that is not looked at."""

        async def is_so() -> bool:
            found = (await self.browser.get("/api/credits/balance")).json()
            return {name: found[name] for name in expected} == expected

        await until(is_so)

    async def says(self, words: str) -> None:
        """Wait until the settings page says that of the subscription."""

        async def is_so() -> bool:
            found = await self.credits.billing.subscription("acme")
            return words in subscription_view(found, self.credits.catalogue).text

        await until(is_so)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(15):
        while not await condition():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def hosting(
    database_url: str, catalogue: Catalogue, server: SandboxServer, secrets: Sequence[str]
) -> AsyncIterator[Host]:
    credits = Tallystick(
        database_url,
        plans=catalogue.plans,
        packs=catalogue.packs,
        stripe_secret_key="sk_test_1",
        stripe_webhook_secrets=secrets,
        stripe_api_base=server.url,
        base_url="http://shop.test",
    )
    app = FastAPI(lifespan=credits.lifespan)
    app.include_router(credits.router(current_user=lambda: "acme"))
    async with serving(app) as url:
        headers = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
        async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=20) as browser:
            yield Host(credits, url, browser)
            assert (await verify(credits.ledger)).differences == []


async def test_the_portal_is_opened_and_what_the_customer_does_there_is_heard(
    database_url: str, catalogue: Catalogue, server: SandboxServer
) -> None:
    seed(server.sandbox)
    async with hosting(database_url, catalogue, server, [OLD]) as host:
        server.sandbox.register_webhook(f"{host.url}{WEBHOOK_PATH}", OLD)
        await host.pay("/api/stripe/create-plan-checkout", plan="plus")
        await host.has(plan="plus", monthly=500)
        before = await host.credits.entries("acme")
        guest = Guest(host.browser, (await host.post("/api/stripe/portal"))["url"])
        assert "PLUS" in await guest.see()
        path = f"/subscriptions/{server.sandbox.store.newest_first('subscription')[0]['id']}"
        await guest.send(f"{path}/cancel")
        await host.says("on PLUS until")
        await guest.send(f"{path}/renew")
        await host.says("renews on")
        assert await host.credits.entries("acme") == before


@pytest.mark.parametrize("version", ["2024-06-20", "2025-03-31.basil"])
async def test_s27_events_in_the_shape_of_an_earlier_api_version_do_what_those_of_ours_do(
    database_url: str, catalogue: Catalogue, server: SandboxServer, client: stripe.StripeClient, version: str
) -> None:
    seed(server.sandbox)
    endpoint: Any = {"url": "http://127.0.0.1:9", "enabled_events": ["*"], "api_version": version}
    made = await client.v1.webhook_endpoints.create_async(endpoint)
    async with hosting(database_url, catalogue, server, [str(made.secret)]) as host:
        await client.v1.webhook_endpoints.update_async(made.id, {"url": f"{host.url}{WEBHOOK_PATH}"})
        await host.pay("/api/stripe/create-plan-checkout", plan="plus")
        await host.has(plan="plus", monthly=500)
        await host.pay("/api/stripe/create-credit-checkout")
        await host.has(bonus=200)
        payment = server.sandbox.store.newest_first("payment_intent")[0]["id"]
        await client.v1.refunds.create_async({"payment_intent": payment, "amount": 300})
        await host.has(bonus=100)
        # The renewal comes a month early for us: what it pays for waits until then.
        server.sandbox.advance(32 * 86_400)

        async def is_renewed() -> bool:
            return EntryKind.GRANT_SCHEDULED in {entry.kind for entry in await host.credits.entries("acme")}

        await until(is_renewed)
        await host.has(plan="plus", monthly=500, bonus=100)
        billing = host.credits.billing

        async def is_done() -> bool:
            return not await billing.latest_events(1, EventStatus.PENDING)

        await until(is_done)
        assert {event.status for event in await billing.latest_events(200)} == {EventStatus.DONE, EventStatus.IGNORED}
        paid = await billing.latest_events(10, type="invoice.paid", account_id="acme")
        told = [json.loads((await billing.event_story(event.id)).payload) for event in paid]
        assert {event["api_version"] for event in told} == {version}
        assert ["subscription" in event["data"]["object"] for event in told] == [version < "2025-03-31"] * 2


async def test_s26_while_a_signing_secret_is_rolled_events_signed_with_either_are_credited(
    database_url: str, catalogue: Catalogue, server: SandboxServer
) -> None:
    seed(server.sandbox)
    async with hosting(database_url, catalogue, server, [NEW, OLD]) as host:
        await host.credits.open_account("acme", "plus")
        for n, secret in enumerate((OLD, NEW), 1):
            server.sandbox.register_webhook(f"{host.url}{WEBHOOK_PATH}", secret)
            await host.pay("/api/stripe/create-credit-checkout")
            await host.has(bonus=200 * n)
    # The old one is over.
    async with hosting(database_url, catalogue, server, [NEW]) as host:
        server.sandbox.register_webhook(f"{host.url}{WEBHOOK_PATH}", OLD, only=True)
        await host.pay("/api/stripe/create-credit-checkout")

        async def is_refused() -> bool:
            await host.credits.billing._refusals.keep()
            return [seen.reason for seen in await host.credits.billing.refusals()] == ["signature_invalid"]

        await until(is_refused)
        await host.has(bonus=400)
