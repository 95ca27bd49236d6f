"""What an operator reads of the inbox: which events came, and what became of each. Changes nothing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, func, select, union

from tallystick.billing.event_shapes import types_of
from tallystick.billing.inbox_table import EventStatus
from tallystick.database.engine import Database
from tallystick.database.tables import stripe_events

AT_ONCE = 500
"""How many ids are asked for at once: databases take only so many parameters."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event in the inbox, without its payload.

    `attempts` are the tries since it came, or was last replayed, without those that an outage ended. `due_at` is
    when it is tried next, or when the lease on it runs out; None when it is finished. `account_id` and `purchase_id`
    are whom and what it was found to be about when it was worked; `snapshot_event` is the snapshot that tells the same
    as a thin event.
    """

    id: str
    type: str
    api_version: str | None
    status: EventStatus
    attempts: int
    last_error: str | None
    received_at: datetime
    due_at: datetime | None
    finished_at: datetime | None
    account_id: str | None
    purchase_id: str | None
    snapshot_event: str | None


@dataclass(frozen=True, slots=True)
class Sought:
    """Which events: all that agree with everything that is given.

    `type` is that of the snapshot event or of its thin twin, and finds both. `since` is when they were received at
    the earliest.
    """

    status: EventStatus | None = None
    type: str | None = None
    account_id: str | None = None
    since: datetime | None = None


_COLUMNS = [stripe_events.c[field.name] for field in fields(StoredEvent)]


class EventRecords:
    """All events that were ever taken, to look at."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def latest(self, limit: int, sought: Sought) -> list[StoredEvent]:
        """The events that were sought, newest first."""
        found: list[StoredEvent] = []
        # Status by status, as the index has them.
        for status in EventStatus if sought.status is None else (sought.status,):
            found += await self._all(
                select(*_COLUMNS)
                .where(stripe_events.c.status == status, *_conditions(sought))
                .order_by(stripe_events.c.received_at.desc())
                .limit(limit)
            )
        return sorted(found, key=lambda event: event.received_at, reverse=True)[:limit]

    async def of(self, ids: Collection[str]) -> dict[str, StoredEvent]:
        """Those of these events that are here, by id."""
        wanted, found = list(ids), dict[str, StoredEvent]()
        for start in range(0, len(wanted), AT_ONCE):
            some = stripe_events.c.id.in_(wanted[start : start + AT_ONCE])
            found |= {event.id: event for event in await self._all(select(*_COLUMNS).where(some))}
        return found

    async def ids_of(self, status: EventStatus) -> list[str]:
        """The ids of all events of a status, oldest first."""
        query = (
            select(stripe_events.c.id).where(stripe_events.c.status == status).order_by(stripe_events.c.received_at)
        )
        return list(await self._database.read(lambda connection: connection.execute(query).scalars().all()))

    async def payload(self, id: str) -> str:
        """The body of an event as Stripe sent it. Raises LookupError when it is not here."""
        query = select(stripe_events.c.payload).where(stripe_events.c.id == id)
        found = await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())
        if found is None:
            raise LookupError(f"event {id} is not here")
        return str(found)

    async def known(self, ids: Sequence[str]) -> set[str]:
        """Which of these snapshot events are here, or came as thin ones, and were not refused."""
        taken = stripe_events.c.status != EventStatus.REFUSED
        query = union(
            *(
                select(name).where(name.in_(ids), taken)
                for name in (stripe_events.c.id, stripe_events.c.snapshot_event)
            )
        )
        return await self._database.read(lambda connection: set(connection.execute(query).scalars()))

    async def left_undone(self, due_before: datetime) -> tuple[int, int]:
        """How many events are parked, and how many were due before an instant and nobody took them."""
        parked = select(func.count()).where(stripe_events.c.status == EventStatus.PARKED)
        waiting = select(func.count()).where(stripe_events.c.due_at < due_before)
        return await self._database.read(
            lambda connection: (connection.scalar(parked) or 0, connection.scalar(waiting) or 0)
        )

    async def _all(self, query: Any) -> list[StoredEvent]:
        return await self._database.read(
            lambda connection: [_stored(row) for row in connection.execute(query).mappings()]
        )


def _conditions(sought: Sought) -> list[Any]:
    conditions: list[Any] = []
    if sought.type is not None:
        conditions.append(stripe_events.c.type.in_(types_of(sought.type)))
    if sought.account_id is not None:
        conditions.append(stripe_events.c.account_id == sought.account_id)
    if sought.since is not None:
        conditions.append(stripe_events.c.received_at >= sought.since)
    return conditions


def _stored(row: RowMapping) -> StoredEvent:
    return StoredEvent(**{**row, "status": EventStatus(row["status"])})
