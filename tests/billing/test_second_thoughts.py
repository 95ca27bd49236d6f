"""Two clicks, two tabs and second looks: nobody pays twice, and what cannot be credited is seen by somebody."""

import asyncio

import pytest

from stripe_sandbox import Sandbox, SandboxServer
from stripe_sandbox.checkout import settle_bank_payment
from tallystick.billing import PurchaseStatus
from tallystick.billing.errors import AlreadyOnPlan, StripeRejected, StripeUnavailable
from tallystick.billing.fulfilment import SESSION_GONE
from tallystick.domain.account import GrantKind
from tallystick.domain.amounts import MAX_BALANCE, MAX_CREDITS
from tallystick.domain.catalogue import Catalogue, Pack, Plan
from tallystick.domain.commands import GrantBonus, Spend
from tests.billing.conftest import BANK, Shop, make_shop, seed
from tests.conftest import PACK_PRICE


async def test_two_clicks_on_become_plus_end_in_one_checkout(shop: Shop) -> None:
    await shop.open(plan="free")
    started = await asyncio.gather(*(shop.billing.start_plan_checkout("acme", plan="plus") for _ in range(4)))
    assert len(set(started)) == 1
    assert len(shop.sandbox.store.newest_first("checkout.session")) == 1


async def test_whoever_has_paid_for_a_plan_cannot_pay_again_while_the_event_is_on_its_way(shop: Shop) -> None:
    await shop.open(plan="free")
    started = await shop.billing.start_plan_checkout("acme", plan="plus")
    assert await shop.pay(started.url) == 303
    assert (await shop.account()).plan == "free"
    with pytest.raises(AlreadyOnPlan):
        await shop.billing.start_plan_checkout("acme", plan="plus")
    await shop.deliver()
    assert (await shop.account()).plan == "plus"
    assert len(shop.sandbox.store.newest_first("subscription")) == 1


async def test_a_checkout_at_a_price_that_has_changed_is_not_used_again(
    database_url: str, catalogue: Catalogue
) -> None:
    dearer = Catalogue([Plan("free", 25), Plan("plus", 500, can_buy=True, stripe_price="price_dearer")])
    async with SandboxServer(Sandbox()) as server:
        seed(server.sandbox)
        server.sandbox.seed_price(
            price_id="price_dearer", product_name="PLUS", unit_amount=2900, currency="usd", recurring="month"
        )
        async with make_shop(database_url, catalogue, server) as shop:
            await shop.open(plan="free")
            before = await shop.billing.start_plan_checkout("acme", plan="plus")
        async with make_shop(database_url, dearer, server) as shop:
            assert (await shop.billing.start_plan_checkout("acme", plan="plus")).url != before.url


async def test_s20_an_open_purchase_on_old_terms_is_not_used_again(database_url: str, catalogue: Catalogue) -> None:
    fewer = Catalogue(catalogue.plans, [Pack("credits_200", credits=150, price="5.99 USD", stripe_price=PACK_PRICE)])
    async with SandboxServer(Sandbox()) as server:
        seed(server.sandbox)
        async with make_shop(database_url, catalogue, server) as shop:
            await shop.open()
            old = await shop.billing.start_pack_checkout("acme")
        async with make_shop(database_url, fewer, server) as shop:
            new = await shop.billing.start_pack_checkout("acme")
            assert new.purchase_id != old.purchase_id
            for started in (old, new):
                assert await shop.pay(started.url) == 303
            await shop.deliver()
            # Each is credited on the terms it was sold on.
            assert (await shop.account()).bonus == 200 + 150


@pytest.mark.parametrize("arrives", [True, False])
async def test_s21_a_look_finds_out_how_a_delayed_payment_ended_though_its_event_was_lost(
    shop: Shop, arrives: bool
) -> None:
    await shop.open()
    purchase = await shop.buy(form=BANK)
    pending = await shop.billing.purchase_of_return("acme", purchase.checkout_session_id)
    assert pending.status is PurchaseStatus.PENDING
    settle_bank_payment(shop.sandbox, str(pending.payment_intent_id), succeeds=arrives)
    ended = await shop.billing.purchase_of_return("acme", purchase.checkout_session_id)
    assert ended.status is (PurchaseStatus.CREDITED if arrives else PurchaseStatus.FAILED)
    await shop.deliver()
    assert (await shop.billing.purchase("acme", purchase.id)).status is ended.status
    assert (await shop.account()).bonus == (200 if arrives else 0)


