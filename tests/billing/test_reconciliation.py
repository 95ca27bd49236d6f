"""Self-healing: every difference between Stripe and the ledger is found, the safe ones are repaired, through the
same functions as webhooks use, and what is left is told with what to do."""

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update

from stripe_sandbox import disputes, refunds
from tallystick.billing import HANDLED_EVENTS, Billing, PurchaseStatus, Report
from tallystick.billing.clawbacks import Clawbacks
from tallystick.billing.differences import Difference, Kind
from tallystick.billing.errors import ReconciliationUnderWay, StripeUnavailable
from tallystick.billing.inbox import Inbox
from tallystick.billing.purchases import Purchases
from tallystick.billing.stripe_api import StripeApi
from tallystick.billing.walks import Walks
from tallystick.database.engine import Database
from tallystick.database.tables import purchases, stripe_events
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import GrantBonus, Remove
from tallystick.ledger import Ledger
from tests.billing.conftest import BANK, Shop, subscribe_double
from tests.billing.lifecycle import living
from tests.conftest import FrozenClock


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.billing.comparisons.CALLS_PER_SECOND", 10_000)


async def look(shop: Shop) -> Report:
    return await shop.billing.reconcile()


async def heal(shop: Shop) -> Report:
    return await shop.billing.reconcile(apply=True)


def kinds(report: Report) -> set[Kind]:
    return {difference.kind for difference in report.left} - {Kind.EVENT_NOT_RECEIVED}


async def refund(shop: Shop, purchase_id: str, amount: int) -> None:
    purchase = await shop.billing.purchase("acme", purchase_id)
    session = await shop.stripe.v1.checkout.sessions.retrieve_async(purchase.checkout_session_id)
    params: Any = {"payment_intent": session.payment_intent, "amount": amount}
    await shop.stripe.v1.refunds.create_async(params)


async def test_on_a_healthy_system_nothing_is_left_and_nothing_is_unexplained(shop: Shop) -> None:
    await shop.open()
    for _ in range(3):
        await shop.buy()
        await shop.deliver()
    await refund(shop, (await shop.billing.purchases("acme"))[0].id, 300)
    await shop.deliver()
    report = await look(shop)
    assert (report.left, report.repaired, report.unexplained) == ([], [], 0)
    assert report.is_healthy
    assert (report.expected, report.booked) == (500, 500)
    assert (report.looked_at["sessions"], report.looked_at["charges"]) == (3, 3)
    # Those that were received are counted as those that were not; those that nobody acts on are not looked at.
    handled = [each for each in shop.sandbox.events() if each["type"] in HANDLED_EVENTS]
    assert report.looked_at["events"] == len(handled) == 5


