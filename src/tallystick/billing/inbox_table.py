"""The inbox's table as its workers use it: events as they arrived, who works on them, and what became of them
(S27, S28). What an operator reads of it is in `event_records`.

Knows nothing of what an event means, or of who acts on it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, delete, func, select, update
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
    DISMISSED = "dismissed"
    REFUSED = "refused"


MOST_REFUSED = 200
"""How many refused events are kept, the newest; all are counted (`refusals`)."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event to keep. Without `due_at` it is only kept; `refused` says why it must never be worked."""

    id: str
    type: str
    api_version: str | None
    payload: str
    received_at: datetime
    due_at: datetime | None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class LeasedEvent:
    """An event that one worker has for a while.

    `attempts` counts this one, and none that an outage ended; `lease` is the number of the lease, of which all count.
    """

    id: str
    type: str
    payload: str
    attempts: int
    lease: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of working an event under the lease of that number. With `due_at` it is tried again then.

    A try that is not `counted` is given back. `account_id` and `purchase_id` are whom and what it was found to be
    about, `snapshot_event` the snapshot that tells the same as a thin event; each as far as that is known.
    """

    id: str
    lease: int
    status: EventStatus
    at: datetime
    due_at: datetime | None = None
    problem: str | None = None
    account_id: str | None = None
    purchase_id: str | None = None
    snapshot_event: str | None = None
    counted: bool = True


_FINISH = (
    update(stripe_events)
    # Every lease has a number of its own, so a worker whose lease ran out does not overwrite what another one did.
    .where(stripe_events.c.id == bindparam("event"), stripe_events.c.lease == bindparam("of_lease"))
    .values(
        status=bindparam("new_status"),
        due_at=bindparam("new_due_at"),
        last_error=bindparam("problem"),
        finished_at=bindparam("new_finished_at"),
        attempts=stripe_events.c.attempts - bindparam("given_back", type_=Integer),
        account_id=func.coalesce(bindparam("of_account"), stripe_events.c.account_id),
        purchase_id=func.coalesce(bindparam("of_purchase"), stripe_events.c.purchase_id),
        snapshot_event=func.coalesce(bindparam("of_snapshot"), stripe_events.c.snapshot_event),
    )
)

_REFUSED = stripe_events.c.status == EventStatus.REFUSED
_FORGET_REFUSED = delete(stripe_events).where(
    _REFUSED,
    stripe_events.c.received_at
    < select(stripe_events.c.received_at)
    .where(_REFUSED)
    .order_by(stripe_events.c.received_at.desc())
    .limit(1)
    .offset(MOST_REFUSED - 1)
    .scalar_subquery(),
)

_ARRIVING = ("type", "api_version", "payload", "received_at", "status", "due_at", "last_error", "finished_at")
_LEASED = (
    stripe_events.c.id,
    stripe_events.c.type,
    stripe_events.c.payload,
    stripe_events.c.attempts,
    stripe_events.c.lease,
)

_DUE = (
    select(stripe_events.c.id)
    .where(stripe_events.c.due_at <= bindparam("now"))
    .order_by(stripe_events.c.due_at)
    .limit(bindparam("most"))
)
_IS_DUE = select(_DUE.exists())
# As a CTE it is looked up once: as a plain subquery the planner may repeat it, and take more than the limit.
_TAKEN = _DUE.with_for_update(skip_locked=True).cte("taken")
_LEASE = (
    update(stripe_events)
    .where(stripe_events.c.id.in_(select(_TAKEN.c.id)))
    .values(due_at=bindparam("until"), attempts=stripe_events.c.attempts + 1, lease=stripe_events.c.lease + 1)
    .returning(*_LEASED)
)


class InboxTable:
    """All events that were ever taken."""

    def __init__(self, database: Database) -> None:
        self._database = database
        dialect = postgresql if database.dialect == "postgresql" else sqlite
        keeping = dialect.insert(stripe_events)
        self._keep = keeping.on_conflict_do_update(
            index_elements=["id"],
            # One that was refused, and is not any more: the settings were mended, and Stripe sent it again.
            where=_REFUSED & (keeping.excluded.status != EventStatus.REFUSED),
            set_={name: keeping.excluded[name] for name in _ARRIVING},
        ).returning(stripe_events.c.id)

    async def write(self, changes: Sequence[Arrival | Outcome]) -> list[bool]:
        """Keep arrivals and outcomes in one transaction.

        Answers for each whether it changed something: False for an event that is here already.
        """
        # In the order of their ids, so that two processes never wait for each other.
        arrivals = _each_once(change for change in changes if isinstance(change, Arrival))
        outcomes = sorted((c for c in changes if isinstance(c, Outcome)), key=lambda outcome: outcome.id)

        def write(connection: Connection) -> set[str]:
            if outcomes:
                connection.execute(_FINISH, [_finish_row(outcome) for outcome in outcomes])
            if not arrivals:
                return set()
            kept = connection.execute(self._keep, [_arrival_row(arrival) for arrival in arrivals])
            new = set(kept.scalars())
            if any(arrival.refused for arrival in arrivals):
                connection.execute(_FORGET_REFUSED)
            return new

        new = await self._database.write(write, QUEUE)
        answers = []
        for change in changes:
            answers.append(isinstance(change, Outcome) or change.id in new)
            new.discard(change.id)
        return answers

    async def lease(self, limit: int, now: datetime, until: datetime) -> list[LeasedEvent]:
        """Take up to `limit` events that are due; nobody else gets them before `until`."""
        given = {"now": now, "until": until, "most": limit}
        if self._database.dialect == "sqlite" and not await self._database.read(
            lambda connection: connection.execute(_IS_DUE, given).scalar_one()
        ):
            # Most of the time nothing is due, and then nobody has to wait for SQLite's one writer.
            return []
        return await self._database.write(
            lambda connection: [LeasedEvent(*row) for row in connection.execute(_LEASE, given)], QUEUE
        )

    async def take_again(self, ids: Collection[str], until: datetime) -> list[LeasedEvent]:
        """Take these events, whatever became of them; nobody else gets them before `until`.

        Their tries are counted from 1 again, under the next lease: whoever still has an earlier one is too late.
        """
        take = (
            update(stripe_events)
            .where(stripe_events.c.id == bindparam("event"))
            .values(
                status=EventStatus.PENDING,
                attempts=1,
                lease=stripe_events.c.lease + 1,
                due_at=until,
                finished_at=None,
            )
            .returning(*_LEASED)
        )

        def write(connection: Connection) -> list[LeasedEvent]:
            # One after another in the order of their ids, so that two processes never wait for each other.
            found = [connection.execute(take, {"event": id}).one_or_none() for id in sorted(ids)]
            return [LeasedEvent(*row) for row in found if row is not None]

        return await self._database.write(write, QUEUE)

    async def dismiss(self, ids: Collection[str], reason: str, at: datetime) -> None:
        """Let those of these events that are parked rest for good, and add to their last error why."""
        dismissing = (
            update(stripe_events)
            .where(stripe_events.c.id.in_(ids), stripe_events.c.status == EventStatus.PARKED)
            .values(
                status=EventStatus.DISMISSED,
                last_error=stripe_events.c.last_error + f" Dismissed: {reason}",
                finished_at=at,
            )
        )
        await self._database.write(lambda connection: connection.execute(dismissing), QUEUE)


def _each_once(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """Each event once, in the order of their ids; rather as one that is not refused."""
    found: dict[str, Arrival] = {}
    for arrival in arrivals:
        if arrival.id not in found or found[arrival.id].refused:
            found[arrival.id] = arrival
    return [found[id] for id in sorted(found)]


def _arrival_row(arrival: Arrival) -> Mapping[str, Any]:
    if arrival.refused is not None:
        status = EventStatus.REFUSED
    else:
        status = EventStatus.IGNORED if arrival.due_at is None else EventStatus.PENDING
    return {
        "id": arrival.id,
        "type": arrival.type,
        "api_version": arrival.api_version,
        "payload": arrival.payload,
        "received_at": arrival.received_at,
        "status": status,
        "attempts": 0,
        "due_at": arrival.due_at,
        "last_error": arrival.refused,
        "finished_at": arrival.received_at if arrival.due_at is None else None,
    }


def _finish_row(outcome: Outcome) -> Mapping[str, Any]:
    return {
        "event": outcome.id,
        "of_lease": outcome.lease,
        "new_status": outcome.status,
        "new_due_at": outcome.due_at,
        "problem": outcome.problem,
        "given_back": 0 if outcome.counted else 1,
        "new_finished_at": outcome.at if outcome.due_at is None else None,
        "of_account": outcome.account_id,
        "of_purchase": outcome.purchase_id,
        "of_snapshot": outcome.snapshot_event,
    }
