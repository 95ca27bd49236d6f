"""S23: what a refund does to the credits it pays for, wherever it was made, however it ends."""

import asyncio
import itertools
from typing import Any

import pytest

from stripe_sandbox import disputes, refunds
from stripe_sandbox.checkout import settle_bank_payment
from tallystick.billing import PurchaseStatus, RefundStatus
from tallystick.billing.errors import (
    NothingToRefund,
    RefundConflict,
    RefundRejected,
    RefundTooLarge,
    StripeRejected,
    StripeUnavailable,
    UnknownPurchase,
)
from tallystick.billing.stripe_api import StripeApi
from tallystick.domain.account import EntryKind
from tallystick.domain.commands import GrantBonus, Spend
from tallystick.domain.errors import InvalidAmount
from tests.billing.conftest import BANK, Shop

# 500 of allowance nobody has here: PLUS was set by hand, so all credits are bonus credits.


async def bought(shop: Shop, **options: Any) -> str:
    """A purchase that is credited; returns its id."""
    await shop.open()
    purchase = await shop.buy(**options)
    await shop.deliver()
    assert (await shop.billing.purchase("acme", purchase.id)).status is PurchaseStatus.CREDITED
    return purchase.id


async def spend(shop: Shop, amount: int) -> None:
    await shop.ledger.submit(Spend(account_id="acme", key=f"s{amount}", amount=amount))


async def dashboard_refund(shop: Shop, purchase_id: str, amount: int | None = None) -> str:
    """A refund that somebody makes in Stripe's dashboard. Returns its id."""
    purchase = await shop.billing.purchase("acme", purchase_id)
    params: Any = {"payment_intent": purchase.payment_intent_id}
    if amount is not None:
        params["amount"] = amount
    return (await shop.stripe.v1.refunds.create_async(params)).id


async def bonus_and_debt(shop: Shop) -> tuple[int, int]:
    account = await shop.account()
    return account.bonus, account.debt


async def test_s23_a_full_refund_takes_all_credits_back(shop: Shop) -> None:
    purchase_id = await bought(shop)
    before = await bonus_and_debt(shop)
    await dashboard_refund(shop, purchase_id)
    await shop.deliver()
    assert await bonus_and_debt(shop) == (before[0] - 200, 0)
    purchase = await shop.billing.purchase("acme", purchase_id)
    assert (purchase.refunded_minor, purchase.clawed_back) == (599, 200)


async def test_s23_partial_refunds_take_their_share_and_together_all(shop: Shop) -> None:
    purchase_id = await bought(shop)
    for amount, left in ((200, 200 - 66), (200, 200 - 133), (199, 0)):
        await dashboard_refund(shop, purchase_id, amount)
        await shop.deliver()
        assert await bonus_and_debt(shop) == (left, 0)


async def test_s23_s24_what_was_spent_becomes_debt_and_other_credits_are_left_alone(shop: Shop) -> None:
    purchase_id = await bought(shop)
    await spend(shop, 25 + 150)
    await shop.ledger.submit(GrantBonus(account_id="acme", key="gift", credits=70))
    await dashboard_refund(shop, purchase_id)
    await shop.deliver()
    assert await bonus_and_debt(shop) == (70, 150)
    await shop.ledger.submit(GrantBonus(account_id="acme", key="gift2", credits=40))
    assert await bonus_and_debt(shop) == (70, 110)


async def test_s23_a_refund_that_fails_later_is_undone(shop: Shop) -> None:
    purchase_id = await bought(shop)
    await spend(shop, 25 + 150)
    refund_id = await dashboard_refund(shop, purchase_id)
    await shop.deliver()
    assert await bonus_and_debt(shop) == (0, 150)
    refunds.fail(shop.sandbox, refund_id)
    await shop.deliver()
    assert await bonus_and_debt(shop) == (50, 0)
    purchase = await shop.billing.purchase("acme", purchase_id)
    assert (purchase.refunded_minor, purchase.clawed_back) == (0, 0)


