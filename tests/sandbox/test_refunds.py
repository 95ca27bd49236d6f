"""Refunds, through the unmodified SDK: whole and in parts, refused, pending, failing later, cancelled."""

from typing import Any

import httpx2
import pytest
import stripe

from stripe_sandbox import SandboxServer, disputes, refunds
from tests.sandbox.conftest import CARD, open_session, pay, types
from tests.sandbox.receiving import until


async def charge_of(client: stripe.StripeClient, intent: stripe.PaymentIntent) -> stripe.Charge:
    return await client.v1.charges.retrieve_async(str(intent.latest_charge))


async def test_a_payment_is_refunded_in_parts_until_nothing_is_left(
    client: stripe.StripeClient, sandbox: SandboxServer
) -> None:
    paid = await pay(client, "pm_card_visa", amount=1000)
    first = await client.v1.refunds.create_async(
        {
            "payment_intent": paid.id,
            "amount": 300,
            "reason": "requested_by_customer",
            "metadata": {"order": "7"},
            "expand": ["balance_transaction"],
        }
    )
    assert (first.status, first.amount, first.reason) == ("succeeded", 300, "requested_by_customer")
    assert first.charge == paid.latest_charge
    transaction: Any = first.balance_transaction
    assert (transaction.type, transaction.amount, transaction.fee, transaction.net) == ("refund", -300, 0, -300)
    assert transaction.source == first.id
    charge = await charge_of(client, paid)
    assert (charge.amount_refunded, charge.refunded) == (300, False)
    second = await client.v1.refunds.create_async({"charge": charge.id})
    assert second.amount == 700
    charge = await client.v1.charges.retrieve_async(charge.id, {"expand": ["refunds.data.balance_transaction"]})
    assert (charge.amount_refunded, charge.refunded) == (1000, True)
    assert charge.refunds is not None
    assert [r.id for r in charge.refunds.data] == [second.id, first.id]
    events = [e for e in sandbox.sandbox.events() if "refund" in e["type"]]
    assert [e["type"] for e in events] == ["refund.created", "charge.refunded"] * 2
    assert events[1]["data"]["previous_attributes"] == {"amount_refunded": 0}
    assert events[3]["data"]["previous_attributes"] == {"amount_refunded": 300, "refunded": False}
    listed = await client.v1.refunds.list_async({"payment_intent": paid.id, "limit": 1})
    assert ([r.id for r in listed.data], listed.has_more) == ([second.id], True)


async def test_a_checkout_payment_is_refunded(client: stripe.StripeClient, browser: httpx2.AsyncClient) -> None:
    session = await open_session(client)
    await browser.post(str(session.url), data=CARD)
    paid = await client.v1.checkout.sessions.retrieve_async(session.id)
    refund = await client.v1.refunds.create_async({"payment_intent": str(paid.payment_intent)})
    assert (refund.amount, refund.status) == (599, "succeeded")
    assert (await client.v1.checkout.sessions.retrieve_async(session.id)).payment_status == "paid"


@pytest.mark.parametrize(
    ("before", "given", "code", "param", "message"),
    [
        (
            0,
            {"amount": 600},
            None,
            "amount",
            "Refund amount ($6.00) is greater than unrefunded amount on charge ($5.99)",
        ),
        (
            500,
            {"amount": 100},
            None,
            "amount",
            "Refund amount ($1.00) is greater than unrefunded amount on charge ($0.99)",
        ),
        (599, {}, "charge_already_refunded", None, "has already been refunded."),
        (0, {"amount": 0}, "parameter_invalid_integer", "amount", "Invalid positive integer"),
        (0, {"payment_intent": "pi_missing"}, "resource_missing", "payment_intent", "No such payment_intent"),
        (0, {"reason": "spite"}, None, "reason", "Invalid reason"),
    ],
)
async def test_what_cannot_be_refunded_is_refused(
    client: stripe.StripeClient, before: int, given: dict[str, Any], code: str | None, param: str | None, message: str
) -> None:
    paid = await pay(client, "pm_card_visa")
    if before:
        await client.v1.refunds.create_async({"payment_intent": paid.id, "amount": before})
    params: Any = {"payment_intent": paid.id, **given}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.refunds.create_async(params)
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, code, param)
    assert message in str(refused.value.user_message)


