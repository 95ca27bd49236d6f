"""The one place that talks to Stripe: the SDK's client, set up on purpose.

Answers are handed on as plain dicts. Never called inside a database transaction.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import stripe
import structlog

from tallystick.billing.errors import StripeRejected
from tallystick.billing.stripe_answers import ask, call, date, listed, or_none

API_VERSION = "2026-08-26.dahlia"
"""The API version that this code is written for; what Stripe answers is in it whatever the account's default."""

TIMEOUT_SECONDS = 8.0
"""For one try. A buyer waits for these calls, so they are short; a retry uses the same idempotency key."""

NETWORK_RETRIES = 1

WEBHOOK_PATH = "/api/stripe/webhook"
"""Where our pages take Stripe's events."""

log = structlog.get_logger(__name__)


EVENTS_KEPT_DAYS = 90
LEAST_EVENTS_KEPT_DAYS = 35
"""Reconciliation looks back 30 days, as far as Stripe keeps events, and Stripe sends one again for three."""


@dataclass(frozen=True, slots=True)
class BillingSettings:
    """What billing needs to know. Buyers come back to `base_url` + `success_path` or `cancel_path`.

    Events that are done are forgotten after `events_kept_days`, at least LEAST_EVENTS_KEPT_DAYS.
    """

    secret_key: str
    webhook_secrets: tuple[str, ...]
    base_url: str
    api_base: str | None = None
    success_path: str = "/purchases/return"
    cancel_path: str = "/dashboard"
    plan_success_path: str = "/plan/return"
    portal_return_path: str = "/settings"
    events_kept_days: int = EVENTS_KEPT_DAYS

    @property
    def livemode(self) -> bool:
        """Whether the key moves real money."""
        return self.secret_key.startswith(("sk_live_", "rk_live_"))

    @property
    def mode(self) -> str:
        """The mode of Stripe that the key is of: `live` or `test`."""
        return "live" if self.livemode else "test"

    @property
    def webhook_url(self) -> str:
        """Where Stripe is to send events."""
        return f"{self.base_url}{WEBHOOK_PATH}"


