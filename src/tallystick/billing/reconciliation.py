"""Self-healing: walks what Stripe has and what the ledger has, tells every difference, repairs the safe ones.

Repairs go through the same idempotent functions that webhooks wake, so one that is done twice, or at the same
time as a webhook, is done once. Works page by page and keeps its place, so an interrupted walk goes on.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

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
from tallystick.billing.subscription_table import ENDED, Subscription, SubscriptionTable
from tallystick.billing.subscriptions import Subscriptions
from tallystick.billing.walks import Walk, Walks
from tallystick.billing.webhooks import VerifiedEvent
from tallystick.clock import Clock
from tallystick.domain.catalogue import Catalogue
from tallystick.ledger import Ledger

PAGE = 100
"""How many objects one call to Stripe lists: the most it gives."""

CALLS_PER_SECOND = 10
"""The most calls a walk makes: well below Stripe's limit of 25 in test mode, so that buyers do not wait for it."""

MAX_CALLS = 20_000
"""After how many calls a walk stops, and goes on when it is called again. What it is looking at then it finishes."""

PHASES = (
    "events",
    "sessions",
    "charges",
    "refunds",
    "disputes",
    "invoices",
    "subscriptions",
    "kept_subscriptions",
    "purchases",
    "unknown_sessions",
)

DONE = "done"

log = structlog.get_logger(__name__)

Watch = Callable[[str, Report], None]
"""Told which phase it is in and what was found so far, after every object and every page."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What one look at one object came to: a difference, and the credits that are expected and booked for it.

    `also` are other subjects that were looked at with it.
    """

    difference: Difference | None
    expected: int = 0
    booked: int = 0
    also: frozenset[str] = frozenset()