async def test_a_payment_that_took_no_money_cannot_be_refunded(client: stripe.StripeClient) -> None:
    held = await pay(client, "pm_card_visa", capture_method="manual")
    asked = await pay(client, "pm_card_threeDSecure2Required")
    for intent in (held, asked):
        with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
            await client.v1.refunds.create_async({"payment_intent": intent.id})
    with pytest.raises(stripe.InvalidRequestError, match="payment_intent or charge"):
        await client.v1.refunds.create_async({})


async def test_a_disputed_charge_cannot_be_refunded_but_an_inquiry_and_a_won_one_can(
    client: stripe.StripeClient, sandbox: SandboxServer
) -> None:
    paid = await pay(client, "pm_card_visa", amount=1000)
    inquiry = disputes.open(sandbox.sandbox, paid.id, kind=disputes.Kind.INQUIRY)
    assert (await client.v1.refunds.create_async({"payment_intent": paid.id, "amount": 100})).status == "succeeded"
    disputes.escalate(sandbox.sandbox, inquiry["id"])
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.refunds.create_async({"payment_intent": paid.id, "amount": 100})
    assert refused.value.code == "charge_disputed"
    assert (
        str(refused.value.user_message)
        == f"Charge {paid.latest_charge} has been charged back; cannot issue a refund."
    )
    disputes.win(sandbox.sandbox, inquiry["id"])
    assert (await client.v1.refunds.create_async({"payment_intent": paid.id, "amount": 100})).status == "succeeded"


async def test_metadata_is_changed_and_told_in_both_ways(client: stripe.StripeClient, sandbox: SandboxServer) -> None:
    paid = await pay(client, "pm_card_visa")
    refund = await client.v1.refunds.create_async({"payment_intent": paid.id})
    changed = await client.v1.refunds.update_async(refund.id, {"metadata": {"order": "7"}})
    assert changed.metadata is not None
    assert changed.metadata.to_dict() == {"order": "7"}
    assert types(sandbox)[-2:] == ["charge.refund.updated", "refund.updated"]
    event = sandbox.sandbox.events("refund.updated")[-1]
    assert event["data"]["previous_attributes"] == {"metadata": {"order": None}}


@pytest.mark.parametrize("by", ["time", "control"])
async def test_7726_is_pending_at_first_and_succeeds_later(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient, by: str
) -> None:
    paid = await pay(client, "pm_card_pendingRefund")
    refund = await client.v1.refunds.create_async({"payment_intent": paid.id})
    assert (refund.status, refund.balance_transaction) == ("pending", None)
    charge = await charge_of(client, paid)
    assert (charge.refunded, charge.amount_refunded) == (True, 599)
    if by == "time":
        await browser.post(f"{sandbox.url}/sandbox/clock", data={"advance": str(refunds.LATER_SECONDS)})
    else:
        await browser.post(f"{sandbox.url}/sandbox/refunds/{refund.id}", data={"outcome": "succeed"})
    await until(lambda: "refund.updated" in types(sandbox))
    settled = await client.v1.refunds.retrieve_async(refund.id)
    assert settled.status == "succeeded"
    assert settled.balance_transaction is not None
    (event,) = sandbox.sandbox.events("refund.updated")
    assert event["data"]["previous_attributes"] == {"status": "pending", "balance_transaction": None}


