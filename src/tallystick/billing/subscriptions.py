"""Subscriptions at Stripe and the accounts they carry: plan and allowance follow them (S15 to S17).

Whatever woke it, `sync` looks at one subscription afresh and brings its account to where that is (S27). What
it means is told by `story`, what was seen of it last is in `subscription_table`.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from tallystick.billing.account_leases import AccountLeases
from tallystick.billing.customers import Customers
from tallystick.billing.expectation import month_end
from tallystick.billing.locks import SharedLooks
from tallystick.billing.looks import Look, Looks
from tallystick.billing.mistaken_rests import began_as_the_first_plans, done_anew
from tallystick.billing.reading import subscription_of
from tallystick.billing.rests import RESTING, Turn, rests_of, turn_told
from tallystick.billing.since import carried_since, has_paid_at, left_since
from tallystick.billing.story import Story
from tallystick.billing.stripe_answers import or_none
from tallystick.billing.stripe_api import StripeApi
from tallystick.billing.subscription_table import ENDED, LONG_AGO, LOST, Subscription, SubscriptionTable
from tallystick.billing.timeline import Run, in_order
from tallystick.billing.told import Command, counts_since
from tallystick.clock import Clock
from tallystick.domain.account import Account, Entry, EntryKind
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import RenewAllowance, SetPlan
from tallystick.ledger import Ledger

PAGE = 50
"""How many changes of plan are read at once."""

LONGEST_MONTH = timedelta(days=31)
"""For how long at most what a subscription was paid for goes on after its end (S16)."""

log = structlog.get_logger(__name__)


class Subscriptions:
    """Follows subscriptions."""

    def __init__(
        self,
        api: StripeApi,
        table: SubscriptionTable,
        ledger: Ledger,
        catalogue: Catalogue,
        customers: Customers,
        leases: AccountLeases,
        clock: Clock,
    ) -> None:
        self._api = api
        self._looks = Looks(api, table, catalogue, customers, clock)
        self._table = table
        self._ledger = ledger
        self._catalogue = catalogue
        self._customers = customers
        self._leases = leases
        self._clock = clock
        self._shared = SharedLooks()

    async def of_account(self, account_id: str) -> Subscription | None:
        """The subscription that carries the account, or the last one that has ended."""
        found = await self._table.of_account(account_id)
        return found[0] if found else None

    # Each of these answers whose account it is, None when it is no business of ours.

    async def invoice_changed(self, invoice_id: str, subscription_id: str | None = None) -> str | None:
        """An invoice was paid, or could not be: look at its subscription, if it has one; Stripe says which if need be."""
        if subscription_id is None:
            subscription_id = subscription_of(await self._api.invoice(invoice_id))
        return None if subscription_id is None else await self.sync(subscription_id, invoice_id)

    async def changed(self, subscription_id: str, event: dict[str, Any]) -> str | None:
        """An event tells that a subscription was changed: note since when it rests, or goes on, and look at it."""
        turn = turn_told(event)
        if turn is not None:
            await self._table.note(subscription_id, turn)
        return await self.sync(subscription_id)

    async def schedule_changed(self, schedule_id: str) -> str | None:
        """What is planned for a subscription changed: look at the one that the schedule has, or has let go."""
        schedule = await self._api.schedule(schedule_id)
        subscription_id = schedule and (schedule["subscription"] or schedule["released_subscription"])
        return await self.sync(subscription_id) if subscription_id else None

    async def customer_gone(self, stripe_customer_id: str) -> str | None:
        """A customer was deleted at Stripe, and every subscription with it. The account's next checkout makes a new one."""
        await self._customers.forget(stripe_customer_id)
        for subscription in await self._table.of_customer(stripe_customer_id):
            await self.sync(subscription.id)
        return await self._customers.kept(stripe_customer_id)

    async def customer_changed(self, stripe_customer_id: str) -> str | None:
        """A customer was changed at Stripe: it may have become one of ours, and its subscriptions with it."""
        known = await self._customers.kept(stripe_customer_id)
        if known is not None:
            return known
        account_id = await self._customers.account_of(stripe_customer_id)
        if account_id is not None:
            for subscription in await self._api.subscriptions_of(stripe_customer_id):
                await self.sync(subscription["id"])
        return account_id

    async def sync(self, subscription_id: str, invoice_id: str | None = None) -> str | None:
        """Bring the account to what its subscription and its invoices at Stripe say now.

        That invoice is looked at even if it is not among the newest.
        """
        # Stripe tells of one renewal in several events; those that come together need one look.
        then: list[str] = []
        await self._shared.at(
            subscription_id, lambda: self._sync(subscription_id, invoice_id, then), covering=invoice_id
        )
        for other in then:
            await self.sync(other)
        kept = await self._table.get(subscription_id)
        return None if kept is None else kept.account_id

    async def _sync(self, subscription_id: str, invoice_id: str | None, then: list[str]) -> frozenset[str]:
        """The same. Returns the ids of the invoices that were looked at, and adds to `then` what is to be synced next."""
        account_id = await self._account_of(subscription_id)
        while account_id is not None:
            async with self._leases.of(account_id) as lease:
                await self._note_that_it_is_back(subscription_id)
                look = await self._looks.at(subscription_id, invoice_id)
                if look is None:
                    break
                if await lease.goes_on():
                    await self._follow(look, then)
                    return look.invoices
        log.info("subscription_not_ours", subscription_id=subscription_id)
        return frozenset()

    async def _account_of(self, subscription_id: str) -> str | None:
        """Whose subscription it is; None when it is no business of ours."""
        kept = await self._table.get(subscription_id)
        if kept is not None:
            return kept.account_id
        return await self._customers.account_of((await self._api.subscription(subscription_id))["customer"])

    async def _follow(self, look: Look, then: list[str]) -> None:
        """Bring the account to where a look has found its subscription."""
        seen = look.seen
        await self._table.keep(seen)
        carrier = await self.of_account(seen.account_id)
        other = carrier if carrier is not None and carrier.is_live and carrier.id != seen.id else None
        if other is None:
            await self._apply(await self._counting(look), seen.account_id)
        elif seen.is_live:
            log.warning("second_subscription", account_id=seen.account_id, subscription_id=seen.id)
        await self._set_plan(look)
        if other is not None and not seen.is_live:
            # What the other one paid for may have waited for this one to end.
            then.append(other.id)

    async def end_if_lost(self, kept: Subscription) -> dict[str, Any] | None:
        """A subscription that we keep, as Stripe has it. Where Stripe has it no more it ends as from now (S16): then None.

        For people alone: an event may come from wherever Stripe, or our key, shows less than there is (S27). Killed in
        the middle, it is gone on with by the same call.
        """
        async with self._leases.of(kept.account_id):
            found = await self._found_or_lost(kept)
        if found is not None:
            return found
        other = await self.of_account(kept.account_id)
        if other is not None and other.is_live:
            # What it paid for may have waited for this one to end.
            await or_none(self.sync(other.id))
        return None

    async def _found_or_lost(self, kept: Subscription) -> dict[str, Any] | None:
        if kept.status != LOST:
            found = await or_none(self._api.subscription(kept.id))
            if found is not None:
                return found
            now = self._clock()
            kept = replace(kept, status=LOST, ends_at=now, changes_at=None, next_plan=None, next_price=None)
            # Should it come back, it has rested in between.
            await self._table.note(kept.id, Turn(now, rests=True))
            await self._table.keep(kept)
            log.warning("subscription_lost", account_id=kept.account_id, subscription_id=kept.id)
        elif await self._plan_set_since_its_end(kept):
            return None
        await self._set_plan(Look(kept, Story((), ()), (), True, False, frozenset({kept.plan}), frozenset()))
        return None

    async def _note_that_it_is_back(self, subscription_id: str) -> None:
        """A subscription that was lost and is at Stripe after all goes on from now, as one that has rested does."""
        kept = await self._table.get(subscription_id)
        if kept is not None and kept.status == LOST:
            await self._api.subscription(subscription_id)
            await self._table.note(subscription_id, Turn(self._clock(), rests=False))

    async def _plan_set_since_its_end(self, lost: Subscription) -> bool:
        latest = await self._ledger.entries(lost.account_id, kind=EntryKind.PLAN_SET, limit=1)
        return bool(latest) and lost.ends_at is not None and latest[0].recorded_at >= lost.ends_at

    async def standing(self, subscription_id: str, invoice_id: str | None = None) -> "Standing | None":
        """How an account stands to what its subscription at Stripe says now. Changes nothing; None when not ours.

        That invoice is looked at even if it is not among the newest.
        """
        look = await self._looks.at(subscription_id, invoice_id)
        if look is None:
            return None
        account = await self._ledger.account(look.seen.account_id)
        carrier = await self.of_account(account.id)
        carried = carrier is None or not carrier.is_live or carrier.id == subscription_id
        counting = await self._counting(look) if carried else ()
        now = self._clock()
        told = [command for command in counting if not _is_so(account, command, now)][-1:]
        missing = [c.key for c in told if await self._ledger.entry_by_key(account.id, c.key) is None]
        if look.seen.is_live:
            wanted = look.seen.plan if carried else account.plan
        else:
            leaves = carried and account.plan in look.plans
            wanted = self._catalogue.first_plan.name if leaves else account.plan
        return Standing(
            subscription_id=subscription_id,
            account_id=account.id,
            is_known=await self._table.get(subscription_id) == look.seen,
            missing=missing[0] if missing else None,
            plan=account.plan,
            wanted=wanted,
            month_ends=account.resets_at(now),
            should_end=month_end(account.id, counting, now, self._catalogue),
            invoices=look.invoices,
        )

    async def _counting(self, look: Look) -> tuple[Command, ...]:
        """What a subscription that no other one stands before does, with what others did that ended lately (S27)."""
        recent = self._clock() - LONGEST_MONTH
        looks = [look]
        for other in await self._table.of_account(look.seen.account_id):
            over = other.status in ENDED and other.ends_at is not None and other.ends_at > recent
            rests = other.status in RESTING and await self._rests_since(other.id, recent)
            if (over or rests) and other.id != look.seen.id:
                # One that Stripe does not have any more tells nothing of itself.
                found = await or_none(self._looks.at(other.id))
                looks += [] if found is None else [found]
        told = in_order(self._run(each) for each in looks if each.was_paid or each.story.counting)
        if not any(isinstance(command, RenewAllowance) for command in told):
            # What is changed while nothing is paid for is told by the plan that is carried now.
            return ()
        account, first, now = (
            await self._ledger.account(look.seen.account_id),
            self._catalogue.first_plan,
            self._clock(),
        )
        if not any(each.ever_rested for each in looks) and not began_as_the_first_plans(account, first, now):
            return told
        done = await self._changes_of_plan(account)
        return done_anew(told, account, done, first, now, carried=look.seen.is_live)

    async def _changes_of_plan(self, account: Account) -> list[Entry]:
        """The changes of an account's plan since its running month was opened, and maybe earlier ones, newest first."""
        found: list[Entry] = []
        opened_by = 0 if account.allowance is None else account.allowance.opened_by
        before = None
        while True:
            page = await self._ledger.entries(account.id, kind=EntryKind.PLAN_SET, before=before, limit=PAGE)
            found += page
            if len(page) < PAGE or page[-1].seq <= opened_by:
                return found
            before = page[-1].seq

    async def _rests_since(self, subscription_id: str, since: datetime) -> bool:
        """Whether a subscription has begun to rest since then, and rests still, as far as we have heard."""
        rests = rests_of(await self._table.turns(subscription_id), rests_now=True)
        return bool(rests) and rests[-1].ended is None and rests[-1].began > since

    def _run(self, look: Look) -> Run:
        seen = look.seen
        began = seen.started_at or LONG_AGO
        return Run(
            id=seen.id,
            began=began,
            ended=seen.ends_at if seen.status in ENDED else None,
            allowances=tuple(
                (at, plan.allowance)
                for at, name in look.story.plans or ((began, seen.plan),)
                if (plan := self._catalogue.plan(name)) is not None
            ),
            told=look.story.counting,
            rests=look.rests,
        )

    async def _apply(self, told: tuple[Command, ...], account_id: str) -> None:
        """Submit what has happened since the last of it that the ledger knows, or since a rest that is heard only now.

        What follows a rest is told again with it. A rest is written down also where it leaves the account as it is: by
        its key, another process that has just found the same knows that what follows it is done.
        """
        start, unheard = 0, list[Command]()
        for n, command in enumerate(told):
            if await self._ledger.entry_by_key(account_id, command.key) is not None:
                start = n + 1
            elif isinstance(command, SetPlan):
                if command.rests:
                    break
            else:
                unheard.append(command)
        # Of what happened at one instant payments are told first, also one that came last.
        last = counts_since(told[start - 1]) if start else None
        of_that_instant = [each for each in unheard if each in told[:start] and counts_since(each) == last]
        for command in (*of_that_instant, *told[start:]):
            await self._ledger.submit(command)

    async def _set_plan(self, look: Look) -> None:
        """Put the account on the plan of the subscription that carries it, else on the first one.

        Any plan but those that this subscription ever carried was set by an operator and stays.
        """
        seen = look.seen
        account = await self._ledger.account(seen.account_id)
        all_of_them = await self._table.of_account(seen.account_id)
        carrier = all_of_them[0] if all_of_them and all_of_them[0].is_live else None
        if carrier is not None:
            wanted = self._catalogue.plan(carrier.plan)
        else:
            wanted = self._catalogue.first_plan if account.plan in look.plans else None
        if wanted is None or wanted.name == account.plan:
            return
        if carrier is not None:
            story = look.story if carrier.id == seen.id else None
            since = carried_since(account, carrier, story, self._clock())
        else:
            # One that was lost may come back, and a year that it has paid for goes on then.
            goes_on = seen.status == LOST or await self._may_go_on(all_of_them, look)
            since = None if goes_on else left_since(account, look, all_of_them)
        await self._ledger.submit(
            SetPlan(
                account_id=account.id,
                # The number of the last entry is part of the key: the same change may come again later.
                key=f"subscription:{seen.id}:{wanted.name}:{account.seq}",
                plan=wanted.name,
                reason=f"Subscription {seen.status.replace('_', ' ')}",
                reference=seen.id,
                since=since,
            )
        )
        log.info("plan_set", account_id=account.id, plan=wanted.name, subscription_id=seen.id)

    async def _may_go_on(self, subscriptions: list[Subscription], look: Look) -> bool:
        """Whether one of an account's subscriptions rests and has paid for the time that is now, which goes on with it."""
        for each in subscriptions:
            if each.status in RESTING:
                found = look if each.id == look.seen.id else await or_none(self._looks.at(each.id))
                if found is not None and has_paid_at(self._clock(), found.story.counting):
                    return True
        return False


@dataclass(frozen=True, slots=True)
class Standing:
    """How an account stands to its subscription: what we know of it, what the ledger lacks of it, and the plan.

    `missing` is the key of the last thing that should be in the ledger and is not; `wanted` is the plan that
    the account should be on, `plan` the one it is on. Of a month that was paid for, `should_end` says when its allowance
    should lapse, `month_ends` when the running one does. `invoices` are those that were looked at for that.
    """

    subscription_id: str
    account_id: str
    is_known: bool
    missing: str | None
    plan: str
    wanted: str
    month_ends: datetime | None
    should_end: datetime | None
    invoices: frozenset[str]


def _is_so(account: Account, command: Command, now: datetime) -> bool:
    """Whether an account is as a rest leaves it, because that was heard in time: then nothing is missing."""
    if not isinstance(command, SetPlan) or not command.rests or account.plan != command.plan:
        return False
    current, since = account.allowance, command.since or now
    opened_since = current is not None and now in current.period and current.period.start > since
    return current is None or current.plan == command.plan or not opened_since
