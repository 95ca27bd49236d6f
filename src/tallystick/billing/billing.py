"""Billing as the rest of the house sees it: checkouts out, events in, purchases to look at."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import structlog

from tallystick.billing.account_leases import AccountLeases
from tallystick.billing.checkout import Checkout, StartedCheckout
from tallystick.billing.clawbacks import Clawbacks
from tallystick.billing.comparisons import Comparisons
from tallystick.billing.customers import Customers
from tallystick.billing.errors import (
    NeedsOperator,
    StripeRejected,
    SubscriptionNotLost,
    UnknownPurchase,
    UnknownSubscription,
    WebhookRefused,
)
from tallystick.billing.event_desk import EventDesk, EventStory
from tallystick.billing.event_records import EventRecords, Sought, StoredEvent
from tallystick.billing.event_shapes import billed_subscription
from tallystick.billing.fulfilment import Fulfilment
from tallystick.billing.inbox import About, Handler, Inbox
from tallystick.billing.inbox_table import EventStatus
from tallystick.billing.portal import Portal
from tallystick.billing.pruning import Pruning
from tallystick.billing.purchases import Purchase, Purchases, PurchaseStatus
from tallystick.billing.reconciliation import MAX_CALLS, Reconciliation, Watch
from tallystick.billing.refunds import AfterRefund, Refund, RefundQuote, Refunds
from tallystick.billing.refusals import Refusals, Refused
from tallystick.billing.report import Report
from tallystick.billing.stripe_api import BillingSettings, StripeApi
from tallystick.billing.subscription_table import Subscription, SubscriptionTable
from tallystick.billing.subscriptions import Subscriptions
from tallystick.billing.walks import Walk, Walks
from tallystick.billing.webhooks import verify
from tallystick.clock import Clock
from tallystick.database.engine import Database
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.errors import Unavailable
from tallystick.ledger import Ledger
from tallystick.periodically import broken_off, periodically

RESUME_SECONDS = 30
"""How often to look for refunds that a crash or an outage left half-way."""

COUNT_SECONDS = 1
"""How often what was refused is written down, if anything was: other processes see it no later, and whoever floods the
address causes one small write a second."""

PRUNE_SECONDS = 60
"""How often events that are over are looked for that nobody asks for any more."""

LOOK_BACK = timedelta(days=7)
"""How far back an operator is shown what was refused."""

RECONCILE_EVERY = timedelta(hours=6)
"""How often a running service reconciles."""

RECONCILE_CHECK_SECONDS = 60
"""How often it looks whether that time has come: another process may have done it."""

log = structlog.get_logger(__name__)


class Billing:
    """Everything that has to do with Stripe, for one installation."""

    def __init__(
        self, settings: BillingSettings, database: Database, ledger: Ledger, catalogue: Catalogue, clock: Clock
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._api = StripeApi(settings)
        self._purchases = Purchases(database, clock)
        customers = Customers(database, self._api, ledger, clock)
        table = SubscriptionTable(database, catalogue, clock)
        self._fulfilment = Fulfilment(settings, self._api, ledger, self._purchases, customers)
        self._subscriptions = Subscriptions(
            self._api, table, ledger, catalogue, customers, AccountLeases(database, clock), clock
        )
        self._portal = Portal(settings, self._api, catalogue, customers, table, self._subscriptions)
        self._table = table
        self._checkout = Checkout(
            settings,
            self._api,
            ledger,
            catalogue,
            self._purchases,
            customers,
            table,
            self._subscriptions,
            self._portal,
            self._fulfilment,
            clock,
        )
        self._clawbacks = Clawbacks(self._api, ledger, self._purchases, self._fulfilment)
        self._refunds = Refunds(database, self._api, ledger, self._purchases, self._clawbacks, clock)
        self._inbox = Inbox(database, {type: act(self) for type, act in _ACTS.items()}, self._api.thin_event, clock)
        self._events = EventRecords(database)
        self._desk = EventDesk(settings, self._events, self._inbox, self._purchases, ledger)
        self._refusals = Refusals(database, clock)
        self._pruning = Pruning(database, clock, timedelta(days=settings.events_kept_days))
        self._walks = Walks(database, clock)
        comparisons = Comparisons(
            self._api,
            ledger,
            self._purchases,
            self._fulfilment,
            self._clawbacks,
            self._subscriptions,
            table,
            self._inbox,
            self._events,
            self._desk,
            catalogue,
        )
        self._reconciliation = Reconciliation(
            self._api, self._purchases, table, self._inbox, self._events, self._walks, comparisons, clock
        )

    async def close(self) -> None:
        """Finish what is being written, and close the connections to Stripe."""
        await self._inbox.close()
        with suppress(Unavailable):
            await self._refusals.keep()
        await self._api.close()

    # Buying

    async def start_pack_checkout(
        self, account_id: str, *, pack_id: str | None = None, email: str | None = None
    ) -> StartedCheckout:
        """Start the purchase of a pack; see Checkout.of_pack for what it raises."""
        return await self._checkout.of_pack(account_id, pack_id, email)

    async def start_plan_checkout(
        self, account_id: str, *, plan: str, interval: str | None = None, email: str | None = None
    ) -> StartedCheckout:
        """Start a subscription to a plan, or the change of the one there is; see Checkout.of_plan."""
        return await self._checkout.of_plan(account_id, plan, interval, email)

    async def open_portal(self, account_id: str) -> str:
        """The address of the account's customer portal at Stripe. Raises NoCustomer."""
        return await self._portal.open(account_id)

    async def fulfil(self, checkout_session_id: str) -> Purchase | None:
        """Bring the purchase of a session to where Stripe says it is (S21); see Fulfilment.fulfil."""
        return await self._fulfilment.fulfil(checkout_session_id)

    async def purchase_of_return(self, account_id: str, checkout_session_id: str) -> Purchase:
        """The purchase whose buyer came back, brought up to date. Own ones only: else UnknownPurchase."""
        purchase = await self.purchase_of_session(account_id, checkout_session_id)
        try:
            return await self._fulfilment.fulfil(checkout_session_id) or purchase
        except (Unavailable, StripeRejected, NeedsOperator) as error:
            # The buyer has paid and must not see an error for that: the webhook will bring it up to date, or be parked.
            log.warning("return_not_confirmed", purchase_id=purchase.id, reason=error.code)
            return purchase

    async def purchase_of_session(self, account_id: str, checkout_session_id: str) -> Purchase:
        """The same as we last knew it. Stripe is asked only of a session that is new to us. Raises UnknownPurchase."""
        purchase = await self._purchases.of_session(checkout_session_id)
        if purchase is None and checkout_session_id.startswith("cs_"):
            # It may go on from one that has expired.
            with suppress(StripeRejected, NeedsOperator):
                purchase = await self._fulfilment.fulfil(checkout_session_id)
        if purchase is None or purchase.account_id != account_id:
            self._refusals.count(UnknownPurchase.code)
            raise UnknownPurchase
        return purchase

    async def purchase(self, account_id: str, purchase_id: str) -> Purchase:
        """A purchase of the account. Raises UnknownPurchase for one that is not there or not its own."""
        purchase = await self._purchases.get(purchase_id)
        if purchase is None or purchase.account_id != account_id:
            raise UnknownPurchase
        return purchase

    async def purchases(self, account_id: str, limit: int = 20) -> list[Purchase]:
        """The account's purchases, newest first."""
        return await self._purchases.latest(limit, account_id=account_id)

    async def subscription(self, account_id: str) -> Subscription | None:
        """The account's subscription as we last saw it."""
        return await self._subscriptions.of_account(account_id)

    async def end_lost_subscription(self, subscription_id: str) -> str:
        """End here a subscription that Stripe does not have any more; returns the account that it carried.

        Raises UnknownSubscription, and SubscriptionNotLost while Stripe has it.
        """
        kept = await self._table.get(subscription_id)
        if kept is None:
            raise UnknownSubscription(subscription_id)
        found = await self._subscriptions.end_if_lost(kept)
        if found is not None:
            raise SubscriptionNotLost(subscription_id, found["status"])
        return kept.account_id

    # Giving back

    async def quote_refund(self, purchase_id: str, amount: int | None = None) -> RefundQuote:
        """What a refund would come to; see Refunds.quote."""
        return await self._refunds.quote(purchase_id, amount)

    async def refund(self, purchase_id: str, amount: int | None = None, *, key: str, reason: str = "") -> Refund:
        """Refund a purchase and take its credits back; see Refunds.refund."""
        return await self._refunds.refund(purchase_id, amount, key=key, reason=reason)

    async def after_refund(self, refund: Refund) -> AfterRefund:
        """How the purchase of a refund that was made, and its account, stand now."""
        return await self._refunds.after(refund)

    async def refunds_of(self, purchase_id: str) -> list[Refund]:
        """The refunds of a purchase that were asked for here, newest first."""
        return await self._refunds.of_purchase(purchase_id)

    async def resume_refunds(self) -> int:
        """Finish, at once, refunds that were left half-way. Returns how many were finished."""
        return await self._refunds.resume(grace=timedelta(0))

    async def reconcile(
        self,
        *,
        since: datetime | None = None,
        apply: bool = False,
        max_calls: int | None = None,
        watch: Watch = lambda *_: None,
    ) -> Report:
        """Compare with Stripe, and with `apply` repair what is safe to repair; see Reconciliation.

        Looks back to the last reconciliation, or as far as `since`. One that was interrupted, or that has
        made `max_calls` calls to Stripe, goes on when this is called again. Raises StripeUnavailable, and
        ReconciliationUnderWay when another process goes on with it meanwhile.
        """
        await self._refunds.resume()
        walk = await self._walks.begin(since=since, applied=apply)
        return await self._reconciliation.run(walk, max_calls=max_calls or MAX_CALLS, watch=watch)

    async def latest_reconciliation(self) -> Walk | None:
        """The latest reconciliation that repaired, finished or not."""
        return await self._walks.latest(applied=True)

    async def reconcile_when_due(self) -> None:
        """Reconcile and repair if the latest time was a while ago, or was not finished and nobody is at it."""
        latest, now = await self._walks.latest(applied=True), self._clock()
        if latest is not None and latest.is_under_way(now):
            return
        if latest is None or latest.finished_at is None or latest.started_at <= now - RECONCILE_EVERY:
            await self.reconcile(apply=True)

    # In the background

    async def run(self, stopping: asyncio.Event) -> None:
        """Act on stored events, forget old ones, finish refunds that were left half-way, and reconcile, until
        `stopping` is set."""
        await asyncio.gather(
            self._inbox.run(stopping),
            periodically("refusals", self._refusals.keep, COUNT_SECONDS, stopping),
            periodically("pruning", self._pruning.prune, PRUNE_SECONDS, stopping, first_in=PRUNE_SECONDS),
            periodically("refunds", self._refunds.resume, RESUME_SECONDS, stopping),
            periodically(
                "reconciliation",
                lambda: broken_off(self.reconcile_when_due, stopping),
                RECONCILE_CHECK_SECONDS,
                stopping,
                # A service that starts has better things to do first.
                first_in=RECONCILE_CHECK_SECONDS,
            ),
        )

    # Stripe's events

    async def receive_webhook(self, body: bytes, signature: str | None) -> None:
        """Verify an event and store it; it is acted on at once, but not before this returns (S26, S27).

        One of another account or of the other mode is stored as refused. Raises WebhookRefused; then nothing was
        stored. Whatever is refused is counted.
        """
        try:
            event = verify(body, signature, self.settings, self._clock)
        except WebhookRefused as error:
            self._refusals.count(error.code)
            raise
        if event.not_ours is not None:
            self._refusals.count(event.not_ours.code)
        await self._inbox.store(event)

    async def prune_events(self) -> int:
        """Forget events that are done and older than the settings say; some thousands at most. Returns how many."""
        return await self._pruning.prune()

    async def work_inbox(self) -> int:
        """Act once on what is due. Returns how many events there were."""
        return await self._inbox.work()

    # What an operator looks at

    async def latest_purchases(
        self, limit: int, status: PurchaseStatus | None = None, *, account_id: str | None = None
    ) -> list[Purchase]:
        """Purchases, newest first: of all accounts and in any status, or of those that are given."""
        return await self._purchases.latest(limit, status, account_id)

    async def disputed_purchases(self, limit: int) -> list[Purchase]:
        """Purchases with a dispute or an early fraud warning, newest first."""
        return await self._purchases.disputed(limit)

    async def latest_events(
        self,
        limit: int,
        status: EventStatus | None = None,
        *,
        type: str | None = None,
        account_id: str | None = None,
        since: datetime | None = None,
    ) -> list[StoredEvent]:
        """Events of the inbox, newest first: all, or those that agree with what is given.

        `account_id` finds those that were found to be about that account, `since` those received since then.
        """
        return await self._events.latest(limit, Sought(status, type, account_id, since))

    async def refusals(self, since: datetime | None = None) -> list[Refused]:
        """What was refused, and how often, for each reason since then; default: in the last seven days."""
        return await self._refusals.since(since or self._clock() - LOOK_BACK)

    async def event_story(self, event_id: str) -> EventStory:
        """One event and what followed from it. Raises UnknownEvent."""
        return await self._desk.story(event_id)

    async def replay_events(self, event_ids: Sequence[str]) -> list[StoredEvent]:
        """Work events again; see EventDesk.replay. Raises UnknownEvent."""
        return await self._desk.replay(event_ids)

    async def dismiss_events(self, event_ids: Sequence[str], reason: str) -> list[StoredEvent]:
        """Let parked events rest; see EventDesk.dismiss. Raises UnknownEvent and InvalidInput."""
        return await self._desk.dismiss(event_ids, reason)

    async def replay_parked_events(self) -> list[StoredEvent]:
        """Work all parked events again; answers what came out, oldest first."""
        return await self._desk.replay_parked()