class Reconciliation:
    """Compares and repairs, for one installation."""

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
        walks: Walks,
        catalogue: Catalogue,
        clock: Clock,
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
        self._walks = walks
        self._catalogue = catalogue
        self._clock = clock

    async def run(self, walk: Walk, *, max_calls: int = MAX_CALLS, watch: Watch = lambda *_: None) -> Report:
        """Go on with `walk` until it is done, or has made `max_calls` calls. Keeps its place after every page, and
        where it stops.

        Raises StripeUnavailable, DatabaseUnavailable: then it can be called again and goes on where it was.
        Raises ReconciliationUnderWay when another process went on with the same walk.
        """
        report = walk.report
        stop_at = report.calls + max_calls
        for phase in () if walk.phase == DONE else PHASES[PHASES.index(walk.phase) :]:
            async for page, cursor in self._pages(phase, walk, report):
                looked_at, place = await self._look_through(page, phase, walk, stop_at, watch)
                if place is not None:
                    await self._walks.keep(walk, phase, place, looked_at)
                    return report
                await self._walks.keep(walk, _after(phase) if cursor is None else phase, cursor, looked_at)
                watch(phase, report)
                if report.calls >= stop_at and walk.phase != DONE:
                    return report
        report.finished = True
        await self._walks.finish(walk)
        log.info("reconciled", **{k: v for k, v in report.as_json().items() if k not in ("repaired", "left")})
        return report

    async def _pages(self, phase: str, walk: Walk, report: Report) -> AsyncIterator[tuple[list[Any], str | None]]:
        cursor = walk.cursor if phase == walk.phase else None
        left = await self._left_before() if phase in ("purchases", "unknown_sessions") else {}
        while True:
            if phase == "purchases":
                ours = await self._purchases.created_since(walk.report.since, cursor, PAGE, also=left)
                page: list[Any] = ours
                cursor = ours[-1].id if len(ours) == PAGE else None
            elif phase == "unknown_sessions":
                ids = sorted(id for id, each in left.items() if each.kind is Kind.UNKNOWN_PURCHASE)
                page = [{"id": id} for id in ids if id > (cursor or "")][:PAGE]
                cursor = page[-1]["id"] if len(page) == PAGE else None
            elif phase == "kept_subscriptions":
                kept = await self._table.not_in(ENDED, cursor, PAGE)
                page = list(kept)
                cursor = kept[-1].id if len(kept) == PAGE else None
            else:
                await self._call(report)
                page, cursor = await self._api.page(phase, _filter(phase, walk.report.since), cursor)
            if phase == "events":
                page = [event for event in page if self._inbox.handles(event["type"])]
            yield page, cursor
            if cursor is None:
                return

    async def _left_before(self) -> dict[str, Difference]:
        """What is looked at again because it was left, however long ago that was made.

        Events do not stay, and of subscriptions all are looked at. Of a purchase that Stripe does not have, and for
        which nothing was credited, there is nothing to decide.
        """
        left = await self._walks.left()
        return {id: each for id, each in left.items() if each.kind is not Kind.UNKNOWN_AT_STRIPE or each.credits}

    async def _look_through(
        self, page: list[Any], phase: str, walk: Walk, stop_at: int, watch: Watch
    ) -> tuple[set[str], str | None]:
        """Look at each object of a page whose subject was not looked at yet. Answers which were now.

        Stops when `stop_at` calls are made; then it also answers the id of the last object, after which it goes on.
        """
        subjects = {of for each in page if (of := _subject(phase, each)) is not None}
        left = subjects - await self._walks.looked_at(walk, subjects)
        if phase == "events":
            left -= await self._events.known(sorted(left))
        looked_at: set[str] = set()
        for n, each in enumerate(page, 1):
            of = _subject(phase, each)
            if of is None or of in left - looked_at:
                also = await self._look(phase, each, walk.report)
                looked_at |= also - await self._walks.looked_at(walk, also)
            walk.report.looked_at[phase] += 1
            watch(phase, walk.report)
            looked_at |= left & {of}
            if walk.report.calls >= stop_at and n < len(page):
                return looked_at, _id(each)
        return looked_at, None

    async def _look(self, phase: str, subject: Any, report: Report) -> frozenset[str]:
        """Look at one object, repair what may be repaired, and look again. Answers what was looked at with it."""
        look, repair = self._ways(phase, subject, report)
        found = await look()
        difference = found.difference
        if difference is not None and difference.is_safe and report.applied:
            began = self._clock()
            await repair()
            found = await look()
            if found.difference is None:
                difference = await self._with_what_followed(difference, began)
                report.repaired.append(difference)
                log.info(
                    "repaired", kind=difference.kind, subject=difference.subject, account_id=difference.account_id
                )
        if found.difference is not None:
            report.left.append(found.difference)
        report.expected += found.expected
        report.booked += found.booked
        return found.also

    def _ways(
        self, phase: str, subject: Any, report: Report
    ) -> tuple[Callable[[], Awaitable[_Found]], Callable[[], Awaitable[Any]]]:
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

    async def _event(self, event: dict[str, Any]) -> _Found:
        if await self._events.known([event["id"]]):
            return _Found(None)
        what = f"Stripe sent {event['type']} about {event['data']['object'].get('id')}, and it never arrived here."
        return _Found(Difference(Kind.EVENT_NOT_RECEIVED, event["id"], None, what))

    async def _receive(self, event: dict[str, Any], report: Report) -> None:
        """Take it up as if it had been delivered: it was fetched from Stripe itself, so it needs no signature."""
        await self._call(report, 3)
        # The SDK reads decimal amounts as Decimal; Stripe writes them as text.
        payload = json.dumps(event, default=str)
        await self._inbox.store(VerifiedEvent(event["id"], event["type"], event.get("api_version"), payload))
        while await self._inbox.work():
            pass

    async def _with_what_followed(self, repaired: Difference, began: datetime) -> Difference:
        """The same with the account and the credits that an event which was worked since then turned out to be about."""
        if repaired.kind is not Kind.EVENT_NOT_RECEIVED:
            return repaired
        story = await self._desk.story(repaired.subject)
        # Another event about the same thing may have led to its entries before.
        credits = sum(entry.amount for entry in story.entries if entry.recorded_at >= began)
        return replace(repaired, account_id=story.event.account_id, credits=credits)

    # Purchases

    async def _listed(self, session: dict[str, Any], report: Report) -> _Found:
        """A session as it was listed, which does not say how a payment stands that it waits for."""
        if not differences.waits(session):
            return await self._session(session, report)
        await self._call(report)
        return await self._session(await self._api.session(session["id"]), report)

    async def _session(self, session: dict[str, Any], report: Report) -> _Found:
        purchase = await self._purchases.of_session(session["id"])
        books = None if purchase is None else await self._books(purchase)
        difference = differences.of_session(session, purchase, books)
        if difference is not None and (
            await self._is_decided(difference) or await self._went_back(difference, session, report)
        ):
            return _Found(None)
        if purchase is None or books is None or (difference and difference.kind is Kind.NEEDS_REVIEW):
            return _Found(difference)
        return _Found(difference, purchase.credits if differences.is_paid(session) else 0, books.granted or 0)

    async def _fulfil(self, session_id: str, report: Report) -> None:
        await self._call(report)
        await self._fulfilment.fulfil(session_id)

    async def _purchase(self, purchase: Purchase, report: Report) -> _Found:
        """A purchase of ours whose session was not among those that Stripe listed."""
        await self._call(report)
        try:
            session = await self._api.session(purchase.checkout_session_id)
        except StripeRejected as error:
            if not error.is_missing:
                raise
            books = await self._books(purchase)
            difference = differences.of_purchase_unknown_at_stripe(purchase, books)
            if await self._is_decided(difference):
                return _Found(None)
            return _Found(difference, 0, books.granted or 0)
        return await self._session(session, report)

    async def _unknown_session(self, session_id: str, report: Report) -> _Found:
        """A session that was paid for a purchase that was not known here, and not among those that Stripe listed."""
        await self._call(report)
        session = await or_none(self._api.session(session_id))
        return _Found(None) if session is None else await self._session(session, report)

    async def _is_decided(self, difference: Difference) -> bool:
        """Whether an operator has corrected the credits with the command that was suggested, or one with its key."""
        account_id = difference.account_id
        if difference.is_safe or account_id is None:
            return False
        return await self._ledger.entry_by_key(account_id, difference.decision_key) is not None

    async def _went_back(self, difference: Difference, session: dict[str, Any], report: Report) -> bool:
        """Whether all of the money that a difference is about was given back, so that no credits are owed for it."""
        intent = session["payment_intent"]
        if difference.is_safe or intent is None:
            return False
        await self._call(report, 3)
        payment = await self._clawbacks.look_at(intent if isinstance(intent, str) else intent["id"])
        return 0 < payment.paid == payment.gone

    # Payments

    async def _payment(self, intent: str | None, report: Report) -> _Found:
        """What was taken back of the purchase that a charge, a refund or a dispute is about."""
        purchase = None if intent is None else await self._purchases.of_payment(intent)
        if intent is None or purchase is None:
            return _Found(None)
        books = await self._books(purchase)
        if books.granted is None:
            return _Found(None)
        await self._call(report, 3)
        payment = await self._clawbacks.look_at(intent)
        difference = differences.of_payment(payment, purchase, books)
        return _Found(difference, -payment.credits_to_take(books.granted), -books.clawback.total)

    async def _take(self, intent: str, report: Report) -> None:
        await self._call(report, 3)
        await self._clawbacks.sync(intent)

    async def _books(self, purchase: Purchase) -> Books:
        entry = await self._ledger.entry_by_key(purchase.account_id, purchase.ledger_key)
        account = await self._ledger.account(purchase.account_id)
        granted = None if entry is None or entry.grant is None else entry.grant.remaining
        return Books(granted, account.clawback_of(0 if entry is None else entry.seq))

    # Subscriptions

    async def _invoice(self, invoice: dict[str, Any], report: Report) -> _Found:
        """What a paid invoice opens or changes, if that matters still: its subscription is looked at with it."""
        subscription_id = subscription_of(invoice)
        if subscription_id is None or not await self._is_ours(subscription_id, invoice):
            return _Found(None)
        await self._call(report, 3)
        # One that Stripe does not have any more is told as one that is kept here.
        standing = await or_none(self._subscriptions.standing(subscription_id, invoice["id"]))
        if standing is None:
            return _Found(None)
        # Neither the subscription nor its other invoices need a look of their own then.
        return _Found(differences.of_subscription(standing), also=standing.invoices | {subscription_id})

    async def _is_ours(self, subscription_id: str, invoice: dict[str, Any]) -> bool:
        """Whether an invoice bills for a plan, or is of a subscription that we follow."""
        prices = map(price_of, invoice["lines"]["data"])
        sold = any(price is not None and self._catalogue.sold_as(price) for price in prices)
        return sold or await self._table.get(subscription_id) is not None

    async def _pay(self, invoice: dict[str, Any], report: Report) -> None:
        await self._call(report, 3)
        await self._subscriptions.invoice_changed(invoice["id"], subscription_of(invoice))

    async def _subscription(self, subscription: dict[str, Any], report: Report) -> _Found:
        await self._call(report, 3)
        standing = await self._subscriptions.standing(subscription["id"])
        if standing is None:
            return _Found(differences.of_unknown_subscription(subscription, self._catalogue))
        return _Found(differences.of_subscription(standing))

    async def _kept_subscription(self, kept: Subscription, report: Report) -> _Found:
        """A subscription that goes on by our own books, and was not among those that Stripe listed."""
        await self._call(report)
        there = await or_none(self._api.subscription(kept.id))
        return _Found(differences.of_subscription_unknown_at_stripe(kept) if there is None else None)

    async def _sync(self, subscription: dict[str, Any], report: Report) -> None:
        await self._call(report, 3)
        await self._subscriptions.sync(subscription["id"])

    async def _call(self, report: Report, calls: int = 1) -> None:
        """Count calls to Stripe before they are made, and keep them apart in time."""
        report.calls += calls
        await asyncio.sleep(calls / CALLS_PER_SECOND)


def _subject(phase: str, found: Any) -> str | None:
    """The event, purchase, payment, invoice or subscription that an object is about, which are looked at once in a walk.

    The refunds and disputes of a payment are part of the look at it, wherever it was met first.
    """
    match phase:
        case "events" | "sessions" | "invoices" | "subscriptions" | "unknown_sessions":
            return str(found["id"])
        case "purchases":
            return str(found.checkout_session_id)
        case "kept_subscriptions":
            return str(found.id)
        case _:
            intent: str | None = found["payment_intent"]
            return intent


def _id(found: Any) -> str:
    """The id of an object at Stripe or of one of ours."""
    return str(found["id"] if isinstance(found, dict) else found.id)


async def _nothing() -> None:
    """The repair of what is for an operator."""


def _after(phase: str) -> str:
    return (*PHASES, DONE)[PHASES.index(phase) + 1]


def _filter(phase: str, since: datetime) -> dict[str, Any]:
    if phase == "subscriptions":
        # A subscription lives on long after it was made, so all of them are looked at.
        return {"limit": PAGE, "status": "all"}
    created = {"limit": PAGE, "created": {"gte": int(since.timestamp())}}
    return {**created, "status": "paid"} if phase == "invoices" else created
