"""What an exchange needs to be there before it is replayed, made from what the exchange names.

Everything is made through the API, as whoever recorded the exchange had to. The ids that come out differ from the
recorded ones; `Replay` remembers which is which.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from stripe_sandbox import API_VERSION, Sandbox, agenda, server
from stripe_sandbox.billing import portal_configurations
from tests.sandbox.exchanges import Answer, Exchange, Pairs

RECURRING = {"default": ("month", 2000), "small-monthly": ("month", 2500), "small-annual": ("year", 20000)}
ONE_TIME = {"price_1ILVZaKXBGcbgpbZQ26kgXWG": 1500}


class SetupFailed(Exception):
    """The sandbox refused something that had to be there first."""


@dataclass
class Replay:
    """One sandbox, and what the ids of a recording are called in it."""

    sandbox: Sandbox = field(default_factory=Sandbox)
    ids: dict[str, str] = field(default_factory=dict)

    async def run(self, exchange: Exchange) -> Answer:
        """Make what it needs, then replay it. Raises SetupFailed."""
        await self.prepare(exchange)
        return await self.send(exchange.method, exchange.path, exchange.form, exchange)

    async def prepare(self, exchange: Exchange) -> None:
        """Make what the exchange names."""
        for price, (interval, amount) in RECURRING.items():
            self._seed(exchange, price, amount, interval)
        for price, amount in ONE_TIME.items():
            self._seed(exchange, price, amount, None)
        await self._customer(exchange)
        await self._payment_method(exchange)
        for (method, path), setup in _SETUPS.items():
            if (method, path) == (exchange.method, _pattern(exchange.path)):
                await setup(self, exchange)

    async def create(self, path: str, form: Pairs | None = None) -> Any:
        """POST something that has to be there. Raises SetupFailed."""
        answer = await self.send("POST", path, form or [])
        if answer.status != 200:
            raise SetupFailed(f"POST {path}: {answer.status} {answer.body['error'].get('message', '')[:100]}")
        return answer.body

    async def send(self, method: str, path: str, form: Pairs, exchange: Exchange | None = None) -> Answer:
        """One call, with this sandbox's ids in place of the recorded ones."""
        query = exchange.query if exchange else []
        headers = {
            "Authorization": "Bearer sk_test_1",
            "Stripe-Version": exchange.version if exchange else API_VERSION,
        }
        if exchange and exchange.key:
            headers["Idempotency-Key"] = exchange.key
        transport = httpx2.ASGITransport(app=server.create_app(self.sandbox))
        async with httpx2.AsyncClient(transport=transport, base_url="http://stripe.test", headers=headers) as http:
            answer = await http.request(
                method,
                "/".join(self.ids.get(part, part) for part in path.split("/")),
                params=[(key, self.ids.get(value, value)) for key, value in query],
                data=_form([(key, self.ids.get(value, value)) for key, value in form]),
            )
        agenda.run_due(self.sandbox)
        return Answer(answer.status_code, dict(answer.headers), answer.json())

    def _seed(self, exchange: Exchange, price: str, amount: int, interval: str | None) -> None:
        if exchange.mentions(price):
            self.sandbox.seed_price(
                price_id=price, product_name="Plan", unit_amount=amount, currency="usd", recurring=interval
            )

    async def _customer(self, exchange: Exchange) -> None:
        named = exchange.field("customer")
        if exchange.path.startswith("/v1/customers/cus_") and exchange.answer.status == 200:
            named = exchange.path.split("/")[3]
        if named:
            self.ids[named] = (await self.create("/v1/customers", [("email", "stripe@example.org")]))["id"]

    async def _payment_method(self, exchange: Exchange) -> None:
        """A card of the recorded customer that does what the recorded one did."""
        named = exchange.field("payment_method") or exchange.field("invoice_settings[default_payment_method]")
        if named and named.startswith("pm_1"):
            asks = exchange.answer.body.get("status") == "requires_action"
            customer = exchange.field("customer") or exchange.path.split("/")[3]
            self.ids[named] = await self.attach(
                "pm_card_authenticationRequired" if asks else "pm_card_visa", customer
            )

    async def attach(self, test_card: str, customer: str, *, default: bool = False) -> str:
        """Attach a test card. Returns its id."""
        method = await self.create(f"/v1/payment_methods/{test_card}/attach", [("customer", customer)])
        if default:
            settings = [("invoice_settings[default_payment_method]", method["id"])]
            await self.create(f"/v1/customers/{customer}", settings)
        return str(method["id"])

    async def card_customer(self) -> str:
        """A customer with a card."""
        customer = str((await self.create("/v1/customers", [("email", "stripe@example.org")]))["id"])
        await self.attach("pm_card_visa", customer, default=True)
        return customer


