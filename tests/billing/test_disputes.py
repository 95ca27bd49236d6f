"""S25: a payment that a bank disputes: frozen, taken, restored or lost, in any order with refunds."""

import random
from typing import Any

import pytest

from stripe_sandbox import agenda, disputes, refunds
from tallystick.billing import EventStatus, Purchase
from tallystick.domain.account import EntryKind
from tallystick.domain.commands import Spend
from tests.billing.conftest import Shop
from tests.sandbox.conftest import CARD

FRAUDULENT = {**CARD, "card_number": "4000 0000 0000 0259"}
INQUIRY = {**CARD, "card_number": "4000 0000 0000 1976"}
TWICE = {**CARD, "card_number": "4000 0004 0400 0079"}
WARNED = {**CARD, "card_number": "4000 0000 0000 5423"}


async def state(shop: Shop) -> tuple[int, int, int]:
    account = await shop.account()
    return account.bonus, account.frozen, account.debt


async def buy(shop: Shop, form: dict[str, str] = CARD) -> Purchase:
    await shop.open()
    purchase = await shop.buy(form=form)
    agenda.run_due(shop.sandbox)
    await shop.deliver()
    return await shop.billing.purchase("acme", purchase.id)


async def dispute_of(shop: Shop, purchase: Purchase) -> Any:
    params: Any = {"payment_intent": purchase.payment_intent_id}
    return (await shop.stripe.v1.disputes.list_async(params)).data[0]


async def answer(shop: Shop, purchase: Purchase, evidence: str) -> None:
    await answer_one(shop, (await dispute_of(shop, purchase)).id, evidence)


async def answer_one(shop: Shop, dispute_id: str, evidence: str) -> None:
    params: Any = {"evidence": {"uncategorized_text": evidence}, "submit": True}
    await shop.stripe.v1.disputes.update_async(dispute_id, params)
    agenda.run_due(shop.sandbox)
    await shop.deliver()


async def test_s25_a_dispute_takes_the_credits_whose_funds_are_withdrawn(shop: Shop) -> None:
    purchase = await buy(shop, FRAUDULENT)
    assert await state(shop) == (0, 0, 0)
    seen = await shop.billing.purchase("acme", purchase.id)
    assert (seen.dispute, seen.clawed_back) == ("needs_response", 200)
    assert [p.id for p in await shop.billing.disputed_purchases(10)] == [purchase.id]


async def test_s25_a_dispute_that_is_won_restores_the_credits_exactly(shop: Shop) -> None:
    purchase = await buy(shop, FRAUDULENT)
    await answer(shop, purchase, "winning_evidence")
    assert await state(shop) == (200, 0, 0)
    assert (await shop.billing.purchase("acme", purchase.id)).dispute == "won"


async def test_s25_a_dispute_that_is_lost_is_final(shop: Shop) -> None:
    purchase = await buy(shop, FRAUDULENT)
    await answer(shop, purchase, "losing_evidence")
    assert await state(shop) == (0, 0, 0)
    assert (await shop.billing.purchase("acme", purchase.id)).dispute == "lost"


async def test_s25_a_prevented_dispute_takes_the_credits_and_says_so(shop: Shop) -> None:
    purchase = await buy(shop)
    assert purchase.payment_intent_id is not None
    disputes.open(shop.sandbox, purchase.payment_intent_id, kind=disputes.Kind.PREVENTED)
    await shop.deliver()
    assert await state(shop) == (0, 0, 0)
    assert (await shop.billing.purchase("acme", purchase.id)).dispute == "prevented"
    # Each of its events leads to a look, and those that come together both say what they saw.
    taken = [e for e in await shop.ledger.entries("acme") if e.kind is EntryKind.CLAWED_BACK]
    assert sum(entry.amount for entry in taken) == -200
    assert {entry.reason for entry in taken} == {"The bank gave this payment back before it was disputed"}


async def test_s25_an_inquiry_freezes_what_is_left_and_takes_nothing(shop: Shop) -> None:
    purchase = await buy(shop, INQUIRY)
    assert await state(shop) == (200, 200, 0)
    assert (await shop.account()).available == 25
    await answer(shop, purchase, "winning_evidence")
    assert await state(shop) == (200, 0, 0)


