"""PLUS itself: what Stripe's subscriptions and invoices mean for an account's plan and allowance (S15, S16)."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from tallystick.billing.customers import Customers
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
        self._one_at_a_time: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

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
            for line in invoice["lines"]["data"]:
                plan = self._plan_of_line(line)
                if plan is not None:
                    await self._open_allowance(account_id, invoice_id, plan, line)
        await self.sync(subscription_id)

    async def sync(self, subscription_id: str) -> None:
        """Bring the account's plan to what its subscription says now (S16)."""
        # One at a time, so that an older answer of Stripe never overwrites a newer one.
        async with self._one_at_a_time[subscription_id]:
            fetched = await self._api.subscription(subscription_id)
            account_id = await self._customers.account_of(fetched["customer"])
            item = fetched["items"]["data"][0]
            plan = self._catalogue.plan_sold_as(item["price"]["id"])
            if account_id is None or plan is None:
                log.info("subscription_not_ours", subscription_id=subscription_id)
                return
            ends = item.get("current_period_end") or fetched.get("current_period_end")
            await self._keep(
                Subscription(
                    id=subscription_id,
                    account_id=account_id,
                    plan=plan.name,
                    status=fetched["status"],
                    cancel_at_period_end=fetched["cancel_at_period_end"],
                    period_end=None if ends is None else datetime.fromtimestamp(ends, UTC),
                )
            )
            await self._set_plan(account_id, plan, subscription_id, fetched["status"])

    async def _set_plan(self, account_id: str, plan: Plan, subscription_id: str, status: str) -> None:
        account = await self._ledger.account(account_id)
        live = [s for s in await self._all(account_id) if s.is_live]
        names = [s.plan for s in live]
        # The best of the plans that are paid for, else the first plan; a plan that no subscription ever
        # carried was set by an operator and stays.
        wanted = max(
            (p for p in self._catalogue.plans if p.name in names),
            key=lambda p: p.allowance,
            default=self._catalogue.first_plan if account.plan == plan.name else None,
        )
        if wanted is None or wanted.name == account.plan:
            return
        await self._ledger.submit(
            SetPlan(
                account_id=account_id,
                # The number of the last entry is part of the key: the same change may come again later.
                key=f"subscription:{subscription_id}:{wanted.name}:{account.seq}",
                plan=wanted.name,
                reason=f"Subscription {status.replace('_', ' ')}",
                reference=subscription_id,
            )
        )
        log.info("plan_set", account_id=account_id, plan=wanted.name, subscription_id=subscription_id)

    async def _open_allowance(self, account_id: str, invoice_id: str, plan: Plan, line: dict[str, Any]) -> None:
        start, end = line["period"]["start"], line["period"]["end"]
        await self._ledger.submit(
            RenewAllowance(
                account_id=account_id,
                key=f"invoice:{invoice_id}:{plan.name}",
                plan=plan.name,
                period=Period(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)),
                reason=f"{plan.title} invoice paid",
                reference=invoice_id,
            )
        )

    def _plan_of_line(self, line: dict[str, Any]) -> Plan | None:
        """The plan that an invoice line is for; the older shape of lines is understood too."""
        parent = line.get("parent") or {}
        details = parent.get("subscription_item_details") or {}
        if details.get("proration") or line.get("proration"):
            return None
        price = ((line.get("pricing") or {}).get("price_details") or {}).get("price")
        price = price or (line.get("price") or {}).get("id")
        return None if price is None else self._catalogue.plan_sold_as(price)

    async def _keep(self, seen: Subscription) -> None:
        dialect = postgresql if self._database.dialect == "postgresql" else sqlite
        values = {
            "account_id": seen.account_id,
            "plan": seen.plan,
            "status": seen.status,
            "cancel_at_period_end": seen.cancel_at_period_end,
            "period_end": seen.period_end,
            "updated_at": self._clock(),
        }
        async with self._database.write() as connection:
            await connection.execute(
                dialect.insert(subscriptions)
                .values(id=seen.id, **values)
                .on_conflict_do_update(index_elements=["id"], set_=values)
            )

    async def _all(self, account_id: str) -> list[Subscription]:
        query = (
            select(subscriptions)
            .where(subscriptions.c.account_id == account_id)
            .order_by(subscriptions.c.updated_at.desc())
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [Subscription(**{name: value for name, value in row.items() if name != "updated_at"}) for row in rows]


def _subscription_of(invoice: dict[str, Any]) -> str | None:
    """The subscription an invoice belongs to, in the current shape or the older one."""
    parent = invoice.get("parent") or {}
    details = parent.get("subscription_details") or {}
    found: str | None = details.get("subscription") or invoice.get("subscription")
    return found
