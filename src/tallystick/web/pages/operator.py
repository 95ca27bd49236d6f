"""What an operator looks at: purchases that need a person, disputes, events that could not be worked."""

from contextlib import suppress
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from tallystick.billing import EventStatus, PurchaseStatus, StoredEvent
from tallystick.billing.errors import UnknownEvent
from tallystick.web.context import Operator, TheSite
from tallystick.web.problems import GuardedRoute

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)

SHOWN = 50


@router.get("/operator")
async def overview(request: Request, site: TheSite, user: Operator, seen_to: str = "") -> Response:
    """Everything that waits for a person, then what happened lately. `seen_to` names an event that just was."""
    billing = site.credits.billing
    event = None
    with suppress(UnknownEvent):
        event = (await billing.event_story(seen_to)).event if seen_to else None
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
        seen_to=event,
    )


@router.post("/operator/events/{event_id}/replay")
async def replay(site: TheSite, _: Operator, event_id: str) -> Response:
    """Work an event again. Back on the page it says what came out."""
    return _seen_to(await site.credits.billing.replay_events([event_id]))


@router.post("/operator/events/{event_id}/dismiss")
async def dismiss(
    site: TheSite, _: Operator, event_id: str, reason: Annotated[str, Form(max_length=500)] = ""
) -> Response:
    """Let a parked event rest, because what it is about was done in another way."""
    return _seen_to(await site.credits.billing.dismiss_events([event_id], reason))


def _seen_to(events: list[StoredEvent]) -> Response:
    return RedirectResponse(f"/operator?seen_to={quote(events[0].id)}#parked", 303)
