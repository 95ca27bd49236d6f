"""The life of a subscription while it is paid: changed, paused, cancelled, taken up again, by the month and the year."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tallystick.domain.account import EntryKind
from tallystick.domain.commands import Spend
from tallystick.domain.periods import add_months
from tests.billing.lifecycle import LITE, PRO, PRO_YEAR, T0, Life, living, on
from tests.conftest import PLUS_PRICE


@pytest.fixture
async def life(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Life]:
    async with living(database_url, monkeypatch) as life:
        yield life


async def test_s17_an_upgrade_is_paid_in_part_and_adds_its_share_at_once(life: Life) -> None:
    await life.subscribe()
    await life.ledger.submit(Spend(account_id="acme", key="s", amount=100))
    await life.pass_until(2026, 2, 10)
    await life.change("pro")
    share = 1_500 * 18 // 28
    said = await life.shows("pro", 400 + share, "active")
    assert said.text == "Your subscription is active and renews on February 28, 2026."
    (entry,) = [e for e in await life.ledger.entries("acme") if e.plan == "pro"]
    assert (entry.kind, entry.amount) == (EntryKind.PLAN_SET, share)
    invoice = life.sandbox.store.newest_first("invoice")[0]
    assert (invoice["billing_reason"], invoice["status"]) == ("subscription_update", "paid")
    await life.pass_until(2026, 2, 28)
    await life.shows("pro", 2_000, "active")


@pytest.mark.parametrize("inclusive", [False, True])
async def test_s15_s17_a_taxed_subscription_has_the_credits_of_an_untaxed_one(life: Life, inclusive: bool) -> None:
    given: Any = {"display_name": "VAT", "percentage": 20, "inclusive": inclusive}
    vat = (await life.stripe.v1.tax_rates.create_async(given)).id
    await life.subscribe()
    await life.update(default_tax_rates=[vat])
    await life.pass_until(2026, 2, 28)
    renewal = life.sandbox.store.newest_first("invoice")[0]
    assert (renewal["billing_reason"], renewal["total"]) == ("subscription_cycle", 1900 if inclusive else 2280)
    assert [tax["amount"] for tax in renewal["total_taxes"]] == [317 if inclusive else 380]
    await life.shows("plus", 500, "active")
    assert await life.opened() == [(T0, 500), (on(2026, 2, 28), 500)]
    await life.pass_until(2026, 3, 10)
    await life.change("pro")
    share = 1_500 * 21 // 31
    upgrade = life.sandbox.store.newest_first("invoice")[0]
    assert upgrade["billing_reason"] == "subscription_update"
    assert [tax["amount"] for tax in upgrade["total_taxes"]] == [338 if inclusive else 407]
    await life.shows("pro", 500 + share, "active")
    await life.pass_until(2026, 3, 31)
    await life.shows("pro", 2_000, "active")


async def test_s17_a_downgrade_waits_for_the_period_s_end(life: Life) -> None:
    await life.subscribe("pro")
    await life.pass_until(2026, 2, 10)
    await life.change("plus")
    said = await life.shows("pro", 2_000, "active")
    assert said.text == (
        "Your subscription is active and changes to PLUS on February 28, 2026. Until then nothing changes, and you "
        "can still take it back under Manage subscription."
    )
    await life.pass_until(2026, 2, 28)
    said = await life.shows("plus", 500, "active")
    assert said.text == "Your subscription is active and renews on March 31, 2026."
    assert await life.opened() == [(T0, 2_000), (on(2026, 2, 28), 500)]


async def test_s17_a_change_that_waits_is_told_until_it_is_taken_back_in_whatever_order_its_events_come(
    life: Life,
) -> None:
    await life.subscribe("pro")
    await life.change("plus", deliver=False)
    schedule = life.newest()["schedule"]
    events = life.events()
    assert [event["type"] for event in events if "schedule" in event["type"]] == [
        "subscription_schedule.created",
        "subscription_schedule.updated",
    ]
    # The schedule alone tells of its phases, and what it tells first may come last.
    for event in reversed(events):
        await life.deliver([event])
        assert "changes to PLUS on February 28, 2026" in (await life.shows("pro", 2_000, "active")).text
    # Another change is not put on top of it: the portal's first page shows what waits, and takes it back.
    await life.billing.start_plan_checkout("acme", plan="lite")
    assert life.sandbox.store.newest_first("billing_portal.session")[0]["flow"] is None
    await life.reschedule([{"price": LITE}], duration={"interval": "month", "interval_count": 2}, end="cancel")
    said = await life.shows("pro", 2_000, "active")
    assert "changes to LITE on February 28, 2026. It ends on April 28, 2026." in said.text
    life.sandbox.seed_price(price_id="price_x", product_name="X", unit_amount=1, currency="usd", recurring="month")
    await life.reschedule([{"price": "price_x"}])
    assert "renews on February 28" in (await life.shows("pro", 2_000, "active")).text
    await life.reschedule(None, end="cancel")
    assert "You are on PRO until February 28, 2026" in (await life.shows("pro", 2_000, "active")).text
    await life.reschedule([{"price": PLUS_PRICE}])
    # A restricted key that may not see it loses that sentence, and nothing else.
    life.sandbox.outages.fail("forbidden", path="/v1/subscription_schedules", times=None)
    await life.update(metadata={"looked": "at"})
    assert "renews on February 28" in (await life.shows("pro", 2_000, "active")).text
    life.sandbox.outages.clear()
    await life.update(metadata={"looked": "again"})
    assert "changes to PLUS" in (await life.shows("pro", 2_000, "active")).text
    await life.stripe.v1.subscription_schedules.release_async(schedule)
    (released,) = [event for event in life.events() if event["type"] == "subscription_schedule.released"]
    await life.deliver([released])
    said = await life.shows("pro", 2_000, "active")
    assert said.text == "Your subscription is active and renews on February 28, 2026."


async def test_s17_changing_plans_back_and_forth_at_stripe_creates_nothing(life: Life) -> None:
    await life.subscribe()
    await life.pass_until(2026, 2, 10)
    plus = life.newest()["items"]["data"][0]["price"]["id"]
    for price in (PRO, plus, PRO, plus):
        item = life.newest()["items"]["data"][0]["id"]
        await life.update(items=[{"id": item, "price": price}], proration_behavior="always_invoice")
    await life.shows("plus", 500 + 1_500 * 18 // 28, "active")
    await life.pass_until(2026, 2, 28)
    await life.shows("plus", 500, "active")


async def test_s16_s18_cancelled_at_once_the_plan_ends_and_what_was_paid_stays_until_its_end(life: Life) -> None:
    await life.subscribe()
    await life.buy()
    await life.pass_until(2026, 2, 10)
    await life.cancel()
    said = await life.shows("free", 500, "canceled")
    assert said.text == "Your subscription to PLUS has ended. Your bonus credits stay yours."
    await life.pass_until(2026, 2, 28)
    await life.shows("free", 25, "canceled")
    assert (await life.balance()).bonus == 200
    assert await life.opened() == [(T0, 500), (on(2026, 2, 28), 25)]


async def test_s16_cancelled_at_the_period_s_end_the_plan_goes_on_until_then(life: Life) -> None:
    await life.subscribe()
    await life.pass_until(2026, 2, 10)
    await life.update(cancel_at_period_end=True)
    said = await life.shows("plus", 500, "active")
    assert "You are on PLUS until February 28, 2026" in said.text
    await life.pass_until(2026, 2, 28)
    await life.shows("free", 25, "canceled")
    assert await life.opened() == [(T0, 500), (on(2026, 2, 28), 25)]


async def test_s16_a_cancellation_that_is_taken_back_changes_nothing(life: Life) -> None:
    await life.subscribe()
    await life.update(cancel_at_period_end=True)
    await life.update(cancel_at_period_end=False)
    said = await life.shows("plus", 500, "active")
    assert said.text == "Your subscription is active and renews on February 28, 2026."
    await life.pass_until(2026, 2, 28)
    await life.shows("plus", 500, "active")


async def test_s15_whoever_comes_back_after_the_end_has_a_new_subscription_and_its_allowance(life: Life) -> None:
    first = await life.subscribe()
    await life.cancel()
    await life.pass_until(2026, 3, 2)
    await life.shows("free", 25, "canceled")
    assert await life.subscribe() != first
    said = await life.shows("plus", 500, "active")
    assert said.text == "Your subscription is active and renews on April 2, 2026."
    assert await life.opened() == [(T0, 500), (on(2026, 2, 28), 25), (on(2026, 3, 2), 500)]


async def test_s16_paused_the_plan_rests_and_resumed_it_goes_on(life: Life) -> None:
    id = await life.subscribe()
    await life.pass_until(2026, 2, 10)
    await life.stripe.v1.subscriptions.pause_async(id, {"type": "subscription"})
    await life.deliver()
    said = await life.shows("free", 500, "paused")
    assert said.text == "Your subscription to PLUS is paused. Your bonus credits stay yours."
    await life.pass_until(2026, 3, 5)
    await life.shows("free", 25, "paused")
    await life.stripe.v1.subscriptions.resume_async(id, {"billing_cycle_anchor": "now"})
    await life.deliver()
    said = await life.shows("plus", 500, "active")
    assert said.text == "Your subscription is active and renews on April 5, 2026."


@pytest.mark.parametrize("late", [False, True])
async def test_s17_s27_resumed_within_its_month_the_rest_of_the_new_one_follows(life: Life, late: bool) -> None:
    id = await life.subscribe()
    await life.pass_until(2026, 2, 3)
    await life.stripe.v1.subscriptions.pause_async(id, {"type": "subscription"})
    await life.pass_until(2026, 2, 12, deliver=not late)
    await life.stripe.v1.subscriptions.resume_async(id, {"billing_cycle_anchor": "now"})
    await life.pass_until(2026, 3, 2, deliver=not late)
    item = life.newest()["items"]["data"][0]["id"]
    # 12 days of 28 are left when the old month ends, and 10 at the upgrade.
    await life.update(items=[{"id": item, "price": PRO}], proration_behavior="always_invoice")
    await life.shows("pro", 500 * 12 // 28 + 1_500 * 10 // 28, "active")


@pytest.mark.parametrize("late", [False, True])
async def test_s17_s27_an_upgrade_that_is_billed_with_the_next_invoice_counts_from_when_it_was_made(
    life: Life, late: bool
) -> None:
    await life.subscribe()
    await life.pass_until(2026, 2, 10)
    item = life.newest()["items"]["data"][0]["id"]
    await life.stripe.v1.subscriptions.update_async(
        life.newest()["id"], {"items": [{"id": item, "price": PRO}], "proration_behavior": "create_prorations"}
    )
    if not late:
        await life.deliver()
    await life.pass_until(2026, 2, 20, deliver=not late)
    await life.deliver()
    # 18 days of 28 were left, whenever it is heard.
    await life.shows("pro", 500 + 1_500 * 18 // 28, "active")
    await life.pass_until(2026, 3, 2)
    await life.shows("pro", 2_000, "active")


async def test_s17_a_key_that_may_not_read_what_waits_counts_an_upgrade_from_when_it_is_heard(life: Life) -> None:
    await life.subscribe()
    life.sandbox.outages.fail("forbidden", path="/v1/invoiceitems", times=None)
    await life.pass_until(2026, 2, 10)
    item = life.newest()["items"]["data"][0]["id"]
    await life.update(items=[{"id": item, "price": PRO}], proration_behavior="create_prorations")
    await life.shows("pro", 500 + 1_500 * 18 // 28, "active")


async def test_s15_while_its_billing_is_paused_nothing_new_opens(life: Life) -> None:
    await life.subscribe()
    await life.update(pause_collection={"behavior": "void"})
    await life.pass_until(2026, 3, 1)
    said = await life.shows("plus", 0, "active")
    assert "its billing is paused: no new monthly credits come" in said.text
    await life.update(pause_collection="")
    await life.shows("plus", 0, "active")
    await life.pass_until(2026, 3, 31)
    await life.shows("plus", 500, "active")


async def test_s15_a_trial_has_its_allowance_and_converts_when_it_is_paid(life: Life) -> None:
    await life.subscribe("lite")
    await life.ledger.submit(Spend(account_id="acme", key="s", amount=40))
    said = await life.shows("lite", 60, "trialing")
    assert said.text.startswith("You are trying LITE until February 14, 2026. The first payment is taken then")
    await life.pass_until(2026, 2, 14)
    said = await life.shows("lite", 100, "active")
    assert said.text == "Your subscription is active and renews on March 14, 2026."
    assert await life.opened() == [(T0, 100), (on(2026, 2, 14), 100)]
    await life.cancel()
    started = await life.billing.start_plan_checkout("acme", plan="lite")
    session = life.sandbox.store.newest_first("checkout.session")[0]
    assert (session["url"], session["amount_total"]) == (started.url, 500), "a trial is for whoever had none before"


@pytest.mark.parametrize(("without", "status"), [("cancel", "canceled"), ("pause", "paused")])
async def test_s16_a_trial_that_ends_without_a_card_ends_the_plan(life: Life, without: str, status: str) -> None:
    ends = {"end_behavior": {"missing_payment_method": without}}
    await life.begin(LITE, trial_period_days=14, trial_settings=ends)
    await life.shows("lite", 100, "trialing")
    await life.pass_until(2026, 2, 14)
    said = await life.shows("free", 25, status)
    assert ("has ended" if status == "canceled" else "is paused") in said.text
    assert await life.opened() == [(T0, 100), (on(2026, 2, 14), 25)]


async def test_s15_a_paid_year_opens_twelve_allowances_and_none_after_its_end(life: Life) -> None:
    await life.subscribe(interval="year")
    await life.update(cancel_at_period_end=True)
    for month in range(1, 12):
        await life.pass_until(*add_months(T0, month).timetuple()[:3])
        await life.shows("plus", 500, "active")
    await life.pass_until(2027, 1, 31)
    await life.shows("free", 25, "canceled")
    await life.pass_until(2027, 2, 28)
    await life.shows("free", 25, "canceled")
    months = [(add_months(T0, month), 500) for month in range(12)]
    assert await life.opened() == [*months, (on(2027, 1, 31), 25), (on(2027, 2, 28), 25)]


async def test_s16_a_year_that_is_cancelled_at_once_opens_nothing_more(life: Life) -> None:
    await life.subscribe(interval="year")
    await life.pass_until(2026, 3, 10)
    await life.cancel()
    await life.shows("free", 500, "canceled")
    await life.pass_until(2026, 4, 1)
    await life.shows("free", 25, "canceled")
    assert await life.opened() == [(T0, 500), (on(2026, 2, 28), 500), (on(2026, 3, 31), 25)]


async def test_s17_from_the_month_to_the_year_the_months_go_on_as_they_were(life: Life) -> None:
    await life.subscribe()
    await life.ledger.submit(Spend(account_id="acme", key="s", amount=450))
    await life.pass_until(2026, 2, 10)
    await life.change("plus", "year")
    said = await life.shows("plus", 50, "active")
    assert said.text == "Your subscription is active and renews on January 31, 2027."
    for month in range(1, 14):
        await life.pass_until(*add_months(T0, month).timetuple()[:3])
        await life.shows("plus", 500, "active")
    assert await life.opened() == [(add_months(T0, month), 500) for month in range(14)]


async def test_s17_s27_to_the_year_in_the_second_of_an_upgrade_the_year_is_paid_for_all_the_same(life: Life) -> None:
    await life.subscribe("plus")
    await life.pass_until(2026, 2, 9)
    for price in (PRO, PRO_YEAR):
        item = life.newest()["items"]["data"][0]["id"]
        billed = {"proration_behavior": "always_invoice", "payment_behavior": "error_if_incomplete"}
        await life.update(items=[{"id": item, "price": price}], **billed)
    await life.pass_until(2026, 3, 20)
    await life.shows("pro", 2_000, "active")
    assert (await life.account()).resets_at(life.clock()) == on(2026, 3, 31)


async def test_s17_from_the_year_to_the_month_the_year_comes_to_its_end_first(life: Life) -> None:
    await life.subscribe(interval="year")
    await life.pass_until(2026, 2, 10)
    await life.change("plus", "month")
    said = await life.shows("plus", 500, "active")
    assert said.text.startswith("Your subscription is active and is paid by the month from January 31, 2027 on.")
    for month in range(1, 14):
        await life.pass_until(*add_months(T0, month).timetuple()[:3])
        await life.shows("plus", 500, "active")
    assert await life.opened() == [(add_months(T0, month), 500) for month in range(14)]
    assert (await life.subscription()).period_end == add_months(T0, 14)
