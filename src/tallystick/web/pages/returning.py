"""Where buyers come back to from Stripe, and watch their credits arrive (S22)."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from tallystick.web import views
from tallystick.web.context import SignedIn, TheSite
from tallystick.web.problems import GuardedRoute

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)

SLOW_AFTER = 60
"""After so many looks the page looks less often."""


@router.get("/purchases/return")
async def purchase_return(
    request: Request, site: TheSite, user: SignedIn, session_id: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    """The page itself: says at once what we know, then watches."""
    purchase = await site.credits.billing.purchase_of_session(user.account_id, session_id)
    view = views.purchase_view(purchase, 0)
    return site.page(request, "purchase_return.html", purchase=purchase, view=view, looks=0, balance=None)


@router.get("/purchases/{purchase_id}/progress")
async def purchase_progress(
    request: Request, site: TheSite, user: SignedIn, purchase_id: str, looks: Annotated[int, Query(ge=0)] = 0
) -> Response:
    """The part of the page that watches. Asks Stripe at the 1st, 2nd, 4th, 8th … look, else our own books."""
    billing = site.credits.billing
    purchase = await billing.purchase(user.account_id, purchase_id)
    looks += 1
    if not purchase.is_settled and looks & (looks - 1) == 0:
        purchase = await billing.purchase_of_return(user.account_id, purchase.checkout_session_id)
    return site.page(
        request,
        "components/purchase_progress.html",
        purchase=purchase,
        view=views.purchase_view(purchase, looks),
        looks=looks,
        pause="10s" if looks >= SLOW_AFTER else "1s",
        balance=await site.credits.balance(user.account_id),
    )


@router.get("/plan/return")
async def plan_return(request: Request, site: TheSite, user: SignedIn) -> Response:
    """Back from subscribing to a plan."""
    balance = await site.credits.balance(user.account_id)
    return site.page(request, "plan_return.html", balance=balance, looks=0)


@router.get("/plan/progress")
async def plan_progress(
    request: Request, site: TheSite, user: SignedIn, looks: Annotated[int, Query(ge=0)] = 0
) -> Response:
    """The part of that page that watches for the plan."""
    balance = await site.credits.balance(user.account_id)
    return site.page(request, "components/plan_progress.html", balance=balance, looks=looks + 1)
