"""The HTTP API that a host application mounts, and that the standalone service serves too."""

from collections.abc import Callable
from datetime import datetime
from importlib import resources
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from tallystick.balance import Balance
from tallystick.billing import WEBHOOK_PATH, Purchase
from tallystick.domain.account import LAST_ENTRY, Entry
from tallystick.service import Tallystick
from tallystick.web.problems import NotSignedIn, ProblemRoute
from tallystick.web.security import json_only, same_site_only

Name = Annotated[str, Field(max_length=200)]


class CreditCheckoutRequest(BaseModel):
    """Which pack to buy; the catalogue's first if none is named."""

    model_config = ConfigDict(extra="forbid", strict=True)

    pack_id: Name | None = None


class PlanCheckoutRequest(BaseModel):
    """Which plan to subscribe to, and how often to pay; as the plan is sold first if that is not said."""

    model_config = ConfigDict(extra="forbid", strict=True)

    plan: Name
    interval: Literal["month", "year"] | None = None


class CheckoutAnswer(BaseModel):
    """Where to send the buyer."""

    url: str
    purchase_id: str | None


class PortalAnswer(BaseModel):
    """Where the customer manages the subscription."""

    url: str


class PurchaseAnswer(BaseModel):
    """One purchase. `amount` is its price in minor units, `paid` what was paid, null until it is; `recovery_url` leads back to a checkout that has expired."""

    id: str
    status: str
    pack_id: str
    credits: int
    amount: int
    paid: int | None
    currency: str
    quantity: int
    recovery_url: str | None
    created_at: datetime


class EntryAnswer(BaseModel):
    """One entry of the account's ledger, with the balances after it."""

    seq: int
    kind: str
    amount: int
    monthly: int
    bonus: int
    available: int
    from_monthly: int
    from_bonus: int
    reason: str
    reference: str | None
    effective_at: datetime


class EntriesAnswer(BaseModel):
    """A page of entries, newest first; `next_before` asks for the next page."""

    entries: list[EntryAnswer]
    next_before: int | None


async def _nobody() -> str | None:
    return None


def make_router(
    credits: Tallystick, current_user: Callable[..., Any], current_email: Callable[..., Any] = _nobody
) -> APIRouter:
    """The routes, for one Tallystick.

    `current_user` is a dependency that returns the account id of who is signed in, or None;
    `current_email` one that returns their e-mail, which Stripe then knows too.
    """

    async def signed_in(account_id: Annotated[str | None, Depends(current_user)]) -> str:
        if account_id is None:
            raise NotSignedIn
        await credits.open_account(account_id)
        return account_id

    account = Depends(signed_in)
    email = Depends(current_email)
    router = APIRouter(route_class=ProblemRoute, dependencies=[Depends(same_site_only)], tags=["credits"])

    @router.post("/api/stripe/create-credit-checkout", response_model=CheckoutAnswer)
    async def create_credit_checkout(
        asked: CreditCheckoutRequest | None = None,
        account_id: str = account,
        email: str | None = email,
        _: None = Depends(json_only),
    ) -> Any:
        """Start the purchase of a pack. Answers with the address of Stripe's checkout page."""
        pack_id = None if asked is None else asked.pack_id
        return _plain(await credits.billing.start_pack_checkout(account_id, pack_id=pack_id, email=email))

    @router.post("/api/stripe/create-plan-checkout", response_model=CheckoutAnswer)
    async def create_plan_checkout(
        asked: PlanCheckoutRequest,
        account_id: str = account,
        email: str | None = email,
        _: None = Depends(json_only),
    ) -> Any:
        """Start a subscription to a plan. Answers with the address of Stripe's checkout page.

        Whoever has a subscription already gets the address where its change is confirmed.
        """
        billing = credits.billing
        return _plain(
            await billing.start_plan_checkout(account_id, plan=asked.plan, interval=asked.interval, email=email)
        )

    @router.post("/api/stripe/portal", response_model=PortalAnswer)
    async def portal(account_id: str = account, _: None = Depends(json_only)) -> Any:
        """Open Stripe's customer portal: plan, card, invoices, cancellation. Answers with its address."""
        return {"url": await credits.billing.open_portal(account_id)}

    @router.post(WEBHOOK_PATH)
    async def webhook(request: Request, stripe_signature: Annotated[str | None, Header()] = None) -> dict[str, bool]:
        """Where Stripe sends its events."""
        await credits.billing.receive_webhook(await request.body(), stripe_signature)
        return {"received": True}

    @router.get("/api/credits/balance", response_model=Balance)
    async def balance(account_id: str = account) -> Balance:
        """What the account has now."""
        return await credits.balance(account_id)

    @router.get("/api/credits/entries", response_model=EntriesAnswer)
    async def entries(
        before: Annotated[int | None, Query(ge=1, le=LAST_ENTRY)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        account_id: str = account,
    ) -> Any:
        """The account's entries, newest first."""
        found = await credits.entries(account_id, before=before, limit=limit)
        last = found[-1].seq if len(found) == limit and found[-1].seq > 1 else None
        return EntriesAnswer(entries=[_entry(entry) for entry in found], next_before=last)

    @router.get("/api/purchases/{purchase_id}", response_model=PurchaseAnswer)
    async def purchase(purchase_id: str, account_id: str = account) -> Any:
        """One of the account's own purchases."""
        return _purchase(await credits.billing.purchase(account_id, purchase_id))

    @router.get("/tallystick/credit-purchase.js", include_in_schema=False)
    async def element() -> Response:
        """The <credit-purchase> element."""
        script = resources.files("tallystick.web").joinpath("element/credit-purchase.js").read_bytes()
        return Response(script, media_type="text/javascript")

    return router


def _plain(started: Any) -> dict[str, Any]:
    return {"url": started.url, "purchase_id": started.purchase_id}


def _purchase(purchase: Purchase) -> PurchaseAnswer:
    return PurchaseAnswer(
        id=purchase.id,
        status=purchase.status,
        pack_id=purchase.pack_id,
        credits=purchase.credits,
        amount=purchase.price.minor,
        paid=purchase.paid_minor,
        currency=purchase.price.currency,
        quantity=purchase.quantity,
        recovery_url=purchase.recovery_url,
        created_at=purchase.created_at,
    )


def _entry(entry: Entry) -> EntryAnswer:
    return EntryAnswer(
        seq=entry.seq,
        kind=entry.kind,
        amount=entry.amount,
        monthly=entry.monthly,
        bonus=entry.bonus,
        available=entry.available,
        from_monthly=entry.from_monthly,
        from_bonus=entry.from_bonus,
        reason=entry.reason,
        reference=entry.reference,
        effective_at=entry.effective_at,
    )
