"""Looks at subscriptions at Stripe: what is there, and what follows from it for their accounts. Changes nothing."""

from dataclasses import dataclass
from typing import Any

from tallystick.billing.customers import Customers
from tallystick.billing.reading import (
    Invoice,
    Line,
    Schedule,
    read_invoice,
    read_schedule,
    read_waiting,
    subscription_of,
)
from tallystick.billing.rests import RESTING, Rest, gone_on_by, rests_of
from tallystick.billing.seen import seen_at_stripe
from tallystick.billing.story import GOOD, LIVE, Prices, Story, carried_plan, next_change, plans_billed, tell
from tallystick.billing.stripe_api import StripeApi
from tallystick.billing.subscription_table import ENDED, Subscription, SubscriptionTable
from tallystick.billing.told import instant
from tallystick.clock import Clock
from tallystick.domain.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at Stripe has shown: the subscription, what follows from it, and the plans it ever carried."""

    seen: Subscription
    story: Story
    rests: tuple[Rest, ...]
    ever_rested: bool
    was_paid: bool
    plans: frozenset[str]
    invoices: frozenset[str]


class Looks:
    """Looks at one subscription after the other."""

    def __init__(
        self, api: StripeApi, table: SubscriptionTable, catalogue: Catalogue, customers: Customers, clock: Clock
    ) -> None:
        self._api = api
        self._table = table
        self._catalogue = catalogue
        self._customers = customers
        self._clock = clock

    async def at(self, subscription_id: str, invoice_id: str | None = None) -> Look | None:
        """Ask Stripe what there is to know of a subscription; None when it is no business of ours.

        That invoice is looked at even if it is not among the newest.
        """
        fetched = await self._api.subscription(subscription_id)
        kept = await self._table.get(subscription_id)
        account_id = kept.account_id if kept is not None else await self._customers.account_of(fetched["customer"])
        if account_id is None:
            return None
        known = {kept.stripe_price: kept.plan} if kept is not None and kept.stripe_price else {}
        prices = Prices(self._catalogue, known)
        invoices = await self._invoices(subscription_id, invoice_id)
        items = {item["price"]["id"]: item for item in fetched["items"]["data"]}
        plan = carried_plan(fetched["status"], items, fetched.get("metadata") or {}, invoices, prices)
        if plan is None:
            return None
        sold = {price: its for price in items if (its := prices.plan_of(price)) is not None}
        price = next((price for price, its in sold.items() if its == plan), None)
        item = items.get(price or "", fetched["items"]["data"][0])
        planned = await self._planned(fetched)
        change = None if planned is None else next_change(planned, plan, price, prices)
        status, ended = fetched["status"], fetched.get("ended_at")
        turns = await self._table.turns(subscription_id)
        rests = rests_of(turns, rests_now=None if status in ENDED else status in RESTING)
        if status not in RESTING:
            paid = (at for each in invoices if (at := each.paid_at) is not None and (ended is None or at <= ended))
            rests = gone_on_by(rests, map(instant, paid))
        if status in LIVE:
            # It has gone on. Where that was not paid for, the event that tells it says since when; until then that rest
            # is as good as unheard.
            rests = tuple(rest for rest in rests if rest.ended is not None)
        now = self._clock()
        billed = tell(account_id, status, invoices, (), prices, now, ended, rests).plans
        # What waits for the next invoice may say since when the plan is another one than was billed (S17).
        changed = status in GOOD and bool(billed) and billed[-1][1] != plan.name
        waiting = await self._waiting(fetched) if changed else []
        story = tell(account_id, status, invoices, waiting, prices, now, ended, rests, plan)
        return Look(
            seen=seen_at_stripe(fetched, item, account_id, plan, price, planned, change),
            story=story,
            rests=rests,
            ever_rested=bool(turns),
            was_paid=any(each.status == "paid" for each in invoices),
            plans=frozenset(
                {plan.name, *(its.name for its in sold.values()), *plans_billed(invoices, prices)}
                | ({kept.plan} if kept is not None else set())
            ),
            invoices=frozenset(invoice.id for invoice in invoices),
        )

    async def _waiting(self, fetched: dict[str, Any]) -> list[Line]:
        items = await self._api.waiting_items_of(fetched["customer"])
        return [read_waiting(item) for item in items if subscription_of(item) == fetched["id"]]

    async def _planned(self, fetched: dict[str, Any]) -> Schedule | None:
        """What the schedule of a subscription plans, if it has one."""
        schedule = await self._api.schedule(fetched["schedule"]) if fetched.get("schedule") else None
        return None if schedule is None else read_schedule(schedule)

    async def _invoices(self, subscription_id: str, also: str | None) -> list[Invoice]:
        """The newest invoices of a subscription and the one in question, in the order in which they were made."""
        found = {invoice["id"]: invoice for invoice in await self._api.invoices_of(subscription_id)}
        if also is not None and also not in found:
            found[also] = await self._api.invoice(also)
        # What was made within one second stays in Stripe's own order, which is newest first.
        return sorted(map(read_invoice, reversed(found.values())), key=lambda invoice: invoice.created)