# What acts on each event. Each fetches the object afresh, so all that are about one object end in the same
# place, in whatever order they come (S27).
_ACTS: dict[str, Callable[[Billing], Handler]] = {
    "checkout.session.completed": lambda billing: _of_purchase(billing._fulfilment.fulfil),
    "checkout.session.async_payment_succeeded": lambda billing: _of_purchase(billing._fulfilment.fulfil),
    "checkout.session.async_payment_failed": lambda billing: _of_purchase(billing._fulfilment.payment_failed),
    "checkout.session.expired": lambda billing: _of_purchase(billing._fulfilment.fulfil),
    "charge.refunded": lambda billing: _of_purchase(billing._clawbacks.of_charge),
    "charge.dispute.created": lambda billing: _of_purchase(billing._clawbacks.of_dispute),
    "charge.dispute.updated": lambda billing: _of_purchase(billing._clawbacks.of_dispute),
    "charge.dispute.funds_withdrawn": lambda billing: _of_purchase(billing._clawbacks.of_dispute),
    "charge.dispute.funds_reinstated": lambda billing: _of_purchase(billing._clawbacks.of_dispute),
    "charge.dispute.closed": lambda billing: _of_purchase(billing._clawbacks.of_dispute),
    "refund.created": lambda billing: _of_purchase(billing._clawbacks.of_refund),
    "refund.updated": lambda billing: _of_purchase(billing._clawbacks.of_refund),
    "refund.failed": lambda billing: _of_purchase(billing._clawbacks.of_refund),
    "radar.early_fraud_warning.created": lambda billing: _of_purchase(billing._clawbacks.of_warning),
    "invoice.paid": lambda billing: _of_invoice(billing._subscriptions),
    "invoice.payment_failed": lambda billing: _of_invoice(billing._subscriptions),
    "customer.subscription.created": lambda billing: _of_subscription(billing._subscriptions),
    "customer.subscription.updated": lambda billing: _of_subscription(billing._subscriptions),
    "customer.subscription.deleted": lambda billing: _of_subscription(billing._subscriptions),
    "customer.subscription.paused": lambda billing: _of_subscription(billing._subscriptions),
    "customer.subscription.resumed": lambda billing: _of_subscription(billing._subscriptions),
    "subscription_schedule.created": lambda billing: _of_account(billing._subscriptions.schedule_changed),
    "subscription_schedule.updated": lambda billing: _of_account(billing._subscriptions.schedule_changed),
    "subscription_schedule.released": lambda billing: _of_account(billing._subscriptions.schedule_changed),
    "customer.updated": lambda billing: _of_account(billing._subscriptions.customer_changed),
    "customer.deleted": lambda billing: _of_account(billing._subscriptions.customer_gone),
}

HANDLED_EVENTS = tuple(_ACTS)
"""The events that the webhook endpoint at Stripe has to send."""


def _of_purchase(act: Callable[[str], Awaitable[Purchase | None]]) -> Handler:
    async def handle(id: str, _: dict[str, Any]) -> About:
        purchase = await act(id)
        return About() if purchase is None else About(purchase.account_id, purchase.id)

    return handle


def _of_account(act: Callable[[str], Awaitable[str | None]]) -> Handler:
    async def handle(id: str, _: dict[str, Any]) -> About:
        return About(await act(id))

    return handle


def _of_subscription(subscriptions: Subscriptions) -> Handler:
    async def handle(id: str, event: dict[str, Any]) -> About:
        return About(await subscriptions.changed(id, event))

    return handle


def _of_invoice(subscriptions: Subscriptions) -> Handler:
    async def handle(id: str, event: dict[str, Any]) -> About:
        return About(await subscriptions.invoice_changed(id, billed_subscription(event)))

    return handle