async def test_s25_an_inquiry_that_is_answered_stays_frozen_until_the_bank_has_decided(shop: Shop) -> None:
    purchase = await buy(shop, INQUIRY)
    await answer(shop, purchase, "other evidence")
    assert (await shop.billing.purchase("acme", purchase.id)).dispute == "warning_under_review"
    assert await state(shop) == (200, 200, 0)
    disputes.lose(shop.sandbox, (await dispute_of(shop, purchase)).id)
    await shop.deliver()
    assert (await shop.billing.purchase("acme", purchase.id)).dispute == "warning_closed"
    assert await state(shop) == (200, 0, 0)
    assert EntryKind.THAWED in {entry.kind for entry in await shop.ledger.entries("acme")}


@pytest.mark.parametrize(
    ("evidence", "dispute", "left"), [("winning_evidence", "won", 200), ("losing_evidence", "lost", 0)]
)
async def test_s25_an_inquiry_that_becomes_a_chargeback_is_taken_until_that_is_won(
    shop: Shop, evidence: str, dispute: str, left: int
) -> None:
    purchase = await buy(shop, INQUIRY)
    await answer(shop, purchase, "escalate_inquiry_evidence")
    assert (await shop.billing.purchase("acme", purchase.id)).dispute == "needs_response"
    assert await state(shop) == (0, 0, 0)
    await answer(shop, purchase, evidence)
    assert (await shop.billing.purchase("acme", purchase.id)).dispute == dispute
    assert await state(shop) == (left, 0, 0)


@pytest.mark.parametrize(("won", "dispute", "left"), [(True, "won", 200), (False, "lost", 0)])
async def test_s25_a_dispute_that_is_answered_stays_taken_until_the_bank_has_decided(
    shop: Shop, won: bool, dispute: str, left: int
) -> None:
    purchase = await buy(shop, FRAUDULENT)
    await answer(shop, purchase, "other evidence")
    assert (await shop.billing.purchase("acme", purchase.id)).dispute == "under_review"
    assert await state(shop) == (0, 0, 0)
    decide = disputes.win if won else disputes.lose
    decide(shop.sandbox, (await dispute_of(shop, purchase)).id)
    await shop.deliver()
    assert (await shop.billing.purchase("acme", purchase.id)).dispute == dispute
    assert await state(shop) == (left, 0, 0)


@pytest.mark.parametrize("first", ["newest", "oldest"])
@pytest.mark.parametrize(
    ("evidence", "dispute", "left"), [("losing_evidence", "lost", 101), ("winning_evidence", "won", 200)]
)
async def test_s25_of_two_disputes_of_a_payment_the_one_that_matters_most_is_told(
    shop: Shop, first: str, evidence: str, dispute: str, left: int
) -> None:
    purchase = await buy(shop, TWICE)
    params: Any = {"payment_intent": purchase.payment_intent_id}
    ids = [each.id for each in (await shop.stripe.v1.disputes.list_async(params)).data]
    now, later = ids if first == "newest" else reversed(ids)
    # 598 of 599 cents were withdrawn.
    assert await state(shop) == (1, 0, 0)
    await answer_one(shop, now, "winning_evidence")
    assert await state(shop) == (101, 0, 0)
    assert (await shop.billing.purchase("acme", purchase.id)).dispute == "needs_response"
    quote = await shop.billing.quote_refund(purchase.id)
    assert (quote.dispute, "Answer the dispute" in str(quote.warning)) == ("needs_response", True)
    restored = next(e for e in await shop.ledger.entries("acme") if e.kind is EntryKind.RESTORED)
    assert restored.reason == "One of the disputes of this payment was decided in our favour"
    await answer_one(shop, later, evidence)
    assert await state(shop) == (left, 0, 0)
    assert (await shop.billing.purchase("acme", purchase.id)).dispute == dispute


