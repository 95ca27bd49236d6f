"""Accounts, each in the hands of one at a time, across all processes: for what is looked at first and done then (S27).

What was seen must not be acted on after somebody else has seen more and acted on that.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, update
from sqlalchemy.dialects import postgresql, sqlite

from tallystick.billing.locks import Locks
from tallystick.clock import Clock
from tallystick.database.engine import Database
from tallystick.database.tables import account_leases

LEASE = timedelta(seconds=30)
"""How long at most a process that has died keeps others waiting."""

_NOBODYS = datetime.fromtimestamp(0, UTC)
"""Over by any clock: those of two processes may differ."""

PAUSE_SECONDS = 0.02
"""Between two tries to get what another process has: a look at Stripe takes some tenths of a second."""

_EXTEND = (
    update(account_leases)
    # Every lease has a number of its own, so whoever has lost theirs does not get it back.
    .where(account_leases.c.account_id == bindparam("whose"), account_leases.c.lease == bindparam("number"))
    .values(until=bindparam("till"))
    .returning(account_leases.c.lease)
)


class AccountLease:
    """An account that is ours for a while."""

    def __init__(self, database: Database, clock: Clock, account_id: str, number: int) -> None:
        self._database = database
        self._clock = clock
        self._account_id = account_id
        self._number = number

    async def goes_on(self) -> bool:
        """Whether it is ours still; then it is for long enough to do what a look has shown."""
        # Not by the clock alone: by that of another process it may be over.
        return await self._extend(self._clock() + LEASE)

    async def give_back(self) -> None:
        """Let the next one have it, unless it has it already."""
        await self._extend(_NOBODYS)

    async def _extend(self, until: datetime) -> bool:
        given = {"whose": self._account_id, "number": self._number, "till": until}
        found = await self._database.write(lambda connection: connection.execute(_EXTEND, given).first())
        return found is not None


class AccountLeases:
    """Leases on accounts, in the database. Within one process those who want the same account wait in line."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._locks = Locks()
        dialect = postgresql if database.dialect == "postgresql" else sqlite
        taking = dialect.insert(account_leases).values(
            account_id=bindparam("whose"), lease=1, until=bindparam("till")
        )
        self._take = taking.on_conflict_do_update(
            index_elements=["account_id"],
            set_={"lease": account_leases.c.lease + 1, "until": taking.excluded.until},
            where=account_leases.c.until <= bindparam("now", type_=account_leases.c.until.type),
        ).returning(account_leases.c.lease)

    @asynccontextmanager
    async def of(self, account_id: str) -> AsyncIterator[AccountLease]:
        """Have an account for yourself, after whoever has it now: `async with leases.of(account_id) as lease:`."""
        async with self._locks.of(account_id):
            while (lease := await self._taken(account_id)) is None:
                await asyncio.sleep(PAUSE_SECONDS)
            try:
                yield lease
            finally:
                await lease.give_back()

    async def _taken(self, account_id: str) -> AccountLease | None:
        now = self._clock()
        given = {"whose": account_id, "now": now, "till": now + LEASE}
        number = await self._database.write(
            lambda connection: connection.execute(self._take, given).scalar_one_or_none()
        )
        return None if number is None else AccountLease(self._database, self._clock, account_id, number)
