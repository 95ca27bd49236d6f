"""Disputes and early fraud warnings, through the unmodified SDK: opened by cards and controls, answered, won, lost."""

from typing import Any

import httpx2
import pytest
import stripe

from stripe_sandbox import Sandbox, SandboxServer, disputes, fraud_warnings
from stripe_sandbox.errors import StripeError
from tests.sandbox.conftest import CARD, open_session, pay, types
from tests.sandbox.receiving import until

DAY = 86_400


async def disputed(client: stripe.StripeClient, sandbox: SandboxServer, token: str, count: int = 1) -> stripe.Dispute:
    """Pay with a card that is disputed, and the newest dispute that came of it."""
    paid = await pay(client, token, amount=1000)
    await until(lambda: types(sandbox).count("charge.dispute.created") == count)
    return (await client.v1.disputes.list_async({"payment_intent": paid.id})).data[0]


def about_disputes(sandbox: SandboxServer) -> list[str]:
    return [type.removeprefix("charge.dispute.") for type in types(sandbox) if type.startswith("charge.dispute.")]


@pytest.mark.parametrize(
    ("token", "reason", "code"),
    [
        ("pm_card_createDispute", "fraudulent", "10.4"),
        ("pm_card_createDisputeProductNotReceived", "product_not_received", "13.1"),
    ],
)
async def test_a_chargeback_takes_the_amount_and_a_fee(
    client: stripe.StripeClient, sandbox: SandboxServer, token: str, reason: str, code: str
) -> None:
    dispute = await disputed(client, sandbox, token)
    assert (dispute.status, dispute.reason, dispute.amount) == ("needs_response", reason, 1000)
    (taken,) = dispute.balance_transactions
    assert (taken.type, taken.amount, taken.fee, taken.net) == ("adjustment", -1000, 1500, -2500)
    assert (taken.reporting_category, taken.source) == ("dispute", dispute.id)
    details: Any = dispute.payment_method_details
    assert (details.card.case_type, details.card.network_reason_code) == ("chargeback", code)
    assert not dispute.is_charge_refundable
    charge = await client.v1.charges.retrieve_async(str(dispute.charge))
    assert (charge.disputed, charge.amount_refunded, charge.refunded) == (True, 0, False)
    assert about_disputes(sandbox) == ["created", "funds_withdrawn"]
    created = sandbox.sandbox.events("charge.dispute.created")[0]["data"]["object"]
    assert created["balance_transactions"][0]["id"] == taken.id
    due = dispute.evidence_details.due_by
    assert due is not None
    assert (due + 1) % DAY == 0
    assert 8 * DAY < due - dispute.created < 9 * DAY


