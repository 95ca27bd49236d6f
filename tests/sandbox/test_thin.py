"""Thin events and event destinations (API v2), through the unmodified SDK."""

import asyncio
from typing import Any

import httpx2
import pytest
import stripe

from stripe_sandbox import API_VERSION, SandboxServer
from tests.sandbox.conftest import CARD, open_session
from tests.sandbox.receiving import receiver, until

SECRET_AND_URL: Any = ["webhook_endpoint.signing_secret", "webhook_endpoint.url"]
NOWHERE = "http://127.0.0.1:9/hook"


async def destination(client: stripe.StripeClient, url: str = NOWHERE, **given: Any) -> Any:
    return await client.v2.core.event_destinations.create_async(
        {
            "name": "mine",
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "enabled_events": ["v1.checkout.session.completed"],
            "webhook_endpoint": {"url": url},
            "include": SECRET_AND_URL,
            **given,
        }
    )


async def test_a_thin_event_is_parsed_fetched_and_leads_to_its_object(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    async with receiver() as inbox:
        made = await destination(client, inbox.url)
        session = await open_session(client)
        await browser.post(str(session.url), data=CARD)
        await until(lambda: inbox.got)
        ((body, signature),) = inbox.got
    assert set(inbox.events()[0]) == {
        *("id", "object", "context", "created", "livemode", "reason", "related_object", "type")
    }
    notification: Any = client.parse_event_notification(body, signature, made.webhook_endpoint.signing_secret)
    assert type(notification).__name__ == "V1CheckoutSessionCompletedEventNotification"
    assert (notification.livemode, notification.context) == (False, None)
    # The SDK's own fetch_..._async add a parameter to the query that the API does not know; these do not.
    related = await asyncio.to_thread(notification.fetch_related_object)
    assert (related.id, related.payment_status) == (session.id, "paid")
    event = await asyncio.to_thread(notification.fetch_event)
    (snapshot,) = sandbox.sandbox.events("checkout.session.completed")
    assert (event.snapshot_event, event.changes) == (snapshot["id"], None)
    with pytest.raises(stripe.SignatureVerificationError):
        client.parse_event_notification(body, signature, "whsec_other")


async def test_a_thin_event_of_an_update_has_what_changed_when_it_is_fetched(client: stripe.StripeClient) -> None:
    customer = await client.v1.customers.create_async({"name": "A"})
    await client.v1.customers.update_async(customer.id, {"name": "B"}, {"idempotency_key": "k"})
    (updated, created) = (await client.v2.core.events.list_async({"object_id": customer.id})).data
    assert (created.type, updated.type) == ("v1.customer.created", "v1.customer.updated")
    assert updated.changes is not None
    assert updated.changes.to_dict() == {"before": {"name": "A"}, "after": {"name": "B"}}
    assert updated.reason is not None
    assert updated.reason.request is not None
    assert updated.reason.request.idempotency_key == "k"


async def test_a_snapshot_destination_gets_snapshots_in_its_version(client: stripe.StripeClient) -> None:
    async with receiver() as inbox:
        made = await destination(
            client,
            inbox.url,
            event_payload="snapshot",
            enabled_events=["customer.created"],
            snapshot_api_version="2024-06-20",
        )
        customer = await client.v1.customers.create_async({})
        await until(lambda: inbox.got)
        event = client.construct_event(*inbox.got[0], made.webhook_endpoint.signing_secret)
    assert (event.type, event.data.object.id, event.api_version) == ("customer.created", customer.id, "2024-06-20")


async def test_a_destination_lives_through_create_retrieve_update_disable_enable_ping_delete(
    client: stripe.StripeClient,
) -> None:
    destinations = client.v2.core.event_destinations
    async with receiver() as inbox:
        made = await destination(client, inbox.url, metadata={"a": "1", "b": "2"})
        assert made.id.startswith("ed_test_")
        assert made.webhook_endpoint.signing_secret.startswith("whsec_")
        hidden = (await destinations.retrieve_async(made.id)).webhook_endpoint
        assert hidden is not None
        assert (hidden.signing_secret, hidden.url) == (None, None)
        changed = await destinations.update_async(
            made.id, {"name": "other", "metadata": {"a": None}, "include": ["webhook_endpoint.url"]}
        )
        assert changed.webhook_endpoint is not None
        assert changed.metadata is not None
        assert (changed.name, changed.metadata.to_dict()) == ("other", {"b": "2"})
        assert changed.webhook_endpoint.url == inbox.url
        off = await destinations.disable_async(made.id)
        assert off.status_details is not None
        assert off.status_details.disabled is not None
        assert (off.status, off.status_details.disabled.reason) == ("disabled", "user")
        assert (await destinations.enable_async(made.id)).status == "enabled"
        sent: Any = await destinations.ping_async(made.id)
        await until(lambda: inbox.got)
        ping: Any = client.parse_event_notification(*inbox.got[0], made.webhook_endpoint.signing_secret)
        assert (ping.id, ping.type) == (sent.id, "v2.core.event_destination.ping")
        assert (await asyncio.to_thread(ping.fetch_related_object)).id == made.id
        gone = await destinations.delete_async(made.id)
        assert (gone.id, gone.object) == (made.id, "v2.core.event_destination")
        with pytest.raises(stripe.InvalidRequestError) as missing:
            await destinations.retrieve_async(made.id)
    assert (missing.value.http_status, missing.value.code) == (404, "not_found")


async def test_v2_lists_turn_pages(client: stripe.StripeClient) -> None:
    made = [(await destination(client, include=[])).id for _ in range(5)][::-1]
    first = await client.v2.core.event_destinations.list_async({"limit": 2, "include": ["webhook_endpoint.url"]})
    assert [d.id for d in first.data] == made[:2]
    everything = [d async for d in first.auto_paging_iter()]
    assert [d.id for d in everything] == made
    assert {d.webhook_endpoint and d.webhook_endpoint.url for d in everything} == {NOWHERE}


async def test_v2_events_are_filtered_by_object_type_and_time(client: stripe.StripeClient) -> None:
    a, b = [await client.v1.customers.create_async({"name": name}) for name in "AB"]
    await client.v1.customers.update_async(a.id, {"name": "C"})
    events = client.v2.core.events
    assert len((await events.list_async({"object_id": a.id})).data) == 2
    created = (await events.list_async({"types": ["v1.customer.created"]})).data
    assert [event.to_dict()["related_object"]["id"] for event in created] == [b.id, a.id]
    assert (await events.list_async({"created": {"lt": created[0].created}})).data == []
    assert len((await events.list_async({"created": {"gte": created[0].created}, "limit": 1})).data) == 1


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"enabled_events": ["checkout.session.completed"]}, "enabled_events"),
        ({"enabled_events": ["v1.unicorn.found"]}, "enabled_events"),
        ({"event_payload": "snapshot"}, "enabled_events"),
        ({"event_payload": "fat"}, "event_payload"),
        ({"snapshot_api_version": API_VERSION}, "snapshot_api_version"),
        ({"webhook_endpoint": {"url": "ftp://x"}}, "webhook_endpoint.url"),
        ({"type": "amazon_eventbridge"}, "type"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_destination_that_cannot_be_is_refused(
    client: stripe.StripeClient, change: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await destination(client, **change)
    assert (refused.value.http_status, refused.value.param) == (400, param)


async def test_v2_deletes_are_idempotent_too(client: stripe.StripeClient) -> None:
    made = await destination(client)
    for _ in range(2):
        gone = await client.v2.core.event_destinations.delete_async(made.id, {}, {"idempotency_key": "k"})
        assert gone.id == made.id


async def test_a_body_that_is_no_json_is_refused(sandbox: SandboxServer, browser: httpx2.AsyncClient) -> None:
    headers = {"Authorization": "Bearer sk_test_1"}
    answer = await browser.post(f"{sandbox.url}/v2/core/event_destinations", content=b"name=x", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
