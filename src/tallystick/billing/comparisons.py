"""What reconciliation compares, object by object, and how each difference is repaired: by what webhooks use.

Looking changes nothing; a repair that is done twice, or at the same time as a webhook, is done once.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tallystick.billing import differences
from tallystick.billing.clawbacks import Clawbacks
from tallystick.billing.differences import Books, Difference, Kind
from tallystick.billing.errors import StripeRejected
from tallystick.billing.event_desk import EventDesk
from tallystick.billing.event_records import EventRecords
from tallystick.billing.fulfilment import Fulfilment
from tallystick.billing.inbox import Inbox
from tallystick.billing.purchases import Purchase, Purchases
from tallystick.billing.reading import price_of, subscription_of
from tallystick.billing.report import Report
from tallystick.billing.stripe_answers import or_none
from tallystick.billing.stripe_api import StripeApi
from tallystick.billing.subscription_table import Subscription, SubscriptionTable
from tallystick.billing.subscriptions import Subscriptions
from tallystick.billing.webhooks import VerifiedEvent
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.errors import InvalidInput
from tallystick.ledger import Ledger

CALLS_PER_SECOND = 10
"""The most calls a walk makes: well below Stripe's limit of 25 in test mode, so that buyers do not wait for it."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one look at one object came to: a difference, and the credits that are expected and booked for it.

    `also` are other subjects that were looked at with it.
    """

    difference: Difference | None
    expected: int = 0
    booked: int = 0
    also: frozenset[str] = frozenset()


class Comparisons:
    """Compares what Stripe has with what we have, for one installation."""

    def __init__(
        self,
        api: StripeApi,
        ledger: Ledger,
        purchases: Purchases,
        fulfilment: Fulfilment,
        clawbacks: Clawbacks,
        subscriptions: Subscriptions,
        table: SubscriptionTable,
        inbox: Inbox,
        events: EventRecords,
        desk: EventDesk,
        catalogue: Catalogue,
    ) -> None:
        self._api = api
        self._ledger = ledger
        self._purchases = purchases
        self._fulfilment = fulfilment
        self._clawbacks = clawbacks
        self._subscriptions = subscriptions
        self._table = table
        self._inbox = inbox
        self._events = events
        self._desk = desk
        self._catalogue = catalogue

    def ways(
        self, phase: str, subject: Any, report: Report
    ) -> tuple[Callable[[], Awaitable[Found]], Callable[[], Awaitable[Any]]]:
        """How an object of a phase is looked at, and how it is repaired."""
        match phase:
            case "events":
                return lambda: self._event(subject), lambda: self._receive(subject, report)
            case "sessions":
                return lambda: self._listed(subject, report), lambda: self._fulfil(subject["id"], report)
            case "invoices":
                return lambda: self._invoice(subject, report), lambda: self._pay(subject, report)
            case "subscriptions":
                return lambda: self._subscription(subject, report), lambda: self._sync(subject, report)
            case "kept_subscriptions":
                return lambda: self._kept_subscription(subject, report), _nothing
            case "unknown_sessions":
                return lambda: self._unknown_session(subject["id"], report), _nothing
            case "purchases":
                session = subject.checkout_session_id
                return lambda: self._purchase(subject, report), lambda: self._fulfil(session, report)
            case _:
                intent = subject["payment_intent"]
                return lambda: self._payment(intent, report), lambda: self._take(intent, report)

    # Events

    async def _event(self, event: dict[str, Any]) -> Found:
        if await self._events.known([event["id"]]):
            return Found(None)
        what = f"Stripe sent {event['type']} about {event['data']['object'].get('id')}, and it never arrived here."
        return Found(Difference(Kind.EVENT_NOT_RECEIVED, event["id"], None, what))

    async def _receive(self, event: dict[str, Any], report: Report) -> None:
        """Take it up as if it had been delivered: it was fetched from Stripe itself, so it needs no signature."""
        await self.call(report, 3)
        # The SDK reads decimal amounts as Decimal; Stripe writes them as text.
        payload = json.dumps(event, default=str)
        await self._inbox.store(VerifiedEvent(event["id"], event["type"], event.get("api_version"), payload))
        while await self._inbox.work():
            pass

    async def with_what_followed(self, repaired: Difference, began: datetime) -> Difference:
        """The same with the account and the credits that an event which was worked since then turned out to be about."""
        if repaired.kind is not Kind.EVENT_NOT_RECEIVED:
            return repaired
        story = await self._desk.story(repaired.subject)
        # Another event about the same thing may have led to its entries before.
        credits = sum(entry.amount for entry in story.entries if entry.recorded_at >= began)
        return replace(repaired, account_id=story.event.account_id, credits=credits)

    # Purchases

    async def _listed(self, session: dict[str, Any], report: Report) -> Found:
        """A session as it was listed, which does not say how a payment stands that it waits for."""
        if not differences.waits(session):
            return await self._session(session, report)
        await self.call(report)
        return await self._session(await self._api.session(session["id"]), report)

    async def _session(self, session: dict[str, Any], report: Report) -> Found:
        purchase = await self._purchases.of_session(session["id"])
        books = None if purchase is None else await self._books(purchase)
        difference = differences.of_session(session, purchase, books)
        if difference is not None and (
            await self._is_decided(difference) or await self._went_back(difference, session, report)
        ):
            return Found(None)
        if purchase is None or books is None or (difference and difference.kind is Kind.NEEDS_REVIEW):
            return Found(difference)
        return Found(difference, purchase.credits if differences.is_paid(session) else 0, books.granted or 0)

    async def _fulfil(self, session_id: str, report: Report) -> None:
        await self.call(report)
        await self._fulfilment.fulfil(session_id)

    async def _purchase(self, purchase: Purchase, report: Report) -> Found:
        """A purchase of ours whose session was not among those that Stripe listed."""
        await self.call(report)
        try:
            session = await self._api.session(purchase.checkout_session_id)
        except StripeRejected as error:
            if not error.is_missing:
                raise
            books = await self._books(purchase)
            difference = differences.of_purchase_unknown_at_stripe(purchase, books)
            if await self._is_decided(difference):
                return Found(None)
            return Found(difference, 0, books.granted or 0)
        return await self._session(session, report)

    async def _unknown_session(self, session_id: str, report: Report) -> Found:
        """A session that was paid for a purchase that was not known here, and not among those that Stripe listed."""
        await self.call(report)
        session = await or_none(self._api.session(session_id))
        return Found(None) if session is None else await self._session(session, report)

    async def _is_decided(self, difference: Difference) -> bool:
        """Whether an operator has corrected the credits with the command that was suggested, or one with its key."""
        account_id = difference.account_id
        if difference.is_safe or account_id is None:
            return False
        try:
            return await self._ledger.entry_by_key(account_id, difference.decision_key) is not None
        # What the metadata at Stripe names may be no id at all.
        except InvalidInput:
            return False

    async def _went_back(self, difference: Difference, session: dict[str, Any], report: Report) -> bool:
        """Whether all of the money that a difference is about was given back, so that no credits are owed for it."""
        intent = session["payment_intent"]
        if difference.is_safe or intent is None:
            return False
        await self.call(report, 3)
        payment = await self._clawbacks.look_at(intent if isinstance(intent, str) else intent["id"])
        return 0 < payment.paid == payment.gone

    # Payments

    async def _payment(self, intent: str | None, report: Report) -> Found:
        """What was taken back of the purchase that a charge, a refund or a dispute is about."""
        purchase = None if intent is None else await self._purchases.of_payment(intent)
        if intent is None or purchase is None:
            return Found(None)
        books = await self._books(purchase)
        if books.granted is None:
            return Found(None)
        await self.call(report, 3)
        payment = await self._clawbacks.look_at(intent)
        difference = differences.of_payment(payment, purchase, books)
        return Found(difference, -payment.credits_to_take(books.granted), -books.clawback.total)

    async def _take(self, intent: str, report: Report) -> None:
        await self.call(report, 3)
        await self._clawbacks.sync(intent)

    async def _books(self, purchase: Purchase) -> Books:
        entry = await self._ledger.entry_by_key(purchase.account_id, purchase.ledger_key)
        account = await self._ledger.account(purchase.account_id)
        granted = None if entry is None or entry.grant is None else entry.grant.remaining
        return Books(granted, account.clawback_of(0 if entry is None else entry.seq))

    # Subscriptions

    async def _invoice(self, invoice: dict[str, Any], report: Report) -> Found:
        """What a paid invoice opens or changes, if that matters still: its subscription is looked at with it."""
        subscription_id = subscription_of(invoice)
        if subscription_id is None or not await self._is_ours(subscription_id, invoice):
            return Found(None)
        await self.call(report, 3)
        # One that Stripe does not have any more is told as one that is kept here.
        standing = await or_none(self._subscriptions.standing(subscription_id, invoice["id"]))
        if standing is None:
            return Found(None)
        # Neither the subscription nor its other invoices need a look of their own then.
        return Found(differences.of_subscription(standing), also=standing.invoices | {subscription_id})

    async def _is_ours(self, subscription_id: str, invoice: dict[str, Any]) -> bool:
        """Whether an invoice bills for a plan, or is of a subscription that we follow."""
        prices = map(price_of, invoice["lines"]["data"])
        sold = any(price is not None and self._catalogue.sold_as(price) for price in prices)
        return sold or await self._table.get(subscription_id) is not None

    async def _pay(self, invoice: dict[str, Any], report: Report) -> None:
        await self.call(report, 3)
        await self._subscriptions.invoice_changed(invoice["id"], subscription_of(invoice))

    async def _subscription(self, subscription: dict[str, Any], report: Report) -> Found:
        await self.call(report, 3)
        standing = await self._subscriptions.standing(subscription["id"])
        if standing is None:
            return Found(differences.of_unknown_subscription(subscription, self._catalogue))
        return Found(differences.of_subscription(standing))

    async def _kept_subscription(self, kept: Subscription, report: Report) -> Found:
        """A subscription that goes on by our own books, and was not among those that Stripe listed."""
        await self.call(report)
        there = await or_none(self._api.subscription(kept.id))
        return Found(differences.of_subscription_unknown_at_stripe(kept) if there is None else None)

    async def _sync(self, subscription: dict[str, Any], report: Report) -> None:
        await self.call(report, 3)
        await self._subscriptions.sync(subscription["id"])

    async def call(self, report: Report, calls: int = 1) -> None:
        """Count calls to Stripe before they are made, and keep them apart in time."""
        report.calls += calls
        await asyncio.sleep(calls / CALLS_PER_SECOND)


async def _nothing() -> None:
    """The repair of what is for an operator."""
