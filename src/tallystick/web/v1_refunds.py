"""The /v1 routes that give money back: what it comes to beforehand, and the refund."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from tallystick.api_keys import Scope
from tallystick.billing import Refund, RefundQuote
from tallystick.domain.commands import MAX_TEXT
from tallystick.service import Tallystick
from tallystick.web.v1_access import Key, requires

Minor = Annotated[int, Field(strict=True, ge=1, le=10**12, description="Minor units, like cents.", examples=[200])]
PurchaseId = Annotated[str, Path(description="The purchase's id, pur_…", max_length=255)]


class QuoteAnswer(BaseModel):
    """What a refund of `amount` would come to: money in minor units, credits whole (S23, S24)."""

    purchase_id: str
    account_id: str
    currency: Annotated[str, Field(examples=["USD"])]
    paid: Annotated[int, Field(examples=[599])]
    refunded: Annotated[int, Field(examples=[0])]
    refundable: Annotated[int, Field(examples=[599])]
    amount: Annotated[int, Field(examples=[200])]
    credits: Annotated[int, Field(examples=[200])]
    unspent: Annotated[int, Field(description="What is left of the credits.", examples=[150])]
    unspent_worth: Annotated[int, Field(description="What those cost.", examples=[449])]
    takes: Annotated[int, Field(description="How many credits it would take back.", examples=[66])]
    debt: Annotated[int, Field(description="How many of these have been used, and would be owed.", examples=[0])]


class RefundRequest(BaseModel):
    """How much to refund; all that is left if no amount is given."""

    model_config = ConfigDict(extra="forbid")

    amount: Minor | None = None
    reason: Annotated[str, Field(max_length=MAX_TEXT)] = ""


class RefundAnswer(BaseModel):
    """A refund that was made: the money at Stripe, the credits here."""

    id: str
    purchase_id: str
    amount: int
    currency: str
    status: Annotated[str, Field(examples=["done"])]
    stripe_refund_id: str | None
    reason: str
    created_at: datetime


def add_refunds(router: APIRouter, credits: Tallystick) -> None:
    """Add the routes, for one Tallystick."""

    @router.get("/purchases/{id}/refund-quote", dependencies=[requires(credits, Scope.READ)])
    async def quote(id: PurchaseId, amount: Annotated[int | None, Query(ge=1, le=10**12)] = None) -> QuoteAnswer:
        """What a refund would come to. Changes nothing."""
        return _quote(await credits.quote_refund(id, amount))

    @router.post("/purchases/{id}/refunds", status_code=201, dependencies=[requires(credits, Scope.ADMIN)])
    async def refund(id: PurchaseId, key: Key, asked: RefundRequest | None = None) -> RefundAnswer:
        """Give money back and take the credits back, as one step that a crash cannot halve."""
        wanted = asked or RefundRequest()
        return _refund(await credits.refund(id, wanted.amount, key=key, reason=wanted.reason))


def _quote(quote: RefundQuote) -> QuoteAnswer:
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


def _refund(refund: Refund) -> RefundAnswer:
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
