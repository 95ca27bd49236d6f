"""Reconciliations and their table: how far each has come, so that one that was interrupted goes on."""

import json
import uuid
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from tallystick.billing.differences import Difference, Kind
from tallystick.billing.errors import ReconciliationUnderWay
from tallystick.billing.report import Report
from tallystick.clock import Clock
from tallystick.database.engine import Database
from tallystick.database.tables import reconciliation_subjects, reconciliations

FIRST_LOOK_BACK = timedelta(days=30)
"""How far back the first walk looks: as far as Stripe keeps events."""

OVERLAP = timedelta(hours=1)
"""How much of the time before the last walk is looked at again: what was under way then."""

STALLED_AFTER = timedelta(minutes=5)
"""A walk that has not come on for as long is taken up by whoever looks next. A page takes half a minute at most."""

FIRST_PHASE = "events"


@dataclass(slots=True)
class Walk:
    """One reconciliation: where it is, and what it has found so far."""

    id: str
    phase: str
    cursor: str | None
    report: Report
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None

    def is_under_way(self, now: datetime) -> bool:
        """Whether some process seems to be at it: it is not done, and came on a short while ago."""
        return self.finished_at is None and now - self.updated_at < STALLED_AFTER


class Walks:
    """All reconciliations of an installation."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def begin(self, *, since: datetime | None, applied: bool) -> Walk:
        """A walk to do: the one that was not finished, else a new one that looks back to where all has been walked.

        With `since` it is always a new one, that looks back as far as that.
        """
        latest = await self.latest(applied=applied)
        if since is None and latest is not None and latest.finished_at is None:
            return latest
        now = self._clock()
        before = await self.latest(applied=True, finished=True)
        known = None if before is None else before.report.walked_until
        if since is None:
            since = now - FIRST_LOOK_BACK if known is None else known - OVERLAP
        # One that looks back less far leaves a gap, which the next one has to walk.
        walked_until = now if since <= (known or now - FIRST_LOOK_BACK) else known
        report = Report(since, applied, walked_until=walked_until)
        walk = Walk(f"rec_{uuid.uuid4().hex}", FIRST_PHASE, None, report, now, now, None)
        adding = insert(reconciliations).values(
            id=walk.id,
            started_at=now,
            updated_at=now,
            applied=applied,
            phase=walk.phase,
            cursor=None,
            report=json.dumps(walk.report.as_json()),
        )
        await self._database.write(lambda connection: connection.execute(adding))
        return walk

    async def looked_at(self, walk: Walk, subjects: Set[str]) -> set[str]:
        """Which of `subjects` it has looked at on pages that were kept."""
        if not subjects:
            return set()
        query = select(reconciliation_subjects.c.subject).where(
            reconciliation_subjects.c.reconciliation_id == walk.id, reconciliation_subjects.c.subject.in_(subjects)
        )
        return set(await self._database.read(lambda connection: connection.execute(query).scalars().all()))

    async def keep(self, walk: Walk, phase: str, cursor: str | None, looked_at: set[str]) -> None:
        """Write down how far it has come, and what it has looked at for the first time.

        Raises ReconciliationUnderWay when somebody else has come further; then nothing is written.
        """
        before = walk.phase, walk.cursor
        walk.phase, walk.cursor = phase, cursor
        rows = [{"reconciliation_id": walk.id, "subject": subject} for subject in sorted(looked_at)]

        def write(connection: Connection) -> None:
            self._keep(connection, walk, *before)
            if rows:
                connection.execute(insert(reconciliation_subjects), rows)

        await self._database.write(write)

    async def finish(self, walk: Walk) -> None:
        """Write down that it is done. Raises ReconciliationUnderWay when somebody else has come further."""
        walk.finished_at = self._clock()
        of_walk = reconciliation_subjects.c.reconciliation_id == walk.id

        def write(connection: Connection) -> None:
            self._keep(connection, walk, walk.phase, walk.cursor)
            connection.execute(delete(reconciliation_subjects).where(of_walk))

        await self._database.write(write)

    async def latest(self, *, applied: bool | None = None, finished: bool = False) -> Walk | None:
        """The latest walk, of those that repair or do not, or of those that were finished, if that is asked."""
        query = select(reconciliations).order_by(reconciliations.c.started_at.desc()).limit(1)
        if applied is not None:
            query = query.where(reconciliations.c.applied == applied)
        if finished:
            query = query.where(reconciliations.c.finished_at.is_not(None))
        row = await self._database.read(lambda connection: connection.execute(query).mappings().one_or_none())
        return None if row is None else _walk(row)

    async def left(self) -> dict[str, Difference]:
        """What the latest of those that repaired has left, and those that ended while it went on, by what it is about."""
        latest = await self.latest(applied=True, finished=True)
        if latest is None:
            return {}
        query = select(reconciliations).where(
            reconciliations.c.applied, reconciliations.c.finished_at >= latest.started_at
        )
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return {each.subject: each for row in rows for each in _walk(row).report.left}

    def _keep(self, connection: Connection, walk: Walk, phase: str, cursor: str | None) -> None:
        """Write it down, if it is where it was then: at `phase` and `cursor`, and not done."""
        walk.updated_at = self._clock()
        keeping = (
            update(reconciliations)
            .where(
                reconciliations.c.id == walk.id,
                reconciliations.c.phase == phase,
                reconciliations.c.cursor.is_not_distinct_from(cursor),
                reconciliations.c.finished_at.is_(None),
            )
            .values(
                phase=walk.phase,
                cursor=walk.cursor,
                report=json.dumps(walk.report.as_json()),
                updated_at=walk.updated_at,
                finished_at=walk.finished_at,
            )
        )
        if connection.execute(keeping).rowcount != 1:
            raise ReconciliationUnderWay


def _walk(row: RowMapping) -> Walk:
    kept: dict[str, Any] = json.loads(row["report"])
    report = Report(
        since=datetime.fromisoformat(kept["since"]),
        applied=kept["applied"],
        looked_at=Counter(kept["looked_at"]),
        expected=kept["expected_credits"],
        booked=kept["booked_credits"],
        repaired=[_difference(each) for each in kept["repaired"]],
        left=[_difference(each) for each in kept["left"]],
        calls=kept["stripe_calls"],
        finished=kept["finished"],
        walked_until=None if kept.get("walked_until") is None else datetime.fromisoformat(kept["walked_until"]),
    )
    return Walk(
        row["id"], row["phase"], row["cursor"], report, row["started_at"], row["updated_at"], row["finished_at"]
    )


def _difference(kept: dict[str, Any]) -> Difference:
    facts = {name: value for name, value in kept.items() if name != "safe"}
    return Difference(**{**facts, "kind": Kind(facts["kind"])})
