"""Sending events to those who want them: signed, retried with growing pauses, and never forgotten."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import httpx2

from stripe_sandbox import receivers, thin, versions
from stripe_sandbox.knobs import Does
from stripe_sandbox.receivers import Receiver
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object, Store, public

RETRY_SECONDS = (0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)
"""Pauses between tries. Stripe's own are minutes to hours; a sandbox is in a hurry."""

TIMEOUT_SECONDS = 10
AT_ONCE = 8


def signature(body: bytes, secret: str, timestamp: int) -> str:
    """The Stripe-Signature header: HMAC-SHA256 over the timestamp and the raw body."""
    signed = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"t={timestamp},v1={signed.hexdigest()}"


class _Due(NamedTuple):
    id: int
    event_id: str
    endpoint_id: str
    attempts: int
    fault: str


class Deliverer:
    """Delivers what is due, until it is stopped. What was not delivered waits in the store."""

    def __init__(self, sandbox: Sandbox, pauses: Sequence[float] = RETRY_SECONDS) -> None:
        self._sandbox = sandbox
        self._pauses = pauses
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(AT_ONCE)

    def wake(self) -> None:
        """There is something new to deliver. May be called from any thread."""
        self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with httpx2.AsyncClient(timeout=TIMEOUT_SECONDS) as http:
            while True:
                self._wake.clear()
                due = [] if self._sandbox.deliveries.paused else self._due()
                if any(self._sandbox.deliveries.knobs):
                    # One after another: what is disturbed arrives in the order that was decided for it.
                    for delivery in due:
                        await self._deliver(http, delivery)
                else:
                    await asyncio.gather(*(self._deliver(http, delivery) for delivery in due))
                # Not wait_for: in Python 3.11 it loses a cancellation that comes together with what it waits for.
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self._wake.wait()

    def _due(self) -> list[_Due]:
        rows = self._sandbox.store.connection.execute(
            "SELECT id, event_id, endpoint_id, attempts, fault FROM deliveries WHERE due <= ? ORDER BY due, id",
            (time.time(),),
        )
        return [_Due(*row) for row in rows.fetchall()]

    def _pause(self) -> float:
        (next_due,) = self._sandbox.store.connection.execute("SELECT min(due) FROM deliveries").fetchone()
        if next_due is None or self._sandbox.deliveries.paused:
            return 1.0
        return min(1.0, max(0.01, float(next_due) - time.time()))

    async def _deliver(self, http: httpx2.AsyncClient, due: _Due) -> None:
        store = self._sandbox.store
        event, receiver = store.get(due.event_id), receivers.find(store, due.endpoint_id)
        if event is None or receiver is None:
            self._keep(due.id, due.attempts, None, "the endpoint is gone")
            return
        async with self._slots:
            answer = await _post(http, rendered(store, event, receiver), receiver, due.fault)
        if answer.startswith("2"):
            with store.transaction():
                self._keep(due.id, due.attempts + 1, None, answer)
                event = store.get(due.event_id) or event
                if event.get("pending_webhooks"):
                    store.put({**event, "pending_webhooks": event["pending_webhooks"] - 1})
            return
        pause = self._pauses[due.attempts] if due.attempts < len(self._pauses) else None
        self._keep(due.id, due.attempts + 1, None if pause is None else time.time() + pause, answer)

    def _keep(self, id: int, attempts: int, due: float | None, answer: str) -> None:
        with self._sandbox.store.transaction():
            self._sandbox.store.connection.execute(
                "UPDATE deliveries SET attempts = ?, due = ?, answer = ?, fault = '' WHERE id = ?",
                (attempts, due, answer, id),
            )


def rendered(store: Store, event: Object, receiver: Receiver) -> Object:
    """An event as it is sent to that receiver."""
    if receiver.thin:
        return thin.pushed(event)
    return versions.event(store, public(event), receiver.version)


async def _post(http: httpx2.AsyncClient, event: Object, receiver: Receiver, fault: str) -> str:
    """Send one event. Returns the status, or what went wrong."""
    body = json.dumps(event, indent=2).encode()
    kind, _, seconds = fault.partition(" ")
    secret = f"{receiver.secret}_of_someone_else" if kind == Does.WRONG_SIGNATURE else receiver.secret
    # Signed in real time, whatever the sandbox's clock says: receivers compare with theirs.
    signed_at = int(time.time()) - int(seconds or 0)
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Stripe/1.0 (sandbox)",
        "Stripe-Signature": signature(body, secret, signed_at),
    }
    try:
        answer = await http.post(receiver.url, content=body, headers=headers)
    except httpx2.HTTPError as error:
        return type(error).__name__
    return str(answer.status_code)
