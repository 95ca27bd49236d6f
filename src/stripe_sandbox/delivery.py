"""Sending events to webhook endpoints: signed, retried with growing pauses, and never forgotten."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Sequence

import httpx2

from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object, public

RETRY_SECONDS = (0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)
"""Pauses between tries. Stripe's own are minutes to hours; a sandbox is in a hurry."""

TIMEOUT_SECONDS = 10
AT_ONCE = 8


def signature(body: bytes, secret: str, timestamp: int) -> str:
    """The Stripe-Signature header: HMAC-SHA256 over the timestamp and the raw body."""
    signed = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"t={timestamp},v1={signed.hexdigest()}"


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
                due = self._sandbox.store.connection.execute(
                    "SELECT id, event_id, endpoint_id, attempts FROM deliveries WHERE due <= ? ORDER BY id",
                    (time.time(),),
                ).fetchall()
                await asyncio.gather(*(self._deliver(http, *row) for row in due))
                try:
                    await asyncio.wait_for(self._wake.wait(), timeout=self._pause())
                except TimeoutError:
                    continue

    def _pause(self) -> float:
        (next_due,) = self._sandbox.store.connection.execute("SELECT min(due) FROM deliveries").fetchone()
        return 1.0 if next_due is None else min(1.0, max(0.01, next_due - time.time()))

    async def _deliver(
        self, http: httpx2.AsyncClient, id: int, event_id: str, endpoint_id: str, attempts: int
    ) -> None:
        store = self._sandbox.store
        event, endpoint = store.get(event_id), store.get(endpoint_id)
        if event is None or endpoint is None:
            self._keep(id, attempts, None, "the endpoint is gone")
            return
        async with self._slots:
            answer = await _post(http, event, endpoint)
        if answer.startswith("2"):
            with store.transaction():
                self._keep(id, attempts + 1, None, answer)
                event = store.get(event_id) or event
                store.put({**event, "pending_webhooks": max(0, event["pending_webhooks"] - 1)})
            return
        pause = self._pauses[attempts] if attempts < len(self._pauses) else None
        self._keep(id, attempts + 1, None if pause is None else time.time() + pause, answer)

    def _keep(self, id: int, attempts: int, due: float | None, answer: str) -> None:
        with self._sandbox.store.transaction():
            self._sandbox.store.connection.execute(
                "UPDATE deliveries SET attempts = ?, due = ?, answer = ? WHERE id = ?",
                (attempts, due, answer, id),
            )


async def _post(http: httpx2.AsyncClient, event: Object, endpoint: Object) -> str:
    """Send one event. Returns the status, or what went wrong."""
    body = json.dumps(public(event), indent=2).encode()
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Stripe/1.0 (sandbox)",
        # Signed in real time, whatever the sandbox's clock says: receivers compare with theirs.
        "Stripe-Signature": signature(body, endpoint["_secret"], int(time.time())),
    }
    try:
        answer = await http.post(endpoint["url"], content=body, headers=headers)
    except httpx2.HTTPError as error:
        return type(error).__name__
    return str(answer.status_code)