def _form(pairs: Pairs) -> dict[str, Any]:
    together: dict[str, Any] = {}
    for key, value in pairs:
        together.setdefault(key, []).append(value)
    return together


def _pattern(path: str) -> str:
    """A path with ID in the place of ids."""
    parts = path.split("/")
    return "/".join("ID" if n == 3 and part not in ("sessions", "upcoming") else part for n, part in enumerate(parts))


async def _intent(replay: Replay, exchange: Exchange, *, status: str, id: str) -> Any:
    """A payment intent in that status, in the place of the recorded one."""
    form = [("amount", "2900"), ("currency", "usd"), ("return_url", "http://localhost:3000/")]
    customer = await replay.card_customer()
    card = (exchange.answer.body.get("payment_method_options") or {}).get("card") or {}
    if card.get("setup_future_usage"):
        form.append(("payment_method_options[card][setup_future_usage]", card["setup_future_usage"]))
    confirmed = [*form, ("confirm", "true")]
    forms: dict[str, Pairs] = {
        "requires_payment_method": [pair for pair in form if pair[0] != "return_url"],
        "requires_action": [*confirmed, ("payment_method", "pm_card_authenticationRequired")],
        "requires_capture": [*confirmed, ("payment_method", "pm_card_visa"), ("capture_method", "manual")],
        "processing": [*confirmed, ("payment_method", "pm_usBankAccount_processing")],
        "succeeded": [*confirmed, ("payment_method", "pm_card_visa")],
    }
    made = await replay.create("/v1/payment_intents", [("customer", customer), *forms[status]])
    replay.ids[id] = made["id"]
    return made


async def _charge(replay: Replay, exchange: Exchange) -> None:
    id = exchange.field("charge") or exchange.path.split("/")[3]
    intent = await _intent(replay, exchange, status="succeeded", id="the intent")
    replay.ids[id] = intent["latest_charge"]


async def _intent_of_path(replay: Replay, exchange: Exchange) -> None:
    before = {"succeeded": "requires_capture"} if exchange.path.endswith("/capture") else {}
    status = exchange.answer.body["status"]
    await _intent(replay, exchange, status=before.get(status, status), id=exchange.path.split("/")[3])


async def _method_of_path(replay: Replay, exchange: Exchange) -> None:
    id = exchange.path.split("/")[3]
    if not id.startswith("pm_1"):
        return
    made = await replay.create("/v1/payment_methods", [("type", "card"), ("card[token]", "tok_visa")])
    replay.ids[id] = made["id"]
    if exchange.answer.status == 400:
        other = (await replay.create("/v1/customers"))["id"]
        await replay.create(f"/v1/payment_methods/{id}/attach", [("customer", other)])


