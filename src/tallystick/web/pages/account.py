"""What a customer sees of their account: dashboard, settings, history."""

import secrets
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response

from tallystick.balance import Spent
from tallystick.billing import Purchase, PurchaseStatus, Subscription
from tallystick.domain.account import LAST_ENTRY
from tallystick.domain.errors import InsufficientCredits
from tallystick.service import BillingNotConfigured
from tallystick.web import views
from tallystick.web.context import SignedIn, Site, TheSite
from tallystick.web.problems import GuardedRoute, RequestRefused
from tallystick.web.subscription_view import subscription_view
from tallystick.web.users import User

GENERATE_COST = 3
RECENT = 5
PAGE = 25

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)


@router.get("/dashboard")
async def dashboard(request: Request, site: TheSite, user: SignedIn, purchase: str = "") -> Response:
    """Balances, the way to more, and what happened lately."""
    shown = {**await _account(site, user), **await _payments(site, user)}
    return site.page(request, "dashboard.html", cancelled=purchase == "cancelled", **shown)


@router.post("/generate")
async def generate(
    request: Request, site: TheSite, user: SignedIn, key: Annotated[str, Form(max_length=100)]
) -> Response:
    """The demo's work: spends credits, once per rendered button. Answers with the account's part of the page,
    or with all of it where scripts do not run."""
    if not site.settings.demo:
        raise RequestRefused("not_found", "There is nothing here.")
    spent: Spent | None = None
    refused: InsufficientCredits | None = None
    try:
        spent = await site.credits.spend(user.account_id, GENERATE_COST, key=f"generate:{key}", operation="Generate")
    except InsufficientCredits as error:
        refused = error
    shown = {**await _account(site, user), "spent": spent, "refused": refused}
    if "hx-request" in request.headers:
        return site.page(request, "account.html", **shown)
    return site.page(request, "dashboard.html", cancelled=False, **shown, **await _payments(site, user))


@router.get("/settings")
async def settings(request: Request, site: TheSite, user: SignedIn) -> Response:
    """Monthly, bonus and total apart, and the subscription."""
    shown = {**await _account(site, user), **await _payments(site, user)}
    return site.page(request, "settings.html", **shown)


@router.get("/history")
async def history(
    request: Request, site: TheSite, user: SignedIn, before: Annotated[int | None, Query(ge=1, le=LAST_ENTRY)] = None
) -> Response:
    """All entries, newest first."""
    found = await site.credits.entries(user.account_id, before=before, limit=PAGE)
    more = found[-1].seq if len(found) == PAGE and found[-1].seq > 1 else None
    return site.page(
        request, "history.html", entries=[views.entry_view(e) for e in found], more=more, first=before is None
    )


async def _account(site: Site, user: User) -> dict[str, Any]:
    """What the account's part of a page shows."""
    credits = site.credits
    balance = await credits.open_account(user.account_id)
    packs = credits.catalogue.packs
    better = [plan for plan in credits.catalogue.plans if plan.can_buy and plan.prices]
    return {
        "balance": balance,
        "plan": credits.catalogue.plan(balance.plan),
        "pack": packs[0] if packs and balance.can_buy else None,
        "better_plan": better[0] if better and not balance.can_buy else None,
        "resets_in": None if balance.resets_at is None else views.until(balance.resets_at, credits.clock()),
        "entries": [views.entry_view(e) for e in await credits.entries(user.account_id, limit=RECENT)],
        "generate_cost": GENERATE_COST,
        "generate_key": secrets.token_urlsafe(16),
        "spent": None,
        "refused": None,
    }


async def _payments(site: Site, user: User) -> dict[str, Any]:
    """What a page shows of the account's subscription and purchases.

    A checkout that nobody went through is no purchase; the newest one that has expired can be taken up again.
    """
    catalogue = site.credits.catalogue
    found: Subscription | None = None
    purchases: list[Purchase] = []
    # Without Stripe there is neither.
    with suppress(BillingNotConfigured):
        billing = site.credits.billing
        found = await billing.subscription(user.account_id)
        purchases = await billing.purchases(user.account_id)
    sold = catalogue.sold_as(found.stripe_price or "") if found is not None and found.is_live else None
    left = [p for p in purchases[:1] if p.status is PurchaseStatus.EXPIRED and p.recovery_url is not None]
    started = (PurchaseStatus.OPEN, PurchaseStatus.EXPIRED)
    return {
        "subscription": subscription_view(found, catalogue),
        "manageable": found is not None,
        "yearly": sold is not None and sold.interval == "year",
        "expired": left[0] if left else None,
        "purchases": [purchase for purchase in purchases if purchase.status not in started],
    }
