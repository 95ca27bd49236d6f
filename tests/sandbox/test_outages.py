"""Calls that fail on purpose, and what the SDK makes of them."""

import asyncio
from typing import Any

import httpx2
import pytest
import stripe

from stripe_sandbox import SandboxServer
from stripe_sandbox.outages import Fails, Outage
from tests.sandbox.conftest import make_client
from tests.sandbox.receiving import until


def made(sandbox: SandboxServer) -> int:
    return len(sandbox.sandbox.events("customer.created"))


@pytest.mark.parametrize(
    ("fails", "error", "status", "code", "retry"),
    [
        ("rate_limit", stripe.RateLimitError, 429, "rate_limit", None),
        ("lock_timeout", stripe.RateLimitError, 429, "lock_timeout", "true"),
        ("server_error", stripe.APIError, 500, None, None),
    ],
)
async def test_a_call_is_refused_and_the_next_one_is_not(
    client: stripe.StripeClient,
    sandbox: SandboxServer,
    fails: str,
    error: type[stripe.StripeError],
    status: int,
    code: str | None,
    retry: str | None,
) -> None:
    sandbox.sandbox.outages.fail(fails)
    with pytest.raises(error) as failed:
        await client.v1.customers.create_async({}, {"idempotency_key": "k"})
    assert (failed.value.http_status, failed.value.headers.get("stripe-should-retry")) == (status, retry)
    assert failed.value.json_body["error"].get("code") == code
    assert made(sandbox) == 0
    await client.v1.customers.create_async({}, {"idempotency_key": "k"})
    assert made(sandbox) == 1


@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize("fails", ["reset", "timeout"])
async def test_an_answer_that_never_comes_leaves_open_whether_anything_happened(
    client: stripe.StripeClient, sandbox: SandboxServer, fails: str, executed: bool
) -> None:
    sandbox.sandbox.outages.fail(fails, executed=executed, seconds=0.1)
    with pytest.raises(stripe.APIConnectionError):
        await client.v1.customers.create_async({"name": "A"}, {"idempotency_key": "k"})
    assert made(sandbox) == (1 if executed else 0)
    again = await client.v1.customers.create_async({"name": "A"}, {"idempotency_key": "k"})
    assert (again.name, made(sandbox)) == ("A", 1)


async def test_the_sdk_retries_what_breaks_with_the_same_key(sandbox: SandboxServer) -> None:
    client = make_client(sandbox.url, max_network_retries=2)
    sandbox.sandbox.outages.fail("reset", executed=True)
    sandbox.sandbox.outages.fail("lock_timeout")
    assert (await client.v1.customers.create_async({"name": "A"})).name == "A"
    assert made(sandbox) == 1


async def test_a_500_after_the_work_was_done_is_kept_under_its_key(
    client: stripe.StripeClient, sandbox: SandboxServer
) -> None:
    sandbox.sandbox.outages.fail("server_error", executed=True)
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            await client.v1.customers.create_async({"name": "A"}, {"idempotency_key": "k"})
    assert made(sandbox) == 1


async def test_an_outage_strikes_only_the_calls_it_names(client: stripe.StripeClient, sandbox: SandboxServer) -> None:
    sandbox.sandbox.outages.fail("server_error", times=2, method="get", path="/v1/customers")
    customer = await client.v1.customers.create_async({})
    await client.v1.products.list_async()
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            await client.v1.customers.retrieve_async(customer.id)
    assert (await client.v1.customers.retrieve_async(customer.id)).id == customer.id


async def test_a_key_that_is_in_use_is_refused_until_it_is_free(
    client: stripe.StripeClient, sandbox: SandboxServer
) -> None:
    sandbox.sandbox.outages.fail("slow", seconds=0.3)
    create: Any = client.v1.customers.create_async
    first = asyncio.create_task(create({"name": "A"}, {"idempotency_key": "k"}))
    await until(lambda: made(sandbox) == 1)
    with pytest.raises(stripe.StripeError) as refused:
        await create({"name": "A"}, {"idempotency_key": "k"})
    assert (refused.value.http_status, refused.value.json_body["error"]["code"]) == (409, "idempotency_key_in_use")
    assert (await first).id == (await create({"name": "A"}, {"idempotency_key": "k"})).id
    assert made(sandbox) == 1


async def test_outages_are_set_and_cleared_by_the_control_routes(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    url = f"{sandbox.url}/sandbox/outages"
    set_ = await browser.post(url, data={"fails": "reset", "times": "all", "method": "POST", "executed": "true"})
    expected = {
        "fails": "reset",
        "times": None,
        "method": "POST",
        "path": "/",
        "executed": True,
        "seconds": 60.0,
    }
    assert set_.json() == (await browser.get(url)).json() == {"outages": [expected]}
    refused = await browser.post(url, data={"fails": "explode"})
    assert (refused.status_code, "fails is one of rate_limit, " in refused.text) == (400, True)
    with pytest.raises(stripe.APIConnectionError):
        await client.v1.customers.create_async({})
    assert (await browser.post(f"{url}/clear")).json() == {"outages": []}
    await client.v1.customers.create_async({})


def test_an_outage_that_cannot_be_is_refused() -> None:
    for fails, wrong in [
        (Fails.RATE_LIMIT, {"executed": True}),
        (Fails.RESET, {"times": 0}),
        (Fails.SLOW, {"seconds": -1}),
    ]:
        with pytest.raises(ValueError, match=r"times|429"):
            Outage(fails, **wrong)
