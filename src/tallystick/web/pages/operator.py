"""What an operator looks at: purchases that need a person, disputes, events that could not be worked."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tallystick.billing import EventStatus, PurchaseStatus
from tallystick.web.context import Operator, TheSite
from tallystick.web.problems import GuardedRoute

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)

SHOWN = 50


@router.get("/operator")
async def overview(request: Request, site: TheSite, user: Operator) -> Response:
    """Everything that waits for a person, then what happened lately."""
    billing = site.credits.billing
    return site.page(
        request,
        "operator.html",
        operator=user,
        review=await billing.latest_purchases(SHOWN, PurchaseStatus.NEEDS_REVIEW),
        reconciliation=await billing.latest_reconciliation(),
        disputed=await billing.disputed_purchases(SHOWN),
        parked=await billing.latest_events(SHOWN, EventStatus.PARKED),
        pending=await billing.latest_events(SHOWN, EventStatus.PENDING),
        purchases=await billing.latest_purchases(SHOWN),
    )
