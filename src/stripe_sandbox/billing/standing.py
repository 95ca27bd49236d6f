"""How a subscription stands: its status, what happens to it next, and what its invoices' ends mean for it.

Makes no invoice and moves no money.
"""

from typing import Any

from stripe_sandbox.billing import settings
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

DAY = 86_400
INCOMPLETE_SECONDS = 23 * 3600
"""How long a first payment may take before the subscription expires."""

TRIAL_WARNING_SECONDS = 3 * DAY
LIVE = frozenset({"trialing", "active", "past_due", "unpaid"})
"""Statuses in which a subscription is billed."""

ENDED = frozenset({"canceled", "incomplete_expired"})


def next_due(sandbox: Sandbox, subscription: Object) -> int | None:
    """The next instant at which something happens to a subscription by itself."""
    status = subscription["status"]
    if status in ENDED:
        return None
    if status == "incomplete":
        return int(subscription["created"]) + INCOMPLETE_SECONDS
    times = [subscription["cancel_at"], pending_until(subscription)]
    if status in LIVE:
        ends = period_end(subscription)
        times += [ends, upcoming_at(sandbox, subscription), trial_warning_at(subscription)]
        times += [(subscription["pause_collection"] or {}).get("resumes_at")]
    return min((time for time in times if time is not None), default=None)


def period_end(subscription: Object) -> int:
    """When the first of its items' periods ends."""
    return min(int(item["current_period_end"]) for item in subscription["items"]["data"])


def upcoming_at(sandbox: Sandbox, subscription: Object) -> int | None:
    """When to announce the next renewal; None when that is done, or there will be none."""
    ends = period_end(subscription)
    days = settings.read(sandbox).upcoming_days
    starts = min(item["current_period_start"] for item in subscription["items"]["data"])
    at = ends - days * DAY
    ending = subscription["cancel_at"] is not None and subscription["cancel_at"] <= ends
    if not days or at <= starts or ending or subscription.get("_announced") == ends:
        return None
    return at


def trial_warning_at(subscription: Object) -> int | None:
    """When to warn that a trial will end; None when that is done, or there is none."""
    trial_end = subscription["trial_end"]
    if subscription["status"] != "trialing" or subscription.get("_warned") == trial_end:
        return None
    return int(trial_end) - TRIAL_WARNING_SECONDS


def pending_until(subscription: Object) -> int | None:
    """When an update that waits for its payment is given up; None when there is none."""
    pending = subscription["pending_update"]
    return None if pending is None else int(pending["expires_at"])


def keep(sandbox: Sandbox, subscription: Object) -> Object:
    """Keep a subscription, and put down what happens to it next."""
    subscription = {**subscription, "_due": next_due(sandbox, subscription)}
    sandbox.store.put(subscription)
    return subscription


def changed(sandbox: Sandbox, subscription: Object, **changes: Any) -> Object:
    """Change a subscription and tell of it."""
    due = next_due(sandbox, {**subscription, **changes})
    return sandbox.changed("customer.subscription.updated", subscription, **changes, _due=due)


def end(sandbox: Sandbox, subscription: Object, reason: str | None, details: Object | None = None) -> Object:
    """A subscription is over, for `reason`; `details` are the customer's own words."""
    now = sandbox.now()
    ended = keep(
        sandbox,
        {
            **subscription,
            "status": "canceled",
            "canceled_at": subscription["canceled_at"] or now,
            "ended_at": now,
            "pending_update": None,
            "cancellation_details": {
                **subscription["cancellation_details"],
                **(details or {}),
                "reason": reason,
            },
        },
    )
    sandbox.emit("customer.subscription.deleted", ended)
    _end_schedule(sandbox, ended)
    for invoice in _invoices(sandbox, ended, ("draft", "open")):
        sandbox.changed("invoice.updated", invoice, auto_advance=False, next_payment_attempt=None, _due=None)
    return ended


def expire(sandbox: Sandbox, subscription: Object) -> Object:
    """The first payment did not come in time."""
    return changed(sandbox, subscription, status="incomplete_expired", ended_at=sandbox.now())


def pause(sandbox: Sandbox, subscription: Object, **changes: Any) -> Object:
    """Stop billing until somebody resumes it."""
    paused = changed(sandbox, subscription, status="paused", **changes)
    sandbox.emit("customer.subscription.paused", paused)
    return paused


