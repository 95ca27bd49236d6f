"""What can differ between Stripe and us, and what each difference means. Pure: it is told what both sides say.

A difference is `safe` when the functions that webhooks use repair it; any other one is for an operator, with
a command or a step that would do what is probably wanted.
"""

import shlex
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tallystick.billing.clawbacks import Payment
from tallystick.billing.fulfilment import PAID, is_not_coming
from tallystick.billing.purchases import Purchase, PurchaseStatus
from tallystick.billing.story import LIVE
from tallystick.billing.subscription_table import Subscription
from tallystick.billing.subscriptions import Standing
from tallystick.domain.account import Clawback
from tallystick.domain.catalogue import Catalogue

REPAIR = "tallystick reconcile --apply"
"""The command that repairs what is safe."""


class Kind(StrEnum):
    """What is different."""

    EVENT_NOT_RECEIVED = "event_not_received"
    PAID_NOT_CREDITED = "paid_not_credited"
    CREDITED_NOT_PAID = "credited_not_paid"
    CREDITED_WITHOUT_ENTRY = "credited_without_entry"
    CREDITED_ANOTHER_AMOUNT = "credited_another_amount"
    NOT_CLOSED = "not_closed"
    NEEDS_REVIEW = "needs_review"
    UNKNOWN_PURCHASE = "unknown_purchase"
    UNKNOWN_AT_STRIPE = "unknown_at_stripe"
    UNKNOWN_SUBSCRIPTION = "unknown_subscription"
    REFUND_WITHOUT_CLAWBACK = "refund_without_clawback"
    CLAWBACK_WITHOUT_REFUND = "clawback_without_refund"
    DISPUTE_NOT_FROZEN = "dispute_not_frozen"
    FROZEN_WITHOUT_DISPUTE = "frozen_without_dispute"
    PURCHASE_OUT_OF_DATE = "purchase_out_of_date"
    WRONG_PLAN = "wrong_plan"
    WRONG_ALLOWANCE = "wrong_allowance"
    WRONG_PERIOD = "wrong_period"
    SUBSCRIPTION_OUT_OF_DATE = "subscription_out_of_date"


SAFE = frozenset(
    {
        Kind.EVENT_NOT_RECEIVED,
        Kind.PAID_NOT_CREDITED,
        Kind.NOT_CLOSED,
        Kind.REFUND_WITHOUT_CLAWBACK,
        Kind.CLAWBACK_WITHOUT_REFUND,
        Kind.DISPUTE_NOT_FROZEN,
        Kind.FROZEN_WITHOUT_DISPUTE,
        Kind.PURCHASE_OUT_OF_DATE,
        Kind.WRONG_PLAN,
        Kind.WRONG_ALLOWANCE,
        Kind.SUBSCRIPTION_OUT_OF_DATE,
    }
)
"""What is repaired by looking at the object again, as its webhook would have made us do."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. `subject` is the object at Stripe, or the purchase or account, that it is about.

    `credits` is by how many credits the ledger has too few, negative for too many; of an event that was not received,
    and whose account, that is known once it is repaired. `suggestion` is a command or a step for an operator, empty
    when the difference is safe to repair.
    """

    kind: Kind
    subject: str
    account_id: str | None
    what: str
    credits: int = 0
    suggestion: str = ""

    @property
    def is_safe(self) -> bool:
        """Whether it can be repaired without a person."""
        return self.kind in SAFE

    @property
    def decision_key(self) -> str:
        """The key of the entry with which an operator decides it."""
        return _decision_key(self.subject)


@dataclass(frozen=True, slots=True)
class Books:
    """What the ledger has of one purchase: credits that were `granted` for it, and what was taken back of them.

    `granted` is None when no entry carries the purchase's key.
    """

    granted: int | None
    clawback: Clawback


def is_paid(session: dict[str, Any]) -> bool:
    """Whether a checkout session was completed and paid for (S21)."""
    return session["status"] == "complete" and session["payment_status"] in PAID


def waits(session: dict[str, Any]) -> bool:
    """Whether a checkout session was completed and waits, or has waited in vain, for its payment (S21)."""
    return session["status"] == "complete" and session["payment_status"] not in PAID


