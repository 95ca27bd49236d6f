"""What a subscription and its invoices mean for an account's plan and allowance (S15 to S17). Pure.

The commands follow from what Stripe shows and from nothing else, each with a key of its own, always in the
same order. So it does not matter which event made us look, how often, or how late (S27).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from tallystick.billing.reading import Invoice, Line, Schedule
from tallystick.billing.resting import resting
from tallystick.billing.rests import Rest
from tallystick.billing.told import Told, instant, only_prolongs
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import RenewAllowance, SetPlan
from tallystick.domain.periods import Period

LIVE = frozenset({"active", "trialing", "past_due"})
"""Statuses in which a subscription carries its plan; past due keeps what is there (S16)."""

GOOD = frozenset({"active", "trialing"})
"""Statuses in which what was agreed counts, also where its invoice is still to be paid."""

PERIOD_REASONS = frozenset({"subscription_create", "subscription_cycle"})
"""Invoices that open the next period; others bill a change within one."""

UNPAID_FOR_GOOD = frozenset({"draft", "void", "uncollectible"})
"""Statuses of an invoice that nobody is to pay, or not yet."""

DAYS_OF_A_MONTH = 30.4


@dataclass(frozen=True, slots=True)
class Prices:
    """Which plan a price of Stripe is, also when it has left the catalogue, as when a plan became dearer.

    `kept` is what we wrote down of prices while they were in the catalogue.
    """

    catalogue: Catalogue
    kept: Mapping[str, str] = field(default_factory=dict)

    def plan_of(self, price: str | None) -> Plan | None:
        """The plan of a price, or None when nobody knows it."""
        sold = self.catalogue.sold_as(price or "")
        return sold.plan if sold is not None else self.catalogue.plan(self.kept.get(price or "", ""))

    def plan_named(self, metadata: Mapping[str, str]) -> Plan | None:
        """The plan that our checkout wrote into a subscription's metadata."""
        return self.catalogue.plan(metadata.get("plan", ""))

    def months_of(self, line: Line) -> int:
        """How many months a full line bills for. Of a price that has left the catalogue they can only be counted."""
        sold = self.catalogue.sold_as(line.price or "")
        if sold is not None:
            return sold.months
        return max(1, round((line.end - line.start) / 86_400 / DAYS_OF_A_MONTH))


@dataclass(frozen=True, slots=True)
class Change:
    """What a subscription is to become and from when: a plan, or another interval of the same one, at a price."""

    at: int
    plan: Plan
    price: str


@dataclass(frozen=True, slots=True)
class _Billed:
    """A line, the plan it is for, and for how many months its price is billed at a time."""

    line: Line
    plan: Plan
    months: int


@dataclass(frozen=True, slots=True)
class Story:
    """All that a subscription does to its account, in the order in which it happened; `counting` is what matters still."""

    told: tuple[Told, ...]
    counting: tuple[Told, ...]

    @property
    def plans(self) -> tuple[tuple[datetime, str], ...]:
        """The plans that it carried, by name, each with the instant from which."""
        # What only prolongs leaves the allowance that is running as it is, and so the plan that it is of.
        return tuple((t.happened, t.command.plan) for t in self.told if not only_prolongs(t.command))


def tell(
    account_id: str,
    status: str,
    invoices: Iterable[Invoice],
    waiting: Iterable[Line],
    prices: Prices,
    now: datetime,
    ended: int | None = None,
    rests: Iterable[Rest] = (),
    carried: Plan | None = None,
) -> Story:
    """What a subscription does to its account.

    An invoice counts once it is paid. Until then a change that it bills counts only while the subscription
    is in good standing, as do invoice items that wait for their invoice (S16). What is over adds nothing; once
    the subscription has `ended`, everything is over with the month in which that was. A month that would have
    begun while it rested begins as the first plan's. A change to the plan that is `carried` counts also where nobody
    is to pay its invoice, as while the collection of invoices is paused.
    """
    invoices = tuple(invoices)
    told: list[Told] = []
    for invoice in invoices:
        if invoice.status == "paid":
            told += _openings(account_id, invoice, prices)
        if invoice.status == "paid" or (invoice.status == "open" and status in GOOD):
            told += _changes(account_id, invoice, prices)
    told += [change for line in waiting if (change := _proration(account_id, line, prices)) is not None]
    told.sort(key=_place)
    told = _with_what_nobody_pays(told, account_id, invoices, prices, carried)
    told = _without_repetition(_one_after_the_other(told))
    counting = told
    ended_at = None if ended is None else instant(ended)
    until = now if ended_at is None else min(now, ended_at)
    for rest in rests:
        if rest.began < until:
            counting = resting(counting, rest, until, prices.catalogue.first_plan)
    if ended_at is not None:
        counting = _until_the_end(counting, ended_at)
    return Story(tuple(told), tuple(t for t in counting if instant(t.until) > now))