async def _invoice(replay: Replay, exchange: Exchange) -> None:
    """An invoice over one item, in the state before the exchange."""
    id = exchange.field("invoice") or exchange.path.split("/")[3]
    named = exchange.field("customer")
    customer = replay.ids[named] if named else await replay.card_customer()
    draft = exchange.path == "/v1/invoiceitems"
    if not draft:
        item = [("customer", customer), ("amount", "1900"), ("currency", "usd")]
        await replay.create("/v1/invoiceitems", item)
    form = [("customer", customer), ("pending_invoice_items_behavior", "exclude" if draft else "include")]
    invoice = (await replay.create("/v1/invoices", form))["id"]
    replay.ids[id] = invoice
    if exchange.method == "GET" or exchange.path == "/v1/credit_notes":
        await replay.create(f"/v1/invoices/{invoice}/pay")


async def _invoice_item(replay: Replay, exchange: Exchange) -> None:
    coupon = exchange.field("discounts[0][coupon]")
    if coupon:
        await replay.create("/v1/coupons", [("id", coupon), ("percent_off", "10"), ("duration", "once")])
    if exchange.field("invoice"):
        await _invoice(replay, exchange)


async def _pending_item(replay: Replay, exchange: Exchange) -> None:
    if exchange.field("pending_invoice_items_behavior"):
        customer = exchange.field("customer") or ""
        item = [("customer", customer), ("amount", "1000"), ("currency", "usd")]
        await replay.create("/v1/invoiceitems", item)


async def _subscription(replay: Replay, exchange: Exchange) -> None:
    """A monthly subscription, in the place of the recorded one or of the one that the recorded item is of."""
    replay.sandbox.seed_price(
        price_id="small-monthly", product_name="Plan", unit_amount=2500, currency="usd", recurring="month"
    )
    customer = await replay.card_customer()
    made = await replay.create("/v1/subscriptions", [("customer", customer), ("items[0][price]", "small-monthly")])
    item = made["items"]["data"][0]["id"]
    replay.ids[exchange.path.split("/")[3]] = item if "subscription_items" in exchange.path else made["id"]
    replay.ids[exchange.field("items[0][id]") or "no item"] = item


async def _card_for_subscription(replay: Replay, exchange: Exchange) -> None:
    customer = exchange.field("customer") or ""
    if exchange.answer.status == 200:
        fails = exchange.answer.body["status"] == "incomplete"
        await replay.attach("pm_card_chargeCustomerFail" if fails else "pm_card_visa", customer, default=True)


async def _endpoints(replay: Replay, exchange: Exchange) -> None:
    for endpoint in exchange.answer.body["data"]:
        form = [("url", endpoint["url"]), ("enabled_events[]", endpoint["enabled_events"][0])]
        await replay.create("/v1/webhook_endpoints", form)


async def _portal(replay: Replay, _: Exchange) -> None:
    """Whoever recorded it had saved the portal's settings in the dashboard."""
    portal_configurations.save_default(replay.sandbox)


_SETUPS: dict[tuple[str, str], Callable[[Replay, Exchange], Any]] = {
    ("GET", "/v1/charges/ID"): _charge,
    ("GET", "/v1/invoices/ID"): _invoice,
    ("GET", "/v1/payment_intents/ID"): _intent_of_path,
    ("GET", "/v1/subscriptions/ID"): _subscription,
    ("GET", "/v1/webhook_endpoints"): _endpoints,
    ("POST", "/v1/billing_portal/sessions"): _portal,
    ("POST", "/v1/credit_notes"): _invoice,
    ("POST", "/v1/invoiceitems"): _invoice_item,
    ("POST", "/v1/invoices"): _pending_item,
    ("POST", "/v1/invoices/ID/pay"): _invoice,
    ("POST", "/v1/payment_intents/ID"): _intent_of_path,
    ("POST", "/v1/payment_intents/ID/capture"): _intent_of_path,
    ("POST", "/v1/payment_methods/ID/attach"): _method_of_path,
    ("POST", "/v1/refunds"): _charge,
    ("POST", "/v1/subscription_items/ID"): _subscription,
    ("POST", "/v1/subscriptions"): _card_for_subscription,
    ("POST", "/v1/subscriptions/ID"): _subscription,
}
