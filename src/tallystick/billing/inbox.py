"""The inbox: every verified event is stored before it is acted on, and acted on until it worked (S27, S28)."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite

from tallystick.billing.errors import NeedsOperator
from tallystick.billing.webhooks import VerifiedEvent
from tallystick.clock import Clock
from tallystick.database.engine import Database
from tallystick.database.tables import stripe_events
from tallystick.domain.errors import TallystickError, Unavailable

LEASE = timedelta(seconds=30)
"""How long a worker may take over one event before another one takes it up."""

AT_ONCE = 8
MOST_ATTEMPTS = 12
LONGEST_PAUSE = timedelta(hours=1)
OUTAGE_PAUSE = timedelta(minutes=1)
"""The longest pause while Stripe or the database does not answer: that is not the event's fault, so it is
tried again for as long as it takes, and soon after."""

POLL_SECONDS = 1.0
"""How often to look for events whose time has come; new ones wake the worker at once."""

Handler = Callable[[str], Awaitable[Any]]
"""Acts on an event, given the id of the object it is about."""

log = structlog.get_logger(__name__)


class EventStatus(StrEnum):
    """What became of an event."""

    PENDING = "pending"
    DONE = "done"
    IGNORED = "ignored"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event in the inbox, for an operator to look at."""

    id: str
    type: str
    status: EventStatus
    attempts: int
    last_error: str | None
    received_at: datetime


class Inbox:
    """Stores events and works them. Several processes may work the same inbox."""

    def __init__(self, database: Database, handlers: Mapping[str, Handler], clock: Clock) -> None:
        self._database = database
        self._handlers = handlers
        self._clock = clock
        self._wake = asyncio.Event()

    async def store(self, event: VerifiedEvent) -> None:
        """Keep an event. One that is here already is left as it is; one that nobody handles is only kept."""
        handled = event.type in self._handlers
        now = self._clock()
        dialect = postgresql if self._database.dialect == "postgresql" else sqlite
        async with self._database.write() as connection:
            await connection.execute(
                dialect.insert(stripe_events)
                .values(
                    id=event.id,
                    type=event.type,
                    api_version=event.api_version,
                    payload=event.payload,
                    received_at=now,
                    status=EventStatus.PENDING if handled else EventStatus.IGNORED,
                    due_at=now if handled else None,
                    finished_at=None if handled else now,
                )
                .on_conflict_do_nothing(index_elements=["id"])
            )
        self._wake.set()

    def handles(self, type: str) -> bool:
        """Whether anybody acts on events of that type."""
        return type in self._handlers

    async def known(self, ids: Sequence[str]) -> set[str]:
        """Which of these events are here already."""
        query = select(stripe_events.c.id).where(stripe_events.c.id.in_(ids))
        async with self._database.read() as connection:
            return set((await connection.execute(query)).scalars())

    async def run(self, stopping: asyncio.Event) -> None:
        """Work events until `stopping` is set; what is under way then is finished first."""
        while not stopping.is_set():
            self._wake.clear()
            try:
                worked = await self.work()
            except Exception as error:
                # The database may be gone for a while; the inbox must outlive that.
                log.error("inbox_stumbled", error=type(error).__name__)
                worked = 0
            if worked == 0:
                await _first_of(self._wake.wait(), stopping.wait(), seconds=POLL_SECONDS)

    async def work(self) -> int:
        """Take up what is due and act on it. Returns how many there were."""
        due = await self._lease()
        outcomes = await asyncio.gather(*(self._act(row) for row in due), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        return len(due)

    async def latest(self, limit: int, status: EventStatus | None = None) -> list[StoredEvent]:
        """Events, newest first, of one status if it is given."""
        query = select(stripe_events).order_by(stripe_events.c.received_at.desc()).limit(limit)
        if status is not None:
            query = query.where(stripe_events.c.status == status)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [
            StoredEvent(
                row["id"],
                row["type"],
                EventStatus(row["status"]),
                row["attempts"],
                row["last_error"],
                row["received_at"],
            )
            for row in rows
        ]

    async def _lease(self) -> list[dict[str, Any]]:
        now = self._clock()
        due = (
            select(stripe_events.c.id)
            .where(stripe_events.c.due_at <= now)
            .order_by(stripe_events.c.due_at)
            .limit(AT_ONCE)
        )
        # As a CTE it is looked up once: as a plain subquery the planner may repeat it, and take more than the limit.
        taken = due.with_for_update(skip_locked=True).cte("taken")
        take = (
            update(stripe_events)
            .where(stripe_events.c.id.in_(select(taken.c.id)))
            .values(due_at=now + LEASE, attempts=stripe_events.c.attempts + 1)
            .returning(stripe_events.c.id, stripe_events.c.type, stripe_events.c.payload, stripe_events.c.attempts)
        )
        # Most of the time nothing is due, and then nobody has to wait for a write lock.
        async with self._database.read() as connection:
            if (await connection.execute(select(due.exists()))).scalar_one() is False:
                return []
        async with self._database.write() as connection:
            return [dict(row) for row in (await connection.execute(take)).mappings()]

    async def _act(self, row: dict[str, Any]) -> None:
        problem: str | None = None
        park = row["attempts"] >= MOST_ATTEMPTS
        longest = LONGEST_PAUSE
        try:
            await self._handlers[row["type"]](_object_id(row["payload"]))
        except NeedsOperator as error:
            problem, park = error.message, True
        except Unavailable as error:
            problem, park, longest = error.message, False, OUTAGE_PAUSE
        except TallystickError as error:
            problem = f"{error.code}: {error.message}"
        except Exception as error:
            log.exception("event_handler_failed", event_id=row["id"], type=row["type"])
            problem = type(error).__name__
        now = self._clock()
        values: dict[str, Any]
        if problem is None:
            values = {"status": EventStatus.DONE, "due_at": None, "last_error": None, "finished_at": now}
        elif park:
            log.error("event_parked", event_id=row["id"], type=row["type"], problem=problem)
            values = {"status": EventStatus.PARKED, "due_at": None, "last_error": problem, "finished_at": now}
        else:
            pause = min(longest, timedelta(seconds=2 ** min(row["attempts"] - 1, 12)))
            log.warning("event_postponed", event_id=row["id"], type=row["type"], problem=problem)
            values = {"due_at": now + pause, "last_error": problem}
        # Every lease counts one attempt, so a worker whose lease ran out does not overwrite what another one did.
        mine = (stripe_events.c.id == row["id"]) & (stripe_events.c.attempts == row["attempts"])
        async with self._database.write() as connection:
            await connection.execute(update(stripe_events).where(mine).values(**values))


def _object_id(payload: str) -> str:
    id: str = json.loads(payload)["data"]["object"]["id"]
    return id


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
