"""A sandbox in a thread of its own, with what tests want to do with it: pay, let time go on, deliver events.

It knows no test framework; `pytest_plugin` makes a fixture of it. All of it waits: a coroutine calls it through
`asyncio.to_thread`.
"""

import html
import json
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import httpx2
import stripe

from stripe_sandbox import agenda, checkout
from stripe_sandbox.delivery import signature
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.server import SandboxServer

CARD = "4242 4242 4242 4242"


class NotPaid(Exception):
    """The checkout page did not take the payment; the message is what it says to the buyer."""


class NotDelivered(Exception):
    """Events were not taken in time."""


@dataclass
class RunningSandbox:
    """A sandbox that runs on 127.0.0.1."""

    sandbox: Sandbox
    """Everything else that it can do: `deliveries`, `outages`, `seed_price`, `events`."""
    url: str
    """The base address of its API: `base_addresses={"api": url}`."""
    _handed_out: set[str] = field(default_factory=set)

    @cached_property
    def client(self) -> stripe.StripeClient:
        """The official SDK, pointed at it."""
        return stripe.StripeClient("sk_test_sandbox", base_addresses={"api": self.url}, max_network_retries=0)

    def pay(
        self,
        session: stripe.checkout.Session | str,
        card: str | None = CARD,
        *,
        email: str = "buyer@example.com",
        name: str = "Bo Buyer",
        confirm: bool = True,
        quantity: int | None = None,
        promotion_code: str | None = None,
    ) -> str:
        """Pay a checkout session, or that of an id, at its hosted page. Returns where the buyer is sent then.

        `card` None pays by bank transfer, which arrives with `settle`. A card that asks for 3-D Secure is confirmed
        or not. `quantity` is of the first line, where that can be changed. Raises NotPaid.
        """
        id = session if isinstance(session, str) else session.id
        page = f"{self.url}/c/pay/{id}"
        if quantity is not None:
            line = self.sandbox.get(id, "checkout.session")["_line_items"][0]
            _sent(f"{page}/quantity", {"line": line["id"], "quantity": str(quantity)})
        if promotion_code is not None:
            _sent(f"{page}/promotion_code", {"code": promotion_code})
        form = {"email": email, "name": name, "payment_method": "bank" if card is None else "card"}
        if card is not None:
            form |= {"card_number": card, "exp": "12 / 40", "cvc": "1234" if card.startswith("3") else "123"}
        goes_to = _sent(page, form)
        if goes_to.endswith("/authenticate"):
            goes_to = _sent(f"{page}/authenticate", {"answer": "complete" if confirm else "fail"})
        return goes_to

    def settle(self, payment_intent: str, *, succeeds: bool = True) -> None:
        """Let a bank transfer arrive, or bounce."""
        checkout.settle_bank_payment(self.sandbox, payment_intent, succeeds=succeeds)

    def advance(self, *, seconds: int = 0, days: int = 0) -> None:
        """Move its clock forward, and let everything happen that becomes due."""
        self.sandbox.advance(seconds + days * 86_400)
        agenda.run_due(self.sandbox)

    def send_webhooks_to(self, url: str, secret: str | None = None, events: Iterable[str] = ("*",)) -> str:
        """Deliver events to a server that runs. Returns the signing secret."""
        return str(self.sandbox.register_webhook(url, secret, events)["secret"])

    def wait_for_deliveries(self, seconds: float = 10) -> None:
        """Wait until every event was taken, or given up. Raises NotDelivered."""
        until = time.monotonic() + seconds
        while waiting := self.sandbox.deliveries.waiting():
            if time.monotonic() > until:
                raise NotDelivered(f"{waiting} deliveries still wait after {seconds} seconds.")
            time.sleep(0.02)

    def webhooks(self, secret: str, events: Iterable[str] = ("*",)) -> list[tuple[bytes, dict[str, str]]]:
        """What happened since the last call, as signed requests (body, headers) to hand to a test client."""
        wanted = set(events)
        new = [event for event in self.sandbox.events() if event["id"] not in self._handed_out]
        self._handed_out |= {event["id"] for event in new}
        bodies = [json.dumps(event).encode() for event in new if "*" in wanted or event["type"] in wanted]
        kind = {"Content-Type": "application/json; charset=utf-8"}
        return [(body, {**kind, "Stripe-Signature": signature(body, secret, int(time.time()))}) for body in bodies]


def _sent(url: str, form: dict[str, str]) -> str:
    """Send a form of the checkout page. Returns where it leads. Raises NotPaid with what the page says."""
    answer = httpx2.post(url, data=form)
    if answer.status_code != 303:
        complaint = re.search(r'role="alert"[^>]*>([^<]*)<', answer.text)
        raise NotPaid(html.unescape(complaint[1]).strip() if complaint else "The session is not open.")
    return str(answer.headers["location"])


@contextmanager
def running() -> Iterator[RunningSandbox]:
    """A sandbox in memory, for as long as the block lasts."""
    sandbox = Sandbox()
    try:
        with SandboxServer(sandbox).in_thread() as server:
            yield RunningSandbox(sandbox, server.url)
    finally:
        sandbox.close()