def carried_plan(
    status: str,
    prices_of_items: Iterable[str],
    metadata: Mapping[str, str],
    invoices: Iterable[Invoice],
    prices: Prices,
) -> Plan | None:
    """The plan that a subscription carries. While it is past due that is the one from before what is not paid (S16)."""
    plan = _greatest(prices.plan_of(id) for id in prices_of_items) or prices.plan_named(metadata)
    owed = next((invoice for invoice in invoices if invoice.status == "open"), None)
    if status != "past_due" or owed is None:
        return plan
    before = [line for line in owed.lines if line.proration and line.amount < 0] or owed.full_lines
    return _greatest(prices.plan_of(line.price) for line in before) or plan


def next_change(schedule: Schedule, plan: Plan, price: str | None, prices: Prices) -> Change | None:
    """The first phase of a schedule that makes something else of a subscription to `plan` at `price` (S17)."""
    for phase in schedule.phases:
        sold = [(its, id) for id in phase.prices if (its := prices.plan_of(id)) is not None]
        becomes, at = max(sold, key=lambda each: each[0].allowance, default=(None, ""))
        if becomes is not None and (becomes != plan or price not in (None, at)):
            return Change(phase.start, becomes, at)
    return None


def plans_billed(invoices: Iterable[Invoice], prices: Prices) -> set[str]:
    """The names of all plans that these invoices bill for."""
    return {billed.plan.name for invoice in invoices for billed in _billed(invoice, prices)}


def _place(told: Told) -> tuple[int, bool]:
    # Of what happened at one instant the opening comes first: a change then finds what it changes.
    return told.at, isinstance(told.command, SetPlan)


def _with_what_nobody_pays(
    told: list[Told], account_id: str, invoices: Iterable[Invoice], prices: Prices, carried: Plan | None
) -> list[Told]:
    """The same, with the change to the plan that is carried, where nothing else has led to that."""
    last = next((each.command.plan for each in reversed(told) if not only_prolongs(each.command)), None)
    if carried is None or last in (None, carried.name):
        return told
    closed = (invoice for invoice in invoices if invoice.status in UNPAID_FOR_GOOD)
    changes = [change for invoice in closed for change in _changes(account_id, invoice, prices)]
    newest = max((each for each in changes if each.command.plan == carried.name), key=_place, default=None)
    return told if newest is None else sorted([*told, newest], key=_place)


def _until_the_end(told: list[Told], ended: datetime) -> list[Told]:
    """The same of a subscription that has ended: of what was paid for, only the month is left in which that was (S16)."""
    cut: list[Told] = []
    for each in told:
        command, until = each.command, each.until
        if isinstance(command, RenewAllowance) and ended in command.period and ended < instant(until):
            command = replace(command, period=command.month_at(ended), months=1)
            until = int(command.period.end.timestamp())
        cut.append(replace(each, until=until, command=command))
    last = max((each.until for each in cut if isinstance(each.command, RenewAllowance)), default=None)
    return [each if last is None else replace(each, until=min(each.until, last)) for each in cut]


def _one_after_the_other(told: list[Told]) -> list[Told]:
    """The same, where what a change has paid for says until when the month goes on that ran then (S17).

    What was paid for before that matters no longer than until then, whatever was left of it.
    """
    following: list[Told] = []
    last: tuple[int, RenewAllowance] | None = None
    for n, each in enumerate(told):
        command = each.command
        if isinstance(command, RenewAllowance):
            if last is not None:
                place, before = last
                if command.prolongs:
                    command = replace(command, follows=_month_end(before, command.period.start))
                takes_over = int((command.follows or command.period.start).timestamp())
                following[place] = replace(following[place], until=min(following[place].until, takes_over))
            last = n, command
        following.append(replace(each, command=command))
    return following


