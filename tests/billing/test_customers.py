"""Customers at Stripe that are deleted, doubled or changed: the account stays the same, and so does what it paid for."""

import pytest

from tallystick.billing import PurchaseStatus
from tallystick.billing.errors import UnknownPurchase
from tests.billing.conftest import BANK, Shop, subscribe_double


async def customer_of(shop: Shop) -> str:
    """The customer of the newest checkout."""
    newest: str = shop.sandbox.store.newest_first("checkout.session")[0]["customer"]
    return newest


async def test_a_customer_that_was_deleted_at_stripe_is_made_anew_at_the_next_checkout(shop: Shop) -> None:
    await shop.open()
    await shop.buy()
    await shop.deliver()
    first = await customer_of(shop)
    await shop.stripe.v1.customers.delete_async(first)
    await shop.buy()
    await shop.deliver()
    assert await customer_of(shop) != first
    assert (await shop.account()).bonus == 400


async def test_a_customer_that_is_made_anew_is_another_one_also_when_we_have_heard_of_the_deletion(
    shop: Shop,
) -> None:
    await shop.open()
    gone = []
    for _ in range(3):
        await shop.billing.start_pack_checkout("acme", email="a@example.com")
        gone.append(await customer_of(shop))
        await shop.stripe.v1.customers.delete_async(gone[-1])
        await shop.deliver()
        await shop.sql("UPDATE purchases SET status = 'expired'")
    assert len(set(gone)) == 3


async def test_s21_a_payment_of_a_customer_that_was_deleted_meanwhile_is_credited(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy(form=BANK)
    await shop.deliver()
    pending = await shop.billing.purchase("acme", purchase.id)
    await shop.stripe.v1.customers.delete_async(await customer_of(shop))
    await shop.billing.start_pack_checkout("acme")
    from stripe_sandbox.checkout import settle_bank_payment

    settle_bank_payment(shop.sandbox, str(pending.payment_intent_id), succeeds=True)
    await shop.deliver()
    assert (await shop.billing.purchase("acme", purchase.id)).status is PurchaseStatus.CREDITED


async def test_an_e_mail_that_changed_is_changed_at_stripe_at_the_next_checkout(shop: Shop) -> None:
    await shop.open()
    for email in ("a@example.com", "b@example.com"):
        started = await shop.billing.start_pack_checkout("acme", email=email)
        assert await shop.pay(started.url) == 303
        await shop.deliver()
    (customer,) = shop.sandbox.store.newest_first("customer")
    assert customer["email"] == "b@example.com"


async def test_an_e_mail_that_was_changed_at_stripe_stays_until_the_application_s_own_changes(shop: Shop) -> None:
    await shop.open()
    for at_stripe, given, expected in (
        (None, "a@example.com", "a@example.com"),
        ("mine@example.com", "a@example.com", "mine@example.com"),
        (None, None, "mine@example.com"),
        (None, "b@example.com", "b@example.com"),
        ("mine@example.com", "b@example.com", "mine@example.com"),
        (None, "mine@example.com", "mine@example.com"),
    ):
        if at_stripe is not None:
            await shop.stripe.v1.customers.update_async(await customer_of(shop), {"email": at_stripe})
        started = await shop.billing.start_pack_checkout("acme", email=given)
        assert await shop.pay(started.url) == 303
        await shop.deliver()
        (customer,) = shop.sandbox.store.newest_first("customer")
        assert customer["email"] == expected


async def test_s15_the_same_person_twice_is_one_account(shop: Shop) -> None:
    await shop.open(plan="free")
    await subscribe_double(shop, account_id="acme")
    await shop.deliver()
    account = await shop.account()
    assert (account.plan, account.monthly) == ("plus", 500)
    subscription = await shop.billing.subscription("acme")
    assert subscription is not None
    assert subscription.account_id == "acme"


async def test_s15_s16_of_two_customers_that_are_one_person_each_takes_its_own_with_it_when_it_is_deleted(
    shop: Shop,
) -> None:
    await shop.open(plan="free")
    started = await shop.billing.start_plan_checkout("acme", plan="plus")
    assert await shop.pay(started.url) == 303
    await shop.deliver()
    first = await customer_of(shop)
    double = await subscribe_double(shop, account_id="acme")
    await shop.buy()
    await shop.deliver()
    for gone, plan in ((double, "plus"), (first, "free")):
        await shop.stripe.v1.customers.delete_async(gone)
        await shop.deliver()
        account = await shop.account()
        assert (account.plan, account.monthly, account.bonus) == (plan, 500, 200)


async def test_a_customer_that_becomes_ours_brings_its_subscription(shop: Shop) -> None:
    await shop.open(plan="free")
    customer = await subscribe_double(shop)
    await shop.deliver()
    assert (await shop.account()).plan == "free"
    await shop.stripe.v1.customers.update_async(customer, {"metadata": {"account_id": "acme"}})
    await shop.deliver()
    account = await shop.account()
    assert (account.plan, account.monthly) == ("plus", 500)


@pytest.mark.parametrize("named", ["nobody", "no id at all"])
async def test_a_customer_whose_metadata_names_no_account_of_ours_changes_nothing(shop: Shop, named: str) -> None:
    await shop.open(plan="free")
    await subscribe_double(shop, account_id=named)
    await shop.deliver()
    assert (await shop.account()).plan == "free"
    assert all(event.status != "parked" for event in await shop.billing.latest_events(50))


async def test_a_session_that_stripe_does_not_know_is_no_purchase(shop: Shop) -> None:
    await shop.open()
    with pytest.raises(UnknownPurchase):
        await shop.billing.purchase_of_session("acme", "cs_test_nothing")