async def test_s25_what_was_spent_before_the_dispute_is_owed_until_it_is_won(shop: Shop) -> None:
    purchase = await buy(shop)
    await shop.ledger.submit(Spend(account_id="acme", key="s", amount=25 + 120))
    disputes.open(shop.sandbox, purchase.payment_intent_id or "")
    await shop.deliver()
    assert await state(shop) == (0, 0, 120)
    await answer(shop, purchase, "winning_evidence")
    assert await state(shop) == (80, 0, 0)


async def test_s25_a_dispute_after_a_refund_is_restored_net_of_it(shop: Shop) -> None:
    purchase = await buy(shop)
    params: Any = {"payment_intent": purchase.payment_intent_id, "amount": 300}
    await shop.stripe.v1.refunds.create_async(params)
    disputes.open(shop.sandbox, purchase.payment_intent_id or "")
    await shop.deliver()
    assert await state(shop) == (0, 0, 0)
    await answer(shop, purchase, "winning_evidence")
    assert await state(shop) == (100, 0, 0)


async def test_s23_the_history_says_of_a_refund_what_became_of_it_whatever_became_of_a_dispute(shop: Shop) -> None:
    purchase = await buy(shop, INQUIRY)
    params: Any = {"payment_intent": purchase.payment_intent_id, "amount": 300}
    refund = await shop.stripe.v1.refunds.create_async(params)
    await shop.deliver()
    await answer(shop, purchase, "winning_evidence")
    refunds.fail(shop.sandbox, refund.id)
    await shop.deliver()
    assert await state(shop) == (200, 0, 0)
    moved = [entry for entry in reversed(await shop.ledger.entries("acme")) if entry.amount]
    assert [(entry.kind, entry.amount, entry.reason) for entry in moved][-2:] == [
        (EntryKind.CLAWED_BACK, -100, "3.00 USD of 5.99 USD refunded"),
        (EntryKind.RESTORED, 100, "A refund did not arrive and was undone"),
    ]


@pytest.mark.parametrize("seed", range(4))
async def test_s25_s27_any_order_of_the_events_of_a_dispute_ends_the_same(shop: Shop, seed: int) -> None:
    await shop.open()
    purchase = await shop.buy()
    session = await shop.stripe.v1.checkout.sessions.retrieve_async(purchase.checkout_session_id)
    assert isinstance(session.payment_intent, str)
    params: Any = {"payment_intent": session.payment_intent, "amount": 300}
    await shop.stripe.v1.refunds.create_async(params)
    disputes.open(shop.sandbox, session.payment_intent)
    dispute = (await shop.stripe.v1.disputes.list_async()).data[0]
    evidence: Any = {"evidence": {"uncategorized_text": "winning_evidence"}, "submit": True}
    await shop.stripe.v1.disputes.update_async(dispute.id, evidence)
    agenda.run_due(shop.sandbox)
    events = shop.events() * 2
    assert {"charge.dispute.created", "charge.dispute.closed"} <= {event["type"] for event in events}
    random.Random(seed).shuffle(events)
    await shop.deliver(events)
    assert await state(shop) == (100, 0, 0)


async def test_s25_an_early_fraud_warning_takes_nothing_and_an_operator_sees_it(shop: Shop) -> None:
    purchase = await buy(shop, WARNED)
    assert await state(shop) == (200, 0, 0)
    assert [p.dispute for p in await shop.billing.disputed_purchases(10)] == ["early_fraud_warning"]
    await shop.billing.refund(purchase.id, key="early")
    assert await state(shop) == (0, 0, 0)


async def test_s25_an_early_fraud_warning_that_is_closed_of_its_own_takes_nothing(shop: Shop) -> None:
    await buy(shop, WARNED)
    (warning,) = shop.sandbox.store.newest_first("radar.early_fraud_warning")
    shop.sandbox.changed("radar.early_fraud_warning.updated", warning, actionable=False)
    await shop.deliver()
    (told,) = await shop.billing.latest_events(10, type="radar.early_fraud_warning.updated")
    assert told.status is EventStatus.IGNORED
    assert await state(shop) == (200, 0, 0)
    assert (await shop.account()).available == 225
    # That there was one is what an operator goes on seeing.
    assert [p.dispute for p in await shop.billing.disputed_purchases(10)] == ["early_fraud_warning"]
