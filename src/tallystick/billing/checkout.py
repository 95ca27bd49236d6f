"""The way out to Stripe: a purchase with frozen terms, and the checkout session where it is paid (S19, S20)."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from tallystick.billing.customers import Customers, client_reference
from tallystick.billing.errors import (
    AlreadyOnPlan,
    PlanNotForSale,
    PlanRequired,
    PriceMismatch,
    UnknownPack,
)
from tallystick.billing.locks import Locks
from tallystick.billing.purchases import Purchases, new_purchase_id
from tallystick.billing.stripe_api import BillingSettings, StripeApi
from tallystick.billing.subscriptions import LIVE
from tallystick.clock import Clock
from tallystick.domain.amounts import Money
from tallystick.domain.catalogue import Catalogue, Pack, Plan
from tallystick.domain.errors import UnknownPlan
from tallystick.ledger import Ledger

SESSION_LIFETIME = timedelta(hours=2)
"""How long a buyer may take. Stripe allows 30 minutes to 24 hours."""

REUSE_MARGIN = timedelta(minutes=10)
"""A session is handed out again only if it still lives this long."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StartedCheckout:
    """Where to send the buyer. `purchase_id` is None for a subscription."""

    url: str
    purchase_id: str | None


class Checkout:
    """Starts checkouts."""

    def __init__(
        self,
        settings: BillingSettings,
        api: StripeApi,
        ledger: Ledger,
        catalogue: Catalogue,
        purchases: Purchases,
        customers: Customers,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._api = api
        self._ledger = ledger
        self._catalogue = catalogue
        self._purchases = purchases
        self._customers = customers
        self._clock = clock
        self._one_at_a_time = Locks()

    async def of_pack(self, account_id: str, pack_id: str | None, email: str | None) -> StartedCheckout:
        """Start the purchase of a pack (default: the catalogue's first).

        The plan is judged from the ledger's own record (S19). The session is made first and the purchase
        written before anybody learns its address: when Stripe fails, or we do in between, what is left at
        most is a session that nobody can reach, and it expires. Raises UnknownAccount, UnknownPack,
        PlanRequired, StripeUnavailable, StripeRejected, PriceMismatch; each leaves no purchase behind.
        """
        account = await self._ledger.account(account_id)
        plan = self._catalogue.plan(account.plan)
        if plan is None or not plan.can_buy:
            raise PlanRequired(account.plan, [plan.name for plan in self._catalogue.plans if plan.can_buy])
        pack = self._pack(pack_id)
        # A double click must not start two purchases; within this process that is what the lock is for.
        async with self._one_at_a_time.of(account_id):
            reusable = await self._purchases.still_open(account_id, pack, self._clock() + REUSE_MARGIN)
            if reusable is not None:
                return StartedCheckout(reusable.checkout_url, reusable.id)
            return await self._start(account_id, pack, email)

    async def of_plan(self, account_id: str, plan_name: str, email: str | None) -> StartedCheckout:
        """Start a subscription to a plan. Raises UnknownPlan, PlanNotForSale, AlreadyOnPlan, and as above.

        Two clicks must not end in two subscriptions that both charge every month, so Stripe is asked what
        there is: our own books learn of a payment only when its event arrives.
        """
        plan = self._catalogue.plan(plan_name)
        if plan is None:
            raise UnknownPlan(plan_name, tuple(plan.name for plan in self._catalogue.plans))
        if not plan.prices:
            raise PlanNotForSale(plan_name)
        price = plan.prices[0].stripe_price
        account = await self._ledger.account(account_id)
        if account.plan == plan_name:
            raise AlreadyOnPlan(plan_name)
        async with self._one_at_a_time.of(account_id):
            customer = await self._customers.ensure(account_id, email)
            if await self._is_subscribed(customer, plan):
                raise AlreadyOnPlan(plan_name)
            open_one = await self._open_plan_session(customer, price)
            if open_one is not None:
                return StartedCheckout(open_one["url"], None)
            metadata = {"account_id": account_id, "plan": plan_name, "price": price}
            params = {
                **await self._common(account_id, email, price),
                "mode": "subscription",
                "metadata": metadata,
                "subscription_data": {"metadata": metadata},
                "success_url": self._return_url(self._settings.plan_success_path),
            }
            session = await self._api.create_session(params, f"tallystick-plan-{uuid.uuid4()}")
            return StartedCheckout(session["url"], None)

    async def _is_subscribed(self, customer: str, plan: Plan) -> bool:
        sold_under = {price.stripe_price for price in plan.prices}
        return any(
            item["price"]["id"] in sold_under
            for subscription in await self._api.subscriptions_of(customer)
            if subscription["status"] in LIVE
            for item in subscription["items"]["data"]
        )

    async def _open_plan_session(self, customer: str, price: str) -> dict[str, Any] | None:
        """A checkout of the same plan at the same price that is still open, to be used again."""
        success_url = self._return_url(self._settings.plan_success_path)
        for session in await self._api.open_sessions_of(customer):
            lives_on = datetime.fromtimestamp(session["expires_at"], UTC) > self._clock() + REUSE_MARGIN
            same = (session.get("metadata") or {}).get("price") == price
            if session["mode"] == "subscription" and same and lives_on and session["success_url"] == success_url:
                return session
        return None

    async def _start(self, account_id: str, pack: Pack, email: str | None) -> StartedCheckout:
        purchase_id = new_purchase_id()
        metadata = {
            "purchase_id": purchase_id,
            "account_id": account_id,
            "pack_id": pack.id,
            "credits": str(pack.credits),
        }
        expires_at = self._clock() + SESSION_LIFETIME
        params = {
            **await self._common(account_id, email, pack.stripe_price),
            "mode": "payment",
            "metadata": metadata,
            "payment_intent_data": {"metadata": metadata},
            "success_url": self._return_url(self._settings.success_path),
            "expires_at": int(expires_at.timestamp()),
        }
        session = await self._api.create_session(params, f"tallystick-{purchase_id}")
        found = Money(session["amount_total"], session["currency"].upper())
        if found != pack.price:
            await self._api.expire_session(session["id"])
            log.error("price_mismatch", pack_id=pack.id, stripe_price=pack.stripe_price)
            raise PriceMismatch(pack.stripe_price, str(pack.price), str(found))
        purchase = await self._purchases.add(purchase_id, account_id, pack, session, expires_at)
        log.info("purchase_started", purchase_id=purchase.id, account_id=account_id, pack_id=pack.id)
        return StartedCheckout(purchase.checkout_url, purchase.id)

    async def _common(self, account_id: str, email: str | None, price: str) -> dict[str, Any]:
        return {
            "customer": await self._customers.ensure(account_id, email),
            "client_reference_id": client_reference(account_id),
            "line_items": [{"price": price, "quantity": 1}],
            "cancel_url": f"{self._settings.base_url}{self._settings.cancel_path}?purchase=cancelled",
        }

    def _return_url(self, path: str) -> str:
        # Stripe puts the id in the place of the braces, so they must not be percent-encoded.
        return f"{self._settings.base_url}{path}?session_id={{CHECKOUT_SESSION_ID}}"

    def _pack(self, pack_id: str | None) -> Pack:
        packs = self._catalogue.packs
        found = (packs[0] if packs else None) if pack_id is None else self._catalogue.pack(pack_id)
        if found is None:
            raise UnknownPack(pack_id or "", [pack.id for pack in packs])
        return found
