"""S15 to S17, S27: a year that was paid, of which a subscription rests or is not billed for a while, heard of at once and
much later.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from stripe_sandbox import agenda, thin
from stripe_sandbox.billing import settings as billing_settings
from tallystick.billing.billing import HANDLED_EVENTS
from tallystick.billing.differences import of_subscription
from tallystick.billing.rests import Rest, Turn, gone_on_by, rests_of, turn_told
from tallystick.domain.account import EntryKind
from tallystick.domain.commands import OpenAccount, SetPlan, Spend
from tests.billing.conftest import Shop, make_shop
from tests.billing.lifecycle import DECLINES_LATER, GOOD, PLANS, PLUS_YEAR, PRO, PRO_YEAR, T0, Life, living, on
from tests.conftest import Fresh


@pytest.fixture
async def life(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Life]:
    async with living(database_url, monkeypatch) as life:
        yield life


Open = Callable[[], Awaitable[Shop]]


@pytest.fixture
async def another(life: Life, fresh_database: Fresh) -> AsyncIterator[Open]:
    """Opens further installations, that hear of the same life when they are told."""
    async with AsyncExitStack() as stack:

        async def open_one() -> Shop:
            url = await stack.enter_async_context(fresh_database())
            shop = await stack.enter_async_context(make_shop(url, PLANS, life.server, life.clock))
            await shop.ledger.submit(OpenAccount(account_id="acme", plan="free"))
            return shop

        yield open_one


@pytest.fixture
async def late(another: Open) -> Shop:
    return await another()


async def do(life: Life, what: str) -> None:
    """One thing at Stripe, of which nobody hears yet."""
    subscriptions: Any = life.stripe.v1.subscriptions
    customer = life.sandbox.store.newest_first("customer")[0]["id"]
    id = "" if what.startswith("a year") else life.newest()["id"]
    match what:
        case "a year":
            await subscriptions.create_async({"customer": customer, "items": [{"price": PLUS_YEAR}]})
        case "a year on trial":
            trial = {"items": [{"price": PLUS_YEAR}], "trial_period_days": 5}
            await subscriptions.create_async({"customer": customer, **trial})
        case "pause":
            await subscriptions.pause_async(id, {"type": "subscription"})
        case "resume":
            await subscriptions.resume_async(id, {"billing_cycle_anchor": "now"})
        case "upgrade":
            items = [{"id": life.newest()["items"]["data"][0]["id"], "price": PRO_YEAR}]
            changes = {"proration_behavior": "always_invoice", "payment_behavior": "allow_incomplete"}
            await subscriptions.update_async(id, {"items": items, **changes})
        case "void" | "mark_uncollectible" | "keep_as_draft":
            await subscriptions.update_async(id, {"pause_collection": {"behavior": what}})
        case "its billing goes on":
            await subscriptions.update_async(id, {"pause_collection": ""})
        case "cancel":
            await subscriptions.cancel_async(id)
        case "the card breaks" | "the card is mended":
            card = GOOD if what == "the card is mended" else DECLINES_LATER
            method = await life.stripe.v1.payment_methods.attach_async(card, {"customer": customer})
            default: Any = {"invoice_settings": {"default_payment_method": method.id}}
            await life.stripe.v1.customers.update_async(customer, default)
        case "pay":
            (invoice,) = life.sandbox.store.newest_first("invoice", lambda i: bool(i["status"] == "open"))
            await life.stripe.v1.invoices.pay_async(invoice["id"])


async def state(shop: Shop) -> tuple[str, int, datetime | None]:
    await shop.assert_proven()
    account = await shop.account()
    return account.plan, account.monthly, account.resets_at(shop.clock())


Happening = tuple[tuple[int, int], str]

PAUSED: list[Happening] = [((1, 31), "a year"), ((2, 10), "pause")]
UNPAID: list[Happening] = [((1, 31), "a year"), ((2, 10), "the card breaks"), ((2, 10), "upgrade")]


def not_billed(behavior: str) -> list[Happening]:
    return [((1, 31), "a year"), ((2, 10), behavior), ((4, 12), "upgrade")]


LIVES: dict[str, tuple[list[Happening], tuple[int, int], tuple[str, int, datetime]]] = {
    "paused": (PAUSED, (4, 5), ("free", 25, on(2026, 4, 30))),
    "paused as it began": ([((1, 31), "a year"), ((1, 31), "pause")], (4, 5), ("free", 25, on(2026, 4, 30))),
    "paused as it began, and resumed for no time": (
        [((1, 31), "a year"), ((1, 31), "pause"), ((4, 12), "resume"), ((4, 12), "pause")],
        (5, 5),
        ("free", 25, on(2026, 5, 12)),
    ),
    "paused within the month": (PAUSED, (2, 20), ("free", 500, on(2026, 2, 28))),
    "unpaid": (UNPAID, (4, 5), ("free", 25, on(2026, 4, 30))),
    # Of the month that goes on since, the plan adds its share from then: 18 days of 30.
    "resumed": ([*PAUSED, ((4, 12), "resume")], (4, 20), ("plus", 25 + 475 * 18 // 30, on(2026, 4, 30))),
    "resumed as a month began": ([*PAUSED, ((3, 31), "resume")], (4, 20), ("plus", 500, on(2026, 4, 30))),
    # The new year's months begin on the 12th: 12 days of 30 are left of the first when the old month ends.
    "resumed a month ago": ([*PAUSED, ((4, 12), "resume")], (5, 5), ("plus", 500 * 12 // 30, on(2026, 5, 12))),
    "resumed months ago": ([*PAUSED, ((4, 12), "resume")], (6, 20), ("plus", 500, on(2026, 7, 12))),
    "upgraded since": (
        [*PAUSED, ((4, 12), "resume"), ((4, 15), "upgrade")],
        (4, 20),
        ("pro", 25 + 475 * 18 // 30 + 1_500 * 15 // 30, on(2026, 4, 30)),
    ),
    "paid after all": (
        [*UNPAID, ((4, 12), "the card is mended"), ((4, 12), "pay")],
        (4, 20),
        ("pro", 25 + 1_975 * 18 // 30, on(2026, 4, 30)),
    ),
    "paid after all a month ago": (
        [*UNPAID, ((4, 12), "the card is mended"), ((4, 12), "pay")],
        (5, 5),
        ("pro", 2_000, on(2026, 5, 31)),
    ),
    # What was paid for only then opens its month whole.
    "its first year paid after all": (
        [
            ((1, 31), "a year on trial"),
            ((2, 1), "the card breaks"),
            ((4, 12), "the card is mended"),
            ((4, 12), "pay"),
        ],
        (4, 20),
        ("plus", 500, on(2026, 5, 5)),
    ),
    "paused, resumed and paused at once": (
        [((1, 31), "a year"), ((2, 10), "pause"), ((2, 10), "resume"), ((2, 10), "pause")],
        (3, 5),
        ("free", 25, on(2026, 3, 10)),
    ),
    "paused again": (
        [*PAUSED, ((3, 10), "resume"), ((3, 20), "pause")],
        (4, 5),
        ("free", 25, on(2026, 4, 10)),
    ),
    "paused again within the month, and resumed": (
        [*PAUSED, ((3, 10), "resume"), ((3, 12), "pause"), ((3, 20), "resume")],
        (3, 25),
        ("plus", 25 + 475 * 21 // 31, on(2026, 3, 31)),
    ),
    # What prolongs the year there does not make that month a whole one: 10 days of 28.
    "resumed again as a short month began": (
        [((1, 31), "a year"), ((2, 1), "pause"), ((2, 10), "resume"), ((2, 19), "pause"), ((2, 28), "resume")],
        (3, 5),
        ("plus", 500 * 10 // 28, on(2026, 3, 10)),
    ),
    # Each change adds whole credits.
    "upgraded as it was resumed": (
        [*PAUSED, ((3, 11), "resume"), ((3, 11), "upgrade")],
        (3, 20),
        ("pro", 25 + 475 * 20 // 31 + 1_500 * 20 // 31, on(2026, 3, 31)),
    ),
    # The old year's month ends on 31 March, that of the second year on 5 June: 28 days of 30 follow.
    "paused and resumed twice": (
        [((1, 31), "a year"), ((3, 2), "pause"), ((3, 5), "resume"), ((4, 19), "pause"), ((6, 3), "resume")],
        (6, 6),
        ("plus", 500 * 28 // 30, on(2026, 7, 3)),
    ),
    # Stripe carries the plan, though nobody is to pay for the change.
    "upgraded while its invoices are void": (
        not_billed("void"),
        (4, 20),
        ("pro", 500 + 1_500 * 18 // 30, on(2026, 4, 30)),
    ),
    "upgraded while its invoices are drafts": (not_billed("keep_as_draft"), (5, 5), ("pro", 2_000, on(2026, 5, 31))),
    "upgraded while its invoices are uncollectible, and ended": (
        [*not_billed("mark_uncollectible"), ((4, 15), "cancel")],
        (4, 20),
        ("free", 500 + 1_500 * 18 // 30, on(2026, 4, 30)),
    ),
    "upgraded while its invoices are void, and paused": (
        [*not_billed("void"), ((4, 13), "its billing goes on"), ((4, 15), "pause"), ((5, 15), "resume")],
        (5, 20),
        ("pro", 25 + 1_975 * 16 // 31, on(2026, 5, 31)),
    ),
    "ended": ([*PAUSED, ((4, 12), "cancel")], (4, 20), ("free", 25, on(2026, 4, 30))),
    "resumed within the month, and ended": (
        [*PAUSED, ((2, 20), "resume"), ((5, 12), "cancel")],
        (5, 15),
        ("free", 500, on(2026, 5, 20)),
    ),
    "paid after all within the month, and ended": (
        [*UNPAID, ((2, 20), "the card is mended"), ((2, 20), "pay"), ((5, 12), "cancel")],
        (5, 15),
        ("free", 2_000, on(2026, 5, 31)),
    ),
    "resumed, and ended": (
        [*PAUSED, ((3, 10), "resume"), ((5, 12), "cancel")],
        (5, 15),
        ("free", 500, on(2026, 6, 10)),
    ),
    "paid after all, and ended": (
        [*UNPAID, ((4, 12), "the card is mended"), ((4, 12), "pay"), ((5, 12), "cancel")],
        (5, 15),
        ("free", 2_000, on(2026, 5, 31)),
    ),
}


@pytest.mark.parametrize("name", LIVES)
async def test_s27_a_paid_year_comes_out_the_same_however_late_what_happens_to_it_is_heard(
    life: Life, another: Open, name: str
) -> None:
    happenings, (month, day), expected = LIVES[name]
    billing_settings.change(life.sandbox, after_retries="unpaid")
    await life.customer()
    seldom, at_first, events = await another(), await another(), life.events()

    async def hear() -> None:
        nonlocal events
        events += (new := life.events())
        await life.deliver(new)

    async def pass_to(day: datetime) -> None:
        while life.clock() < day:
            life.sandbox.advance(min(5 * 86_400, int((day - life.clock()).total_seconds())))
            agenda.run_due(life.sandbox)
            await hear()
            # One sees how things stand now and then, but is not told since when they do.
            await seldom.deliver([event for event in events if turn_told(event) is None][-1:])

    for (of_month, of_day), what in happenings:
        await pass_to(on(2026, of_month, of_day))
        await do(life, what)
        await hear()
        if what == happenings[0][1]:
            await at_first.deliver(events)
    await pass_to(on(2026, month, day))
    assert await state(life) == expected
    told = [event for event in events if event["type"].startswith(("customer.subscription.", "invoice.pa"))]
    shuffled = random.Random(name).sample(told, len(told))
    turns_last = sorted(told, key=lambda event: turn_told(event) is not None)
    for late, heard in ((seldom, shuffled), (at_first, told), (await another(), turns_last)):
        for event in heard:
            await late.deliver([event])
        assert await state(late) == expected


async def test_s16_s27_a_plan_that_is_heard_of_after_its_paid_month_takes_the_month_that_opened_for_want_of_it(
    life: Life, late: Shop
) -> None:
    await life.customer()
    await life.begin()
    await life.pass_until(2026, 2, 9)
    await life.update(pause_collection={"behavior": "keep_as_draft"})
    await life.pass_until(2026, 3, 14)
    item = life.newest()["items"]["data"][0]["id"]
    billed = {"proration_behavior": "always_invoice", "payment_behavior": "allow_incomplete"}
    await life.update(items=[{"id": item, "price": PRO}], **billed)
    await life.pass_until(2026, 3, 20)
    assert await state(life) == ("pro", 0, None)
    assert (await late.account()).plan == "free"
    events = life.sandbox.store.newest_first("event")
    assert await state(late) == ("free", 25, on(2026, 3, 31))
    for event in events:
        await late.deliver([event])
    assert await state(late) == ("pro", 0, None)


@pytest.mark.parametrize("first", ["the year", "the trial"])
async def test_s16_s27_a_month_of_a_year_that_had_ended_goes_also_where_another_subscription_ended_since(
    life: Life, late: Shop, first: str
) -> None:
    await life.customer()
    await do(life, "a year")
    await late.deliver(events := life.events())
    await life.deliver(events)
    await life.pass_until(2026, 2, 18, deliver=False)
    year = life.newest()["id"]
    await do(life, "cancel")
    await life.deliver(of_the_year := life.events())
    await life.pass_until(2026, 3, 29)
    await do(life, "a year on trial")
    await life.deliver(of_the_trial := life.events())
    await life.pass_until(2026, 4, 2)
    assert life.newest()["id"] != year
    await do(life, "cancel")
    await life.deliver(ends := life.events())
    of_the_trial += ends
    # The month of the year that would have begun on 31 March began within the trial.
    await life.pass_until(2026, 4, 6)
    for events in (of_the_year, of_the_trial) if first == "the year" else (of_the_trial, of_the_year):
        for event in events:
            if event["type"] in HANDLED_EVENTS:
                await late.deliver([event])
    assert (await state(life))[:2] == (await state(late))[:2] == ("free", 25)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), ()], ids=["in order", "its end first", "not at all"])
async def test_s27_a_rest_of_no_length_in_which_one_looked_leaves_the_months_whole(
    life: Life, late: Shop, order: tuple[int, ...]
) -> None:
    await life.customer()
    await do(life, "a year")
    await life.pass_until(2026, 2, 10, deliver=False)
    await life.deliver(events := life.events())
    paid = [event for event in events if event["type"] == "invoice.paid"]
    await do(life, "pause")
    await late.deliver(paid)
    assert await state(late) == ("free", 500, on(2026, 2, 28))
    resume = life.stripe.v1.subscriptions.resume_async
    await resume(life.newest()["id"], {"billing_cycle_anchor": "unchanged"})
    await life.deliver(events := life.events())
    await life.pass_until(2026, 3, 10)
    assert await state(life) == ("plus", 500, on(2026, 3, 31))
    assert (await late.account()).monthly == 25
    turns = list({turn_told(event): event for event in events if turn_told(event) is not None}.values())
    assert len(turns) == 2
    for event in (*(turns[n] for n in order), *paid):
        await late.deliver([event | {"id": f"{event['id']}_again"}])
    assert await state(late) == await state(life)


TWICE: dict[str, list[Happening]] = {
    "weeks apart": [
        ((2, 10), "pause"),
        ((2, 20), "resume"),
        ((3, 8), "pause"),
        ((3, 14), "resume"),
        ((3, 15), "upgrade"),
    ],
    "for no time": [((2, 10), "pause"), ((2, 10), "resume"), ((3, 8), "pause"), ((3, 8), "resume")],
    "at once again": [((2, 20), "pause"), ((3, 5), "resume"), ((3, 5), "pause"), ((3, 9), "resume")],
    "for no time, and until a month began": [
        ((3, 2), "pause"),
        ((3, 2), "resume"),
        ((3, 3), "pause"),
        ((4, 2), "resume"),
    ],
    "over a month's end": [
        ((2, 20), "pause"),
        ((3, 5), "resume"),
        ((3, 6), "pause"),
        ((3, 9), "resume"),
        ((3, 15), "upgrade"),
    ],
}


@pytest.mark.parametrize("name", TWICE)
async def test_s27_a_year_that_rested_twice_comes_out_the_same_in_whatever_order_that_is_heard(
    life: Life, another: Open, name: str
) -> None:
    await life.customer()
    for (month, day), what in [((1, 31), "a year"), *TWICE[name]]:
        await life.pass_until(2026, month, day)
        await do(life, what)
        await life.deliver()
    last = life.clock()
    await life.pass_until(2026, last.month, last.day + 5)
    expected = await state(life)
    events = list(reversed(life.sandbox.store.newest_first("event")))
    turns = [event for event in events if turn_told(event) is not None]
    others = [event for event in events if event not in turns and event["type"] in HANDLED_EVENTS]
    distinct = list({turn_told(event): event for event in turns}.values())
    assert len(distinct) == 4
    # Among them the first rest with the end of the second, and both beginnings, before what lies between.
    orders = [(0, 3, 1, 2), (0, 2, 3, 1), *random.Random(name).sample(list(permutations(range(4))), 4)]
    lates = [await another() for _ in orders]
    for late, order in zip(lates, orders, strict=True):
        await late.deliver(others)
        for n in order:
            await late.deliver([distinct[n]])
        assert await state(late) == expected, order
    # In the next month nothing is missing of what was done in this one.
    await life.pass_until(2026, last.month + 1, last.day + 5)
    subscription_id = life.newest()["id"]
    for shop, order in ((life, ()), *zip(lates, orders, strict=True)):
        standing = await shop.billing._subscriptions.standing(subscription_id)
        assert standing is not None
        assert of_subscription(standing) is None, order


@pytest.mark.parametrize(("day", "anchor"), [((3, 31), "now"), ((3, 20), "unchanged")])
async def test_s27_the_month_that_began_as_a_rest_ended_or_after_it_is_whole_however_late_that_is_heard(
    life: Life, late: Shop, day: tuple[int, int], anchor: Any
) -> None:
    await life.customer()
    await do(life, "a year")
    await life.pass_until(2026, 2, 10, deliver=False)
    await do(life, "pause")
    events = life.events()
    await late.deliver(events)
    await life.deliver(events)
    await life.pass_until(2026, *day)
    await life.stripe.v1.subscriptions.resume_async(life.newest()["id"], {"billing_cycle_anchor": anchor})
    await life.deliver(events := life.events())
    await life.pass_until(2026, 4, 9)
    # Whoever looks at it meanwhile sees the first plan's month.
    assert (await late.account()).monthly == 25
    await late.deliver([*events, *life.events()])
    assert await state(life) == ("plus", 500, on(2026, 4, 30))
    assert await state(late) == await state(life)


@pytest.mark.parametrize("upgraded", [False, True])
async def test_s27_the_month_that_began_as_a_rest_ended_is_whole_also_where_the_rest_is_heard_of_last(
    life: Life, late: Shop, upgraded: bool
) -> None:
    turns: list[dict[str, Any]] = []

    async def hear() -> None:
        events = life.events()
        await life.deliver(events)
        turns.extend(event for event in events if turn_told(event) is not None)
        await late.deliver([event for event in events if event["type"] == "invoice.paid"])
        await late.billing._subscriptions.sync(life.newest()["id"])

    await life.customer()
    happenings = [((1, 31), "a year"), ((2, 10), "pause"), ((3, 31), "resume"), ((4, 12), "upgrade")]
    for (month, day), what in happenings[: 4 if upgraded else 3]:
        await life.pass_until(2026, month, day, deliver=False)
        await do(life, what)
        if what != "resume":
            await hear()
        else:
            await life.deliver(heard := life.events())
            turns += [event for event in heard if turn_told(event) is not None]
    await life.pass_until(2026, 4, 9 if not upgraded else 15, deliver=False)
    await hear()
    await late.deliver(turns)
    expected = ("pro", 500 + 1_500 * 18 // 30) if upgraded else ("plus", 500)
    assert await state(life) == (*expected, on(2026, 4, 30))
    assert await state(late) == await state(life)
    # Done once, it is not done again.
    entries = (await late.account()).seq
    await late.billing._subscriptions.sync(life.newest()["id"])
    assert (await late.account()).seq == entries


async def test_s27_thin_events_tell_since_when_a_subscription_rests(life: Life, late: Shop) -> None:
    await life.customer()
    await do(life, "a year")
    await life.pass_until(2026, 2, 10)
    await do(life, "pause")
    await life.pass_until(2026, 4, 5)
    told = [thin.pushed(event) for event in reversed(life.sandbox.store.newest_first("v2.core.event"))]
    for event in told:
        await late.deliver([event])
    assert await state(late) == await state(life) == ("free", 25, on(2026, 4, 30))


async def test_s16_a_rest_that_was_heard_in_time_takes_nothing_when_it_is_told_again(life: Life) -> None:
    await life.customer()
    await do(life, "a year")
    await life.pass_until(2026, 2, 10)
    await do(life, "pause")
    await life.deliver()
    await life.pass_until(2026, 4, 5)
    standing = await life.billing._subscriptions.standing(life.newest()["id"])
    assert standing is not None
    assert (standing.missing, standing.plan, standing.wanted) == (None, "free", "free")
    await life.update(metadata={"looked": "again"})
    await do(life, "resume")
    await life.deliver()
    *earlier, last = [e for e in reversed(await life.ledger.entries("acme")) if e.kind is EntryKind.PLAN_SET]
    assert {entry.amount for entry in earlier} == {0}
    assert (last.plan, last.amount) == ("plus", 475 * 25 // 30)


async def test_s27_two_processes_that_find_a_rest_at_the_same_time_take_nothing_away_twice(
    life: Life, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await life.customer()
    await do(life, "a year")
    await life.pass_until(2026, 2, 10)
    await do(life, "pause")
    await life.pass_until(2026, 3, 10)
    await do(life, "resume")
    await do(life, "upgrade")
    await life.pass_until(2026, 3, 11, deliver=False)
    await do(life, "cancel")
    first, id = life.billing._subscriptions, life.newest()["id"]
    for event in life.events():
        turn = turn_told(event)
        if turn is not None:
            await first._table.note(id, turn)
    async with make_shop(database_url, PLANS, life.server, life.clock) as other:
        looking, submit = set[asyncio.Task[Any]](), other.ledger.submit

        async def submit_late(command: Any) -> Any:
            if not looking:
                looking.add(asyncio.create_task(first.sync(id)))
                await asyncio.wait(looking, timeout=0.3)
            return await submit(command)

        monkeypatch.setattr(other.ledger, "submit", submit_late)
        await other.billing._subscriptions.sync(id)
        await asyncio.gather(*looking)
    # Of the month that opened as the first plan's on 28 February, 21 days are left of 31.
    assert await state(life) == ("free", 25 + 1_975 * 21 // 31, on(2026, 3, 31))


@pytest.mark.parametrize("plans_set", [0, 60])
async def test_s7_s27_what_was_used_is_not_given_again_however_often_the_plan_was_set_since(
    life: Life, plans_set: int
) -> None:
    await life.customer()
    for day, what in (((1, 31), "a year"), ((2, 10), "pause"), ((2, 20), "resume")):
        await life.pass_until(2026, *day)
        await do(life, what)
        await life.deliver()
    for n in range(plans_set):
        # As where the application says the plan at each sign-in.
        await life.ledger.submit(SetPlan(account_id="acme", key=f"sign-in:{n}", plan="plus"))
    await life.pass_until(2026, 4, 12)
    await do(life, "upgrade")
    await life.deliver()
    left = (await life.account()).monthly
    await life.ledger.submit(Spend(account_id="acme", key="all", amount=left))
    await life.update(metadata={"seen": "again"})
    await life.deliver()
    assert await state(life) == ("pro", 0, on(2026, 4, 20))


async def test_s27_months_that_were_used_before_a_rest_is_heard_are_not_owed(life: Life, late: Shop) -> None:
    await life.customer()
    await do(life, "a year")
    await late.deliver(life.events())
    await life.pass_until(2026, 2, 10)
    await do(life, "pause")
    await life.pass_until(2026, 4, 5, deliver=False)
    await late.ledger.submit(Spend(account_id="acme", key="s", amount=480))
    await late.deliver(life.events())
    account = await late.account()
    assert (account.plan, account.monthly, account.debt) == ("free", 25, 0)
    # Hearing all of it again changes nothing.
    await late.billing.reconcile()
    assert await state(late) == ("free", 25, on(2026, 4, 30))


def at(minute: int) -> datetime:
    return T0 + timedelta(minutes=minute)


@pytest.mark.parametrize(
    ("turns", "rests"),
    [
        ([], []),
        ([(1, True)], [(1, None)]),
        ([(1, True), (3, False)], [(1, 3)]),
        # Said twice, by the event of the change and by one of its own.
        ([(1, True), (2, True), (3, False), (4, False), (6, True)], [(1, 3), (6, None)]),
        # Of two in one second that one is first which can be.
        ([(1, True), (3, False), (3, True)], [(1, 3), (3, None)]),
        ([(3, True), (3, False)], []),
        ([(3, False)], []),
        # Three in one second: what comes next says that it turned once more.
        ([(3, True), (3, False), (5, False)], [(3, 5)]),
        ([(1, True), (3, False), (3, True), (5, True), (6, False)], [(1, 3), (5, 6)]),
    ],
)
def test_s27_rests_are_the_same_in_whatever_order_their_turns_are_heard(
    turns: list[tuple[int, bool]], rests: list[tuple[int, int | None]]
) -> None:
    expected = tuple(Rest(at(began), None if ended is None else at(ended)) for began, ended in rests)
    for order in permutations(turns):
        assert rests_of(Turn(at(minute), begins) for minute, begins in order) == expected


def test_s27_of_three_turns_in_one_second_the_last_is_the_one_that_holds_now() -> None:
    both = [Turn(at(3), True), Turn(at(3), False)]
    assert rests_of(both, rests_now=True) == (Rest(at(3), None),)
    assert rests_of(both, rests_now=False) == ()
    before = Turn(at(1), True)
    assert rests_of([before, *both], rests_now=True) == (Rest(at(1), at(3)), Rest(at(3), None))
    assert rests_of([before, *both], rests_now=False) == (Rest(at(1), at(3)),)


def test_s27_a_rest_whose_end_was_not_heard_ended_with_the_next_payment() -> None:
    over, unheard = Rest(at(1), at(3)), Rest(at(5), None)
    assert gone_on_by((over, unheard), [at(4), at(5), at(8), at(7)]) == (over, Rest(at(5), at(7)))
    assert gone_on_by((over, unheard), [at(4), at(5)]) == (over, unheard)
    assert gone_on_by((over,), [at(2)]) == (over,)
    assert gone_on_by((), [at(2)]) == ()


@pytest.mark.parametrize(
    ("before", "after", "rests"),
    [
        ("active", "unpaid", True),
        ("past_due", "unpaid", True),
        ("paused", "active", False),
        ("unpaid", "paused", None),
        ("past_due", "active", None),
        (None, "paused", None),
    ],
)
def test_an_event_tells_a_turn_where_its_status_changed(before: str | None, after: str, rests: bool | None) -> None:
    previous = {"metadata": {}} if before is None else {"status": before}
    made = {"id": "evt_1", "type": "customer.subscription.updated", "created": int(T0.timestamp())}
    snapshot = {**made, "object": "event", "data": {"object": {"status": after}, "previous_attributes": previous}}
    changes = {"before": previous, "after": {"status": after}}
    sent = {
        **made,
        "object": "v2.core.event",
        "type": "v1.customer.subscription.updated",
        "created": "2026-01-31T09:30:00.000Z",
        "changes": changes,
    }
    assert turn_told(snapshot) == turn_told(sent) == (None if rests is None else Turn(T0, rests))
