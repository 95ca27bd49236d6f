"""The API: who may call it, and that everything wrong has its own code and changes nothing."""

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import stripe
from starlette.exceptions import HTTPException

from stripe_sandbox.delivery import signature
from tallystick.billing import EventStatus, StoredEvent
from tallystick.cli import customers
from tallystick.cli.customers import pay
from tallystick.cli.house import House
from tallystick.web.problems import from_http
from tests.web.conftest import PASSWORD, make_plus, new_browser, problem, sign_up

CHECKOUT = "/api/stripe/create-credit-checkout"
WEBHOOK = "/api/stripe/webhook"
WRITTEN = Path(__file__).parents[2] / "docs" / "openapi.json"


def secret(house: House) -> str:
    assert house.credits.stripe is not None
    return house.credits.stripe.webhook_secrets[0]


def event(**changes: object) -> bytes:
    body = {
        "id": "evt_1",
        "object": "event",
        "type": "checkout.session.completed",
        "livemode": False,
        "data": {"object": {"id": "cs_test_1"}},
        **changes,
    }
    return json.dumps(body).encode()


async def test_s19_a_plus_customer_gets_the_checkout_url(house: House, browser: httpx2.AsyncClient) -> None:
    await make_plus(house, await sign_up(browser))
    for body in ({"json": {}}, {"json": {"pack_id": "credits_200"}}, {}):
        answer = await browser.post(CHECKOUT, **body)
        assert answer.status_code == 200
        assert set(answer.json()) == {"url", "purchase_id"}
        assert answer.json()["url"].startswith(house.sandbox_url)


async def test_signed_out_everything_of_the_account_answers_401(browser: httpx2.AsyncClient) -> None:
    for call in (
        browser.post(CHECKOUT, json={}),
        browser.post("/api/stripe/create-plan-checkout", json={"plan": "plus"}),
        browser.get("/api/credits/balance"),
        browser.get("/api/credits/entries"),
        browser.get("/api/purchases/pur_1"),
    ):
        assert problem(await call) == (401, "not_signed_in")


