"""The inbox's table: events as they arrived, who works on them, and what became of them (S27, S28).

Knows nothing of what an event means, or of who acts on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tallystick.database.engine import Database
from tallystick.database.tables import stripe_events

QUEUE = "inbox"
"""The queue in which it waits for SQLite's one writer."""


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


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event to keep. Without `due_at` it is only kept."""

    id: str
    type: str
    api_version: str | None
    payload: str
    received_at: datetime
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class LeasedEvent:
    """An event that one worker has for a while. `attempts` counts this one, and names the lease."""

    id: str
    type: str
    payload: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of working an event under the lease number `attempts`. With `due_at` it is tried again then."""

    id: str
    attempts: int
    status: EventStatus
    at: datetime
    due_at: datetime | None = None
    problem: str | None = None


_FINISH = (
    update(stripe_events)
    # Every lease counts one attempt, so a worker whose lease ran out does not overwrite what another one did.
    .where(stripe_events.c.id == bindparam("event"), stripe_events.c.attempts == bindparam("lease"))
    .values(
        status=bindparam("new_status"),
        due_at=bindparam("new_due_at"),
        last_error=bindparam("problem"),
        finished_at=bindparam("new_finished_at"),
    )
)


class InboxTable:
    """All events that were ever taken."""

    def __init__(self, database: Database) -> None:
        self._database = database
        dialect = postgresql if database.dialect == "postgresql" else sqlite
        self._keep = (
            dialect.insert(stripe_events).on_conflict_do_nothing(index_elements=["id"]).returning(stripe_events.c.id)
        )

    async def write(self, changes: Sequence[Arrival | Outcome]) -> list[bool]:
        """Keep arrivals and outcomes in one transaction.

        Answers for each whether it changed something: False for an event that is here already.
        """
        # In the order of their ids, so that two processes never wait for each other.
        arrivals = sorted((c for c in changes if isinstance(c, Arrival)), key=lambda arrival: arrival.id)
        outcomes = sorted((c for c in changes if isinstance(c, Outcome)), key=lambda outcome: outcome.id)

        def write(connection: Connection) -> set[str]:
            if outcomes:
                connection.execute(_FINISH, [_finish_row(outcome) for outcome in outcomes])
            if not arrivals:
                return set()
            return set(connection.execute(self._keep, [_arrival_row(arrival) for arrival in arrivals]).scalars())

        new = await self._database.write(write, QUEUE)
        answers = []
        for change in changes:
            answers.append(isinstance(change, Outcome) or change.id in new)
            new.discard(change.id)
        return answers

    async def lease(self, limit: int, now: datetime, until: datetime) -> list[LeasedEvent]:
        """Take up to `limit` events that are due; nobody else gets them before `until`."""
        due = (
            select(stripe_events.c.id)
            .where(stripe_events.c.due_at <= now)
            .order_by(stripe_events.c.due_at)
            .limit(limit)
        )
        # As a CTE it is looked up once: as a plain subquery the planner may repeat it, and take more than the limit.
        taken = due.with_for_update(skip_locked=True).cte("taken")
        take = (
            update(stripe_events)
            .where(stripe_events.c.id.in_(select(taken.c.id)))
            .values(due_at=until, attempts=stripe_events.c.attempts + 1)
            .returning(stripe_events.c.id, stripe_events.c.type, stripe_events.c.payload, stripe_events.c.attempts)
        )
        if self._database.dialect == "sqlite" and not await self._database.read(
            lambda connection: connection.execute(select(due.exists())).scalar_one()
        ):
            # Most of the time nothing is due, and then nobody has to wait for SQLite's one writer.
            return []
        return await self._database.write(
            lambda connection: [LeasedEvent(*row) for row in connection.execute(take)], QUEUE
        )

    async def known(self, ids: Sequence[str]) -> set[str]:
        """Which of these events are here already."""
        query = select(stripe_events.c.id).where(stripe_events.c.id.in_(ids))
        return await self._database.read(lambda connection: set(connection.execute(query).scalars()))

    async def left_undone(self, due_before: datetime) -> tuple[int, int]:
        """How many events are parked, and how many were due before an instant and nobody took them."""
        parked = select(func.count()).where(stripe_events.c.status == EventStatus.PARKED)
        waiting = select(func.count()).where(stripe_events.c.due_at < due_before)
        return await self._database.read(
            lambda connection: (connection.scalar(parked) or 0, connection.scalar(waiting) or 0)
        )

    async def latest(self, limit: int, status: EventStatus | None = None) -> list[StoredEvent]:
        """Events, newest first, of one status if it is given."""
        query = select(stripe_events).order_by(stripe_events.c.received_at.desc()).limit(limit)
        if status is not None:
            query = query.where(stripe_events.c.status == status)
        return await self._database.read(
            lambda connection: [_stored(row) for row in connection.execute(query).mappings()]
        )


def _arrival_row(arrival: Arrival) -> Mapping[str, Any]:
    handled = arrival.due_at is not None
    return {
        "id": arrival.id,
        "type": arrival.type,
        "api_version": arrival.api_version,
        "payload": arrival.payload,
        "received_at": arrival.received_at,
        "status": EventStatus.PENDING if handled else EventStatus.IGNORED,
        "attempts": 0,
        "due_at": arrival.due_at,
        "finished_at": None if handled else arrival.received_at,
    }


def _finish_row(outcome: Outcome) -> Mapping[str, Any]:
    return {
        "event": outcome.id,
        "lease": outcome.attempts,
        "new_status": outcome.status,
        "new_due_at": outcome.due_at,
        "problem": outcome.problem,
        "new_finished_at": outcome.at if outcome.due_at is None else None,
    }


def _stored(row: RowMapping) -> StoredEvent:
    return StoredEvent(
        row["id"],
        row["type"],
        EventStatus(row["status"]),
        row["attempts"],
        row["last_error"],
        row["received_at"],
    )