@pytest.mark.parametrize("refused_because", ["the account is full", "the key was used for something else"])
async def test_s20_what_is_paid_and_refused_by_the_ledger_needs_review(shop: Shop, refused_because: str) -> None:
    await shop.open()
    purchase = await shop.buy()
    if refused_because == "the account is full":
        lots = [MAX_CREDITS] * (MAX_BALANCE // MAX_CREDITS - 1) + [MAX_CREDITS - 100]
        gifts = [
            GrantBonus(account_id="acme", key=f"gift{n}", credits=credits, kind=GrantKind.GIFTED)
            for n, credits in enumerate(lots)
        ]
        await asyncio.gather(*map(shop.ledger.submit, gifts))
    else:
        await shop.ledger.submit(GrantBonus(account_id="acme", key="g", credits=5, kind=GrantKind.GIFTED))
        await shop.ledger.submit(Spend(account_id="acme", key=purchase.ledger_key, amount=1))
    before = await shop.account()
    await shop.deliver()
    reviewed = await shop.billing.purchase("acme", purchase.id)
    assert reviewed.status is PurchaseStatus.NEEDS_REVIEW
    assert str(reviewed.problem).startswith("Paid, but not credited: ")
    assert await shop.account() == before
    assert all(event.status != "parked" for event in await shop.billing.latest_events(100))


async def test_a_session_that_is_gone_at_stripe_ends_its_purchase_and_another_is_opened(
    database_url: str, catalogue: Catalogue
) -> None:
    async with SandboxServer(Sandbox()) as server, SandboxServer(Sandbox()) as cleared:
        seed(server.sandbox)
        seed(cleared.sandbox)
        async with make_shop(database_url, catalogue, server) as shop:
            await shop.open()
            gone = await shop.billing.start_pack_checkout("acme")
        async with make_shop(database_url, catalogue, cleared) as shop:
            new = await shop.billing.start_pack_checkout("acme")
            assert new == await shop.billing.start_pack_checkout("acme")
            states = {p.id: (p.status, p.problem) for p in await shop.billing.purchases("acme")}
            assert states == {gone.purchase_id: ("expired", SESSION_GONE), new.purchase_id: ("open", None)}
            assert await shop.pay(new.url) == 303
            await shop.deliver()
            assert (await shop.account()).bonus == 200
        # Back at the first account the session is there after all, and somebody pays it.
        async with make_shop(database_url, catalogue, server) as shop:
            assert await shop.pay(gone.url) == 303
            await shop.deliver()
            purchase = await shop.billing.purchase("acme", str(gone.purchase_id))
            assert (purchase.status, purchase.problem) == (PurchaseStatus.CREDITED, None)
            assert (await shop.account()).bonus == 400


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        ("server_error", StripeUnavailable),
        ("rate_limit", StripeUnavailable),
        ("reset", StripeUnavailable),
        ("forbidden", StripeRejected),
    ],
)
async def test_a_purchase_is_not_ended_because_stripe_does_not_say_how_its_session_stands(
    shop: Shop, fails: str, told: type[Exception]
) -> None:
    await shop.open()
    started = await shop.billing.start_pack_checkout("acme")
    shop.sandbox.outages.fail(fails, times=4, method="GET", path="/v1/checkout/sessions/")
    with pytest.raises(told):
        await shop.billing.start_pack_checkout("acme")
    purchase = await shop.billing.purchase("acme", str(started.purchase_id))
    assert (purchase.status, purchase.problem) == (PurchaseStatus.OPEN, None)
    shop.sandbox.outages.clear()
    assert await shop.billing.start_pack_checkout("acme") == started


async def test_s27_an_event_of_a_session_that_the_key_does_not_see_ends_nothing(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy()
    session = shop.sandbox.get(purchase.checkout_session_id, "checkout.session")
    shop.sandbox.store.delete(session["id"])
    await shop.deliver()
    assert (await shop.billing.purchase("acme", purchase.id)).status is PurchaseStatus.OPEN
    assert (await shop.billing.purchase_of_return("acme", session["id"])).status is PurchaseStatus.OPEN
    shop.sandbox.store.put(session)
    assert (await shop.billing.purchase_of_return("acme", session["id"])).status is PurchaseStatus.CREDITED


async def test_an_account_with_the_longest_id_can_buy(shop: Shop) -> None:
    longest = await shop.open("a" * 255)
    purchase = await shop.buy(longest)
    await shop.deliver()
    assert (await shop.billing.purchase(longest, purchase.id)).status is PurchaseStatus.CREDITED
    session = shop.sandbox.get(purchase.checkout_session_id, "checkout.session")
    assert len(session["client_reference_id"]) == 200


async def test_s20_a_payment_that_names_another_purchase_needs_review(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy()
    (intent,) = shop.sandbox.store.newest_first("payment_intent")
    shop.sandbox.store.put({**intent, "metadata": {**intent["metadata"], "purchase_id": "pur_other"}})
    await shop.deliver()
    reviewed = await shop.billing.purchase("acme", purchase.id)
    assert reviewed.status is PurchaseStatus.NEEDS_REVIEW
    assert "pur_other" in str(reviewed.problem)
    assert (await shop.account()).bonus == 0