async def test_checkout_with_0259_is_paid_first_and_disputed_then(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    session = await open_session(client)
    assert (await browser.post(str(session.url), data={**CARD, "card_number": "4000000000000259"})).status_code == 303
    await until(lambda: "charge.dispute.funds_withdrawn" in types(sandbox))
    said = types(sandbox)
    assert said.index("checkout.session.completed") < said.index("charge.dispute.created")


async def test_winning_evidence_brings_the_money_back(client: stripe.StripeClient, sandbox: SandboxServer) -> None:
    dispute = await disputed(client, sandbox, "pm_card_createDispute")
    staged = await client.v1.disputes.update_async(
        dispute.id, {"evidence": {"customer_name": "Bo"}, "submit": False, "metadata": {"a": "1"}}
    )
    assert (staged.status, staged.evidence_details.has_evidence) == ("needs_response", True)
    assert staged.evidence_details.submission_count == 0
    answered = await client.v1.disputes.update_async(
        dispute.id, {"evidence": {"uncategorized_text": "winning_evidence"}}
    )
    assert (answered.status, answered.evidence_details.submission_count) == ("under_review", 1)
    assert answered.evidence.customer_name == "Bo"
    await until(lambda: "charge.dispute.funds_reinstated" in types(sandbox))
    won = await client.v1.disputes.retrieve_async(dispute.id)
    assert (won.status, len(won.balance_transactions)) == ("won", 2)
    back = won.balance_transactions[1]
    assert (back.amount, back.fee, back.net, back.reporting_category) == (1000, -1500, 2500, "dispute_reversal")
    assert about_disputes(sandbox) == [
        "created",
        "funds_withdrawn",
        "updated",
        "updated",
        "closed",
        "funds_reinstated",
    ]
    (closed,) = sandbox.sandbox.events("charge.dispute.closed")
    assert closed["data"]["previous_attributes"] == {"status": "under_review"}
    with pytest.raises(stripe.InvalidRequestError, match="no longer be changed"):
        await client.v1.disputes.update_async(dispute.id, {"evidence": {"customer_name": "Jo"}})


async def test_losing_evidence_loses(client: stripe.StripeClient, sandbox: SandboxServer) -> None:
    dispute = await disputed(client, sandbox, "pm_card_createDispute")
    await client.v1.disputes.update_async(dispute.id, {"evidence": {"uncategorized_text": "losing_evidence"}})
    await until(lambda: "charge.dispute.closed" in types(sandbox))
    lost = await client.v1.disputes.retrieve_async(dispute.id)
    assert (lost.status, len(lost.balance_transactions)) == ("lost", 1)
    assert "funds_reinstated" not in about_disputes(sandbox)


async def test_other_evidence_stays_under_review_until_the_bank_decides(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    dispute = await disputed(client, sandbox, "pm_card_createDispute")
    await client.v1.disputes.update_async(dispute.id, {"evidence": {"uncategorized_text": "They downloaded it."}})
    await browser.post(f"{sandbox.url}/sandbox/clock", data={"advance": str(10 * DAY)})
    answer = await browser.post(f"{sandbox.url}/sandbox/disputes/{dispute.id}", data={"outcome": "win"})
    assert (answer.status_code, answer.json()["status"]) == (200, "won")
    answer = await browser.post(f"{sandbox.url}/sandbox/disputes/{dispute.id}", data={"outcome": "lose"})
    assert answer.status_code == 400


async def test_closing_a_dispute_gives_in(client: stripe.StripeClient, sandbox: SandboxServer) -> None:
    dispute = await disputed(client, sandbox, "pm_card_createDispute")
    assert (await client.v1.disputes.close_async(dispute.id)).status == "lost"
    assert about_disputes(sandbox)[-1] == "closed"
    with pytest.raises(stripe.InvalidRequestError, match="cannot be closed"):
        await client.v1.disputes.close_async(dispute.id)


async def test_who_does_not_answer_in_time_has_lost(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    dispute = await disputed(client, sandbox, "pm_card_createDispute")
    await browser.post(f"{sandbox.url}/sandbox/clock", data={"advance": str(9 * DAY)})
    await until(lambda: "charge.dispute.closed" in types(sandbox))
    lost = await client.v1.disputes.retrieve_async(dispute.id)
    assert (lost.status, lost.evidence_details.past_due) == ("lost", True)


@pytest.mark.parametrize(
    ("answer", "status", "told"),
    [
        ("winning_evidence", "warning_closed", "closed"),
        ("losing_evidence", "warning_closed", "closed"),
        ("escalate_inquiry_evidence", "needs_response", "funds_withdrawn"),
        ("close", "warning_closed", "closed"),
        ("time", "warning_closed", "closed"),
    ],
)
async def test_an_inquiry_moves_no_money_unless_it_is_escalated(
    client: stripe.StripeClient,
    sandbox: SandboxServer,
    browser: httpx2.AsyncClient,
    answer: str,
    status: str,
    told: str,
) -> None:
    inquiry = await disputed(client, sandbox, "pm_card_createDisputeInquiry")
    assert (inquiry.status, inquiry.balance_transactions) == ("warning_needs_response", [])
    assert inquiry.is_charge_refundable
    assert about_disputes(sandbox) == ["created"]
    if answer == "close":
        await client.v1.disputes.close_async(inquiry.id)
    elif answer == "time":
        await browser.post(f"{sandbox.url}/sandbox/clock", data={"advance": str(120 * DAY)})
    else:
        asked = await client.v1.disputes.update_async(inquiry.id, {"evidence": {"uncategorized_text": answer}})
        assert asked.status == "warning_under_review"
    await until(lambda: f"charge.dispute.{told}" in types(sandbox))
    after = await client.v1.disputes.retrieve_async(inquiry.id)
    details: Any = after.payment_method_details
    assert after.status == status
    assert details.card.case_type == ("inquiry" if status == "warning_closed" else "chargeback")
    assert len(after.balance_transactions) == (0 if status == "warning_closed" else 1)


async def test_a_payment_can_be_disputed_more_than_once(client: stripe.StripeClient, sandbox: SandboxServer) -> None:
    newest = await disputed(client, sandbox, "pm_card_createMultipleDisputes", count=2)
    both = (await client.v1.disputes.list_async({"charge": str(newest.charge)})).data
    assert [d.amount for d in both] == [500, 500]
    assert len({d.reason for d in both}) == 2


async def test_a_held_payment_is_disputed_only_after_it_is_captured(
    client: stripe.StripeClient, sandbox: SandboxServer
) -> None:
    held = await pay(client, "pm_card_createDispute", capture_method="manual")
    with pytest.raises(StripeError, match="does not have a successful charge"):
        disputes.open(sandbox.sandbox, held.id)
    await client.v1.payment_intents.capture_async(held.id)
    await until(lambda: "charge.dispute.created" in types(sandbox))


async def test_a_refund_on_its_way_does_not_arrive_once_the_payment_is_charged_back(
    client: stripe.StripeClient, sandbox: SandboxServer
) -> None:
    paid = await pay(client, "pm_card_pendingRefund", amount=1000)
    refund = await client.v1.refunds.create_async({"payment_intent": paid.id, "amount": 400})
    dispute = disputes.open(sandbox.sandbox, paid.id)
    assert dispute["amount"] == 1000
    failed = await client.v1.refunds.retrieve_async(refund.id)
    assert (failed.status, failed.failure_reason) == ("failed", "charge_for_pending_refund_disputed")
    assert (await client.v1.charges.retrieve_async(str(paid.latest_charge))).amount_refunded == 0


async def test_a_prevented_dispute_takes_the_amount_without_a_fee_and_is_over(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    paid = await pay(client, "pm_card_visa", amount=1000)
    opened = await browser.post(
        f"{sandbox.url}/sandbox/payments/{paid.id}/dispute", data={"kind": "prevented", "amount": "700"}
    )
    dispute = await client.v1.disputes.retrieve_async(opened.json()["id"])
    details: Any = dispute.payment_method_details
    assert (dispute.status, dispute.amount, details.card.case_type) == ("prevented", 700, "resolution")
    assert (dispute.balance_transactions[0].amount, dispute.balance_transactions[0].fee) == (-700, 0)
    with pytest.raises(StripeError, match="prevented"):
        disputes.win(sandbox.sandbox, dispute.id)


@pytest.mark.parametrize(
    ("data", "message"),
    [({"amount": "601"}, "1 to 600"), ({"amount": "much"}, "much"), ({"kind": "row"}, "row")],
)
async def test_a_dispute_that_cannot_be_is_refused(
    client: stripe.StripeClient,
    sandbox: SandboxServer,
    browser: httpx2.AsyncClient,
    data: dict[str, str],
    message: str,
) -> None:
    paid = await pay(client, "pm_card_visa", amount=600)
    answer = await browser.post(f"{sandbox.url}/sandbox/payments/{paid.id}/dispute", data=data)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
    assert about_disputes(sandbox) == []
    unknown = await browser.post(f"{sandbox.url}/sandbox/payments/pi_missing/dispute")
    assert unknown.status_code == 404


@pytest.mark.parametrize("then", ["refund", "dispute"])
async def test_5423_warns_of_fraud_until_something_was_done(
    client: stripe.StripeClient, sandbox: SandboxServer, then: str
) -> None:
    paid = await pay(client, "pm_card_createIssuerFraudRecord")
    await until(lambda: "radar.early_fraud_warning.created" in types(sandbox))
    (warning,) = (await client.v1.radar.early_fraud_warnings.list_async({"payment_intent": paid.id})).data
    assert (warning.actionable, warning.charge) == (True, paid.latest_charge)
    if then == "refund":
        await client.v1.refunds.create_async({"payment_intent": paid.id})
    else:
        disputes.open(sandbox.sandbox, paid.id)
    after = await client.v1.radar.early_fraud_warnings.retrieve_async(warning.id)
    assert not after.actionable
    (event,) = sandbox.sandbox.events("radar.early_fraud_warning.updated")
    assert event["data"]["previous_attributes"] == {"actionable": True}


async def test_a_person_refunds_disputes_and_decides_on_the_index_page(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    paid = await pay(client, "pm_card_visa", amount=1000)
    person = {"accept": "text/html"}
    refunding = f"{sandbox.url}/sandbox/payments/{paid.latest_charge}/refund"
    answer = await browser.post(refunding, data={"amount": "250"}, headers=person)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sandbox/")
    disputing = f"{sandbox.url}/sandbox/payments/{paid.latest_charge}/dispute"
    assert (await browser.post(disputing, data={"kind": "chargeback"}, headers=person)).status_code == 303
    index = (await browser.get(f"{sandbox.url}/sandbox/")).text
    (dispute,) = (await client.v1.disputes.list_async()).data
    assert "$2.50 refunded" in index
    assert f"Win {dispute.id}" in index
    refused = await browser.post(refunding, headers=person)
    assert refused.status_code == 400
    assert "has been charged back" in refused.text
    winning = f"{sandbox.url}/sandbox/disputes/{dispute.id}"
    assert (await browser.post(winning, data={"outcome": "win"}, headers=person)).status_code == 303
    assert (await client.v1.disputes.retrieve_async(dispute.id)).status == "won"
    unclear = await browser.post(winning, headers=person)
    assert "outcome=win, lose, escalate" in unclear.text


async def test_a_warning_is_issued_by_control(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    paid = await pay(client, "pm_card_visa")
    data = {"fraud_type": "made_with_stolen_card"}
    answer = await browser.post(f"{sandbox.url}/sandbox/payments/{paid.id}/fraud_warning", data=data)
    assert answer.json()["fraud_type"] == "made_with_stolen_card"


def test_controls_need_no_server() -> None:
    with pytest.raises(StripeError, match="No such payment"):
        fraud_warnings.issue(Sandbox(), "ch_missing")