def _month_end(paid: RenewAllowance, at: datetime) -> datetime | None:
    """When the month ends that runs at an instant because of a payment; None where none does."""
    if paid.follows is not None and at < paid.follows:
        return paid.follows
    return paid.month_at(at).end if at in paid.period else None


def _openings(account_id: str, invoice: Invoice, prices: Prices) -> list[Told]:
    """The allowance that a paid invoice opens, or the time that it adds to the one that is running."""
    lines = _billed(invoice, prices)
    paid = [billed for billed in lines if billed.line.full]
    prolongs = invoice.reason not in PERIOD_REASONS
    if prolongs:
        paid += _for_another_interval(lines)
    if not paid:
        return []
    best = max(paid, key=lambda billed: (billed.plan.allowance, billed.line.end))
    renew = RenewAllowance(
        account_id=account_id,
        key=f"invoice:{invoice.id}:{best.plan.name}",
        plan=best.plan.name,
        period=Period(instant(best.line.start), instant(best.line.end)),
        months=best.months,
        prolongs=prolongs,
        reason=f"{best.plan.title} invoice paid",
        reference=invoice.id,
    )
    return [Told(best.line.start, best.line.end, renew, paid_at=invoice.paid_at)]


def _for_another_interval(lines: list[_Billed]) -> list[_Billed]:
    """Prorations that pay for months in place of a year, or the other way round.

    Where the billing date stays, Stripe bills such a change as a part of the new interval.
    """
    before = {billed.months for billed in lines if billed.line.proration and billed.line.amount < 0}
    return [b for b in lines if b.line.proration and b.line.amount > 0 and before and b.months not in before]


def _changes(account_id: str, invoice: Invoice, prices: Prices) -> list[Told]:
    """The changes of plan that an invoice bills for, each from the instant from which Stripe bills it (S17)."""
    found = [_proration(account_id, line, prices) for line in invoice.lines]
    if invoice.reason not in PERIOD_REASONS:
        key = f"change:{invoice.id}"
        found += [_change(account_id, b.line, b.plan, key) for b in _billed(invoice, prices) if b.line.full]
    return [told for told in found if told is not None]


def _proration(account_id: str, line: Line, prices: Prices) -> Told | None:
    plan = prices.plan_of(line.price)
    if plan is None or not line.proration or line.amount <= 0:
        return None
    return _change(account_id, line, plan, f"proration:{line.id}")


def _change(account_id: str, line: Line, plan: Plan, key: str) -> Told:
    # The same whether its invoice has been made yet or not: only then is it the same request (S7).
    change = SetPlan(
        account_id=account_id,
        key=key,
        plan=plan.name,
        since=instant(line.start),
        reason=f"Changed to {plan.title}",
        reference=line.id,
    )
    return Told(line.start, line.end, change)


def _billed(invoice: Invoice, prices: Prices) -> list[_Billed]:
    """The lines that are for plans. Where no price is known at all, it was our checkout that said which plan it is."""
    lines = [line for line in invoice.lines if line.end > line.start]
    found = [(line, prices.plan_of(line.price)) for line in lines]
    if not any(plan is not None and line.full for line, plan in found):
        found = [(line, plan or (prices.plan_named(invoice.metadata) if line.full else None)) for line, plan in found]
    return [_Billed(line, plan, prices.months_of(line)) for line, plan in found if plan is not None]


def _without_repetition(told: list[Told]) -> list[Told]:
    """Leaves out changes to the plan that is carried already, as when only the interval was changed."""
    kept, plan = [], None
    for each in told:
        if isinstance(each.command, SetPlan) and each.command.plan == plan:
            continue
        kept.append(each)
        if not only_prolongs(each.command):
            plan = each.command.plan
    return kept


def _greatest(plans: Iterable[Plan | None]) -> Plan | None:
    return max((plan for plan in plans if plan is not None), key=lambda plan: plan.allowance, default=None)
