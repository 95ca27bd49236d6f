"""The deliveries that are due, and what is made to go wrong with them. `delivery` sends them."""

import time
from collections.abc import Callable, Iterable

from stripe_sandbox import receivers
from stripe_sandbox.errors import missing
from stripe_sandbox.knobs import Does, Knob, Knobs
from stripe_sandbox.receivers import Receiver
from stripe_sandbox.store import Object, Store

GROUP_SECONDS = 1.0
"""How long a group of deliveries whose order changes waits to become full."""

_APART = 1e-5


class Deliveries:
    """What waits to be sent: queued, held back, disturbed, sent again.

    The knobs and the pause are for one run; what is queued is kept in the store.
    """

    def __init__(self, store: Store, wake: Callable[[], None]) -> None:
        self._store = store
        self._wake = wake
        self.knobs = Knobs()
        """Those that are set; use `disturb` and `calm`."""
        self.paused = False

    def queue(self, event: Object) -> int:
        """Queue an event for everyone who wants it. Returns to how many. Runs inside the event's own transaction."""
        wanting = receivers.wanting(self._store, event)
        for receiver in wanting:
            self._queue_disturbed(event, receiver)
        return len(wanting)

    def disturb(
        self,
        does: Does | str,
        *,
        amount: float = 1,
        types: Iterable[str] = (),
        endpoint: str | None = None,
        every: int = 1,
        times: int | None = None,
    ) -> None:
        """Let deliveries go wrong from now on; see `Knob` and `Does` for what the words mean.

        Raises ValueError for a `does` that is not there, and for amounts that are not positive.
        """
        self.knobs.add(Knob(Does(does), amount, tuple(types), endpoint, every, times))

    def calm(self, seed: int | None = None) -> None:
        """Let nothing go wrong any more. A `seed` makes what is disturbed after this repeatable."""
        self.knobs.clear(seed)

    def pause(self) -> None:
        """Send nothing until `resume`."""
        self.paused = True

    def resume(self) -> None:
        """Send again, what has waited first."""
        self.paused = False
        self._wake()

    def redeliver(self, event_id: str, endpoint: str | None = None) -> int:
        """Send an event again, undisturbed, to everyone who wants it or to one endpoint. Returns to how many.

        Raises StripeError (resource_missing) when there is no such event.
        """
        event = self._store.get(event_id)
        if event is None or event["object"] not in ("event", "v2.core.event"):
            raise missing("event", event_id)
        wanting = [r for r in receivers.wanting(self._store, event) if endpoint in (None, r.id)]
        with self._store.transaction():
            for receiver in wanting:
                self._insert(event, receiver, due=time.time())
        self._wake()
        return len(wanting)

    def send(self, event: Object, receiver: Receiver) -> None:
        """Queue an event for one receiver, whether it asked for it or not."""
        self._insert(event, receiver, due=time.time())
        self._wake()

    def waiting(self) -> int:
        """How many deliveries are still to be tried."""
        (count,) = self._store.connection.execute("SELECT count(*) FROM deliveries WHERE due IS NOT NULL").fetchone()
        return int(count)

    def _queue_disturbed(self, event: Object, receiver: Receiver) -> None:
        plan = self.knobs.plan(event["type"], receiver.id)
        if plan.copies == 0:
            self._insert(event, receiver, due=None, answer="dropped")
        for copy in range(plan.copies):
            now = time.time()
            due = now + plan.delay + (GROUP_SECONDS if plan.grouped else 0)
            id = self._insert(event, receiver, due=due, fault=plan.fault if copy == 0 else "")
            if plan.grouped:
                for place, delivery in enumerate(self.knobs.group(id)):
                    self._store.connection.execute(
                        "UPDATE deliveries SET due = ? WHERE id = ? AND due IS NOT NULL",
                        (now + place * _APART, delivery),
                    )

    def _insert(
        self, event: Object, receiver: Receiver, *, due: float | None, fault: str = "", answer: str = ""
    ) -> int:
        with self._store.transaction():
            row = self._store.connection.execute(
                "INSERT INTO deliveries (event_id, endpoint_id, due, fault, answer) VALUES (?, ?, ?, ?, ?)",
                (event["id"], receiver.id, due, fault, answer),
            )
        return int(row.lastrowid or 0)
