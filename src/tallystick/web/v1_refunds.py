"""The /v1 routes that give money back: what it comes to beforehand, and the refund."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from tallystick.billing import RefundStatus
from tallystick.service import Tallystick
from tallystick.web.v1_access import Key
from tallystick.web.v1_examples import PURCHASE
from tallystick.web.v1_operations import REPLAYED, declare
from tallystick.web.v1_refund_shapes import (
    QuoteAnswer,
    RefundAnswer,
    RefundRequest,
    quote_answer,
    refund_answer,
)

PurchaseId = Annotated[str, Path(description="The purchase's id, pur_…", max_length=255, examples=[PURCHASE])]
Wanted = Annotated[
    int | None,
    Query(ge=1, le=10**12, description="Minor units; all that is left if it is not given.", examples=[200]),
]


def add_refunds(router: APIRouter, credits: Tallystick) -> None:
    """Add the routes, for one Tallystick."""

    @router.get("/purchases/{id}/refund-quote", **declare(credits, "quote_refund"))
    async def quote(id: PurchaseId, amount: Wanted = None) -> QuoteAnswer:
        """What a refund would come to. Changes nothing."""
        return quote_answer(await credits.quote_refund(id, amount))

    @router.post("/purchases/{id}/refunds", **declare(credits, "refund_purchase"))
    async def refund(
        id: PurchaseId, key: Key, response: Response, asked: RefundRequest | None = None
    ) -> RefundAnswer:
        """Give money back and take the credits back, as one step that a crash cannot halve."""
        wanted = asked or RefundRequest()
        before = await credits.billing.refunds_of(id)
        made = await credits.refund(id, wanted.amount, key=key, reason=wanted.reason)
        if any(known.key == key and known.status is RefundStatus.DONE for known in before):
            response.headers.update(REPLAYED)
        return refund_answer(made)