async def test_s23_s27_any_order_of_the_events_of_a_refund_ends_the_same(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy()
    session = await shop.stripe.v1.checkout.sessions.retrieve_async(purchase.checkout_session_id)
    params: Any = {"payment_intent": session.payment_intent, "amount": 300}
    await shop.stripe.v1.refunds.create_async(params)
    events = shop.events()
    assert "charge.refunded" in {event["type"] for event in events}
    # The refund's events come before the purchase's, and all of them twice.
    await shop.deliver([*reversed(events), *events])
    assert await bonus_and_debt(shop) == (100, 0)
    assert (await shop.billing.purchase("acme", purchase.id)).clawed_back == 100


async def test_s23_looks_that_cross_end_where_stripe_is(shop: Shop) -> None:
    purchase_id = await bought(shop)
    purchase = await shop.billing.purchase("acme", purchase_id)
    assert purchase.payment_intent_id is not None
    for _ in range(4):
        await dashboard_refund(shop, purchase_id, 100)
        await asyncio.gather(*(shop.billing._clawbacks.sync(purchase.payment_intent_id) for _ in range(5)))
    assert await bonus_and_debt(shop) == (200 - 200 * 400 // 599, 0)
    seen = await shop.billing.purchase("acme", purchase_id)
    assert (seen.looks, seen.looks_done) == (20, 20)


async def test_s27_a_look_that_was_left_unfinished_cannot_come_back_later(shop: Shop) -> None:
    purchase_id = await bought(shop)
    purchase = await shop.billing.purchase("acme", purchase_id)
    assert purchase.payment_intent_id is not None
    late = await shop.billing._purchases.begin_look(purchase)
    await shop.billing._clawbacks.sync(purchase.payment_intent_id)
    entries = await shop.ledger.entries("acme", limit=1)
    assert entries[0].kind is EntryKind.CLAWBACK_CONFIRMED
    granted = await shop.ledger.entry_by_key("acme", purchase.ledger_key)
    assert granted is not None
    wrong = await shop.billing._clawbacks.look_at(purchase.payment_intent_id)
    stale = type(wrong)(599, "USD", 599, 0, False, None, "succeeded")
    await shop.billing._clawbacks._take(late, granted, 200, stale)
    assert await bonus_and_debt(shop) == (200, 0)
    # And when nobody else is looking, a look that changes nothing leaves no entry.
    await shop.billing._clawbacks.sync(purchase.payment_intent_id)
    assert (await shop.ledger.entries("acme", limit=1))[0].seq == entries[0].seq


async def test_s23_a_payment_of_something_else_is_none_of_ours(shop: Shop) -> None:
    await bought(shop)
    other: Any = {
        "amount": 599,
        "currency": "usd",
        "payment_method": "pm_card_visa",
        "confirm": True,
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        "metadata": {"purchase_id": (await shop.billing.purchases("acme"))[0].id},
    }
    intent = await shop.stripe.v1.payment_intents.create_async(other)
    await shop.stripe.v1.refunds.create_async({"payment_intent": intent.id})
    await shop.deliver()
    # It names a purchase of ours in its metadata, which anybody at Stripe can write, and was not paid for it.
    assert await bonus_and_debt(shop) == (200, 0)


async def test_s23_a_quote_says_what_is_unspent_what_it_is_worth_and_what_would_be_owed(shop: Shop) -> None:
    purchase_id = await bought(shop)
    await spend(shop, 25 + 50)
    quote = await shop.billing.quote_refund(purchase_id)
    assert (quote.credits, quote.unspent, quote.unspent_worth.minor) == (200, 150, 599 * 150 // 200)
    assert (quote.amount.minor, quote.takes, quote.debt) == (599, 200, 50)
    part = await shop.billing.quote_refund(purchase_id, 300)
    assert (part.takes, part.debt) == (100, 0)
    assert await bonus_and_debt(shop) == (150, 0)


async def test_s23_a_refund_moves_money_and_credits_and_is_told_the_same_again(shop: Shop) -> None:
    purchase_id = await bought(shop)
    refund = await shop.billing.refund(purchase_id, 300, key="r1", reason="too many")
    assert (refund.status, refund.amount.minor) == (RefundStatus.DONE, 300)
    assert await bonus_and_debt(shop) == (100, 0)
    assert await shop.billing.refund(purchase_id, 300, key="r1", reason="too many") == refund
    with pytest.raises(RefundConflict):
        await shop.billing.refund(purchase_id, 300, key="r1", reason="another")
    with pytest.raises(RefundConflict):
        await shop.billing.refund(purchase_id, 200, key="r1")
    rest = await shop.billing.refund(purchase_id, key="r2")
    assert rest.amount.minor == 299
    assert await bonus_and_debt(shop) == (0, 0)
    charges = [c.amount_refunded for c in (await shop.stripe.v1.charges.list_async()).data]
    assert sum(charges) == 599
    await shop.deliver()
    assert await bonus_and_debt(shop) == (0, 0)


async def test_a_refund_that_cannot_be_is_refused_and_changes_nothing(shop: Shop) -> None:
    purchase_id = await bought(shop)
    with pytest.raises(UnknownPurchase):
        await shop.billing.quote_refund("pur_nope")
    with pytest.raises(RefundTooLarge) as too_large:
        await shop.billing.refund(purchase_id, 600, key="r")
    assert "5.99 USD" in too_large.value.message
    for amount in (0, -1, True, 1.5):
        with pytest.raises(InvalidAmount):
            await shop.billing.refund(purchase_id, amount, key="r")  # type: ignore[arg-type]
    await shop.billing.refund(purchase_id, key="all")
    with pytest.raises(NothingToRefund):
        await shop.billing.refund(purchase_id, key="more")
    assert await bonus_and_debt(shop) == (0, 0)


async def test_a_purchase_that_was_not_paid_has_nothing_to_refund(shop: Shop) -> None:
    await shop.open()
    started = await shop.billing.start_pack_checkout("acme")
    assert started.purchase_id is not None
    with pytest.raises(NothingToRefund):
        await shop.billing.quote_refund(started.purchase_id)


@pytest.mark.parametrize(
    ("fails", "status", "words"),
    [
        (False, PurchaseStatus.PENDING, r"under way.*Wait until it has arrived.*or cancel it"),
        (True, PurchaseStatus.FAILED, r"failed: nothing was paid"),
    ],
)
async def test_s23_a_payment_that_has_not_arrived_has_nothing_to_refund_and_it_is_said_why(
    shop: Shop, fails: bool, status: PurchaseStatus, words: str
) -> None:
    await shop.open()
    started = await shop.buy(form=BANK)
    await shop.deliver()
    if fails:
        pending = await shop.billing.purchase("acme", started.id)
        settle_bank_payment(shop.sandbox, str(pending.payment_intent_id), succeeds=False)
        await shop.deliver()
    assert (await shop.billing.purchase("acme", started.id)).status is status
    with pytest.raises(NothingToRefund, match=words):
        await shop.billing.quote_refund(started.id)
    with pytest.raises(NothingToRefund, match=words):
        await shop.billing.refund(started.id, key="r")
    assert await shop.billing.refunds_of(started.id) == []


async def test_what_stripe_refuses_is_told_and_remembered(shop: Shop) -> None:
    purchase_id = await bought(shop)
    quote = await shop.billing.quote_refund(purchase_id)
    # Between the quote and the refund the bank disputes the payment: Stripe refunds nothing of it then.
    purchase = await shop.billing.purchase("acme", purchase_id)
    requested = await shop.billing._refunds._request(quote, "r", "")
    disputes.open(shop.sandbox, purchase.payment_intent_id or "")
    for _ in range(2):
        with pytest.raises(RefundRejected, match=r"the payment is disputed.*Answer the dispute"):
            await shop.billing.refund(purchase_id, key="r")
    (kept,) = await shop.billing.refunds_of(purchase_id)
    assert (kept.id, kept.status) == (requested.id, RefundStatus.REJECTED)
    await shop.deliver()
    assert await bonus_and_debt(shop) == (0, 0)


def refuse(patch: pytest.MonkeyPatch, method: str, status: int, *, only: str | None = None) -> None:
    """Let Stripe refuse one of our calls, as it does when a key has expired; or only for the payment `only`."""
    original = getattr(StripeApi, method)

    async def refusing(self: StripeApi, *args: Any) -> Any:
        if only is None or only in args:
            raise StripeRejected("Stripe refused a request (api_key_expired, request req_1).", stripe_status=status)
        return await original(self, *args)

    patch.setattr(StripeApi, method, refusing)


async def refunded_at_stripe(shop: Shop) -> int:
    return sum(charge.amount_refunded for charge in (await shop.stripe.v1.charges.list_async()).data)


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("method", ["refunds_of", "create_refund", "payment"])
async def test_s23_a_refund_is_not_given_up_because_of_a_key_and_is_made_once_when_that_is_mended(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, method: str, status: int
) -> None:
    purchase_id = await bought(shop)
    create = StripeApi.create_refund

    async def answer_lost(self: StripeApi, *args: Any) -> Any:
        await create(self, *args)
        raise StripeUnavailable

    with monkeypatch.context() as patched:
        if method == "create_refund":
            await shop.billing._refunds._request(await shop.billing.quote_refund(purchase_id, 300), "r", "")
        else:
            patched.setattr(StripeApi, "create_refund", answer_lost)
            with pytest.raises(StripeUnavailable):
                await shop.billing.refund(purchase_id, 300, key="r")
            patched.setattr(StripeApi, "create_refund", create)
        refuse(patched, method, status)
        with pytest.raises(StripeRejected, match=r"as requested.*same key") as told:
            await shop.billing.refund(purchase_id, 300, key="r")
        assert "Nothing was changed" not in told.value.message
        assert told.value.details["stripe_status"] == status
        assert await shop.billing.resume_refunds() == 0
        (kept,) = await shop.billing.refunds_of(purchase_id)
        assert (kept.status, kept.problem) == (RefundStatus.REQUESTED, None)
    done = await shop.billing.refund(purchase_id, 300, key="r")
    assert (done.id, done.status) == (kept.id, RefundStatus.DONE)
    assert (await refunded_at_stripe(shop), await bonus_and_debt(shop)) == (300, (100, 0))


@pytest.mark.parametrize("status", [400, 402])
async def test_s23_what_stripe_refuses_of_the_refund_itself_is_refused_for_good(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    purchase_id = await bought(shop)
    with monkeypatch.context() as patched:
        refuse(patched, "create_refund", status)
        with pytest.raises(RefundRejected):
            await shop.billing.refund(purchase_id, 300, key="r")
    with pytest.raises(RefundRejected):
        await shop.billing.refund(purchase_id, 300, key="r")
    assert (await refunded_at_stripe(shop), await bonus_and_debt(shop)) == (0, (200, 0))


async def test_s23_a_refund_that_stripe_refuses_to_show_holds_up_neither_the_others_nor_reconciliation(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = await bought(shop)
    newer = (await shop.buy()).id
    await shop.deliver()
    for purchase_id in (older, newer):
        await shop.billing._refunds._request(await shop.billing.quote_refund(purchase_id), "r", "")
    held_up = (await shop.billing.purchase("acme", newer)).payment_intent_id
    with monkeypatch.context() as patched:
        refuse(patched, "payment", 403, only=held_up)
        assert await shop.billing.resume_refunds() == 1
    statuses = [(await shop.billing.refunds_of(id))[0].status for id in (older, newer)]
    assert statuses == [RefundStatus.DONE, RefundStatus.REQUESTED]
    with monkeypatch.context() as patched:
        await shop.sql("UPDATE refunds SET updated_at = '2020-01-01T00:00:00.000000+00:00'")
        refuse(patched, "refunds_of", 403, only=held_up)
        assert (await shop.billing.reconcile()).finished
    assert await shop.billing.resume_refunds() == 1
    assert (await refunded_at_stripe(shop), await bonus_and_debt(shop)) == (2 * 599, (0, 0))


POINTS = [
    "Refunds._request",
    "StripeApi.create_refund",
    "Purchases.begin_look",
    "Ledger.submit",
    "Purchases.finish_look",
]


class _Crash(BaseException):
    """Whatever ends a process in the middle of something."""


@pytest.mark.parametrize(("point", "when"), list(itertools.product(POINTS, ["before", "after"])))
async def test_s23_a_refund_that_is_interrupted_anywhere_is_completed_or_never_happened(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, point: str, when: str
) -> None:
    purchase_id = await bought(shop)
    room = shop.billing
    owners: dict[str, Any] = {
        "Refunds": type(room._refunds),
        "StripeApi": type(room._api),
        "Purchases": type(room._purchases),
        "Ledger": type(shop.ledger),
    }
    name, _, method = point.partition(".")
    original = getattr(owners[name], method)

    async def deadly(*args: Any, **options: Any) -> Any:
        if when == "after":
            await original(*args, **options)
        raise _Crash

    with monkeypatch.context() as patched:
        patched.setattr(owners[name], method, deadly)
        with pytest.raises(_Crash):
            await room.refund(purchase_id, 300, key="r")
    requested = await room.refunds_of(purchase_id)
    await room.resume_refunds()
    await shop.deliver()
    refunded = sum(c.amount_refunded for c in (await shop.stripe.v1.charges.list_async()).data)
    if requested:
        assert (refunded, await bonus_and_debt(shop)) == (300, (100, 0))
        assert [r.status for r in await room.refunds_of(purchase_id)] == [RefundStatus.DONE]
    else:
        assert (point, when) == ("Refunds._request", "before")
        assert (refunded, await bonus_and_debt(shop)) == (0, (200, 0))
