"""Counts what was refused at the door: so many for each reason in each hour, however many there are.

Anybody may knock, so what is refused costs a number in memory, written down now and then, and never a row of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from tallystick.clock import Clock
from tallystick.database.engine import Database
from tallystick.database.tables import refusals
from tallystick.domain.errors import Unavailable

AT_THE_WEBHOOK: Mapping[str, str] = {
    "webhook_not_configured": "No signing secret is set here, so every event is refused. Set STRIPE_WEBHOOK_SECRET.",
    "signature_missing": "A webhook without a signature: not from Stripe.",
    "signature_invalid": (
        "A webhook that is forged or was changed on the way. If Stripe's own are refused, STRIPE_WEBHOOK_SECRET is "
        "not the secret of that endpoint."
    ),
    "signature_stale": "A webhook that was signed too long ago: sent again by somebody, or the clocks differ.",
    "not_an_event": "Signed by Stripe, but not an event that we know how to read.",
    "wrong_mode": "An event of the other mode: an endpoint of test mode points to a live service, or the other way.",
    "other_account": "An event of another Stripe account: the endpoint listens to connected accounts too.",
}
"""Why a webhook is refused, in words for an operator."""

REASONS: Mapping[str, str] = {
    **AT_THE_WEBHOOK,
    "unknown_purchase": "Somebody came back from a checkout that is not theirs.",
}
"""The same for everything that is refused at the door."""


@dataclass(frozen=True, slots=True)
class Refused:
    """How often something was refused for one reason, and when the last time was."""

    reason: str
    count: int
    last_at: datetime

    @property
    def meaning(self) -> str:
        """The reason in words."""
        return REASONS[self.reason]


def hour_of(instant: datetime) -> datetime:
    """The hour under which it is counted what was refused at an instant."""
    return instant.replace(minute=0, second=0, microsecond=0)


class Refusals:
    """What this process has refused, and what all have written down. What a crash loses is what was counted lately."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._counted: dict[tuple[datetime, str], tuple[int, datetime]] = {}
        dialect = postgresql if database.dialect == "postgresql" else sqlite
        adding = dialect.insert(refusals)
        self._add = adding.on_conflict_do_update(
            index_elements=["hour", "reason"],
            set_={
                "count": refusals.c.count + adding.excluded.count,
                "last_at": adding.excluded.last_at,
            },
        )

    def count(self, reason: str) -> None:
        """One more was refused, for one of REASONS."""
        now = self._clock()
        self._put(hour_of(now), reason, 1, now)

    async def keep(self) -> None:
        """Write down what was counted since the last time. Raises DatabaseUnavailable: then it is still counted."""
        counted, self._counted = self._counted, {}
        # In one order, so that two processes never wait for each other.
        rows = [
            {"hour": hour, "reason": reason, "count": count, "last_at": last_at}
            for (hour, reason), (count, last_at) in sorted(counted.items())
        ]
        if not rows:
            return
        try:
            await self._database.write(lambda connection: connection.execute(self._add, rows))
        except Unavailable:
            for (hour, reason), (count, last_at) in counted.items():
                self._put(hour, reason, count, last_at)
            raise

    async def since(self, since: datetime) -> list[Refused]:
        """What was refused since the hour of `since`, what was refused last first.

        What other processes have refused is there as far as they have written it down.
        """
        await self.keep()
        last_at = func.max(refusals.c.last_at).label("last_at")
        query = (
            select(refusals.c.reason, func.sum(refusals.c.count).label("count"), last_at)
            .where(refusals.c.hour >= hour_of(since))
            .group_by(refusals.c.reason)
            .order_by(last_at.desc())
        )
        return await self._database.read(
            lambda connection: [
                Refused(row["reason"], int(row["count"]), row["last_at"])
                for row in connection.execute(query).mappings()
            ]
        )

    def _put(self, hour: datetime, reason: str, count: int, at: datetime) -> None:
        before, last_at = self._counted.get((hour, reason), (0, at))
        self._counted[hour, reason] = before + count, max(last_at, at)