class StripeApi:
    """The calls that billing makes."""

    def __init__(self, settings: BillingSettings) -> None:
        self._http = stripe.HTTPXClient(timeout=TIMEOUT_SECONDS)
        self._client = stripe.StripeClient(
            settings.secret_key,
            stripe_version=API_VERSION,
            base_addresses={"api": settings.api_base} if settings.api_base else {},
            max_network_retries=NETWORK_RETRIES,
            http_client=self._http,
        )

    async def close(self) -> None:
        """Close the connections."""
        closing: Awaitable[None] = self._http.close_async()  # type: ignore[no-untyped-call]
        await closing

    async def account(self) -> tuple[dict[str, Any] | None, datetime | None]:
        """The account of our key, None if the key may not ask; and what time it was at Stripe, to the second."""
        try:
            answer = await ask(self._client.v1.accounts.retrieve_current_async())
        except StripeRejected as error:
            cause = error.__cause__
            if not isinstance(cause, stripe.PermissionError):
                raise
            return None, date(cause.headers)
        response = answer.last_response
        return answer.to_dict(), None if response is None else date(response.headers)

    async def create_customer(self, account_id: str, email: str | None, key: str) -> dict[str, Any]:
        """Make a customer for an account."""
        params: Any = {"metadata": {"account_id": account_id}}
        if email is not None:
            params["email"] = email
        return await call(self._client.v1.customers.create_async(params, {"idempotency_key": key}))

    async def customer(self, customer_id: str) -> dict[str, Any] | None:
        """A customer as it is now, or None when it was deleted."""
        found = await or_none(call(self._client.v1.customers.retrieve_async(customer_id)))
        return None if found is None or found.get("deleted") else found

    async def update_customer(self, customer_id: str, email: str) -> dict[str, Any]:
        """Change a customer's e-mail."""
        return await call(self._client.v1.customers.update_async(customer_id, {"email": email}))

    async def create_session(self, params: dict[str, Any], key: str) -> dict[str, Any]:
        """Make a checkout session."""
        checked: Any = params
        return await call(self._client.v1.checkout.sessions.create_async(checked, {"idempotency_key": key}))

    async def expire_session(self, session_id: str) -> dict[str, Any]:
        """Close a checkout session that nobody shall pay."""
        return await call(self._client.v1.checkout.sessions.expire_async(session_id))

    async def session(self, session_id: str) -> dict[str, Any]:
        """A checkout session as it is now, with its lines and its payment intent."""
        expand: Any = {"expand": ["line_items", "payment_intent"]}
        return await call(self._client.v1.checkout.sessions.retrieve_async(session_id, expand))

    async def open_sessions_of(self, customer_id: str) -> list[dict[str, Any]]:
        """The newest checkout sessions of a customer that can still be paid."""
        params: Any = {"customer": customer_id, "status": "open", "limit": 20}
        return await listed(self._client.v1.checkout.sessions.list_async(params))

    async def subscriptions_of(self, customer_id: str) -> list[dict[str, Any]]:
        """The subscriptions of a customer, newest first, without those that have ended."""
        return await listed(self._client.v1.subscriptions.list_async({"customer": customer_id, "limit": 20}))

    async def invoice(self, invoice_id: str) -> dict[str, Any]:
        """An invoice as it is now, with all of its lines."""
        return await self._with_all_lines(await call(self._client.v1.invoices.retrieve_async(invoice_id)))

    async def invoices_of(self, subscription_id: str) -> list[dict[str, Any]]:
        """The newest invoices of a subscription, newest first, each with all of its lines."""
        found = await listed(self._client.v1.invoices.list_async({"subscription": subscription_id, "limit": 20}))
        return [await self._with_all_lines(invoice) for invoice in found]

    async def waiting_items_of(self, customer_id: str) -> list[dict[str, Any]]:
        """The newest invoice items of a customer that wait for an invoice; none when the key may not ask for them."""
        params: Any = {"customer": customer_id, "pending": True, "limit": 100}
        try:
            return await listed(self._client.v1.invoice_items.list_async(params))
        except StripeRejected as error:
            if not isinstance(error.__cause__, stripe.PermissionError):
                raise
            log.warning("waiting_items_not_seen", customer_id=customer_id, problem=error.message)
            return []

    async def subscription(self, subscription_id: str) -> dict[str, Any]:
        """A subscription as it is now."""
        return await call(self._client.v1.subscriptions.retrieve_async(subscription_id))

    async def schedule(self, schedule_id: str) -> dict[str, Any] | None:
        """A subscription schedule as it is now; None when it is not there, or the key may not ask for it."""
        try:
            return await or_none(call(self._client.v1.subscription_schedules.retrieve_async(schedule_id)))
        except StripeRejected as error:
            if not isinstance(error.__cause__, stripe.PermissionError):
                raise
            log.warning("schedule_not_seen", schedule_id=schedule_id, problem=error.message)
            return None

    async def payment(self, payment_intent_id: str) -> dict[str, Any]:
        """A payment intent as it is now, with its latest charge."""
        expand: Any = {"expand": ["latest_charge"]}
        return await call(self._client.v1.payment_intents.retrieve_async(payment_intent_id, expand))

    async def charge(self, charge_id: str) -> dict[str, Any]:
        """A charge as it is now."""
        return await call(self._client.v1.charges.retrieve_async(charge_id))

    async def stripe_refund(self, refund_id: str) -> dict[str, Any]:
        """A refund as it is now."""
        return await call(self._client.v1.refunds.retrieve_async(refund_id))

    async def refunds_of(self, payment_intent_id: str) -> list[dict[str, Any]]:
        """The refunds of a payment, newest first."""
        params: Any = {"payment_intent": payment_intent_id, "limit": 100}
        return await listed(self._client.v1.refunds.list_async(params))

    async def create_refund(self, params: dict[str, Any], key: str) -> dict[str, Any]:
        """Give money back."""
        checked: Any = params
        return await call(self._client.v1.refunds.create_async(checked, {"idempotency_key": key}))

    async def dispute(self, dispute_id: str) -> dict[str, Any]:
        """A dispute as it is now."""
        return await call(self._client.v1.disputes.retrieve_async(dispute_id))

    async def disputes_of(self, payment_intent_id: str) -> list[dict[str, Any]]:
        """The disputes of a payment, newest first."""
        params: Any = {"payment_intent": payment_intent_id, "limit": 100}
        return await listed(self._client.v1.disputes.list_async(params))

    async def early_fraud_warning(self, warning_id: str) -> dict[str, Any]:
        """An early fraud warning as it is now."""
        return await call(self._client.v1.radar.early_fraud_warnings.retrieve_async(warning_id))

    async def early_fraud_warnings_of(self, payment_intent_id: str) -> list[dict[str, Any]]:
        """The early fraud warnings of a payment, newest first."""
        params: Any = {"payment_intent": payment_intent_id, "limit": 10}
        return await listed(self._client.v1.radar.early_fraud_warnings.list_async(params))

    async def thin_event(self, event_id: str) -> dict[str, Any]:
        """A thin event with all that is left out when it is delivered. Stripe keeps it for 30 days."""
        return await call(self._client.v2.core.events.retrieve_async(event_id))

    async def page(
        self, of: str, params: dict[str, Any], after: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """A page of a list, newest first: its objects, and the id after which the next page begins, if there is one.

        `of` is events, sessions, charges, refunds, disputes, invoices or subscriptions.
        """
        v1 = self._client.v1
        lists: dict[str, Callable[[Any], Awaitable[stripe.StripeObject]]] = {
            "events": v1.events.list_async,
            "sessions": v1.checkout.sessions.list_async,
            "charges": v1.charges.list_async,
            "refunds": v1.refunds.list_async,
            "disputes": v1.disputes.list_async,
            "invoices": v1.invoices.list_async,
            "subscriptions": v1.subscriptions.list_async,
        }
        answer = await call(lists[of](params if after is None else {**params, "starting_after": after}))
        found: list[dict[str, Any]] = answer["data"]
        return found, found[-1]["id"] if answer["has_more"] and found else None

    async def version_of_latest_event(self) -> str | None:
        """The API version of the latest event, which is the account's default; None where there is none to be seen."""
        found = await listed(self._client.v1.events.list_async({"limit": 1}))
        return found[0]["api_version"] if found else None

    async def had_subscription(self, customer_id: str) -> bool:
        """Whether a customer has ever had a subscription."""
        params: Any = {"customer": customer_id, "status": "all", "limit": 1}
        return bool(await listed(self._client.v1.subscriptions.list_async(params)))

    async def price(self, price_id: str) -> dict[str, Any]:
        """A price."""
        return await call(self._client.v1.prices.retrieve_async(price_id))

    async def find_price(self, price_id: str) -> dict[str, Any] | None:
        """A price, or None when Stripe has none of that id in the mode of our key."""
        return await or_none(self.price(price_id))

    async def prices(self, **filters: Any) -> list[dict[str, Any]]:
        """All prices that Stripe's filters ask for, archived ones too."""
        return await self._all(self._client.v1.prices.list_async, filters)

    async def create_price(self, params: dict[str, Any], key: str) -> dict[str, Any]:
        """Make a price."""
        checked: Any = params
        return await call(self._client.v1.prices.create_async(checked, {"idempotency_key": key}))

    async def update_price(self, price_id: str, params: dict[str, Any]) -> dict[str, Any]:
        """Change what may be changed of a price."""
        checked: Any = params
        return await call(self._client.v1.prices.update_async(price_id, checked))

    async def find_product(self, product_id: str) -> dict[str, Any] | None:
        """A product, or None."""
        return await or_none(call(self._client.v1.products.retrieve_async(product_id)))

    async def create_product(self, params: dict[str, Any], key: str) -> dict[str, Any]:
        """Make a product."""
        checked: Any = params
        return await call(self._client.v1.products.create_async(checked, {"idempotency_key": key}))

    async def update_product(self, product_id: str, params: dict[str, Any]) -> dict[str, Any]:
        """Change a product."""
        checked: Any = params
        return await call(self._client.v1.products.update_async(product_id, checked))

    async def webhook_endpoints(self) -> list[dict[str, Any]]:
        """All webhook endpoints of the account."""
        return await self._all(self._client.v1.webhook_endpoints.list_async, {})

    async def has_webhook_endpoint(self, endpoint: dict[str, Any]) -> bool:
        """Whether an endpoint that was made is still there."""
        return await or_none(call(self._client.v1.webhook_endpoints.retrieve_async(endpoint["id"]))) is not None

    async def create_webhook_endpoint(self, params: dict[str, Any], key: str) -> dict[str, Any]:
        """Make a webhook endpoint. Only this answer has its signing secret."""
        checked: Any = params
        return await call(self._client.v1.webhook_endpoints.create_async(checked, {"idempotency_key": key}))

    async def update_webhook_endpoint(self, id: str, params: dict[str, Any]) -> dict[str, Any]:
        """Change a webhook endpoint."""
        checked: Any = params
        return await call(self._client.v1.webhook_endpoints.update_async(id, checked))

    async def delete_webhook_endpoint(self, id: str) -> None:
        """Take a webhook endpoint away, if it is there."""
        await or_none(call(self._client.v1.webhook_endpoints.delete_async(id)))

    async def event_destinations(self) -> list[dict[str, Any]]:
        """All event destinations of the account, each with its address."""
        params: Any = {"include": ["webhook_endpoint.url"], "limit": 100}

        async def every_page() -> list[dict[str, Any]]:
            page = await self._client.v2.core.event_destinations.list_async(params)
            return [destination.to_dict() async for destination in page.auto_paging_iter()]

        return await ask(every_page())

    async def update_event_destination(self, id: str, params: dict[str, Any]) -> dict[str, Any]:
        """Change an event destination."""
        checked: Any = params
        return await call(self._client.v2.core.event_destinations.update_async(id, checked))

    async def enable_event_destination(self, id: str) -> dict[str, Any]:
        """Switch an event destination on."""
        return await call(self._client.v2.core.event_destinations.enable_async(id))

    async def portal_configurations(self) -> list[dict[str, Any]]:
        """The configurations of the customer portal that are in use."""
        return await listed(self._client.v1.billing_portal.configurations.list_async({"active": True, "limit": 100}))

    async def create_portal_configuration(self, params: dict[str, Any], key: str) -> dict[str, Any]:
        """Make a configuration of the customer portal."""
        checked: Any = params
        create = self._client.v1.billing_portal.configurations.create_async
        return await call(create(checked, {"idempotency_key": key}))

    async def has_portal_configuration(self, configuration: dict[str, Any]) -> bool:
        """Whether a configuration that was made is in use."""
        retrieve = self._client.v1.billing_portal.configurations.retrieve_async
        found = await or_none(call(retrieve(configuration["id"])))
        return found is not None and found["active"]

    async def update_portal_configuration(self, id: str, params: dict[str, Any]) -> dict[str, Any]:
        """Change a configuration of the customer portal."""
        checked: Any = params
        return await call(self._client.v1.billing_portal.configurations.update_async(id, checked))

    async def open_portal(self, params: dict[str, Any]) -> dict[str, Any]:
        """Make a session of the customer portal."""
        checked: Any = params
        return await call(self._client.v1.billing_portal.sessions.create_async(checked))

    async def _all(
        self, list_page: Callable[[Any], Awaitable[stripe.StripeObject]], filters: dict[str, Any]
    ) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        params: dict[str, Any] = {**filters, "limit": 100}
        while True:
            answer = await call(list_page(params))
            found += answer["data"]
            if not answer["has_more"]:
                return found
            params["starting_after"] = found[-1]["id"]

    async def _with_all_lines(self, invoice: dict[str, Any]) -> dict[str, Any]:
        lines = invoice["lines"]
        while lines["has_more"]:
            params: Any = {"limit": 100, "starting_after": lines["data"][-1]["id"]}
            more = await call(self._client.v1.invoices.line_items.list_async(invoice["id"], params))
            lines |= {"data": [*lines["data"], *more["data"]], "has_more": more["has_more"]}
        return invoice
