"""PLUS itself: what Stripe's subscriptions and invoices mean for an account's plan and allowance (S15, S16)."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from tallystick.billing.customers import Customers
from tallystick.billing.locks import Locks
from tallystick.billing.stripe_api import StripeApi
from tallystick.clock import Clock
from tallystick.database.engine import Database
from tallystick.database.tables import subscriptions
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import RenewAllowance, SetPlan
from tallystick.domain.periods import Period
from tallystick.ledger import Ledger

LIVE = frozenset({"active", "trialing", "past_due"})
"""Statuses in which a subscription carries its plan; past due keeps what is there (S16)."""

PERIOD_REASONS = frozenset({"subscription_create", "subscription_cycle"})
"""Invoices that are for a period, and so open its allowance; others bill a change within one."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Subscription:
    """What we last saw of an account's subscription at Stripe."""

    id: str
    account_id: str
    plan: str
    status: str
    cancel_at_period_end: bool
    period_end: datetime | None

    @property
    def is_live(self) -> bool:
        """Whether it carries its plan (S16)."""
        return self.status in LIVE


class Subscriptions:
    """Follows subscriptions. Every object is fetched afresh, so the order of events does not matter (S27)."""

    def __init__(
        self,
        api: StripeApi,
        database: Database,
        ledger: Ledger,
        catalogue: Catalogue,
        customers: Customers,
        clock: Clock,
    ) -> None:
        self._api = api
        self._database = database
        self._ledger = ledger
        self._catalogue = catalogue
        self._customers = customers
        self._clock = clock
        self._one_at_a_time = Locks()

    async def of_account(self, account_id: str) -> Subscription | None:
        """The account's live subscription, or the last one that was seen."""
        found = await self._all(account_id)
        return next((s for s in found if s.is_live), found[0] if found else None)

    async def invoice_paid(self, invoice_id: str) -> None:
        """Open the allowance of the period that an invoice paid for, once per invoice (S15)."""
        invoice = await self._api.invoice(invoice_id)
        subscription_id = _subscription_of(invoice)
        if invoice["status"] != "paid" or subscription_id is None:
            return
        account_id = await self._customers.account_of(invoice["customer"])
        if account_id is None:
            log.info("invoice_not_ours", invoice_id=invoice_id)
            return
        if invoice.get("billing_reason") in PERIOD_REASONS:
            for plan, (line, months) in (await self._paid_plans(invoice, subscription_id)).items():
                await self._open_allowance(account_id, invoice_id, plan, line, months)
        await self.sync(subscription_id)

    async def sync(self, subscription_id: str) -> None:
        """Bring the account's plan to what its subscription says now (S16)."""
        # One at a time, so that an older answer of Stripe never overwrites a newer one.
        async with self._one_at_a_time.of(subscription_id):
            asked_at = self._clock()
            fetched = await self._api.subscription(subscription_id)
            account_id = await self._customers.account_of(fetched["customer"])
            items = fetched["items"]["data"]
            prices = ((self._catalogue.sold_as(item["price"]["id"]), item) for item in items)
            sold = {price.plan.name: item for price, item in prices if price is not None}
            name = next(iter(sold), None) or await self._known_plan(subscription_id, fetched.get("metadata"))
            if account_id is None or name is None:
                log.info("subscription_not_ours", subscription_id=subscription_id)
                return
            item = sold.get(name, items[0])
            ends = item.get("current_period_end") or fetched.get("current_period_end")
            seen = Subscription(
                id=subscription_id,
                account_id=account_id,
                plan=name,
                status=fetched["status"],
                cancel_at_period_end=fetched["cancel_at_period_end"],
                period_end=None if ends is None else datetime.fromtimestamp(ends, UTC),
            )
            await self._keep(seen, asked_at)
            await self._set_plan(seen)

    async def _set_plan(self, seen: Subscription) -> None:
        """Put the account on the best plan that is paid for, else on the first one.

        A plan that no subscription ever carried was set by an operator and stays.
        """
        # Looked at again after each change: another subscription of the account may have been kept meanwhile.
        while True:
            account = await self._ledger.account(seen.account_id)
            live = {s.plan for s in await self._all(seen.account_id) if s.is_live}
            wanted = max(
                (plan for plan in self._catalogue.plans if plan.name in live),
                key=lambda plan: plan.allowance,
                default=self._catalogue.first_plan if account.plan == seen.plan else None,
            )
            if wanted is None or wanted.name == account.plan:
                return
            await self._ledger.submit(
                SetPlan(
                    account_id=account.id,
                    # The number of the last entry is part of the key: the same change may come again later.
                    key=f"subscription:{seen.id}:{wanted.name}:{account.seq}",
                    plan=wanted.name,
                    reason=f"Subscription {seen.status.replace('_', ' ')}",
                    reference=seen.id,
                )
            )
            log.info("plan_set", account_id=account.id, plan=wanted.name, subscription_id=seen.id)

    async def _open_allowance(
        self, account_id: str, invoice_id: str, plan: Plan, line: dict[str, Any], months: int
    ) -> None:
        start, end = line["period"]["start"], line["period"]["end"]
        await self._ledger.submit(
            RenewAllowance(
                account_id=account_id,
                key=f"invoice:{invoice_id}:{plan.name}",
                plan=plan.name,
                period=Period(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)),
                months=months,
                reason=f"{plan.title} invoice paid",
                reference=invoice_id,
            )
        )

    async def _paid_plans(
        self, invoice: dict[str, Any], subscription_id: str
    ) -> dict[Plan, tuple[dict[str, Any], int]]:
        """The plans that an invoice is for, each with the line of its latest period, and its months."""
        lines = sorted(filter(_is_for_a_period, invoice["lines"]["data"]), key=lambda line: line["period"]["end"])
        prices = ((self._catalogue.sold_as(_price_of(line)), line) for line in lines)
        paid = {price.plan: (line, price.months) for price, line in prices if price is not None}
        if not paid and lines:
            metadata = ((invoice.get("parent") or {}).get("subscription_details") or {}).get("metadata")
            known = self._catalogue.plan(await self._known_plan(subscription_id, metadata) or "")
            return {} if known is None else {known: (lines[-1], _months_of(lines[-1]))}
        return paid

    async def _known_plan(self, subscription_id: str, metadata: dict[str, str] | None) -> str | None:
        """The plan of a subscription whose price has left the catalogue, as when a plan became dearer.

        It was kept when the price was still there, or stands in the metadata that our checkout wrote.
        """
        query = select(subscriptions.c.plan).where(subscriptions.c.id == subscription_id)
        kept = await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())
        name = kept or (metadata or {}).get("plan", "")
        return name if self._catalogue.plan(name) else None

    async def _keep(self, seen: Subscription, asked_at: datetime) -> None:
        """Keep what Stripe answered to a question asked at `asked_at`, unless a later one was answered already."""
        dialect = postgresql if self._database.dialect == "postgresql" else sqlite
        values = {
            "account_id": seen.account_id,
            "plan": seen.plan,
            "status": seen.status,
            "cancel_at_period_end": seen.cancel_at_period_end,
            "period_end": seen.period_end,
            "updated_at": asked_at,
        }
        keeping = (
            dialect.insert(subscriptions)
            .values(id=seen.id, **values)
            .on_conflict_do_update(index_elements=["id"], set_=values, where=subscriptions.c.updated_at <= asked_at)
        )
        await self._database.write(lambda connection: connection.execute(keeping))

    async def _all(self, account_id: str) -> list[Subscription]:
        query = (
            select(subscriptions)
            .where(subscriptions.c.account_id == account_id)
            .order_by(subscriptions.c.updated_at.desc())
        )
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [Subscription(**{name: value for name, value in row.items() if name != "updated_at"}) for row in rows]


def _subscription_of(invoice: dict[str, Any]) -> str | None:
    """The subscription an invoice belongs to, in the current shape or the older one."""
    parent = invoice.get("parent") or {}
    details = parent.get("subscription_details") or {}
    found: str | None = details.get("subscription") or invoice.get("subscription")
    return found


def _is_for_a_period(line: dict[str, Any]) -> bool:
    """Whether an invoice line bills a subscription for a period, not a change within one; in both shapes."""
    details = (line.get("parent") or {}).get("subscription_item_details")
    if details is not None:
        return not details.get("proration")
    return line.get("type") == "subscription" and not line.get("proration")


def _months_of(line: dict[str, Any]) -> int:
    """How many months a line bills for: those of a price that has left the catalogue can only be counted."""
    days: int = (line["period"]["end"] - line["period"]["start"]) // 86_400
    return max(1, round(days / 30.4))


def _price_of(line: dict[str, Any]) -> str:
    price = ((line.get("pricing") or {}).get("price_details") or {}).get("price")
    return str(price or (line.get("price") or {}).get("id"))
