"""Looks whether an installation and its account at Stripe fit each other. Changes nothing at either."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, TypeVar

from tallystick.billing.diagnosis import Finding, Identity, Inbox, Seen, Unseen, diagnose
from tallystick.billing.errors import StripeRejected, StripeUnavailable
from tallystick.billing.event_records import EventRecords
from tallystick.billing.refusals import AT_THE_WEBHOOK, Refusals
from tallystick.billing.setup import Setup, stripes_words
from tallystick.billing.stripe_api import StripeApi
from tallystick.clock import Clock
from tallystick.database.engine import Database
from tallystick.database.schema import CannotConnect, pending_revisions

T = TypeVar("T")

LOOKED_BACK = timedelta(days=3)
"""For how long Stripe goes on trying to deliver an event."""

TAKES_ITS_TIME = timedelta(minutes=10)
"""Events that are younger may still be on their way."""

A_DAY = timedelta(days=1)
OVERDUE = timedelta(minutes=5)
"""A running service works what is due within seconds."""


class Doctor:
    """Looks at one installation. `settings_problem` says what is wrong with its settings, if anything is."""

    def __init__(
        self, setup: Setup, api: StripeApi, database_url: str, clock: Clock, settings_problem: str | None
    ) -> None:
        self._setup = setup
        self._api = api
        self._url = database_url
        self._clock = clock
        self._settings_problem = settings_problem

    async def examine(self) -> tuple[Finding, ...]:
        """Every check, in the order in which things have to be mended."""
        return diagnose(await self.look(), self._setup.wanted())

    async def look(self) -> Seen:
        """All that matters, each looked at by itself, so that what cannot be seen hides nothing else."""
        identity = await _seen(self._identity())
        if isinstance(identity, Unseen):
            # The others would fail for the same reason, some after waiting for it.
            unseen = Unseen("Not looked at: Stripe did not take the first request.", "Mend that first.")
            inbox = await self._inbox(not_asked=unseen)
            return Seen(identity, unseen, unseen, unseen, unseen, None, unseen, inbox, self._settings_problem)
        prices = await _seen(self._prices())
        endpoints, destinations = await _seen(self._endpoints()), await _seen(self._destinations())
        return Seen(
            identity=identity,
            prices=prices,
            products=prices if isinstance(prices, Unseen) else await _seen(self._products(prices)),
            endpoints=endpoints,
            destinations=destinations,
            latest_version=await _seen(self._setup.latest_version(_or_none(endpoints), _or_none(destinations))),
            portals=await _seen(self._portals()),
            inbox=await self._inbox(),
            settings=self._settings_problem,
        )

    async def _identity(self) -> Identity:
        account, at = await self._api.account()
        return Identity(account, None if at is None else (self._clock() - at).total_seconds())

    async def _prices(self) -> dict[str, dict[str, Any] | None]:
        ids = {offer.configured for offer in self._setup.offers if offer.configured}
        return {id: await self._api.find_price(id) for id in sorted(ids)}

    async def _products(self, prices: dict[str, dict[str, Any] | None]) -> dict[str, dict[str, Any] | None]:
        ids = {str(price["product"]) for price in prices.values() if price is not None}
        return {id: await self._api.find_product(id) for id in sorted(ids)}

    async def _endpoints(self) -> tuple[dict[str, Any], ...]:
        return tuple(await self._api.webhook_endpoints())

    async def _destinations(self) -> tuple[dict[str, Any], ...]:
        return tuple(await self._api.event_destinations())

    async def _portals(self) -> tuple[dict[str, Any], ...]:
        return tuple(await self._api.portal_configurations())

    async def _inbox(self, not_asked: Unseen | None = None) -> Inbox | Unseen:
        try:
            pending = await pending_revisions(self._url)
        except CannotConnect as error:
            return Unseen(error.message, "Start the database, or correct DATABASE_URL.", failed=True)
        if pending:
            return Unseen(f"The schema lacks {', '.join(pending)}.", "tallystick migrate", failed=True)
        database = Database.connect(self._url)
        try:
            records = EventRecords(database)
            parked, waiting = await records.left_undone(self._clock() - OVERDUE)
            refused = await Refusals(database, self._clock).since(self._clock() - A_DAY)
            missing = await _seen(self._missing(records)) if not_asked is None else not_asked
            return Inbox(parked, waiting, tuple(one for one in refused if one.reason in AT_THE_WEBHOOK), missing)
        finally:
            await database.close()

    async def _missing(self, records: EventRecords) -> int:
        now = self._clock()
        created = {"gte": int((now - LOOKED_BACK).timestamp()), "lte": int((now - TAKES_ITS_TIME).timestamp())}
        undelivered = {"delivery_success": False, "created": created, "limit": 100}
        found, _ = await self._api.page("events", undelivered, None)
        events = self._setup.wanted().events
        # Another endpoint of the account may be the one that it could not be delivered to.
        ids = [str(event["id"]) for event in found if event["type"] in events]
        return len(set(ids) - await records.known(ids))


def _or_none(found: tuple[dict[str, Any], ...] | Unseen) -> tuple[dict[str, Any], ...]:
    return () if isinstance(found, Unseen) else found


async def _seen(look: Awaitable[T]) -> T | Unseen:
    try:
        return await look
    except StripeUnavailable as error:
        return Unseen(f"{stripes_words(error)}.", "Look at status.stripe.com, and try again.", failed=True)
    except StripeRejected as error:
        if error.details["stripe_status"] == 403:
            to_do = "Give the restricted key that permission if you want this to be looked at."
            return Unseen(stripes_words(error), to_do)
        return Unseen(stripes_words(error), "Correct what it names, and try again.", failed=True)
