"""S26 to S28: what is taken in, what is refused, and what becomes of it."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from stripe_sandbox import SandboxServer
from stripe_sandbox.delivery import signature
from tallystick.billing import EventStatus
from tallystick.billing.errors import (
    NotAnEvent,
    SignatureInvalid,
    SignatureMissing,
    SignatureStale,
    WebhookNotConfigured,
    WebhookRefused,
)
from tallystick.billing.inbox import AT_ONCE, MOST_ATTEMPTS
from tallystick.billing.stripe_api import BillingSettings
from tallystick.billing.webhooks import verify
from tallystick.domain.catalogue import Catalogue
from tests.billing.conftest import SECRET, Shop, make_shop
from tests.conftest import FrozenClock

EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "customer.created",
    "api_version": "2026-08-26.dahlia",
    "livemode": False,
    "data": {"object": {"id": "cus_1"}},
}
THIN = {
    "id": "evt_test_1",
    "object": "v2.core.event",
    "type": "v1.invoice.paid",
    "livemode": False,
    "created": "2026-01-31T09:30:00.000Z",
    "context": None,
    "reason": None,
    "related_object": {"id": "in_1", "type": "invoice", "url": "/v1/invoices/in_1"},
}
# Standing still: the names of tests that carry a signature must be the same in every process that runs them.
CLOCK = FrozenClock(datetime(2026, 1, 31, 9, 30, tzinfo=UTC))
NOW = int(CLOCK.now.timestamp())
SETTINGS = BillingSettings("sk_test_1", (SECRET,), "http://shop.test")
ALL_DUE = "UPDATE stripe_events SET due_at = '2020-01-01T00:00:00.000000+00:00' WHERE due_at IS NOT NULL"


def check(body: bytes, header: str | None, settings: BillingSettings = SETTINGS) -> str:
    return verify(body, header, settings, CLOCK).id


def signed(event: Any = EVENT, secret: str = SECRET, at: int = NOW) -> tuple[bytes, str]:
    return sign(json.dumps(event).encode(), secret, at)


def sign(body: bytes, secret: str = SECRET, at: int = NOW) -> tuple[bytes, str]:
    return body, signature(body, secret, at)


def test_s26_a_signed_event_is_taken() -> None:
    assert check(*signed()) == "evt_1"
    assert check(*signed(THIN)) == "evt_test_1"
    assert check(*signed({**THIN, "related_object": None})) == "evt_test_1"


def test_s26_several_secrets_are_accepted_while_one_is_being_rolled() -> None:
    settings = BillingSettings("sk_test_1", ("whsec_new", SECRET), "http://shop.test")
    assert check(*signed(secret=SECRET), settings) == "evt_1"
    assert check(*signed(secret="whsec_new"), settings) == "evt_1"
    with pytest.raises(SignatureInvalid):
        check(*signed(secret="whsec_older"), settings)


@pytest.mark.parametrize(
    ("body", "header", "error"),
    [
        (signed()[0], None, SignatureMissing),
        (signed()[0], "", SignatureMissing),
        (signed()[0], "nonsense", SignatureInvalid),
        (signed()[0], "t=1,v1=", SignatureInvalid),
        (signed()[0] + b" ", signed()[1], SignatureInvalid),
        (b"\xff\xfe", signed()[1], SignatureInvalid),
        (*signed(secret="whsec_forged"), SignatureInvalid),
        (*signed(at=NOW - 301), SignatureStale),
        (*signed([]), NotAnEvent),
        (*signed({"object": "event"}), NotAnEvent),
        (*signed({**EVENT, "data": {}}), NotAnEvent),
        (*signed({**EVENT, "id": "evt_\0"}), NotAnEvent),
        (*signed({**EVENT, "id": "evt_\ud800"}), NotAnEvent),
        (*signed({**EVENT, "id": "e" * 256}), NotAnEvent),
        (*signed({**EVENT, "type": "x\0"}), NotAnEvent),
        (*signed({**EVENT, "api_version": 5}), NotAnEvent),
        (*signed({**EVENT, "data": []}), NotAnEvent),
        (*signed({**THIN, "livemode": None}), NotAnEvent),
        (*signed({**THIN, "related_object": "in_1"}), NotAnEvent),
        (*signed({**THIN, "related_object": {"id": "in_\0"}}), NotAnEvent),
        (*signed({**EVENT, "object": "v3.event"}), NotAnEvent),
        (*sign(b"{"), NotAnEvent),
        (*sign(b"[" * 100_000), NotAnEvent),
    ],
)
async def test_s26_everything_else_is_refused_with_its_own_code(
    database_url: str,
    server: SandboxServer,
    catalogue: Catalogue,
    body: bytes,
    header: str | None,
    error: type[WebhookRefused],
) -> None:
    async with make_shop(database_url, catalogue, server, CLOCK) as shop:
        with pytest.raises(error) as refused:
            await shop.billing.receive_webhook(body, header)
        assert "Nothing was changed" in refused.value.message
        assert await shop.billing.latest_events(10) == []
        assert [(seen.reason, seen.count) for seen in await shop.billing.refusals()] == [(error.code, 1)]


@pytest.mark.parametrize(
    ("key", "event", "code"),
    [
        ("sk_test_1", {**EVENT, "livemode": True}, "wrong_mode"),
        ("sk_live_1", EVENT, "wrong_mode"),
        ("sk_test_1", {**EVENT, "account": "acct_1"}, "other_account"),
        ("sk_test_1", {**EVENT, "account": ["acct_1"]}, "other_account"),
        ("sk_test_1", {**EVENT, "account": None}, None),
        ("sk_test_1", {**THIN, "context": "acct_1"}, "other_account"),
        ("sk_test_1", {**THIN, "livemode": True}, "wrong_mode"),
    ],
)
def test_s26_an_event_of_the_other_mode_or_of_another_account_is_told_as_not_ours(
    key: str, event: dict[str, Any], code: str | None
) -> None:
    found = verify(*signed(event), BillingSettings(key, (SECRET,), "https://shop.test"), CLOCK).not_ours
    assert (found and found.code) == code


def test_s26_without_a_secret_every_webhook_is_refused() -> None:
    with pytest.raises(WebhookNotConfigured):
        check(*signed(secret=""), BillingSettings("sk_test_1", (), "http://shop.test"))


async def test_s27_an_event_is_stored_once_by_its_id(shop: Shop) -> None:
    for _ in range(3):
        await shop.receive(EVENT)
    (stored,) = await shop.billing.latest_events(10)
    assert (stored.id, stored.status) == ("evt_1", EventStatus.IGNORED)


async def test_s27_a_rush_is_stored_whole_and_once(shop: Shop) -> None:
    rush = [{**EVENT, "id": f"evt_{n % 200}"} for n in range(600)]
    await asyncio.gather(*(shop.receive(event) for event in rush))
    assert {event.id for event in await shop.billing.latest_events(1_000)} == {f"evt_{n}" for n in range(200)}


async def test_s27_one_event_that_the_database_refuses_is_not_answered_2xx_and_the_next_is_taken(shop: Shop) -> None:
    await shop.sql("ALTER TABLE stripe_events RENAME TO elsewhere")
    with pytest.raises(Exception, match="stripe_events"):
        await shop.receive(EVENT)
    await shop.sql("ALTER TABLE elsewhere RENAME TO stripe_events")
    await shop.receive(EVENT)
    assert [event.id for event in await shop.billing.latest_events(10)] == ["evt_1"]


async def test_s28_an_event_that_fails_is_retried_with_growing_pauses_then_parked(shop: Shop) -> None:
    await shop.receive({**EVENT, "type": "invoice.paid", "data": {"object": {"id": "in_missing"}}})
    for attempt in range(1, MOST_ATTEMPTS + 1):
        assert await shop.billing.work_inbox() == 1
        assert await shop.billing.work_inbox() == 0
        (stored,) = await shop.billing.latest_events(10)
        assert stored.attempts == attempt
        await shop.sql(ALL_DUE)
    (parked,) = await shop.billing.latest_events(10, EventStatus.PARKED)
    assert "stripe_rejected" in str(parked.last_error)
    assert await shop.billing.work_inbox() == 0


async def test_s27_an_event_whose_worker_died_is_worked_when_its_lease_runs_out(shop: Shop) -> None:
    await shop.open()
    await shop.buy()
    for event in shop.events():
        await shop.receive(event)
    leased = await shop.billing._inbox._lease(AT_ONCE)
    assert leased
    assert await shop.billing.work_inbox() == 0
    await shop.sql(ALL_DUE)
    await shop.deliver([])
    assert (await shop.account()).bonus == 200