def of_session(session: dict[str, Any], purchase: Purchase | None, books: Books | None) -> Difference | None:
    """What a checkout session of a pack, with its payment if it waits for one, and our purchase say otherwise of each
    other, or None."""
    if purchase is None or books is None:
        return _of_unknown_session(session)
    paid = is_paid(session)
    granted = books.granted or 0
    if paid and purchase.status is PurchaseStatus.NEEDS_REVIEW:
        return _for_operator(Kind.NEEDS_REVIEW, purchase, f"It is paid, but does not agree: {purchase.problem}")
    if purchase.status is PurchaseStatus.CREDITED and books.granted is None:
        what = "It is marked as credited, but no entry of the ledger carries its key."
        return _for_operator(Kind.CREDITED_WITHOUT_ENTRY, purchase, what, purchase.credits if paid else 0)
    if paid and books.granted is None:
        what = f"It is paid since {session['id']} was completed, and {purchase.credits:,} credits are missing."
        return Difference(Kind.PAID_NOT_CREDITED, session["id"], purchase.account_id, what, purchase.credits)
    if not paid and granted:
        what = f"{granted:,} credits were added, and Stripe says {session['payment_status']!r}."
        return _for_operator(Kind.CREDITED_NOT_PAID, purchase, what, -granted)
    if paid and granted != purchase.credits:
        what = f"{granted:,} credits were added for {purchase.credits:,} that were bought."
        return _for_operator(Kind.CREDITED_ANOTHER_AMOUNT, purchase, what, purchase.credits - granted)
    if _has_gone_on(session, purchase) or (paid and purchase.status is not PurchaseStatus.CREDITED):
        what = f"It is {purchase.status.replace('_', ' ')} here and {session['status']} at Stripe."
        return Difference(Kind.NOT_CLOSED, session["id"], purchase.account_id, what)
    if purchase.status is PurchaseStatus.PENDING and is_not_coming(session):
        what = "It is pending here, and its payment is not coming any more."
        return Difference(Kind.NOT_CLOSED, session["id"], purchase.account_id, what)
    return None


def _has_gone_on(session: dict[str, Any], purchase: Purchase) -> bool:
    """Whether a checkout that is under way here is over at Stripe, or waits for its payment there."""
    if session["status"] == "expired":
        return not purchase.is_settled
    return session["status"] == "complete" and purchase.status is PurchaseStatus.OPEN


def _of_unknown_session(session: dict[str, Any]) -> Difference | None:
    metadata = session.get("metadata") or {}
    claimed, account_id = metadata.get("purchase_id"), metadata.get("account_id")
    # One of ours that was never shown to anybody, or of another product on the same Stripe account.
    if claimed is None or not is_paid(session):
        return None
    what = f"It was paid and names purchase {claimed!r}, which is not known here. Nothing was credited."
    suggestion = _correction("grant", account_id or "ACCOUNT", "CREDITS", session["id"], f"Paid as {session['id']}")
    return Difference(Kind.UNKNOWN_PURCHASE, session["id"], account_id, what, suggestion=suggestion)


def of_payment(payment: Payment, purchase: Purchase, books: Books) -> Difference | None:
    """What became of a payment and what was taken back for it, as far as they differ, or None (S23, S25)."""
    if books.granted is None:
        return None
    wanted, known = payment.credits_to_take(books.granted), books.clawback
    subject = purchase.payment_intent_id or purchase.id

    def difference(kind: Kind, what: str) -> Difference:
        return Difference(kind, subject, purchase.account_id, what, known.total - wanted)

    if wanted > known.total:
        what = f"{wanted:,} of its credits are to be taken back, and {known.total:,} were."
        return difference(Kind.REFUND_WITHOUT_CLAWBACK, what)
    if wanted < known.total:
        what = f"{known.total:,} of its credits were taken back, and only {wanted:,} are to be."
        return difference(Kind.CLAWBACK_WITHOUT_REFUND, what)
    if payment.undecided and not known.frozen:
        return difference(
            Kind.DISPUTE_NOT_FROZEN, "A dispute is open, and what is left of the credits is not frozen."
        )
    if known.frozen and not payment.undecided:
        return difference(
            Kind.FROZEN_WITHOUT_DISPUTE, "No dispute is open, and what is left of the credits is frozen."
        )
    if (purchase.refunded_minor, purchase.dispute) != (payment.refunded, payment.standing):
        return difference(Kind.PURCHASE_OUT_OF_DATE, "What we show of it is not what Stripe says any more.")
    return None