@pytest.mark.parametrize("by", ["time", "control"])
async def test_5126_succeeds_at_first_and_fails_later(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient, by: str
) -> None:
    paid = await pay(client, "pm_card_refundFail" if by == "time" else "pm_card_visa", amount=1000)
    kept = await client.v1.refunds.create_async({"payment_intent": paid.id, "amount": 100})
    refund = await client.v1.refunds.create_async({"payment_intent": paid.id})
    assert refund.status == "succeeded"
    assert (await charge_of(client, paid)).refunded
    if by == "time":
        refunds.fail(sandbox.sandbox, kept["id"], "lost_or_stolen_card")
        await browser.post(f"{sandbox.url}/sandbox/clock", data={"advance": str(refunds.LATER_SECONDS)})
        await until(lambda: types(sandbox).count("refund.failed") == 2)
        left = 0
    else:
        await browser.post(f"{sandbox.url}/sandbox/refunds/{refund.id}", data={"outcome": "fail"})
        left = 100
    failed = await client.v1.refunds.retrieve_async(refund.id, {"expand": ["failure_balance_transaction"]})
    assert (failed.status, failed.failure_reason) == ("failed", "expired_or_canceled_card")
    transaction: Any = failed.failure_balance_transaction
    assert (transaction.type, transaction.amount, transaction.source) == ("refund_failure", 900, refund.id)
    charge = await charge_of(client, paid)
    assert (charge.amount_refunded, charge.refunded) == (left, False)
    # The charge's own `charge.updated` comes a while after it was paid, which may be now.
    about_refunds = [type for type in types(sandbox) if "refund" in type]
    assert about_refunds[-3:] == ["charge.refund.updated", "refund.updated", "refund.failed"]
    event = sandbox.sandbox.events("charge.refund.updated")[-1]
    assert event["data"]["previous_attributes"] == {
        "failure_balance_transaction": None,
        "failure_reason": None,
        "status": "succeeded",
    }
    again = await client.v1.refunds.create_async({"payment_intent": paid.id})
    assert again.amount == 1000 - left


async def test_a_refund_is_cancelled_only_in_the_dashboard_and_only_soon(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    paid = await pay(client, "pm_card_visa", amount=1000)
    early = await client.v1.refunds.create_async({"payment_intent": paid.id, "amount": 400})
    with pytest.raises(stripe.InvalidRequestError, match="requires_action"):
        await client.v1.refunds.cancel_async(early.id)
    late = await client.v1.refunds.create_async({"payment_intent": paid.id, "amount": 100})
    await browser.post(f"{sandbox.url}/sandbox/refunds/{early.id}", data={"outcome": "cancel"})
    canceled = await client.v1.refunds.retrieve_async(early.id)
    assert (canceled.status, canceled.failure_reason) == ("canceled", "merchant_request")
    assert (await charge_of(client, paid)).amount_refunded == 100
    await browser.post(f"{sandbox.url}/sandbox/clock", data={"advance": "1801"})
    answer = await browser.post(f"{sandbox.url}/sandbox/refunds/{late.id}", data={"outcome": "cancel"})
    assert answer.status_code == 400
    assert "30 minutes" in answer.json()["error"]["message"]
    assert (await client.v1.refunds.retrieve_async(late.id)).status == "succeeded"


async def test_a_bank_payment_is_refunded_to_the_bank(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    session = await open_session(client)
    form = {"payment_method": "bank", "email": "a@example.com", "name": "A"}
    await browser.post(str(session.url), data=form)
    waiting = await client.v1.checkout.sessions.retrieve_async(session.id)
    intent = str(waiting.payment_intent)
    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
        await client.v1.refunds.create_async({"payment_intent": intent})
    await browser.post(f"{sandbox.url}/sandbox/bank_payments/{intent}", data={"outcome": "succeed"})
    refund = await client.v1.refunds.create_async({"payment_intent": intent, "expand": ["balance_transaction"]})
    transaction: Any = refund.balance_transaction
    assert refund.id.startswith("pyr_")
    assert (refund.status, transaction.type) == ("succeeded", "payment_refund")
