"""Answers and events in the shape of an earlier API version."""

from typing import Any

import httpx2
import pytest
import stripe

from stripe_sandbox import API_VERSION, SandboxServer
from tests.sandbox.conftest import CARD, open_session
from tests.sandbox.receiving import receiver, until

OLD = "2024-06-20"


async def subscribe(client: stripe.StripeClient, browser: httpx2.AsyncClient) -> str:
    session = await open_session(client, mode="subscription")
    await browser.post(str(session.url), data=CARD)
    return session.id


async def test_an_endpoint_of_an_earlier_version_gets_events_in_its_shape(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    async with receiver() as old, receiver() as new:
        await client.v1.webhook_endpoints.create_async({"url": old.url, "enabled_events": ["*"], "api_version": OLD})
        await client.v1.webhook_endpoints.create_async({"url": new.url, "enabled_events": ["*"]})
        await subscribe(client, browser)
        await until(lambda: sandbox.sandbox.deliveries.waiting() == 0)
    before, after = ({event["type"]: event for event in inbox.events()} for inbox in (old, new))
    assert {event["api_version"] for event in before.values()} == {OLD}
    assert {event["api_version"] for event in after.values()} == {API_VERSION}

    type = "customer.subscription.created"
    subscription, today = (events[type]["data"]["object"] for events in (before, after))
    item = today["items"]["data"][0]
    assert subscription["current_period_end"] == item["current_period_end"]
    assert "current_period_end" not in today
    assert "current_period_end" not in subscription["items"]["data"][0]
    assert subscription["plan"]["amount"] == item["price"]["unit_amount"]

    invoice, today = (events["invoice.paid"]["data"]["object"] for events in (before, after))
    assert invoice["subscription"] == today["parent"]["subscription_details"]["subscription"] == subscription["id"]
    assert (invoice["paid"], "parent" in invoice, "subscription" in today) == (True, False, False)
    intent = before["payment_intent.succeeded"]["data"]["object"]
    charge = before["charge.succeeded"]["data"]["object"]
    assert (invoice["payment_intent"], invoice["charge"]) == (intent["id"], charge["id"])
    assert intent["invoice"] == charge["invoice"] == invoice["id"]
    line, new_line = invoice["lines"]["data"][0], today["lines"]["data"][0]
    assert line["price"]["id"] == new_line["pricing"]["price_details"]["price"]
    assert (line["type"], line["subscription"], line["proration"]) == ("subscription", subscription["id"], False)

    ended = before["checkout.session.completed"]["data"]["object"]
    assert ended["ui_mode"] == "hosted"


async def test_an_update_of_a_subscription_names_its_old_period_where_it_was(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    async with receiver() as old:
        given: Any = {"url": old.url, "enabled_events": ["customer.subscription.updated"], "api_version": OLD}
        await client.v1.webhook_endpoints.create_async(given)
        await subscribe(client, browser)
        await browser.post(f"{sandbox.url}/sandbox/clock", data={"advance": str(32 * 86_400)})
        await until(lambda: len(old.got) == 2)
    data = old.events()[1]["data"]
    assert data["previous_attributes"]["current_period_end"] == data["object"]["current_period_start"]


async def test_a_request_is_answered_in_the_version_it_names(
    client: stripe.StripeClient, browser: httpx2.AsyncClient
) -> None:
    session = await subscribe(client, browser)
    options: Any = {"stripe_version": OLD}
    answer = await client.v1.checkout.sessions.retrieve_async(session, {"expand": ["subscription"]}, options)
    assert answer.last_response.headers["stripe-version"] == OLD
    body = answer.to_dict(recursive=True)
    assert body["subscription"]["current_period_end"] > body["created"]
    newer: Any = {"stripe_version": "2026-10-28.endive"}
    answer = await client.v1.checkout.sessions.retrieve_async(session, {}, newer)
    assert answer.last_response.headers["stripe-version"] == API_VERSION
    # An event stays as it was written.
    events = await client.v1.events.list_async({"type": "customer.subscription.created"}, options)
    assert "current_period_end" not in events.data[0].data.object


async def test_what_is_no_version_is_refused(client: stripe.StripeClient) -> None:
    options: Any = {"stripe_version": "yesterday"}
    with pytest.raises(stripe.InvalidRequestError, match="Invalid Stripe API version: yesterday"):
        await client.v1.customers.list_async({}, options)
