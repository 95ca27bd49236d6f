"""What an operator looks at: purchases that need a person, disputes, events that could not be worked."""

from contextlib import suppress
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from tallystick.billing import EventStatus, PurchaseStatus
from tallystick.billing.errors import UnknownEvent
from tallystick.web.context import Operator, TheSite
from tallystick.web.problems import GuardedRoute

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)

SHOWN = 50


@router.get("/operator")
async def overview(request: Request, site: TheSite, user: Operator, replayed: str = "") -> Response:
    """Everything that waits for a person, then what happened lately. `replayed` names an event that just was."""
    billing = site.credits.billing
    again = None
    with suppress(UnknownEvent):
        again = (await billing.event_story(replayed)).event if replayed else None
    return site.page(
        request,
        "operator.html",
        operator=user,
        review=await billing.latest_purchases(SHOWN, PurchaseStatus.NEEDS_REVIEW),
        reconciliation=await billing.latest_reconciliation(),
        disputed=await billing.disputed_purchases(SHOWN),
        parked=await billing.latest_events(SHOWN, EventStatus.PARKED),
        refused=await billing.refusals(),
        refused_events=await billing.latest_events(SHOWN, EventStatus.REFUSED),
        pending=await billing.latest_events(SHOWN, EventStatus.PENDING),
        purchases=await billing.latest_purchases(SHOWN),
        replayed=again,
    )


@router.post("/operator/events/{event_id}/replay")
async def replay(site: TheSite, _: Operator, event_id: str) -> Response:
    """Work an event again. Back on the page it says what came out."""
    (event,) = await site.credits.billing.replay_events([event_id])
    return RedirectResponse(f"/operator?replayed={quote(event.id)}#parked", 303)