async def test_what_is_paid_and_not_credited_is_told_and_then_repaired(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy()
    shop.events()
    report = await look(shop)
    assert kinds(report) == {Kind.PAID_NOT_CREDITED}
    assert (report.unexplained, (await shop.account()).bonus) == (0, 0)
    report = await heal(shop)
    assert (report.left, report.unexplained, (await shop.account()).bonus) == ([], 0, 200)
    assert (await shop.billing.purchase("acme", purchase.id)).status is PurchaseStatus.CREDITED
    assert (await heal(shop)).is_healthy


async def test_s23_a_refund_and_s25_a_dispute_that_nobody_told_us_of_are_made_up_for(shop: Shop) -> None:
    await shop.open()
    first = await shop.buy()
    await shop.deliver()
    second = await shop.buy()
    await shop.deliver()
    await refund(shop, first.id, 300)
    intent = (await shop.billing.purchase("acme", second.id)).payment_intent_id
    disputes.open(shop.sandbox, intent or "", kind=disputes.Kind.INQUIRY)
    shop.events()
    assert kinds(await look(shop)) == {Kind.REFUND_WITHOUT_CLAWBACK, Kind.DISPUTE_NOT_FROZEN}
    assert (await heal(shop)).is_healthy
    account = await shop.account()
    assert (account.bonus, account.frozen) == (300, 200)
    disputes.win(shop.sandbox, (await shop.stripe.v1.disputes.list_async()).data[0].id)
    shop.events()
    assert kinds(await look(shop)) == {Kind.FROZEN_WITHOUT_DISPUTE}
    assert (await heal(shop)).is_healthy
    assert (await shop.account()).frozen == 0


async def test_s15_s16_a_subscription_that_nobody_told_us_of_is_made_up_for(shop: Shop) -> None:
    await shop.open(plan="free")
    started = await shop.billing.start_plan_checkout("acme", plan="plus")
    assert await shop.pay(started.url) == 303
    shop.events()
    assert kinds(await look(shop)) == {Kind.WRONG_PLAN}
    assert (await heal(shop)).is_healthy
    account = await shop.account()
    assert (account.plan, account.monthly) == ("plus", 500)
    subscription = (await shop.stripe.v1.subscriptions.list_async()).data[0]
    await shop.stripe.v1.subscriptions.update_async(subscription.id, {"cancel_at_period_end": True})
    shop.events()
    assert kinds(await look(shop)) == {Kind.SUBSCRIPTION_OUT_OF_DATE}
    await shop.stripe.v1.subscriptions.cancel_async(subscription.id)
    shop.events()
    assert kinds(await look(shop)) == {Kind.WRONG_PLAN}
    assert (await heal(shop)).is_healthy
    assert (await shop.account()).plan == "free"


async def test_s15_a_paid_subscription_that_belongs_to_no_account_here_is_told_until_it_does(shop: Shop) -> None:
    await shop.open(plan="free")
    customer = await subscribe_double(shop)
    await shop.deliver()
    for _ in range(2):
        (left,) = (await heal(shop)).left
        assert (left.kind, left.account_id, left.is_safe) == (Kind.UNKNOWN_SUBSCRIPTION, None, False)
        assert left.subject == shop.sandbox.store.newest_first("subscription")[0]["id"]
        assert customer in left.suggestion
    await shop.stripe.v1.customers.update_async(customer, {"metadata": {"account_id": "acme"}})
    shop.events()
    assert (await heal(shop)).is_healthy
    account = await shop.account()
    assert (account.plan, account.monthly) == ("plus", 500)


async def test_a_subscription_to_something_else_or_one_that_is_over_is_no_difference(shop: Shop) -> None:
    shop.sandbox.seed_price(
        price_id="price_other", product_name="Another", unit_amount=500, currency="usd", recurring="month"
    )
    await subscribe_double(shop, price="price_other")
    customer = await subscribe_double(shop)
    subscription = (await shop.stripe.v1.subscriptions.list_async({"customer": customer})).data[0]
    await shop.stripe.v1.subscriptions.cancel_async(subscription.id)
    await shop.deliver()
    assert (await look(shop)).is_healthy


async def test_s23_a_refund_of_a_payment_from_before_the_look_back_is_accounted_for_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.open()
    purchase = await shop.buy()
    await shop.deliver()
    shop.sandbox.advance(3_600)
    since = datetime.fromtimestamp(shop.sandbox.now(), UTC)
    await refund(shop, purchase.id, 300)
    shop.events()

    async def in_vain(*_: Any) -> None:
        """A repair that did not help must not be told as one."""

    with monkeypatch.context() as patched:
        patched.setattr(Clawbacks, "sync", in_vain)
        patched.setattr(Inbox, "work", _nothing_to_work)
        report = await shop.billing.reconcile(since=since, apply=True)
    assert Kind.REFUND_WITHOUT_CLAWBACK in kinds(report)
    assert (report.expected, report.booked, report.unexplained) == (-100, 0, 0)
    report = await shop.billing.reconcile(since=since, apply=True)
    assert (report.left, report.expected, report.booked, report.unexplained) == ([], -100, -100, 0)


async def _nothing_to_work(_: Inbox) -> int:
    return 0


async def test_what_stripe_did_not_list_and_is_paid_is_repaired_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.open()
    await shop.buy()
    page = StripeApi.page

    async def forgetful(self: StripeApi, of: str, params: dict[str, Any], after: str | None) -> Any:
        return ([], None) if of in ("events", "sessions") else await page(self, of, params, after)

    monkeypatch.setattr(StripeApi, "page", forgetful)
    report = await heal(shop)
    assert [each.kind for each in report.repaired] == [Kind.PAID_NOT_CREDITED]
    assert (await shop.account()).bonus == 200
    assert report.is_healthy


async def test_a_checkout_that_expired_unheard_is_closed(shop: Shop) -> None:
    await shop.open()
    started = await shop.billing.start_pack_checkout("acme")
    assert started.purchase_id is not None
    purchase = await shop.billing.purchase("acme", started.purchase_id)
    await shop.stripe.v1.checkout.sessions.expire_async(purchase.checkout_session_id)
    shop.events()
    assert kinds(await look(shop)) == {Kind.NOT_CLOSED}
    assert (await heal(shop)).is_healthy
    assert (await shop.billing.purchase("acme", purchase.id)).status is PurchaseStatus.EXPIRED


async def test_what_is_credited_and_not_paid_is_for_an_operator(shop: Shop) -> None:
    await shop.open()
    started = await shop.billing.start_pack_checkout("acme")
    key = f"purchase:{started.purchase_id}"
    await shop.ledger.submit(GrantBonus(account_id="acme", key=key, credits=200))
    report = await heal(shop)
    (left,) = report.left
    assert (left.kind, left.credits, report.unexplained) == (Kind.CREDITED_NOT_PAID, -200, 0)
    assert left.suggestion.startswith(f"tallystick credits remove acme 200 --key decided:{started.purchase_id} ")
    assert (await shop.account()).bonus == 200
    await decide(shop, left)
    assert (await heal(shop)).is_healthy
    account = await shop.account()
    assert account.monthly + account.bonus == 25


async def test_another_amount_than_was_bought_is_for_an_operator(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy()
    await shop.deliver()
    await shop.sql(update(purchases).where(purchases.c.id == purchase.id).values(credits=250))
    report = await heal(shop)
    assert {left.kind: left.credits for left in report.left} == {Kind.CREDITED_ANOTHER_AMOUNT: 50}
    assert report.unexplained == 0
    await decide(shop, report.left[0])
    assert (await heal(shop)).is_healthy
    assert (await shop.account()).bonus == 250


async def test_a_payment_for_a_purchase_nobody_knows_is_for_an_operator(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy()
    await shop.sql(delete(purchases).where(purchases.c.id == purchase.id))
    (left,) = [left for left in (await heal(shop)).left if left.kind is not Kind.EVENT_NOT_RECEIVED]
    assert (left.kind, left.subject) == (Kind.UNKNOWN_PURCHASE, purchase.checkout_session_id)
    assert left.suggestion == (
        f"tallystick credits grant acme CREDITS --key {left.decision_key} --reason 'Paid as {left.subject}'"
    )
    await decide(shop, replace(left, suggestion=left.suggestion.replace("CREDITS", "200")))
    assert (await heal(shop)).is_healthy


async def test_no_credits_are_suggested_for_a_payment_that_was_given_back(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy()
    await shop.sql(delete(purchases).where(purchases.c.id == purchase.id))
    shop.events()
    intent = shop.sandbox.store.newest_first("checkout.session")[0]["payment_intent"]
    refunds.create(shop.sandbox, {"payment_intent": intent, "amount": 300})
    assert kinds(await look(shop)) == {Kind.UNKNOWN_PURCHASE}
    refunds.create(shop.sandbox, {"payment_intent": intent})
    assert kinds(await look(shop)) == set()


async def test_what_is_suggested_can_be_pasted_into_a_shell_whatever_stripe_says(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy()
    await shop.stripe.v1.checkout.sessions.update_async(
        purchase.checkout_session_id, {"metadata": {"account_id": "acme; rm -rf x"}}
    )
    await shop.sql(delete(purchases).where(purchases.c.id == purchase.id))
    (left,) = [left for left in (await look(shop)).left if left.kind is Kind.UNKNOWN_PURCHASE]
    assert shlex.split(left.suggestion)[:5] == ["tallystick", "credits", "grant", "acme; rm -rf x", "CREDITS"]


async def decide(shop: Shop, left: Difference) -> None:
    """Do what was suggested, as an operator does."""
    match shlex.split(left.suggestion):
        case ["tallystick", "credits", "grant", account_id, credits, "--key", key, *_]:
            await shop.ledger.submit(GrantBonus(account_id=account_id, key=key, credits=int(credits)))
        case ["tallystick", "credits", "remove", account_id, credits, "--key", key, *_]:
            await shop.ledger.submit(Remove(account_id=account_id, key=key, amount=int(credits), reason="Not paid"))
        case ["tallystick", "refund", purchase_id]:
            await shop.billing.refund(purchase_id, key="decided")


async def test_a_purchase_that_stripe_does_not_know_is_for_an_operator(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy()
    await shop.deliver()
    elsewhere = update(purchases).where(purchases.c.id == purchase.id)
    await shop.sql(elsewhere.values(checkout_session_id="cs_test_elsewhere"))
    report = await heal(shop)
    assert Kind.UNKNOWN_AT_STRIPE in kinds(report)
    assert report.unexplained == 0


@pytest.mark.parametrize("decision", ["refund", "grant"])
async def test_a_purchase_that_needs_review_stays_in_the_report_until_it_is_decided(
    database_url: str, monkeypatch: pytest.MonkeyPatch, decision: str
) -> None:
    async with living(database_url, monkeypatch) as life:
        await life.subscribe()
        purchase = await life.buy()
        await life.stripe.v1.checkout.sessions.update_async(
            purchase.checkout_session_id, {"metadata": {"credits": "9999"}}
        )
        await life.deliver()
        for day in range(1, 6):
            await life.pass_until(2026, 2, day)
            (left,) = (await heal(life)).left
            assert (left.kind, left.suggestion) == (Kind.NEEDS_REVIEW, f"tallystick refund {purchase.id}")
            assert (await life.account()).bonus == 0
        if decision == "grant":
            correction = GrantBonus(account_id="acme", key=left.decision_key, credits=200)
            await life.ledger.submit(correction)
        else:
            await decide(life, left)
        assert (await heal(life)).is_healthy


async def test_a_payment_for_a_purchase_nobody_knows_stays_in_the_report_too(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with living(database_url, monkeypatch) as life:
        await life.subscribe()
        purchase = await life.buy()
        await life.sql(delete(purchases).where(purchases.c.id == purchase.id))
        await life.deliver()
        for day in range(1, 4):
            await life.pass_until(2026, 2, day)
            # A walk of one's own, that looks back less far, does not lose it either.
            await life.billing.reconcile(apply=True, since=life.clock())
            (left,) = (await heal(life)).left
            assert (left.kind, left.subject) == (Kind.UNKNOWN_PURCHASE, purchase.checkout_session_id)
        await decide(life, replace(left, suggestion=left.suggestion.replace("CREDITS", "200")))
        assert (await heal(life)).is_healthy


async def test_a_walk_that_looks_back_less_far_leaves_no_gap_to_the_next_one(
    database_url: str, clock: FrozenClock
) -> None:
    async with closing(Database.connect(database_url)) as database:
        walks = Walks(database, clock)

        async def walk(since: datetime | None = None) -> datetime:
            clock.advance(hours=6)
            begun = await walks.begin(since=since, applied=True)
            await walks.finish(begun)
            return begun.report.since

        assert await walk(clock() + timedelta(hours=5)) == clock() - timedelta(hours=1)
        # What it has not looked at is walked first of all.
        assert await walk() == clock() - timedelta(days=30)
        assert await walk() == clock() - timedelta(hours=7)
        for _ in range(2):
            await walk(clock() + timedelta(hours=5))
        assert await walk() == clock() - timedelta(hours=19)
        await walk(clock() - timedelta(hours=6))
        assert await walk() == clock() - timedelta(hours=7)


@asynccontextmanager
async def closing(database: Database) -> AsyncIterator[Database]:
    try:
        yield database
    finally:
        await database.close()


async def test_s21_a_delayed_payment_that_is_still_under_way_is_no_difference(shop: Shop) -> None:
    await shop.open()
    await shop.buy(form=BANK)
    await shop.deliver()
    assert (await look(shop)).is_healthy


async def test_a_walk_with_few_calls_goes_on_where_it_stopped(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.billing.reconciliation.PAGE", 2)
    names = [await shop.open(f"acme{n}") for n in range(5)]
    for name in names:
        await shop.buy(name)
    shop.events()
    runs = 1
    while not (report := await shop.billing.reconcile(apply=True, max_calls=4)).finished:
        runs += 1
        assert runs < 60
    assert runs > 5
    assert (report.left, report.unexplained, report.looked_at["sessions"]) == ([], 0, 5)
    # What was looked at before it stopped is not counted again after it.
    assert (report.expected, report.booked) == (1000, 1000)
    assert [(await shop.account(name)).bonus for name in names] == [200] * 5


@pytest.mark.parametrize("apply", [False, True])
async def test_a_walk_with_few_calls_stops_within_a_page_and_looks_at_everything_once(
    shop: Shop, apply: bool
) -> None:
    for n in range(5):
        await shop.buy(await shop.open(f"acme{n}"))
    shop.events()
    before = runs = 0
    while not (report := await shop.billing.reconcile(apply=apply, max_calls=1)).finished:
        # A page, and what it is looking at when they are made, which it finishes.
        assert report.calls - before <= 4
        before, runs = report.calls, runs + 1
    assert runs > 10
    assert (report.looked_at["sessions"], report.looked_at["charges"], report.unexplained) == (5, 5, 0)
    found = [(each.kind, each.subject) for each in (report.repaired if apply else report.left)]
    assert len(found) == len(set(found))


async def test_a_walk_that_stripe_interrupts_goes_on_where_it_stopped(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.open()
    await shop.buy()
    shop.events()
    asked: list[str] = []
    page = StripeApi.page

    async def unreliable(self: StripeApi, of: str, params: dict[str, Any], after: str | None) -> Any:
        asked.append(of)
        if asked.count("charges") == 1 and of == "charges":
            raise StripeUnavailable
        return await page(self, of, params, after)

    monkeypatch.setattr(StripeApi, "page", unreliable)
    with pytest.raises(StripeUnavailable):
        await heal(shop)
    assert (await heal(shop)).finished
    assert asked.count("events") == 1
    assert (await shop.account()).bonus == 200


async def test_of_two_processes_that_take_up_the_same_walk_one_stops(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.open()
    await shop.buy()
    shop.events()
    assert not (await shop.billing.reconcile(apply=True, max_calls=1)).finished
    both = asyncio.Barrier(2)
    page = StripeApi.page

    async def together(self: StripeApi, of: str, params: dict[str, Any], after: str | None) -> Any:
        with suppress(asyncio.BrokenBarrierError):
            await both.wait()
        await both.abort()
        return await page(self, of, params, after)

    monkeypatch.setattr(StripeApi, "page", together)
    ends = await asyncio.gather(heal(shop), heal(shop), return_exceptions=True)
    [stopped] = [end for end in ends if isinstance(end, BaseException)]
    assert isinstance(stopped, ReconciliationUnderWay)
    [report] = [end for end in ends if isinstance(end, Report)]
    assert (report.is_healthy, report.expected, report.booked) == (True, 200, 200)
    assert (await shop.account()).bonus == 200


async def test_a_running_service_reconciles_every_six_hours_and_takes_up_what_stalled(
    shop: Shop, catalogue: Catalogue, clock: FrozenClock
) -> None:
    billing = Billing(shop.settings, shop.database, shop.ledger, catalogue, clock)

    async def due() -> bool:
        before = await billing.latest_reconciliation()
        await billing.reconcile_when_due()
        return (await billing.latest_reconciliation()) != before

    assert await due()
    clock.advance(hours=5)
    assert not await due()
    clock.advance(hours=1)
    assert await due()
    clock.advance(hours=6)
    assert not (await billing.reconcile(apply=True, max_calls=1)).finished
    clock.advance(minutes=4)
    assert not await due()
    clock.advance(minutes=1)
    assert await due()
    latest = await billing.latest_reconciliation()
    assert latest is not None
    assert latest.report.finished
    await billing.close()


async def test_a_service_that_stops_breaks_a_walk_off_and_the_next_one_goes_on(
    shop: Shop, catalogue: Catalogue, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.open()
    await shop.buy()
    shop.events()
    billing, stopping, begun = (
        Billing(shop.settings, shop.database, shop.ledger, catalogue, clock),
        asyncio.Event(),
        asyncio.Event(),
    )
    page = StripeApi.page

    async def slow(self: StripeApi, of: str, params: dict[str, Any], after: str | None) -> Any:
        if of == "sessions":
            begun.set()
            await asyncio.Event().wait()
        return await page(self, of, params, after)

    with monkeypatch.context() as patch:
        patch.setattr(StripeApi, "page", slow)
        patch.setattr("tallystick.billing.billing.RECONCILE_CHECK_SECONDS", 0)
        running = asyncio.create_task(billing.run(stopping))
        await asyncio.wait_for(begun.wait(), 10)
        stopping.set()
        await asyncio.wait_for(running, 10)
    latest = await billing.latest_reconciliation()
    assert latest is not None
    assert (latest.phase, latest.report.finished) == ("sessions", False)
    clock.advance(minutes=5)
    await billing.reconcile_when_due()
    latest = await billing.latest_reconciliation()
    assert latest is not None
    assert (latest.report.finished, latest.report.expected, latest.report.booked) == (True, 200, 200)
    assert (await shop.account()).bonus == 200
    await billing.close()


class _Crash(BaseException):
    """Whatever ends a process in the middle of something."""


@pytest.mark.parametrize("at", range(1, 4))
@pytest.mark.parametrize(
    ("owner", "method"), [(Walks, "keep"), (Inbox, "store"), (Ledger, "submit"), (Purchases, "finish_look")]
)
async def test_a_walk_that_is_killed_anywhere_ends_the_same_when_it_is_run_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, owner: Any, method: str, at: int
) -> None:
    for name in ("acme", "bob"):
        await shop.open(name)
        await shop.buy(name)
    await refund(shop, (await shop.billing.purchases("acme"))[0].id, 300)
    shop.events()
    calls = 0
    original = getattr(owner, method)

    async def deadly(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        result = await original(*args, **options)
        if calls == at:
            raise _Crash
        return result

    with monkeypatch.context() as patched:
        patched.setattr(owner, method, deadly)
        try:
            await heal(shop)
        except _Crash:
            # What was leased when it died is taken up when the lease has run out, or right away here.
            await release_leases(shop)
    for _ in range(2):
        report = await heal(shop)
    assert report.is_healthy
    assert [((await shop.account(n)).bonus, (await shop.account(n)).debt) for n in ("acme", "bob")] == [
        (100, 0),
        (200, 0),
    ]


async def release_leases(shop: Shop) -> None:
    """Let the leases of a dead process run out."""
    waiting = update(stripe_events).where(stripe_events.c.due_at.is_not(None))
    await shop.sql(waiting.values(due_at=shop.billing._clock()))
