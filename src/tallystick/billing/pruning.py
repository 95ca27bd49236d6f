"""Forgets events that are over, and counts of what was refused, once they are older than anybody asks for.

An event that comes again after that is worked again: what it led to stands in the ledger under its own key, so it
takes effect once all the same (S7, S27).
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select

from tallystick.billing.inbox_table import EventStatus
from tallystick.clock import Clock
from tallystick.database.engine import Database
from tallystick.database.tables import refusals, stripe_events

OVER = (EventStatus.DONE, EventStatus.IGNORED, EventStatus.DISMISSED, EventStatus.REFUSED)
"""What nobody has to do anything about. An event that waits or is parked is kept for as long as it takes."""

AT_ONCE = 500
"""How many go in one transaction: a few milliseconds, in which nobody else can write on SQLite."""

MOST = 10_000
"""How many go in one round, so that a long-kept inbox is worked off while the service does other things."""


class Pruning:
    """Forgets what is over and older than `kept`."""

    def __init__(self, database: Database, clock: Clock, kept: timedelta) -> None:
        self._database = database
        self._clock = clock
        self._kept = kept

    async def prune(self) -> int:
        """One round. Returns how many events went. Raises DatabaseUnavailable."""
        before = self._clock() - self._kept
        if await self._database.read(lambda connection: _is_clean(connection, before)):
            return 0
        gone = 0
        for status in OVER:
            while gone < MOST:
                some = await self._forget(status, before)
                gone += some
                if some < AT_ONCE:
                    break
        counts = delete(refusals).where(refusals.c.hour < before)
        await self._database.write(lambda connection: connection.execute(counts))
        return gone

    async def _forget(self, status: EventStatus, before: datetime) -> int:
        forgetting = _events(status, before)
        return await self._database.write(lambda connection: len(connection.execute(forgetting).all()))


def _is_clean(connection: Connection, before: datetime) -> bool:
    old = (stripe_events.c.status.in_(OVER), stripe_events.c.received_at < before)
    events = select(stripe_events.c.id).where(*old).exists()
    counts = select(refusals.c.hour).where(refusals.c.hour < before).exists()
    return not connection.execute(select(events | counts)).scalar_one()


def _events(status: EventStatus, before: datetime) -> Any:
    old = (
        select(stripe_events.c.id)
        .where(
            stripe_events.c.status == status,
            stripe_events.c.received_at < before,
            # One that was replayed lately shall still tell what came out.
            stripe_events.c.finished_at < before,
        )
        .order_by(stripe_events.c.received_at)
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True)
        .cte("old")
    )
    return delete(stripe_events).where(stripe_events.c.id.in_(select(old.c.id))).returning(stripe_events.c.id)
