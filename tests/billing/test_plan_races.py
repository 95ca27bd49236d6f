"""S15, S16, S27: plans when two processes, two subscriptions or a price that has left the catalogue are about."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from stripe_sandbox import Sandbox, SandboxServer, agenda
from tallystick.billing import Billing, account_leases
from tallystick.billing.account_leases import LEASE, AccountLeases
from tallystick.billing.billing import HANDLED_EVENTS
from tallystick.clock import system_clock
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import SetPlan
from tests.billing.conftest import Shop, make_shop, seed
from tests.billing.test_plans import subscribe
from tests.conftest import PLUS_PRICE


@pytest.fixture
async def other(shop: Shop, catalogue: Catalogue) -> AsyncIterator[Billing]:
    """Billing of another process on the same database: it shares no lock with the first."""
    billing = Billing(shop.settings, shop.database, shop.ledger, catalogue, system_clock)
    yield billing
    await billing.close()


async def second_subscription(shop: Shop) -> str:
    (customer,) = shop.sandbox.store.newest_first("customer")
    session = await shop.stripe.v1.checkout.sessions.create_async(
        {
            "mode": "subscription",
            "customer": customer["id"],
            "success_url": "http://shop.test/",
            "line_items": [{"price": PLUS_PRICE, "quantity": 1}],
        }
    )
    assert await shop.pay(str(session.url)) == 303
    newest: str = shop.sandbox.store.newest_first("subscription")[0]["id"]
    return newest


async def test_s16_one_of_two_subscriptions_ending_leaves_the_plan_of_the_other(shop: Shop) -> None:
    await shop.open(plan="free")
    first = await subscribe(shop)
    second = await second_subscription(shop)
    await shop.deliver()
    await shop.stripe.v1.subscriptions.cancel_async(first)
    await shop.deliver()
    assert (await shop.account()).plan == "plus"
    live = await shop.billing.subscription("acme")
    assert live is not None
    assert live.id == second
    await shop.stripe.v1.subscriptions.cancel_async(second)
    await shop.deliver()
    assert (await shop.account()).plan == "free"


async def test_events_that_come_together_share_a_look(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.open(plan="free")
    id = await subscribe(shop)
    api = shop.billing._subscriptions._api
    ask, asked = api.subscription, []

    async def count(subscription_id: str) -> dict[str, Any]:
        asked.append(subscription_id)
        return await ask(subscription_id)

    monkeypatch.setattr(api, "subscription", count)
    await asyncio.gather(*(shop.billing._subscriptions.sync(id) for _ in range(20)))
    assert len(asked) == 1
    begun = asyncio.Event()

    async def begin(subscription_id: str) -> dict[str, Any]:
        begun.set()
        return await count(subscription_id)

    monkeypatch.setattr(api, "subscription", begin)
    first = asyncio.create_task(shop.billing._subscriptions.sync(id))
    await begun.wait()
    # The first has begun when the others come; the second is theirs.
    await asyncio.gather(first, *(shop.billing._subscriptions.sync(id) for _ in range(20)))
    assert len(asked) == 3
    old = {**shop.sandbox.store.newest_first("invoice")[0], "id": "in_old"}

    async def give_old(invoice_id: str) -> dict[str, Any]:
        assert invoice_id == "in_old"
        return old

    # One that is not among the newest needs a look of its own; the others are not asked for.
    monkeypatch.setattr(api, "invoice", give_old)
    await asyncio.gather(*(shop.billing._subscriptions.sync(id, "in_old" if n == 5 else None) for n in range(10)))
    assert len(asked) == 5
    shop.sandbox.advance(32 * 86_400)
    agenda.run_due(shop.sandbox)
    renewal = [event for event in shop.events() if event["type"] in HANDLED_EVENTS]
    assert {event["type"] for event in renewal} == {"customer.subscription.updated", "invoice.paid"}
    await shop.deliver(renewal)
    assert len(asked) == 6
    assert len((await shop.account()).scheduled) == 1


class Meanwhile:
    """Lets another process look at a subscription, which may have to wait until the account is given back."""

    def __init__(self, other: Billing) -> None:
        self._other = other
        self._looking: list[asyncio.Task[Any]] = []

    async def begin(self, subscription_id: str) -> None:
        self._looking.append(asyncio.create_task(self._other._subscriptions.sync(subscription_id)))
        await asyncio.wait(self._looking, timeout=1)

    async def end(self) -> bool:
        """Whether it had to wait."""
        waits = not all(task.done() for task in self._looking)
        await asyncio.gather(*self._looking)
        return waits


@pytest.fixture
async def meanwhile(other: Billing) -> Meanwhile:
    return Meanwhile(other)


async def test_s27_a_subscription_that_begins_while_another_one_ends_is_not_lost(
    shop: Shop, meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.open(plan="free")
    first = await subscribe(shop)
    second = await second_subscription(shop)
    await shop.stripe.v1.subscriptions.cancel_async(first)
    submit = shop.ledger.submit

    async def submit_late(command: Any) -> Any:
        if isinstance(command, SetPlan) and command.plan == "free":
            monkeypatch.undo()
            await meanwhile.begin(second)
        return await submit(command)

    monkeypatch.setattr(shop.ledger, "submit", submit_late)
    await shop.billing._subscriptions.sync(first)
    assert await meanwhile.end()
    assert (await shop.account()).plan == "plus"


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("runs_out", [False, True])
async def test_s27_an_older_answer_of_stripe_does_not_overwrite_a_newer_one(
    shop: Shop, meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch, known: bool, runs_out: bool
) -> None:
    await shop.open(plan="free")
    started = await shop.billing.start_plan_checkout("acme", plan="plus")
    assert await shop.pay(started.url) == 303
    id: str = shop.sandbox.store.newest_first("subscription")[0]["id"]
    if known:
        await shop.deliver()
    look = shop.billing._subscriptions._looks.at
    if runs_out:
        # Stripe takes so long to answer that the lease is over before it has.
        monkeypatch.setattr(account_leases, "LEASE", timedelta(0))

    async def look_late(subscription_id: str, invoice_id: str | None) -> Any:
        monkeypatch.setattr(shop.billing._subscriptions._looks, "at", look)
        old = await look(subscription_id, invoice_id)
        assert old is not None
        assert old.seen.status == "active"
        await shop.stripe.v1.subscriptions.cancel_async(subscription_id)
        await meanwhile.begin(subscription_id)
        return old

    monkeypatch.setattr(shop.billing._subscriptions._looks, "at", look_late)
    await shop.billing._subscriptions.sync(id)
    assert await meanwhile.end() is not runs_out
    kept = await shop.billing.subscription("acme")
    assert kept is not None
    assert (kept.status, (await shop.account()).plan) == ("canceled", "free")


async def test_s27_the_account_of_a_process_that_died_goes_on_when_its_lease_is_over(
    shop: Shop, other: Billing, catalogue: Catalogue
) -> None:
    await shop.open(plan="free")
    id = await subscribe(shop)
    await AccountLeases(shop.database, system_clock)._taken("acme")
    await shop.stripe.v1.subscriptions.cancel_async(id)
    waiting = asyncio.create_task(other._subscriptions.sync(id))
    await asyncio.wait([waiting], timeout=0.3)
    assert not waiting.done()
    later = Billing(shop.settings, shop.database, shop.ledger, catalogue, lambda: system_clock() + LEASE)
    try:
        await later._subscriptions.sync(id)
    finally:
        await later.close()
    assert (await shop.account()).plan == "free"
    await waiting


async def test_s27_of_two_processes_whose_clocks_differ_the_one_that_was_overtaken_knows_it(shop: Shop) -> None:
    await shop.open(plan="free")
    slow = AccountLeases(shop.database, system_clock)
    ahead = AccountLeases(shop.database, lambda: system_clock() + LEASE + timedelta(seconds=1))
    async with slow.of("acme") as overtaken, ahead.of("acme") as lease:
        assert (await overtaken.goes_on(), await lease.goes_on()) == (False, True)


async def test_s27_a_process_whose_clock_is_behind_does_not_keep_an_old_answer(
    shop: Shop, catalogue: Catalogue
) -> None:
    await shop.open(plan="free")
    id = await subscribe(shop)
    behind = Billing(
        shop.settings, shop.database, shop.ledger, catalogue, lambda: system_clock() - timedelta(hours=1)
    )
    try:
        await shop.stripe.v1.subscriptions.cancel_async(id)
        await behind._subscriptions.sync(id)
    finally:
        await behind.close()
    kept = await shop.billing.subscription("acme")
    assert kept is not None
    assert kept.status == "canceled"


@pytest.mark.parametrize("seen_before", [True, False])
async def test_s15_a_subscriber_at_a_price_that_left_the_catalogue_keeps_the_plan(
    database_url: str, catalogue: Catalogue, seen_before: bool
) -> None:
    dearer = Catalogue([Plan("free", 25), Plan("plus", 500, can_buy=True, stripe_price="price_dearer")])
    async with SandboxServer(Sandbox()) as server:
        seed(server.sandbox)
        async with make_shop(database_url, catalogue, server) as shop:
            await shop.open(plan="free")
            started = await shop.billing.start_plan_checkout("acme", plan="plus")
            assert await shop.pay(started.url) == 303
            if seen_before:
                await shop.deliver()
        async with make_shop(database_url, dearer, server) as shop:
            await shop.deliver()
            account = await shop.account()
            assert (account.plan, account.monthly) == ("plus", 500)
            shop.sandbox.advance(32 * 86_400)
            agenda.run_due(shop.sandbox)
            await shop.deliver()
            (coming,) = (await shop.account()).scheduled
            assert coming.grant.remaining == 500
            (subscription,) = shop.sandbox.store.newest_first("subscription")
            await shop.stripe.v1.subscriptions.cancel_async(subscription["id"])
            await shop.deliver()
            assert (await shop.account()).plan == "free"
            await shop.assert_proven()
