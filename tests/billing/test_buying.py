"""S19 to S21: who may buy, what is frozen, and that credits come out exactly once."""

import asyncio
import random
from typing import Any

import pytest

from stripe_sandbox import Sandbox, SandboxServer
from tallystick.billing import PurchaseStatus
from tallystick.billing.errors import (
    PlanRequired,
    PriceMismatch,
    StripeRejected,
    StripeUnavailable,
    UnknownPack,
    UnknownPurchase,
)
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import SetPlan
from tests.billing.conftest import BANK, Shop, make_shop
from tests.conftest import PACK_PRICE
from tests.serving import serving


async def test_s21_a_paid_pack_is_credited_once_with_its_frozen_terms(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy()
    assert purchase.status is PurchaseStatus.OPEN
    await shop.deliver()
    purchase = await shop.billing.purchase("acme", purchase.id)
    assert purchase.status is PurchaseStatus.CREDITED
    assert (await shop.account()).bonus == 200
    entry = await shop.ledger.entry_by_key("acme", f"purchase:{purchase.id}")
    assert entry is not None
    assert (entry.seq, entry.amount, entry.reference) == (purchase.entry_seq, 200, purchase.id)
    assert entry.reason == "Bought 200 credits for 5.99 USD"


async def test_the_session_says_whose_it_is_and_where_to_come_back(shop: Shop) -> None:
    await shop.open()
    started = await shop.billing.start_pack_checkout("acme", email="a@example.com")
    purchase = await shop.billing.purchase("acme", str(started.purchase_id))
    session = (await shop.stripe.v1.checkout.sessions.retrieve_async(purchase.checkout_session_id)).to_dict()
    assert session["client_reference_id"] == "acme"
    assert session["metadata"] == {
        "purchase_id": purchase.id,
        "account_id": "acme",
        "pack_id": "credits_200",
        "credits": "200",
    }
    assert session["success_url"] == "http://shop.test/purchases/return?session_id={CHECKOUT_SESSION_ID}"
    assert session["cancel_url"] == "http://shop.test/dashboard?purchase=cancelled"
    assert session["customer_details"]["email"] == "a@example.com"
    await shop.pay(started.url)
    paid = await shop.stripe.v1.checkout.sessions.retrieve_async(session["id"], {"expand": ["payment_intent"]})
    intent: Any = paid.payment_intent
    assert intent.metadata.purchase_id == purchase.id


async def test_s19_only_a_plan_that_may_buy_buys_and_the_answer_says_how(shop: Shop) -> None:
    await shop.open(plan="free")
    with pytest.raises(PlanRequired) as refused:
        await shop.billing.start_pack_checkout("acme")
    assert refused.value.code == "plan_required"
    assert refused.value.details["plans"] == ["plus"]
    assert await shop.billing.purchases("acme") == []
    assert shop.sandbox.store.newest_first("checkout.session") == []


async def test_s19_a_payment_completed_after_the_plan_ended_is_honoured(shop: Shop) -> None:
    await shop.open()
    started = await shop.billing.start_pack_checkout("acme")
    await shop.ledger.submit(SetPlan(account_id="acme", key="end", plan="free"))
    await shop.pay(started.url)
    await shop.deliver()
    assert (await shop.account()).bonus == 200


async def test_an_unknown_pack_is_refused(shop: Shop) -> None:
    await shop.open()
    with pytest.raises(UnknownPack):
        await shop.billing.start_pack_checkout("acme", pack_id="credits_9000")


async def test_a_session_that_is_still_open_is_used_again_also_after_a_double_click(shop: Shop) -> None:
    await shop.open()
    started = await asyncio.gather(*(shop.billing.start_pack_checkout("acme") for _ in range(5)))
    assert len(set(started)) == 1
    assert len(shop.sandbox.store.newest_first("checkout.session")) == 1
    await shop.pay(started[0].url)
    await shop.deliver()
    again = await shop.billing.start_pack_checkout("acme")
    assert again.purchase_id != started[0].purchase_id


async def test_s21_buying_again_before_the_event_of_the_first_has_come_credits_that_and_opens_another_session(
    shop: Shop,
) -> None:
    await shop.open()
    first = await shop.buy()
    second = await shop.billing.start_pack_checkout("acme")
    assert second.purchase_id != first.id
    assert (await shop.account()).bonus == 200
    # By bank the money is only on its way, and a session that was closed is no way on either.
    assert await shop.pay(second.url, BANK) == 303
    third = await shop.billing.start_pack_checkout("acme")
    assert third.purchase_id not in (first.id, second.purchase_id)
    assert third == await shop.billing.start_pack_checkout("acme")
    purchase = await shop.billing.purchase("acme", str(third.purchase_id))
    await shop.stripe.v1.checkout.sessions.expire_async(purchase.checkout_session_id)
    fourth = await shop.billing.start_pack_checkout("acme")
    states = {p.id: p.status for p in await shop.billing.purchases("acme")}
    ids = (first.id, second.purchase_id, third.purchase_id, fourth.purchase_id)
    assert [states[str(id)] for id in ids] == ["credited", "pending", "expired", "open"]
    await shop.deliver()
    assert (await shop.account()).bonus == 200


async def test_one_customer_is_made_for_an_account_and_kept(shop: Shop) -> None:
    await shop.open()
    for _ in range(3):
        await shop.buy()
        await shop.deliver()
    assert len(shop.sandbox.store.newest_first("customer")) == 1
    assert (await shop.account()).bonus == 600


async def test_s20_a_price_that_differs_from_the_catalogue_sells_nothing(shop: Shop) -> None:
    price = shop.sandbox.get(PACK_PRICE, "price")
    shop.sandbox.store.put({**price, "unit_amount": 499})
    await shop.open()
    with pytest.raises(PriceMismatch):
        await shop.billing.start_pack_checkout("acme")
    assert await shop.billing.purchases("acme") == []
    (session,) = shop.sandbox.store.newest_first("checkout.session")
    assert session["status"] == "expired"


EDITS: dict[str, dict[str, Any]] = {
    "metadata of another purchase": {"metadata": {"purchase_id": "pur_other"}},
    "metadata of another account": {"metadata": {"account_id": "mallory"}},
    "metadata with more credits": {"metadata": {"credits": "20000"}},
    "no metadata": {"metadata": {}},
    "another client reference": {"client_reference_id": "mallory"},
    "another customer": {"customer": "cus_other"},
    "another currency": {"currency": "eur"},
    "a smaller amount": {"amount_total": 1},
    "another mode": {"mode": "subscription"},
    "live mode": {"livemode": True},
    "another price": {"price": {"id": "price_other"}},
    "another quantity": {"line": {"quantity": 2}},
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
async def test_s20_what_disagrees_with_the_purchase_needs_review_and_credits_nothing(
    shop: Shop, edit: dict[str, Any]
) -> None:
    await shop.open()
    purchase = await shop.buy()
    session = shop.sandbox.get(purchase.checkout_session_id, "checkout.session")
    changes = dict(edit)
    line = {**session["_line_items"][0], **changes.pop("line", {})}
    line["price"] = {**line["price"], **changes.pop("price", {})}
    if changes.get("metadata"):
        changes["metadata"] = {**session["metadata"], **changes["metadata"]}
    shop.sandbox.store.put({**session, **changes, "_line_items": [line]})
    await shop.deliver()
    reviewed = await shop.billing.purchase_of_return("acme", purchase.checkout_session_id)
    assert reviewed.status is PurchaseStatus.NEEDS_REVIEW
    assert reviewed.problem
    assert (await shop.account()).bonus == 0
    assert [p.id for p in await shop.billing.latest_purchases(10, PurchaseStatus.NEEDS_REVIEW)] == [purchase.id]


async def test_s20_a_paid_session_of_an_unknown_purchase_is_parked_for_an_operator(shop: Shop) -> None:
    await shop.open()
    await shop.buy()
    await shop.sql("DELETE FROM purchases")
    await shop.deliver()
    (parked,) = [e for e in await shop.billing.latest_events(50) if e.status == "parked"]
    assert parked.type == "checkout.session.completed"
    assert "Nothing was credited" in str(parked.last_error)
    assert (await shop.account()).bonus == 0


async def test_s21_50_webhooks_and_10_return_visits_at_once_credit_once(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy()
    (completed,) = [e for e in shop.events() if e["type"] == "checkout.session.completed"]
    copies = [{**completed, "id": f"evt_{n}"} for n in range(50)]
    returns = [shop.billing.purchase_of_return("acme", purchase.checkout_session_id) for _ in range(10)]
    await asyncio.gather(*(shop.receive(copy) for copy in copies), *returns)
    await asyncio.gather(*(shop.deliver([]) for _ in range(3)))
    assert (await shop.account()).bonus == 200
    entries = await shop.ledger.entries("acme")
    assert sum(entry.amount == 200 for entry in entries) == 1


@pytest.mark.parametrize("arrives", [True, False])
async def test_s21_a_delayed_payment_is_pending_until_it_arrives_or_fails(shop: Shop, arrives: bool) -> None:
    await shop.open()
    purchase = await shop.buy(form=BANK)
    await shop.deliver()
    pending = await shop.billing.purchase("acme", purchase.id)
    assert (pending.status, (await shop.account()).bonus) == (PurchaseStatus.PENDING, 0)
    from stripe_sandbox.checkout import settle_bank_payment

    settle_bank_payment(shop.sandbox, str(pending.payment_intent_id), succeeds=arrives)
    await shop.deliver()
    done = await shop.billing.purchase("acme", purchase.id)
    assert done.status is (PurchaseStatus.CREDITED if arrives else PurchaseStatus.FAILED)
    assert (await shop.account()).bonus == (200 if arrives else 0)


async def test_s21_an_expired_session_ends_the_purchase(shop: Shop) -> None:
    await shop.open()
    started = await shop.billing.start_pack_checkout("acme")
    purchase = await shop.billing.purchase("acme", str(started.purchase_id))
    await shop.stripe.v1.checkout.sessions.expire_async(purchase.checkout_session_id)
    await shop.deliver()
    assert (await shop.billing.purchase("acme", purchase.id)).status is PurchaseStatus.EXPIRED


async def test_s21_a_crash_between_ledger_and_purchase_is_healed_at_the_next_look(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy()
    await shop.deliver()
    await shop.sql("UPDATE purchases SET status = 'open', entry_seq = NULL")
    healed = await shop.billing.purchase_of_return("acme", purchase.checkout_session_id)
    assert healed.status is PurchaseStatus.CREDITED
    assert healed.entry_seq is not None
    assert (await shop.account()).bonus == 200


async def test_a_return_visit_or_a_look_at_somebody_elses_purchase_is_refused(shop: Shop) -> None:
    await shop.open()
    await shop.open("mallory")
    purchase = await shop.buy()
    for attempt in (
        shop.billing.purchase_of_return("mallory", purchase.checkout_session_id),
        shop.billing.purchase("mallory", purchase.id),
        shop.billing.purchase_of_return("acme", "cs_test_none"),
    ):
        with pytest.raises(UnknownPurchase):
            await attempt
    assert (await shop.account("mallory")).bonus == 0


@pytest.mark.parametrize("seed", range(5))
async def test_s27_any_order_and_any_number_of_deliveries_end_in_the_same_state(shop: Shop, seed: int) -> None:
    await shop.open(plan="free")
    started = await shop.billing.start_plan_checkout("acme", plan="plus")
    await shop.pay(started.url)
    events = shop.events()
    # To buy, the plan has to have arrived; the rest of the story is delivered in any order.
    await shop.deliver([e for e in events if e["type"] == "customer.subscription.created"])
    await shop.buy()
    events = (events + shop.events()) * 3
    random.Random(seed).shuffle(events)
    await shop.deliver(events)
    account = await shop.account()
    assert (account.plan, account.monthly, account.bonus) == ("plus", 500, 200)


async def test_stripe_down_or_slow_leaves_no_purchase(
    database_url: str, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallystick.billing.stripe_api.TIMEOUT_SECONDS", 0.2)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await asyncio.sleep(5)

    async with serving(slow) as slow_url, SandboxServer(Sandbox()) as server:
        for api_base in ("http://127.0.0.1:9", slow_url):
            async with make_shop(database_url, catalogue, server, api_base=api_base) as shop:
                if api_base != slow_url:
                    await shop.open()
                with pytest.raises(StripeUnavailable) as refused:
                    await shop.billing.start_pack_checkout("acme")
                assert refused.value.retry_after > 0
                assert await shop.billing.purchases("acme") == []


async def test_a_key_that_stripe_refuses_is_told_without_showing_it(
    database_url: str, catalogue: Catalogue, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        SandboxServer(Sandbox()) as server,
        make_shop(database_url, catalogue, server, secret_key="sk_live_verysecretkey") as shop,
    ):
        await shop.open()
        with pytest.raises(StripeRejected) as refused:
            await shop.billing.start_pack_checkout("acme")
    assert "verysecret" not in refused.value.message + caplog.text