def of_subscription(standing: Standing) -> Difference | None:
    """What a subscription and its account say otherwise of each other, or None (S15, S16)."""
    if standing.plan != standing.wanted:
        kind, what = Kind.WRONG_PLAN, f"The account is on {standing.plan}, and should be on {standing.wanted}."
    elif standing.missing is not None:
        kind, what = Kind.WRONG_ALLOWANCE, f"The ledger has nothing of {standing.missing}."
    elif standing.should_end not in (None, standing.month_ends):
        return _wrong_period(standing)
    elif not standing.is_known:
        kind, what = Kind.SUBSCRIPTION_OUT_OF_DATE, "What we show of it is not what Stripe says any more."
    else:
        return None
    return Difference(kind, standing.subscription_id, standing.account_id, what)


def _wrong_period(standing: Standing) -> Difference:
    """Nothing is missing, and yet the month is another one: somebody has changed the ledger by hand."""
    ends = "has no allowance now" if standing.month_ends is None else f"has its allowance until {standing.month_ends}"
    what = f"The account {ends}, and by what was paid for it should be until {standing.should_end}."
    suggestion = f"tallystick credits show {standing.account_id}"
    return Difference(Kind.WRONG_PERIOD, standing.subscription_id, standing.account_id, what, suggestion=suggestion)


def of_unknown_subscription(subscription: dict[str, Any], catalogue: Catalogue) -> Difference | None:
    """A subscription at Stripe that belongs to no account here: somebody pays for one of our plans, and has nothing of
    it. None where it is over, or sells what another product on the same Stripe account sells."""
    prices = (item["price"]["id"] for item in subscription["items"]["data"])
    if subscription["status"] not in LIVE or not any(catalogue.sold_as(price) for price in prices):
        return None
    status, customer = subscription["status"].replace("_", " "), subscription["customer"]
    what = f"It is {status} at Stripe, at a price of ours, and its customer {customer} belongs to no account here."
    step = f"At Stripe, name the account as account_id in the metadata of {customer}. Then: {REPAIR}"
    return Difference(Kind.UNKNOWN_SUBSCRIPTION, subscription["id"], None, what, suggestion=step)


def of_subscription_unknown_at_stripe(kept: Subscription) -> Difference:
    """A subscription that we keep as going on, and that Stripe does not have."""
    what = (
        f"It is {kept.status.replace('_', ' ')} here, and Stripe has no such subscription: is this another Stripe "
        "account, or test mode for live mode?"
    )
    suggestion = shlex.join(["tallystick", "subscriptions", "end", kept.id])
    return Difference(Kind.UNKNOWN_AT_STRIPE, kept.id, kept.account_id, what, suggestion=suggestion)


def of_purchase_unknown_at_stripe(purchase: Purchase, books: Books) -> Difference:
    """A purchase of ours whose checkout session Stripe does not have."""
    what = "Stripe has no such checkout session: is this another Stripe account, or test mode for live mode?"
    return _for_operator(Kind.UNKNOWN_AT_STRIPE, purchase, what, -(books.granted or 0))


def _decision_key(subject: str) -> str:
    return f"decided:{subject}"


def _correction(what: str, account_id: str, credits: int | str, subject: str, reason: str) -> str:
    """A command that corrects credits. Its key says that the difference is decided, and that only once."""
    told = ["--key", _decision_key(subject), "--reason", reason]
    # An account's id may be whatever somebody wrote at Stripe, and this is to be pasted into a shell.
    return shlex.join(["tallystick", "credits", what, account_id, str(credits), *told])


def _for_operator(kind: Kind, purchase: Purchase, what: str, credits: int = 0) -> Difference:
    account, n = purchase.account_id, abs(credits)
    if kind is Kind.NEEDS_REVIEW:
        suggestion = shlex.join(["tallystick", "refund", purchase.id])
    elif credits > 0:
        suggestion = _correction("grant", account, n, purchase.id, f"Purchase {purchase.id}")
    elif credits < 0:
        suggestion = _correction("remove", account, n, purchase.id, f"Purchase {purchase.id} was not paid")
    else:
        suggestion = shlex.join(["tallystick", "credits", "show", account])
    return Difference(kind, purchase.id, account, what, credits, suggestion)
