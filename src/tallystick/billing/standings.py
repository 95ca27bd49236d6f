"""What a charge, a bank's dispute or its warning means for a refund of a payment, in words for an operator. Pure."""

from collections.abc import Iterable

WARNING = "early_fraud_warning"
"""Where a payment stands that a bank warns of and nobody disputes yet."""

UNDECIDED = frozenset({"needs_response", "under_review", "warning_needs_response", "warning_under_review"})
"""Statuses of a dispute in which nobody knows yet how it ends."""

_WEIGHTIEST_FIRST = (
    "needs_response",
    "warning_needs_response",
    "under_review",
    "warning_under_review",
    "lost",
    "prevented",
    "won",
    "warning_closed",
)

_OPEN = (
    "The buyer's bank disputes this payment and has withdrawn the money; the credits were taken back for it. Stripe "
    "refuses to refund what is disputed. "
    "Answer the dispute in Stripe's dashboard, or accept it there, which leaves the money with the buyer. "
    "If it is won, the money comes back, and can be refunded then."
)
_INQUIRY = (
    "The buyer's bank inquires about this payment. Nothing was withdrawn; what is left of the credits is frozen. "
    "A refund of all of it ends the inquiry, or answer it in Stripe's dashboard."
)
_MEANINGS = {
    "needs_response": _OPEN,
    "under_review": _OPEN,
    "lost": "The dispute of this payment was lost: the bank gave the money back to the buyer, and there is nothing to do.",
    "prevented": "The bank gave this payment back to the buyer before it was disputed, and there is nothing to do.",
    "warning_needs_response": _INQUIRY,
    "warning_under_review": _INQUIRY,
    WARNING: (
        "The buyer's bank warns that this payment may be fraud. Nothing was withdrawn. "
        "If you agree, refund all of it before it is disputed, which would cost a fee."
    ),
}

_UNPAID = {
    "pending": (
        "The payment is under way: the buyer's bank has not sent it yet. "
        "Wait until it has arrived and refund it then, or cancel it in Stripe's dashboard."
    ),
    "failed": "The payment failed: nothing was paid, and there is nothing to do.",
}


def of_disputes(statuses: Iterable[str]) -> str | None:
    """Of the statuses of a payment's disputes the one that matters most: one that waits for an answer before all."""
    # One that Stripe invents later comes first: nobody knows that it matters less.
    places = {status: place for place, status in enumerate(_WEIGHTIEST_FIRST, start=1)}
    return min(statuses, key=lambda status: places.get(status, 0), default=None)


def of_a_charge(status: str | None) -> str | None:
    """Why a charge that has not succeeded leaves nothing to refund, and what to do; None when there is no more to say."""
    return _UNPAID.get(status or "")


def for_a_refund(standing: str | None) -> str | None:
    """What the standing of a payment means for a refund of it, and what to do; None when it means nothing."""
    return _MEANINGS.get(standing or "")
