"""The inbox: every verified event is stored before it is acted on, and acted on until it worked (S27, S28)."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from tallystick.billing.errors import NeedsOperator, StripeRejected
from tallystick.billing.event_records import EventRecords
from tallystick.billing.event_shapes import is_thin, kind_of, object_id
from tallystick.billing.inbox_table import Arrival, EventStatus, InboxTable, LeasedEvent, Outcome
from tallystick.billing.together import Together
from tallystick.billing.webhooks import VerifiedEvent
from tallystick.clock import Clock
from tallystick.database.engine import Database
from tallystick.domain.errors import TallystickError, Unavailable
from tallystick.logs import traceback_of

LEASE = timedelta(seconds=30)
"""How long a worker may take over one event before another one takes it up."""

AT_ONCE = 8
FEW_AT_ONCE = 2
SLOW_SECONDS = 0.1
"""When storing an event took longer, only a few are worked at once for a second: answering comes first."""

MOST_ATTEMPTS = 12
LONGEST_PAUSE = timedelta(hours=1)
OUTAGE_PAUSE = timedelta(minutes=1)
"""The longest pause while Stripe or the database does not answer: that is not the event's fault, so it is
tried again for as long as it takes, and soon after. Such a try does not count."""

POLL_SECONDS = 1.0
"""How often to look for events whose time has come; new ones wake the worker at once."""


@dataclass(frozen=True, slots=True)
class About:
    """Whom and what an event was found to be about."""

    account_id: str | None = None
    purchase_id: str | None = None


Handler = Callable[[str, dict[str, Any]], Awaitable[About]]
"""Acts on an event, given the id of the object it is about and the event. Answers what it was found to be about."""

FetchThin = Callable[[str], Awaitable[dict[str, Any]]]
"""Fetches a thin event from Stripe by its id. Raises StripeRejected when Stripe does not give it."""

log = structlog.get_logger(__name__)


class Inbox:
    """Stores events and works them. Several processes may work the same inbox."""

    def __init__(
        self, database: Database, handlers: Mapping[str, Handler], fetch_thin: FetchThin, clock: Clock
    ) -> None:
        self._table = InboxTable(database)
        self._records = EventRecords(database)
        self._handlers = handlers
        self._fetch_thin = fetch_thin
        self._clock = clock
        self._wake = asyncio.Event()
        self._slow_until = 0.0
        # One transaction at a time for what arrives and for what was done: they would only wait for each other.
        self._writes = Together(self._table.write)

    async def store(self, event: VerifiedEvent) -> None:
        """Keep an event. One that is here already is left as it is, unless it was refused and is not any more.

        One that nobody handles, or that is not ours, is only kept.
        """
        loop = asyncio.get_running_loop()
        asked, now = loop.time(), self._clock()
        refused = None if event.not_ours is None else f"{event.not_ours.code}: {event.not_ours.message}"
        due_at = now if self.handles(event.type) and refused is None else None
        await self._writes.submit(
            Arrival(event.id, event.type, event.api_version, event.payload, now, due_at, refused)
        )
        if loop.time() - asked > SLOW_SECONDS:
            self._slow_until = loop.time() + 1
        self._wake.set()

    def handles(self, type: str) -> bool:
        """Whether anybody acts on events of that type, or of its twin in the other shape."""
        return kind_of(type) in self._handlers

    async def run(self, stopping: asyncio.Event) -> None:
        """Work events until `stopping` is set; what is under way then is finished first."""
        working = set[asyncio.Task[None]]()
        while not stopping.is_set():
            self._wake.clear()
            try:
                room = self._slots() - len(working)
                leased = await self._lease(room) if room > 0 else []
            except Exception as error:
                # The database may be gone for a while; the inbox must outlive that.
                log.error("inbox_stumbled", error=type(error).__name__)
                leased = []
            working |= {asyncio.create_task(self._work_out(event)) for event in leased}
            if not leased:
                await _first_of(self._wake.wait(), stopping.wait(), seconds=POLL_SECONDS)
            # Several are leased at once, so it waits until there is room for several.
            while len(working) > self._slots() // 2:
                _, working = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*working)

    async def work(self) -> int:
        """Take up what is due and act on it. Returns how many there were."""
        due = await self._lease(AT_ONCE)
        await asyncio.gather(*(self._work_out(event) for event in due))
        return len(due)

    async def replay(self, ids: Sequence[str]) -> None:
        """Work events again, now, whatever became of them; safe at any time, as often as one likes.

        One that nobody handles stays as it is. One that fails is tried again like any other that has just come.
        """
        for start in range(0, len(ids), AT_ONCE):
            some = await self._records.of(ids[start : start + AT_ONCE])
            handled = [event.id for event in some.values() if self.handles(event.type)]
            taken = await self._table.take_again(handled, self._clock() + LEASE)
            await asyncio.gather(*(self._work_out(event) for event in taken))

    async def dismiss(self, ids: Sequence[str], reason: str) -> None:
        """Let parked events rest for good. One that is not parked, or not any more, stays as it is."""
        await self._table.dismiss(ids, reason, self._clock())

    async def close(self) -> None:
        """Wait for what is being written."""
        await self._writes.close()

    def _slots(self) -> int:
        return FEW_AT_ONCE if asyncio.get_running_loop().time() < self._slow_until else AT_ONCE

    async def _lease(self, limit: int) -> list[LeasedEvent]:
        now = self._clock()
        return await self._table.lease(limit, now, now + LEASE)

    async def _work_out(self, event: LeasedEvent) -> None:
        """Act on an event and write down what came of it."""
        outcome = await self._act(event)
        try:
            await self._writes.submit(outcome)
        except Unavailable as error:
            # Then its lease runs out, and it is acted on again.
            log.warning("outcome_not_kept", event_id=event.id, reason=error.code)

    async def _whole(self, event: LeasedEvent) -> dict[str, Any]:
        """An event with all that Stripe has of it: a thin one has to be fetched for that."""
        sent: dict[str, Any] = json.loads(event.payload)
        if not is_thin(sent):
            return sent
        try:
            return await self._fetch_thin(event.id)
        except StripeRejected as error:
            # Older than Stripe keeps them, or our key may not read events: what was sent, and signed, is enough.
            log.warning("thin_event_not_fetched", event_id=event.id, problem=error.message)
            return sent

    async def _handle(self, event: LeasedEvent, whole: dict[str, Any]) -> About:
        id = object_id(whole)
        if id is None:
            raise NeedsOperator("It does not say what it is about, so nothing can be looked at. Nothing was changed.")
        return await self._handlers[kind_of(event.type)](id, whole)

    async def _act(self, event: LeasedEvent) -> Outcome:
        problem: str | None = None
        park = event.attempts >= MOST_ATTEMPTS
        longest, tries, counted = LONGEST_PAUSE, event.attempts, True
        about, whole = About(), dict[str, Any]()
        try:
            whole = await self._whole(event)
            about = await self._handle(event, whole)
        except NeedsOperator as error:
            problem, park = error.message, True
        except Unavailable as error:
            problem, park = error.message, False
            # Its attempts stay as they were, so its leases tell how often it was tried.
            longest, tries, counted = OUTAGE_PAUSE, event.lease, False
        except TallystickError as error:
            problem = f"{error.code}: {error.message}"
        except Exception as error:
            seen = traceback_of(error)
            log.error("event_handler_failed", event_id=event.id, type=event.type, exception=seen)
            problem = type(error).__name__
        now = self._clock()
        if problem is None:
            status, due_at = EventStatus.DONE, None
        elif park:
            log.error("event_parked", event_id=event.id, type=event.type, problem=problem)
            status, due_at = EventStatus.PARKED, None
        else:
            log.warning("event_postponed", event_id=event.id, type=event.type, problem=problem)
            pause = min(longest, timedelta(seconds=2 ** min(tries - 1, 12)))
            status, due_at = EventStatus.PENDING, now + pause
        return Outcome(
            event.id,
            event.lease,
            status,
            now,
            due_at,
            problem,
            account_id=about.account_id,
            purchase_id=about.purchase_id,
            snapshot_event=whole.get("snapshot_event"),
            counted=counted,
        )


async def _first_of(*waits: Any, seconds: float) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