def of_invoice(sandbox: Sandbox, invoice: Object) -> Object | None:
    """The subscription that an invoice belongs to."""
    parent = invoice["parent"]
    return parent and sandbox.store.get(parent["subscription_details"]["subscription"], "subscription")


def invoice_paid(sandbox: Sandbox, invoice: Object) -> None:
    """What a paid invoice means for its subscription."""
    subscription = of_invoice(sandbox, invoice)
    if subscription is None:
        return
    status = subscription["status"]
    pending = subscription.get("_pending")
    if pending is not None and pending["invoice"] == invoice["id"]:
        applied = changed(sandbox, subscription, **pending["changes"], pending_update=None, _pending=None)
        sandbox.emit("customer.subscription.pending_update_applied", applied)
    elif status == "incomplete":
        trialing = subscription["trial_end"] is not None and subscription["trial_end"] > sandbox.now()
        changed(sandbox, subscription, status="trialing" if trialing else "active")
    elif status == "paused" and subscription.get("_resumed_by") == invoice["id"]:
        resumed = changed(sandbox, subscription, status="active")
        sandbox.emit("customer.subscription.resumed", resumed)
    elif status in ("past_due", "unpaid") and not _owes(sandbox, subscription):
        changed(sandbox, subscription, status="active")


def paid_with(sandbox: Sandbox, invoice: Object, intent: Object) -> None:
    """The customer paid an invoice themselves: its subscription keeps the card if it is set to."""
    subscription = of_invoice(sandbox, invoice)
    if subscription is None or intent["status"] != "succeeded":
        return
    if subscription["payment_settings"]["save_default_payment_method"] == "on_subscription":
        changed(sandbox, subscription, default_payment_method=intent["payment_method"])


def invoice_closed(sandbox: Sandbox, invoice: Object) -> None:
    """What an invoice that nobody has to pay any more means for its subscription."""
    subscription = of_invoice(sandbox, invoice)
    if subscription is None:
        return
    if subscription["status"] == "incomplete" and invoice["status"] == "void":
        expire(sandbox, subscription)
    elif subscription["status"] in ("past_due", "unpaid") and not _owes(sandbox, subscription):
        changed(sandbox, subscription, status="active")


def payment_failed(sandbox: Sandbox, invoice: Object) -> None:
    """What a failed try to collect an invoice means for its subscription: the first invoice leaves it incomplete."""
    subscription = of_invoice(sandbox, invoice)
    if subscription is not None and subscription["status"] in ("trialing", "active"):
        changed(sandbox, subscription, status="past_due")


def retries_over(sandbox: Sandbox, invoice: Object) -> None:
    """What the last failed try means: the sandbox's settings say it."""
    subscription = of_invoice(sandbox, invoice)
    if subscription is None or subscription["status"] not in LIVE:
        return
    outcome = settings.read(sandbox).after_retries
    if outcome == "cancel":
        end(sandbox, subscription, "payment_failed")
    elif outcome == "unpaid":
        changed(sandbox, subscription, status="unpaid")


def _end_schedule(sandbox: Sandbox, subscription: Object) -> None:
    """A schedule that still has plans for a subscription ends with it."""
    schedule = sandbox.store.get(subscription["schedule"] or "", "subscription_schedule")
    if schedule is not None and schedule["status"] == "active":
        now = sandbox.now()
        over = {**schedule, "canceled_at": now, "current_phase": None, "status": "canceled", "_due": None}
        sandbox.store.put(over)
        sandbox.emit("subscription_schedule.canceled", over)


def _owes(sandbox: Sandbox, subscription: Object) -> bool:
    """Whether another invoice of it has failed and is still open."""
    return any(invoice["attempted"] for invoice in _invoices(sandbox, subscription, ("open",)))


def _invoices(sandbox: Sandbox, subscription: Object, statuses: tuple[str, ...]) -> list[Object]:
    def wanted(invoice: Object) -> bool:
        parent = invoice["parent"]
        of = parent and parent["subscription_details"]["subscription"]
        return bool(invoice["status"] in statuses and of == subscription["id"])

    return sandbox.store.newest_first("invoice", wanted)
