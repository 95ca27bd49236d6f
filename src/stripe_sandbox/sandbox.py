"""The sandbox itself: its store, its clock, and the events it tells the world about."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from stripe_sandbox import shapes, thin
from stripe_sandbox.deliveries import Deliveries
from stripe_sandbox.errors import missing
from stripe_sandbox.ids import new_id, webhook_secret
from stripe_sandbox.outages import Outages
from stripe_sandbox.store import Object, Store, public

API_VERSION = "2026-08-26.dahlia"
"""The API version that every answer and every event is in."""

NO_REQUEST: Object = {"id": None, "idempotency_key": None}
current_request: ContextVar[Object] = ContextVar("current_request", default=NO_REQUEST)
"""The request that is being answered, which its events name."""

_moment: ContextVar[tuple[int, str] | None] = ContextVar("moment", default=None)
"""The instant at which things happen, and the test clock in whose time it is, if that is not everybody's now."""


class Sandbox:
    """One Stripe account in test mode. `database` is a file to keep it in, or `:memory:`."""

    def __init__(self, database: str | Path = ":memory:") -> None:
        self.store = Store(database)
        self.url = "http://127.0.0.1"
        """Where its pages are reached; the server sets it."""
        self.on_delivery: Callable[[], None] = lambda: None
        """Called when there is something to deliver; the server sets it."""
        self.deliveries = Deliveries(self.store, lambda: self.on_delivery())
        """What waits to be delivered, and what is made to go wrong with it."""
        self.outages = Outages()
        """The calls of the API that are made to fail."""
        self.on_advance: Callable[[], None] = lambda: None
        """Called when time went on, so that what became due may happen; the server sets it."""

    def close(self) -> None:
        """Close the file."""
        self.store.close()

    def now(self) -> int:
        """The time in Unix seconds: real time plus what it was advanced by, or the instant of `at`."""
        moment = _moment.get()
        if moment is not None:
            return moment[0]
        return int(time.time()) + int(self.store.setting("clock_offset", "0"))

    @contextmanager
    def at(self, instant: int, clock: str | None = None) -> Iterator[None]:
        """What is done inside happens at `instant`, in the time of `clock` (an empty one is everybody's)."""
        token = _moment.set((instant, self.clock() if clock is None else clock))
        try:
            yield
        finally:
            _moment.reset(token)

    def clock(self) -> str:
        """The test clock in whose time things happen; empty in everybody's."""
        moment = _moment.get()
        return "" if moment is None else moment[1]

    def advance(self, seconds: int) -> None:
        """Move the sandbox's clock forward. What becomes due happens at the next tick."""
        offset = int(self.store.setting("clock_offset", "0"))
        self.store.set("clock_offset", str(offset + seconds))
        self.on_advance()

    def get(self, id: str, type: str, *, param: str = "id", status: int = 404) -> Object:
        """The object of that id and type. Raises Stripe's error when there is none."""
        found = self.store.get(id, type)
        if found is None:
            raise missing(type, id, param=param, status=status)
        return found

    def emit(self, type: str, body: Object, previous: Object | None = None) -> None:
        """Record that something happened to `body`, and queue it for every endpoint that wants to know.

        `previous` has the old values of what an update changed.
        """
        if self.store.rehearsing:
            return
        with self.store.transaction():
            request = current_request.get()
            event = shapes.event(new_id("evt"), self.now(), type, public(body), request, API_VERSION)
            if previous is not None:
                event["data"]["previous_attributes"] = previous
            event["pending_webhooks"] = self.deliveries.queue(event)
            self.store.put(event)
            twin = thin.twin(new_id("evt_test"), event)
            if twin is not None:
                self.store.put(twin)
                self.deliveries.queue(twin)
        self.on_delivery()

    def changed(self, type: str, body: Object, **changes: Any) -> Object:
        """Set `changes` on `body`, keep it, and tell of it with the previous values; an update of nothing is not told."""
        changed = {**body, **changes}
        self.store.put(changed)
        before = previous(public(body), public(changed))
        if before or not type.endswith(".updated"):
            self.emit(type, changed, before)
        return changed

    def register_webhook(
        self,
        url: str,
        secret: str | None = None,
        events: Iterable[str] = ("*",),
        *,
        api_version: str | None = None,
        only: bool = False,
    ) -> Object:
        """Make `url` the endpoint for `events`, or change the one that is there. Returns it with its secret.

        The real API makes up the secret itself; here one can be given, so that both sides can be configured.
        Its events are in the shape of `api_version`, or as everything is. With `only`, it takes the place of every
        other webhook endpoint, and gets what still waits for those.
        """
        with self.store.transaction():
            found = self.store.newest_first("webhook_endpoint", lambda e: bool(e["url"] == url))
            given: Object = {"url": url, "enabled_events": list(events)}
            given |= {} if api_version is None else {"api_version": api_version}
            endpoint = found[0] if found else shapes.webhook_endpoint(new_id("we"), self.now(), given)
            endpoint |= given
            endpoint["_secret"] = secret or endpoint.get("_secret") or webhook_secret()
            self.store.put(endpoint)
            if only:
                self.store.connection.execute(
                    "UPDATE deliveries SET endpoint_id = ? WHERE due IS NOT NULL AND endpoint_id IN "
                    "(SELECT id FROM objects WHERE type = 'webhook_endpoint')",
                    (endpoint["id"],),
                )
                self.store.connection.execute(
                    "DELETE FROM objects WHERE type = 'webhook_endpoint' AND id != ?", (endpoint["id"],)
                )
        self.on_delivery()
        return {**public(endpoint), "secret": endpoint["_secret"]}

    def seed_price(
        self,
        *,
        price_id: str,
        product_name: str,
        unit_amount: int,
        currency: str,
        recurring: str | None = None,
    ) -> None:
        """Have a product with one price of a given id, which the real API would make up. Safe to repeat."""
        if self.store.get(price_id, "price") is not None:
            return
        now = self.now()
        product = shapes.product(new_id("prod"), now, {"name": product_name})
        given = {
            "unit_amount": unit_amount,
            "currency": currency,
            "recurring": {"interval": recurring} if recurring else None,
        }
        with self.store.transaction():
            self.store.put(product)
            self.store.put(shapes.price(price_id, now, product["id"], given))

    def events(self, type: str | None = None) -> list[Object]:
        """Everything that happened, oldest first."""
        found = self.store.newest_first("event", lambda event: type is None or event["type"] == type)
        return found[::-1]


def previous(before: Object, after: Object) -> Object:
    """What an event says of the old values: of each object only the keys that changed, None for a new one."""
    changed: Object = {}
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = previous(old, new)
            if inner:
                changed[name] = inner
        elif old != new:
            changed[name] = old
    return changed
