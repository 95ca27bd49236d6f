"""The API of the sandbox, through the unmodified SDK and over plain HTTP."""

from pathlib import Path
from typing import Any

import httpx2
import pytest
import stripe

from stripe_sandbox import Sandbox, SandboxServer
from tests.sandbox.conftest import make_client, open_session, seed


async def test_customers_live_through_create_retrieve_update_list_delete(client: stripe.StripeClient) -> None:
    made = await client.v1.customers.create_async({"email": "a@example.com", "metadata": {"account_id": "acme"}})
    assert made.id.startswith("cus_")
    assert len(made.id) == 18
    changed = await client.v1.customers.update_async(made.id, {"name": "Acme", "metadata": {"tier": "1"}})
    assert changed.name == "Acme"
    assert changed.metadata.to_dict() == {"account_id": "acme", "tier": "1"}
    listed = await client.v1.customers.list_async({"email": "a@example.com"})
    assert [c.id for c in listed.data] == [made.id]
    await client.v1.customers.delete_async(made.id)
    gone = await client.v1.customers.retrieve_async(made.id)
    assert gone.to_dict() == {"id": made.id, "object": "customer", "deleted": True}
    assert (await client.v1.customers.list_async()).data == []
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await client.v1.customers.update_async(made.id, {"name": "B"})
    assert (missing.value.http_status, missing.value.code, missing.value.param) == (404, "resource_missing", "id")


def test_the_synchronous_sdk_works_against_a_sandbox_in_a_thread() -> None:
    with SandboxServer(Sandbox()).in_thread() as running:
        client = stripe.StripeClient("sk_test_1", base_addresses={"api": running.url})
        assert client.v1.customers.create({"name": "A"}).name == "A"


async def test_a_session_is_open_complete_and_shows_lines_only_when_asked(
    client: stripe.StripeClient, sandbox: SandboxServer
) -> None:
    session = await open_session(client, client_reference_id="acme", metadata={"purchase_id": "p1"})
    assert session.id.startswith("cs_test_")
    assert len(session.id) == 66
    assert (session.status, session.payment_status, session.amount_total) == ("open", "unpaid", 599)
    assert session.expires_at == session.created + 86_400
    assert session.url is not None
    assert session.url.startswith(sandbox.url)
    assert "line_items" not in session
    again = await client.v1.checkout.sessions.retrieve_async(session.id, {"expand": ["line_items"]})
    assert again.line_items is not None
    assert [line.amount_total for line in again.line_items.data] == [599]
    lines = await client.v1.checkout.sessions.line_items.list_async(session.id)
    assert lines.data[0].quantity == 1


async def test_an_open_session_expires_once(client: stripe.StripeClient, sandbox: SandboxServer) -> None:
    session = await open_session(client)
    expired = await client.v1.checkout.sessions.expire_async(session.id)
    assert (expired.status, expired.url) == ("expired", None)
    with pytest.raises(stripe.InvalidRequestError, match="status"):
        await client.v1.checkout.sessions.expire_async(session.id)
    assert len(sandbox.sandbox.events("checkout.session.expired")) == 1


async def test_a_session_expires_by_itself_when_its_time_is_over(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    session = await open_session(client)
    await browser.post(f"{sandbox.url}/sandbox/clock", data={"advance": "86401"})
    page = await browser.get(str(session.url))
    assert "expired" in page.text
    assert (await client.v1.checkout.sessions.retrieve_async(session.id)).status == "expired"


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({"payment_intent_data": {"nope": "1"}}, "parameter_unknown", "payment_intent_data[nope]"),
        ({"line_items": [{"price": "price_x", "quantity": 1}]}, "resource_missing", "line_items[0][price]"),
        (
            {"line_items": [{"price": "price_x", "quantity": "many"}]},
            "parameter_invalid_integer",
            "line_items[0][quantity]",
        ),
        ({"customer": "cus_missing"}, "resource_missing", "customer"),
        ({"mode": "barter"}, None, "mode"),
        ({"success_url": ""}, "parameter_missing", "success_url"),
        ({"expires_at": 1}, None, "expires_at"),
        ({"customer": "cus_1", "customer_email": "a@b.c"}, None, "customer"),
        ({"allowed_payment_method_types": ["conch"]}, None, "allowed_payment_method_types[0]"),
    ],
)
async def test_what_stripe_refuses_is_refused(
    client: stripe.StripeClient, change: dict[str, Any], code: str | None, param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await open_session(client, **change)
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, code, param)


