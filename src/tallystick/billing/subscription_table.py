"""Subscriptions as we last saw them, and their table. Knows nothing of Stripe and of what follows from them."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.dialects import postgresql, sqlite

from tallystick.billing.rests import Turn
from tallystick.billing.story import LIVE
from tallystick.clock import Clock
from tallystick.database.engine import Database
from tallystick.database.tables import subscription_turns, subscriptions
from tallystick.domain.catalogue import Catalogue

LOST = "lost"
"""The status that we give to a subscription that Stripe does not have any more."""

ENDED = frozenset({"canceled", "incomplete_expired", LOST})

LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Subscription:
    """What we last saw of an account's subscription at Stripe.

    `plan` is the one it carries, `ends_at` when it ends if that is decided already, `period_end` when it is
    billed next otherwise. With `collection_paused` no invoice is collected for the time being. If it has been
    decided what it becomes later, `changes_at` is when, `next_plan` and `next_price` what.
    """

    id: str
    account_id: str
    plan: str
    status: str
    cancel_at_period_end: bool
    period_end: datetime | None
    stripe_customer_id: str | None
    stripe_price: str | None
    started_at: datetime | None
    ends_at: datetime | None
    trial_end: datetime | None
    collection_paused: bool
    changes_at: datetime | None
    next_plan: str | None
    next_price: str | None

    @property
    def is_live(self) -> bool:
        """Whether it carries its plan (S16)."""
        return self.status in LIVE


_SEEN = tuple(Subscription.__dataclass_fields__)
_ALL = select(*(subscriptions.c[name] for name in _SEEN))


class SubscriptionTable:
    """The subscriptions of all accounts."""

    def __init__(self, database: Database, catalogue: Catalogue, clock: Clock) -> None:
        self._database = database
        self._catalogue = catalogue
        self._clock = clock
        # Every event about a subscription comes here several times: what to say to the database is made up once.
        dialect = postgresql if database.dialect == "postgresql" else sqlite
        keeping = dialect.insert(subscriptions)
        self._keep = keeping.on_conflict_do_update(
            index_elements=["id"],
            set_={name: keeping.excluded[name] for name in (*_SEEN, "updated_at")},
        )
        self._note = dialect.insert(subscription_turns).on_conflict_do_nothing()

    async def get(self, id: str) -> Subscription | None:
        """The subscription of that id."""
        found = await self._all(subscriptions.c.id == id)
        return found[0] if found else None

    async def of_account(self, account_id: str) -> list[Subscription]:
        """The account's subscriptions, the one that carries it first.

        That is a live one of the greatest plan, of equals the one that began first; whichever event was seen
        first (S27). Those that have ended come last, the newest of them first.
        """
        return sorted(await self._all(subscriptions.c.account_id == account_id), key=self._rank)

    async def of_customer(self, stripe_customer_id: str) -> list[Subscription]:
        """The subscriptions of a customer of Stripe."""
        return await self._all(subscriptions.c.stripe_customer_id == stripe_customer_id)

    async def not_in(self, statuses: Collection[str], after: str | None, limit: int) -> list[Subscription]:
        """Subscriptions in any but these statuses, in the order of their ids, after the id `after` if it is given."""
        query = (
            _ALL.where(subscriptions.c.status.not_in(statuses), subscriptions.c.id > (after or ""))
            .order_by(subscriptions.c.id)
            .limit(limit)
        )
        return await self._found(query)

    async def keep(self, seen: Subscription) -> None:
        """Keep what Stripe shows of a subscription, by whoever has its account (`account_leases`)."""
        values = {**asdict(seen), "updated_at": self._clock()}
        await self._database.write(lambda connection: connection.execute(self._keep, values))

    async def note(self, id: str, turn: Turn) -> None:
        """Note what an event told of a subscription, also of one that is not known yet: it may become ours."""
        values = {"subscription_id": id, **asdict(turn)}
        await self._database.write(lambda connection: connection.execute(self._note, values))

    async def turns(self, id: str) -> list[Turn]:
        """When that subscription began to rest and went on, as far as we have heard."""
        query = select(subscription_turns.c.at, subscription_turns.c.rests)
        of_it = query.where(subscription_turns.c.subscription_id == id)
        rows = await self._database.read(lambda connection: connection.execute(of_it).all())
        return [Turn(*row) for row in rows]

    def _rank(self, subscription: Subscription) -> tuple[bool, int, float, str]:
        plan = self._catalogue.plan(subscription.plan)
        began = (subscription.started_at or LONG_AGO).timestamp()
        if not subscription.is_live:
            return (True, 0, -began, subscription.id)
        return (False, -1 if plan is None else -plan.allowance, began, subscription.id)

    async def _all(self, condition: Any) -> list[Subscription]:
        return await self._found(_ALL.where(condition))

    async def _found(self, query: Select[Any]) -> list[Subscription]:
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [Subscription(**row) for row in rows]