async def test_s19_a_free_customer_is_refused_and_told_the_way(browser: httpx2.AsyncClient) -> None:
    await sign_up(browser)
    answer = await browser.post(CHECKOUT, json={})
    assert problem(answer) == (403, "plan_required")
    assert answer.json()["plans"] == ["plus"]
    assert answer.json()["upgrade"] == "/api/stripe/create-plan-checkout"


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (b"{", "application/json", (400, "malformed_json")),
        (b'{"pack_id": 5}', "application/json", (422, "invalid_input")),
        (b'{"credits": 9000}', "application/json", (422, "invalid_input")),
        (b'{"pack_id": "credits_9000"}', "application/json", (404, "unknown_pack")),
        (b"[" * 100_000, "application/json", (400, "malformed_json")),
        (b"\xff", "application/json", (400, "malformed_json")),
        (b'{"pack_id": NaN}', "application/json", (422, "invalid_input")),
        (b'{"pack_id": "' + b"a" * 201 + b'"}', "application/json", (422, "invalid_input")),
        (b" " * (1024 * 1024 + 1), "application/json", (413, "body_too_large")),
        (b"pack_id=credits_200", "application/x-www-form-urlencoded", (415, "unsupported_media_type")),
        (b'{"pack_id": "credits_200"}', "text/plain", (415, "unsupported_media_type")),
    ],
)
async def test_a_request_that_cannot_be_used_says_why(
    house: House, browser: httpx2.AsyncClient, content: bytes, kind: str, expected: tuple[int, str]
) -> None:
    await make_plus(house, await sign_up(browser))
    answer = await browser.post(CHECKOUT, content=content, headers={"Content-Type": kind})
    assert problem(answer) == expected


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "", "Origin": "https://evil.example"}]
)
async def test_another_site_cannot_start_a_purchase_or_sign_anybody_out(
    house: House, browser: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    await make_plus(house, await sign_up(browser))
    assert problem(await browser.post(CHECKOUT, json={}, headers=headers)) == (403, "cross_site")
    assert (await browser.post("/sign-out", headers=headers)).status_code == 403
    assert (await browser.get("/api/credits/balance")).status_code == 200


async def test_stripe_down_answers_503_with_retry_after_and_leaves_no_purchase(
    house: House, browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id = await sign_up(browser)
    await make_plus(house, account_id)
    api = house.credits.billing._api._client._requestor
    monkeypatch.setitem(api._options.base_addresses, "api", "http://127.0.0.1:9")
    answer = await browser.post(CHECKOUT, json={})
    assert problem(answer) == (503, "stripe_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert await house.credits.billing.purchases(account_id) == []


async def test_a_purchase_is_seen_by_its_owner_alone(house: House, browser: httpx2.AsyncClient) -> None:
    await make_plus(house, await sign_up(browser))
    started = (await browser.post(CHECKOUT, json={})).json()
    mine = (await browser.get(f"/api/purchases/{started['purchase_id']}")).json()
    assert (mine["status"], mine["credits"], mine["amount"], mine["currency"]) == ("open", 200, 599, "USD")
    back = await pay(started["url"], "ann@example.com")
    async with new_browser(house) as other:
        await sign_up(other, "mallory@example.com")
        assert problem(await other.get(f"/api/purchases/{started['purchase_id']}")) == (404, "unknown_purchase")
        page = await other.get(back)
        assert page.status_code == 404
        assert "no such purchase" in page.text
        assert (await other.get("/api/credits/balance")).json()["bonus"] == 0


async def test_entries_come_in_pages_newest_first(house: House, browser: httpx2.AsyncClient) -> None:
    account_id = await sign_up(browser)
    for n in range(4):
        await house.credits.spend(account_id, 1, key=f"k{n}", operation=f"job {n}")
    first = (await browser.get("/api/credits/entries?limit=3")).json()
    assert [entry["seq"] for entry in first["entries"]] == [5, 4, 3]
    rest = (await browser.get(f"/api/credits/entries?before={first['next_before']}")).json()
    assert [entry["seq"] for entry in rest["entries"]] == [2, 1]
    assert rest["next_before"] is None
    for wrong in ("limit=0", "before=0", f"before={2**63}", "before=x"):
        assert problem(await browser.get(f"/api/credits/entries?{wrong}")) == (422, "invalid_input")


@pytest.mark.parametrize(
    ("body", "make_header", "expected"),
    [
        (event(), lambda body, key: None, (400, "signature_missing")),
        (event(), lambda body, key: signature(body, "whsec_forged", int(time.time())), (400, "signature_invalid")),
        (event(), lambda body, key: signature(body + b" ", key, int(time.time())), (400, "signature_invalid")),
        (event(), lambda body, key: signature(body, key, int(time.time()) - 400), (400, "signature_stale")),
        (b"not json", lambda body, key: signature(body, key, int(time.time())), (400, "not_an_event")),
        (b"x" * (1024 * 1024 + 1), lambda body, key: signature(body, key, int(time.time())), (413, "body_too_large")),
    ],
    ids=["missing", "forged", "tampered", "stale", "not json", "oversized"],
)  # fmt: skip
async def test_s26_a_webhook_that_cannot_be_trusted_is_refused(
    house: House, browser: httpx2.AsyncClient, body: bytes, make_header: object, expected: tuple[int, str]
) -> None:
    assert callable(make_header)
    header = make_header(body, secret(house))
    headers = {} if header is None else {"Stripe-Signature": header}
    answer = await browser.post(WEBHOOK, content=body, headers=headers)
    assert problem(answer) == expected
    assert await house.credits.billing.latest_events(10) == []


async def test_s26_what_is_refused_and_by_whom_it_was_signed_is_seen_by_an_operator(
    house: House, browser: httpx2.AsyncClient
) -> None:
    await house.users.create(customers.OPERATOR, PASSWORD, is_operator=True)
    for body, key, status in (
        (event(), "whsec_forged", 400),
        (event(livemode=True), secret(house), 200),
        (event(account="acct_other", id="evt_connected"), secret(house), 200),
    ):
        header = signature(body, key, int(time.time()))
        answer = await browser.post(WEBHOOK, content=body, headers={"Stripe-Signature": header})
        # What Stripe signed is answered 2xx: sent again it would be the same.
        assert answer.status_code == status
    assert (await browser.get("/purchases/return?session_id=cs_test_none")).status_code == 303
    await browser.post("/sign-in", data={"email": customers.OPERATOR, "password": PASSWORD})
    assert (await browser.get("/purchases/return?session_id=cs_test_none")).status_code == 404
    page = (await browser.get("/operator")).text
    for reason in ("signature invalid", "wrong mode", "other account", "unknown purchase"):
        assert f"<tr><td>{reason}</td><td>1</td>" in page
    assert "<code>evt_connected</code>" in page
    assert "acct_other, which is connected to ours" in page


async def test_s26_without_a_signing_secret_every_webhook_is_refused(
    house: House, browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = signature(event(), secret(house), int(time.time()))
    billing = house.credits.billing
    monkeypatch.setattr(billing, "settings", dataclasses.replace(billing.settings, webhook_secrets=()))
    answer = await browser.post(WEBHOOK, content=event(), headers={"Stripe-Signature": header})
    assert problem(answer) == (503, "webhook_not_configured")
    assert await billing.latest_events(10) == []


async def test_a_body_that_does_not_say_its_size_is_counted_as_it_comes(browser: httpx2.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * 65_536

    answer = await browser.post(CHECKOUT, content=chunks(), headers={"Content-Type": "application/json"})
    assert "content-length" not in answer.request.headers
    assert problem(answer) == (413, "body_too_large")


async def test_s27_the_sandbox_sends_thin_events_and_snapshots_of_a_purchase_and_it_is_credited_once(
    house: House, browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = stripe.StripeClient("sk_test_1", base_addresses={"api": house.sandbox_url})
    destination = await client.v2.core.event_destinations.create_async(
        {
            "name": "thin",
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "enabled_events": ["v1.checkout.session.completed"],
            "webhook_endpoint": {"url": house.url + WEBHOOK},
            "include": ["webhook_endpoint.signing_secret"],
        }
    )
    assert destination.webhook_endpoint is not None
    billing, theirs = house.credits.billing, str(destination.webhook_endpoint.signing_secret)
    secrets = (*billing.settings.webhook_secrets, theirs)
    monkeypatch.setattr(billing, "settings", dataclasses.replace(billing.settings, webhook_secrets=secrets))
    account_id = await sign_up(browser)
    await make_plus(house, account_id)
    await pay((await browser.post(CHECKOUT)).json()["url"], "ann@example.com")
    told: list[StoredEvent] = []
    async with asyncio.timeout(30):
        while len(told) < 2:
            await asyncio.sleep(0.05)
            told = await billing.latest_events(10, EventStatus.DONE, type="checkout.session.completed")
    thin, snapshot = sorted(told, key=lambda event: event.snapshot_event is None)
    assert (thin.type, thin.snapshot_event) == ("v1.checkout.session.completed", snapshot.id)
    assert (await house.credits.balance(account_id)).bonus == 200


async def test_s28_an_event_that_nobody_handles_is_acknowledged_and_kept(
    house: House, browser: httpx2.AsyncClient
) -> None:
    body = event(type="customer.created")
    header = signature(body, secret(house), int(time.time()))
    answer = await browser.post(WEBHOOK, content=body, headers={"Stripe-Signature": header})
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    (kept,) = await house.credits.billing.latest_events(10)
    assert kept.status == "ignored"


async def test_the_api_describes_itself(browser: httpx2.AsyncClient) -> None:
    description = (await browser.get("/openapi.json")).json()
    assert description["openapi"].startswith("3.1")
    assert {path for path in description["paths"] if path.startswith("/api/")} == {
        "/api/stripe/create-credit-checkout",
        "/api/stripe/create-plan-checkout",
        "/api/stripe/portal",
        "/api/stripe/webhook",
        "/api/credits/balance",
        "/api/credits/entries",
        "/api/purchases/{purchase_id}",
    }
    written = json.loads(WRITTEN.read_text())
    assert set(written["paths"]) < set(description["paths"])


async def test_an_address_that_is_off_by_a_slash_is_not_there(browser: httpx2.AsyncClient) -> None:
    assert problem(await browser.post("/v1/accounts/acme/spends/", json={"amount": 1})) == (404, "not_found")
    assert (await browser.get("/dashboard/")).status_code == 404


async def test_a_method_that_is_not_there_is_told_which_ones_are(browser: httpx2.AsyncClient) -> None:
    """Also where each of them has a route of its own."""
    answer = await browser.request("DELETE", "/v1/accounts/acme")
    assert problem(answer) == (405, "method_not_allowed")
    assert answer.json()["type"] == "urn:tallystick:problem:method_not_allowed"
    assert answer.headers["allow"] == "GET, PUT"
    assert (await browser.get("/v1/spends:batch")).headers["allow"] == "POST"
    assert "GET" in (await browser.post("/static/app.css")).headers["allow"]


def test_what_a_host_application_refuses_because_of_a_number_stays_its_own() -> None:
    refusal = HTTPException(401, "No such session.")
    refusal.__cause__ = ValueError("invalid literal for int()")
    assert from_http(refusal) is None