async def test_a_price_must_fit_the_mode_and_reach_the_minimum(client: stripe.StripeClient) -> None:
    recurring = await seed(client, recurring=True)
    cheap = await seed(client, amount=49)
    for price, mode, complaint in [
        (recurring, "payment", "recurring"),
        (cheap, "payment", "at least"),
        (cheap, "subscription", "recurring"),
    ]:
        with pytest.raises(stripe.InvalidRequestError, match=complaint):
            await client.v1.checkout.sessions.create_async(
                {"mode": mode, "success_url": "http://x", "line_items": [{"price": price.id, "quantity": 1}]}
            )


@pytest.mark.parametrize("key", ["", "nonsense", "sk_live_123", "pk_test_123"])
async def test_only_a_secret_test_key_gets_in(sandbox: SandboxServer, browser: httpx2.AsyncClient, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = await browser.get(f"{sandbox.url}/v1/customers", headers=headers)
    assert answer.status_code == 401
    assert set(answer.json()["error"]) == {"message", "type"}


async def test_an_idempotency_key_replays_its_answer_or_refuses_another_request(
    client: stripe.StripeClient, sandbox: SandboxServer
) -> None:
    first = await client.v1.customers.create_async({"name": "A"}, {"idempotency_key": "k"})
    second = await client.v1.customers.create_async({"name": "A"}, {"idempotency_key": "k"})
    assert first.id == second.id
    assert first.last_response.headers["original-request"] == second.last_response.headers["original-request"]
    assert second.last_response.headers["idempotent-replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError):
        await client.v1.customers.create_async({"name": "B"}, {"idempotency_key": "k"})
    assert len(sandbox.sandbox.events("customer.created")) == 1


async def test_a_refused_request_does_not_use_up_its_key(client: stripe.StripeClient) -> None:
    bad: Any = {"nope": "1"}
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.customers.create_async(bad, {"idempotency_key": "k"})
    assert (await client.v1.customers.create_async({"name": "A"}, {"idempotency_key": "k"})).name == "A"


async def test_lists_are_newest_first_in_cursor_pages_both_ways(client: stripe.StripeClient) -> None:
    made = [(await client.v1.customers.create_async({"name": str(n)})).id for n in range(5)][::-1]
    first = await client.v1.customers.list_async({"limit": 2})
    assert ([c.id for c in first.data], first.has_more) == (made[:2], True)
    last = await client.v1.customers.list_async({"limit": 3, "starting_after": made[1]})
    assert ([c.id for c in last.data], last.has_more) == (made[2:], False)
    back = await client.v1.customers.list_async({"limit": 1, "ending_before": made[2]})
    assert ([c.id for c in back.data], back.has_more) == ([made[1]], True)
    everybody = [c.id async for c in first.auto_paging_iter()]
    assert everybody == made
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.customers.list_async({"starting_after": made[0], "ending_before": made[1]})
    assert (refused.value.code, refused.value.param) == (None, None)


async def test_answers_carry_stripes_headers(client: stripe.StripeClient) -> None:
    made = await client.v1.customers.create_async({}, {"idempotency_key": "k"})
    headers = made.last_response.headers
    assert headers["request-id"] == headers["original-request"]
    assert (headers["idempotency-key"], headers["stripe-should-retry"]) == ("k", "false")
    read = await client.v1.customers.retrieve_async(made.id)
    assert "original-request" not in read.last_response.headers
    assert read.last_response.headers["stripe-version"] == "2026-08-26.dahlia"


@pytest.mark.parametrize("path", ["unicorns", "customers/search?query=x", "charges/search", "subscriptions/search"])
async def test_a_path_that_is_not_there_says_so(
    sandbox: SandboxServer, browser: httpx2.AsyncClient, path: str
) -> None:
    answer = await browser.get(f"{sandbox.url}/v1/{path}", headers={"Authorization": "Bearer sk_test_1"})
    assert answer.status_code == 404
    assert "Unrecognized request URL" in answer.json()["error"]["message"]


async def test_everything_is_there_again_after_a_restart(tmp_path: Path) -> None:
    async with SandboxServer(Sandbox(tmp_path / "s.db")) as first:
        session = await open_session(make_client(first.url))
    async with SandboxServer(Sandbox(tmp_path / "s.db")) as second:
        again = await make_client(second.url).v1.checkout.sessions.retrieve_async(session.id)
    assert again.amount_total == 599


async def test_a_webhook_endpoint_shows_its_secret_only_when_it_is_made(client: stripe.StripeClient) -> None:
    made = await client.v1.webhook_endpoints.create_async({"url": "http://127.0.0.1:9/x", "enabled_events": ["*"]})
    assert str(made.secret).startswith("whsec_")
    again = await client.v1.webhook_endpoints.retrieve_async(made.id)
    assert "secret" not in again
    off = await client.v1.webhook_endpoints.update_async(made.id, {"disabled": True})
    assert off.status == "disabled"
    await client.v1.webhook_endpoints.delete_async(made.id)
    assert (await client.v1.webhook_endpoints.list_async()).data == []
