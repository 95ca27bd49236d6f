"""Self-healing: walks what Stripe has and what the ledger has, tells every difference, repairs the safe ones.

Repairs go through the same idempotent functions that webhooks wake, so one that is done twice, or at the same
time as a webhook, is done once. Works page by page and keeps its place, so an interrupted walk goes on.
"""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import structlog

from tallystick.billing.comparisons import Comparisons
from tallystick.billing.differences import Difference, Kind
from tallystick.billing.event_records import EventRecords
from tallystick.billing.inbox import Inbox
from tallystick.billing.purchases import Purchases
from tallystick.billing.report import Report
from tallystick.billing.stripe_api import StripeApi
from tallystick.billing.subscription_table import ENDED, SubscriptionTable
from tallystick.billing.walks import Walk, Walks
from tallystick.clock import Clock

PAGE = 100
"""How many objects one call to Stripe lists: the most it gives."""

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


class Reconciliation:
    """Compares and repairs, for one installation."""

    def __init__(
        self,
        api: StripeApi,
        purchases: Purchases,
        table: SubscriptionTable,
        inbox: Inbox,
        events: EventRecords,
        walks: Walks,
        comparisons: Comparisons,
        clock: Clock,
    ) -> None:
        self._api = api
        self._purchases = purchases
        self._table = table
        self._inbox = inbox
        self._events = events
        self._walks = walks
        self._comparisons = comparisons
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
                await self._comparisons.call(report)
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
        look, repair = self._comparisons.ways(phase, subject, report)
        found = await look()
        difference = found.difference
        if difference is not None and difference.is_safe and report.applied:
            began = self._clock()
            await repair()
            found = await look()
            if found.difference is None:
                difference = await self._comparisons.with_what_followed(difference, began)
                report.repaired.append(difference)
                log.info(
                    "repaired", kind=difference.kind, subject=difference.subject, account_id=difference.account_id
                )
        if found.difference is not None:
            report.left.append(found.difference)
        report.expected += found.expected
        report.booked += found.booked
        return found.also


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


def _after(phase: str) -> str:
    return (*PHASES, DONE)[PHASES.index(phase) + 1]


def _filter(phase: str, since: datetime) -> dict[str, Any]:
    if phase == "subscriptions":
        # A subscription lives on long after it was made, so all of them are looked at.
        return {"limit": PAGE, "status": "all"}
    created = {"limit": PAGE, "created": {"gte": int(since.timestamp())}}
    return {**created, "status": "paid"} if phase == "invoices" else created
