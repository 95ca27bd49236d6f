"""What the /v1 routes of refunds are sent and answer."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tallystick.billing import Refund, RefundQuote
from tallystick.web.v1_shapes import Whole, Why

Money = Annotated[Whole, Field(description="Minor units of the currency, like cents.")]
Minor = Annotated[Money, Field(strict=True, ge=1, le=10**12)]


class QuoteAnswer(BaseModel):
    """What a refund of `amount` would come to: money in minor units, credits whole (S23, S24)."""

    purchase_id: Annotated[str, Field(description="The purchase.")]
    account_id: Annotated[str, Field(description="Who bought.")]
    currency: Annotated[str, Field(description="The currency of all money here, ISO 4217.")]
    paid: Annotated[Money, Field(description="What was paid.")]
    refunded: Annotated[Money, Field(description="What has been refunded so far.")]
    refundable: Annotated[Money, Field(description="What can be refunded still.")]
    amount: Annotated[Money, Field(description="What this is a quote for.")]
    credits: Annotated[Whole, Field(description="How many credits were bought.")]
    unspent: Annotated[Whole, Field(description="What is left of the credits.")]
    unspent_worth: Annotated[Money, Field(description="What those cost.")]
    takes: Annotated[Whole, Field(description="How many credits it would take back.")]
    debt: Annotated[Whole, Field(description="How many of these have been used, and would be owed.")]


class RefundRequest(BaseModel):
    """How much to refund; all that is left if no amount is given."""

    model_config = ConfigDict(extra="forbid")

    amount: Annotated[Minor | None, Field(description="Minor units; all that is left.", examples=[200])] = None
    reason: Why = ""


class RefundAnswer(BaseModel):
    """A refund that was made: the money at Stripe, the credits here."""

    id: Annotated[str, Field(description="The refund, refund_…")]
    purchase_id: Annotated[str, Field(description="The purchase.")]
    amount: Annotated[Money, Field(description="What went back, in minor units.")]
    currency: Annotated[str, Field(description="Its currency, ISO 4217.")]
    status: Annotated[str, Field(description="`done`: Stripe has it. The money may be on its way still.")]
    stripe_refund_id: Annotated[str | None, Field(description="The refund at Stripe, re_…")]
    reason: Annotated[str, Field(description="What the caller said it was for.")]
    created_at: Annotated[datetime, Field(description="When it was asked for.")]


def quote_answer(quote: RefundQuote) -> QuoteAnswer:
    """A quote as the API shows it."""
    return QuoteAnswer(
        purchase_id=quote.purchase_id,
        account_id=quote.account_id,
        currency=quote.paid.currency,
        paid=quote.paid.minor,
        refunded=quote.refunded.minor,
        refundable=quote.refundable.minor,
        amount=quote.amount.minor,
        credits=quote.credits,
        unspent=quote.unspent,
        unspent_worth=quote.unspent_worth.minor,
        takes=quote.takes,
        debt=quote.debt,
    )


def refund_answer(refund: Refund) -> RefundAnswer:
    """A refund as the API shows it."""
    return RefundAnswer(
        id=refund.id,
        purchase_id=refund.purchase_id,
        amount=refund.amount.minor,
        currency=refund.amount.currency,
        status=refund.status,
        stripe_refund_id=refund.stripe_refund_id,
        reason=refund.reason,
        created_at=refund.created_at,
    )
