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
from tallystick.billing.fulfilment import Fulfilment
from tallystick.billing.locks import Locks
from tallystick.billing.portal import Portal
from tallystick.billing.purchases import Purchases, PurchaseStatus, new_purchase_id
from tallystick.billing.reading import read_schedule
from tallystick.billing.story import GOOD
from tallystick.billing.stripe_api import BillingSettings, StripeApi
from tallystick.billing.subscription_table import LOST, SubscriptionTable
from tallystick.billing.subscriptions import Subscriptions
from tallystick.clock import Clock
from tallystick.domain.amounts import Money
from tallystick.domain.catalogue import Catalogue, Pack, PlanPrice
from tallystick.domain.errors import UnknownPlan
from tallystick.ledger import Ledger

SESSION_LIFETIME = timedelta(hours=2)
"""How long a buyer may take. Stripe allows 30 minutes to 24 hours."""

CHARGED = GOOD | {"past_due", "unpaid"}
"""Statuses of a subscription that is, or can again be, charged for: there must be no second one beside it."""

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
        table: SubscriptionTable,
        subscriptions: Subscriptions,
        portal: Portal,
        fulfilment: Fulfilment,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._api = api
        self._ledger = ledger
        self._catalogue = catalogue
        self._purchases = purchases
        self._customers = customers
        self._table = table
        self._subscriptions = subscriptions
        self._portal = portal
        self._fulfilment = fulfilment
        self._clock = clock
        self._one_at_a_time = Locks()

    async def of_pack(self, account_id: str, pack_id: str | None, email: str | None) -> StartedCheckout:
        """Start the purchase of a pack (default: the catalogue's first).

        The plan is judged from the ledger's own record (S19). The session is made first and the purchase
        written before anybody learns its address: when Stripe fails, or we do in between, what is left at
        most is a session that nobody can reach, and it expires. A session that is still open is used again; one
        that was paid, though its event has not come, is credited first (S21); one that Stripe does not have any more
        is given up. Raises UnknownAccount, UnknownPack, PlanRequired, StripeUnavailable, StripeRejected,
        PriceMismatch; each leaves no purchase behind.
        """
        account = await self._ledger.account(account_id)
        plan = self._catalogue.plan(account.plan)
        if plan is None or not plan.can_buy:
            raise PlanRequired(account.plan, [plan.name for plan in self._catalogue.plans if plan.can_buy])
        pack = self._pack(pack_id)
        # A double click must not start two purchases; within this process that is what the lock is for.
        async with self._one_at_a_time.of(account_id):
            while (
                known := await self._purchases.still_open(account_id, pack, self._clock() + REUSE_MARGIN)
            ) is not None:
                # Our own books learn that it was paid, or expired, only when an event arrives.
                now = await self._fulfilment.look_again(known)
                if now.status is PurchaseStatus.OPEN:
                    return StartedCheckout(known.checkout_url, known.id)
            return await self._start(account_id, pack, email)

    async def of_plan(
        self, account_id: str, plan_name: str, interval: str | None, email: str | None
    ) -> StartedCheckout:
        """Start a subscription to a plan, billed every `interval` (default: the plan's first price).

        Whoever has one already is sent to the portal's page that confirms the change of it: two clicks must
        not end in two subscriptions that both charge. So Stripe is asked what there is: our own books learn of
        a payment only when its event arrives. A subscription that Stripe does not have any more ends here. Raises
        UnknownPlan, PlanNotForSale, AlreadyOnPlan, and as above.
        """
        plan = self._catalogue.plan(plan_name)
        if plan is None:
            raise UnknownPlan(plan_name, tuple(plan.name for plan in self._catalogue.plans))
        price = plan.price_for(interval)
        if price is None:
            raise PlanNotForSale(plan_name, interval)
        await self._ledger.account(account_id)
        async with self._one_at_a_time.of(account_id):
            customer = await self._customers.ensure(account_id, email)
            running = await self._running(account_id, customer)
            if running is None and (await self._ledger.account(account_id)).plan == plan_name:
                raise AlreadyOnPlan(plan_name)
            if running is not None:
                return await self._change(running, price, interval)
            open_one = await self._open_plan_session(customer, price.stripe_price)
            if open_one is not None:
                return StartedCheckout(open_one["url"], None)
            return await self._subscribe(account_id, customer, price)

    async def _running(self, account_id: str, customer: str) -> dict[str, Any] | None:
        """The account's subscription to a plan of ours that is charged for, also of another customer than this one."""
        for subscription in await self._api.subscriptions_of(customer):
            sold = map(self._catalogue.sold_as, (item["price"]["id"] for item in subscription["items"]["data"]))
            if subscription["status"] in CHARGED and any(sold):
                return subscription
        for known in await self._table.of_account(account_id):
            if known.status in CHARGED or known.status == LOST:
                found = await self._subscriptions.end_if_lost(known)
                if found is not None:
                    return found
        return None

    async def _change(self, running: dict[str, Any], price: PlanPrice, interval: str | None) -> StartedCheckout:
        now = [self._catalogue.sold_as(item["price"]["id"]) for item in running["items"]["data"]]
        if any(sold is not None and sold.plan == price.plan and interval in (None, sold.interval) for sold in now):
            raise AlreadyOnPlan(price.plan.name)
        if running["status"] not in GOOD or await self._waits(running):
            # What is owed, or waits for the period's end, comes first; the portal shows it. A change that is confirmed
            # beside one that waits would come after it, and both be charged for.
            return StartedCheckout(await self._portal.visit(running["customer"]), None)
        return StartedCheckout(await self._portal.change(running, price.stripe_price), None)

    async def _waits(self, running: dict[str, Any]) -> bool:
        """Whether a change of a subscription waits for the end of its period."""
        schedule = await self._api.schedule(running["schedule"]) if running.get("schedule") else None
        planned = None if schedule is None else read_schedule(schedule)
        return planned is not None and bool(planned.phases)

    async def _subscribe(self, account_id: str, customer: str, price: PlanPrice) -> StartedCheckout:
        plan = price.plan
        metadata = {"account_id": account_id, "plan": plan.name, "price": price.stripe_price}
        data: dict[str, Any] = {"metadata": metadata}
        if plan.trial_days and not await self._had_subscription(account_id, customer):
            data["trial_period_days"] = plan.trial_days
        params = {
            **self._common(account_id, customer, {"price": price.stripe_price, "quantity": 1}),
            "mode": "subscription",
            "metadata": metadata,
            "subscription_data": data,
            "success_url": self._return_url(self._settings.plan_success_path),
        }
        session = await self._api.create_session(params, f"tallystick-plan-{uuid.uuid4()}")
        return StartedCheckout(session["url"], None)

    async def _had_subscription(self, account_id: str, customer: str) -> bool:
        return bool(await self._table.of_account(account_id)) or await self._api.had_subscription(customer)

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
        line: dict[str, Any] = {"price": pack.stripe_price, "quantity": 1}
        if pack.max_quantity > 1:
            line["adjustable_quantity"] = {"enabled": True, "minimum": 1, "maximum": pack.max_quantity}
        params: dict[str, Any] = {
            **self._common(account_id, await self._customers.ensure(account_id, email), line),
            "mode": "payment",
            "metadata": metadata,
            "payment_intent_data": {"metadata": metadata},
            "success_url": self._return_url(self._settings.success_path),
            "expires_at": int(expires_at.timestamp()),
            "after_expiration": {
                "recovery": {"enabled": True, "allow_promotion_codes": pack.promotion_codes},
            },
        }
        if pack.promotion_codes:
            params["allow_promotion_codes"] = True
        session = await self._api.create_session(params, f"tallystick-{purchase_id}")
        found = Money(session["amount_subtotal"], session["currency"].upper())
        if found != pack.price:
            await self._api.expire_session(session["id"])
            log.error("price_mismatch", pack_id=pack.id, stripe_price=pack.stripe_price)
            raise PriceMismatch(pack.stripe_price, str(pack.price), str(found))
        purchase = await self._purchases.add(purchase_id, account_id, pack, session, expires_at)
        log.info("purchase_started", purchase_id=purchase.id, account_id=account_id, pack_id=pack.id)
        return StartedCheckout(purchase.checkout_url, purchase.id)

    def _common(self, account_id: str, customer: str, line: dict[str, Any]) -> dict[str, Any]:
        return {
            "customer": customer,
            "client_reference_id": client_reference(account_id),
            "line_items": [line],
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
