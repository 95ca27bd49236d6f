"""Words for people: how amounts, instants, entries and purchases are shown. Knows no HTTP."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from babel.dates import format_datetime
from babel.numbers import format_currency, format_decimal

from tallystick.billing import Purchase, PurchaseStatus
from tallystick.domain.account import Entry, EntryKind
from tallystick.domain.amounts import Money

LOCALE = "en_US"


def money(amount: Money) -> str:
    """`$5.99`."""
    return format_currency(Decimal(amount.minor).scaleb(-amount.decimals), amount.currency, locale=LOCALE)


def number(value: int) -> str:
    """`1,234`."""
    return format_decimal(value, locale=LOCALE)


def signed(value: int) -> str:
    """`+200` or `−3`, with a real minus sign."""
    return f"+{number(value)}" if value > 0 else number(value).replace("-", "\N{MINUS SIGN}")


def day(instant: datetime) -> str:
    """`December 24, 2026`, in UTC."""
    return format_datetime(instant, "MMMM d, y", locale=LOCALE)


def moment(instant: datetime) -> str:
    """`Dec 24, 2026, 09:30 UTC`."""
    return f"{format_datetime(instant, 'MMM d, y, HH:mm', locale=LOCALE)} UTC"


def until(instant: datetime, now: datetime) -> str:
    """How far away: `in 12 days`, by the calendar like the date beside it, then `in 3 hours`."""
    seconds = max(0, int((instant - now).total_seconds()))
    counted = (((instant.date() - now.date()).days, "day"), (seconds // 3_600, "hour"), (seconds // 60, "minute"))
    for count, name in counted if seconds >= 86_400 else counted[1:]:
        if count:
            return f"in {count} {name}{'' if count == 1 else 's'}"
    return "in a moment"


@dataclass(frozen=True, slots=True)
class EntryView:
    """An entry as the history shows it."""

    seq: int
    title: str
    detail: str
    amount: int
    available: int
    at: datetime


_TITLES = {
    EntryKind.ACCOUNT_OPENED: "Account opened",
    EntryKind.PLAN_SET: "Plan changed",
    EntryKind.ALLOWANCE_OPENED: "Monthly credits",
    EntryKind.ALLOWANCE_SKIPPED: "Monthly credits were there already",
    EntryKind.ALLOWANCE_PROLONGED: "Plan paid further",
    EntryKind.BONUS_GRANTED: "Bonus credits",
    EntryKind.GRANT_SCHEDULED: "Credits on their way",
    EntryKind.GRANT_STARTED: "Credits became usable",
    EntryKind.LAPSED: "Unused credits lapsed",
    EntryKind.SPENT: "Spent",
    EntryKind.REVERSED: "Spend reversed",
    EntryKind.HELD: "Set aside",
    EntryKind.HOLD_EXTENDED: "More set aside",
    EntryKind.CAPTURED: "Spent",
    EntryKind.RELEASED: "No longer set aside",
    EntryKind.REMOVED: "Corrected",
    EntryKind.CLAWED_BACK: "Taken back",
    EntryKind.RESTORED: "Given back",
    EntryKind.FROZEN: "Frozen",
    EntryKind.THAWED: "No longer frozen",
    EntryKind.CLAWBACK_CONFIRMED: "Payment checked",
    EntryKind.DEBT_REPAID: "Debt repaid",
    EntryKind.CHECKPOINT: "Older entries archived",
}
_LAPSES = {"expired": "Their time was over", "replaced": "New monthly credits took their place"}


def entry_view(entry: Entry) -> EntryView:
    """An entry in words: what happened, why, and where the credits came from."""
    detail = entry.reason
    if entry.kind in (EntryKind.SPENT, EntryKind.CAPTURED):
        parts = [
            f"{number(amount)} {kind}"
            for amount, kind in ((entry.from_monthly, "monthly"), (entry.from_bonus, "bonus"))
            if amount
        ]
        detail = f"{entry.reason or 'Work'} · {' + '.join(parts)}"
    elif entry.kind in (EntryKind.HELD, EntryKind.HOLD_EXTENDED):
        detail = f"{number(sum(lot.amount for lot in entry.lots))} for {entry.reason or 'work under way'}"
    elif entry.kind is EntryKind.RELEASED:
        detail = "The time for it ran out" if entry.reason == "deadline" else entry.reason
    elif entry.kind is EntryKind.REVERSED and entry.lapsed:
        lost = sum(lot.amount for lot in entry.lapsed)
        detail = " · ".join(filter(None, [entry.reason, f"{number(lost)} had lapsed meanwhile"]))
    elif entry.kind is EntryKind.CLAWED_BACK and entry.owed:
        detail = " · ".join(filter(None, [entry.reason, f"{number(entry.owed)} more had been used and are owed"]))
    elif entry.kind is EntryKind.LAPSED:
        detail = _LAPSES.get(entry.reason, entry.reason)
    elif entry.kind is EntryKind.PLAN_SET:
        detail = f"Now on {str(entry.plan).upper()}" + (f" · {entry.reason}" if entry.reason else "")
    elif entry.kind is EntryKind.ACCOUNT_OPENED:
        detail = f"On {str(entry.plan).upper()}"
    elif entry.kind is EntryKind.ALLOWANCE_OPENED and entry.allowance is not None:
        detail = f"For {day(entry.allowance.period.start)} to {day(entry.allowance.period.end)}"
    return EntryView(entry.seq, _TITLES[entry.kind], detail, entry.amount, entry.available, entry.effective_at)


_DISPUTES = {
    "early_fraud_warning": "the bank has doubts",
    "needs_response": "disputed, answer needed",
    "under_review": "disputed, under review",
    "warning_needs_response": "the bank asks",
    "warning_under_review": "the bank asks",
    "warning_closed": "the bank asked, closed",
    "won": "dispute won",
    "lost": "dispute lost",
    "prevented": "dispute prevented",
}


def standing(purchase: Purchase) -> str:
    """Where a purchase stands, with what became of its payment afterwards."""
    parts = [purchase.status.replace("_", " ")]
    if purchase.refunded_minor:
        parts.append(f"{money(purchase.refunded)} refunded")
    if purchase.dispute is not None:
        parts.append(_DISPUTES.get(purchase.dispute, purchase.dispute))
    if purchase.clawed_back:
        parts.append(f"{number(purchase.clawed_back)} credits taken back")
    return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class PurchaseView:
    """A purchase as its buyer sees it on the way to being credited (S22)."""

    state: str
    title: str
    text: str
    moving: bool


def purchase_view(purchase: Purchase, looks: int) -> PurchaseView:
    """What to tell the buyer after `looks` looks at the purchase."""
    credits = number(purchase.credits)
    patience = " It is safe to leave this page: the credits arrive by themselves." if looks >= 5 else ""
    match purchase.status:
        case PurchaseStatus.CREDITED:
            return PurchaseView(
                "success",
                f"{credits} credits added",
                "They never expire, and are used after your monthly credits.",
                False,
            )
        case PurchaseStatus.OPEN:
            text = f"We are adding your {credits} credits.{patience}"
            return PurchaseView("info", "Payment received", text, True)
        case PurchaseStatus.PENDING:
            text = (
                f"Your bank takes a few days to send it. Your {credits} credits are added as soon as it "
                "arrives; it is safe to leave this page."
            )
            return PurchaseView("info", "Payment under way", text, True)
        case PurchaseStatus.NEEDS_REVIEW:
            text = (
                "Something about this payment does not match, so a person looks at it. There is nothing you need to "
                f"do, and nothing is lost. If you write to us, name purchase {purchase.id}."
            )
            return PurchaseView("warning", "We are checking this payment", text, False)
        case PurchaseStatus.EXPIRED:
            text = "It was open for too long, so it was closed. Nothing was charged. You can start again any time."
            if purchase.problem:
                text = "It is not to be found at Stripe any more, so it was closed. You can start again any time."
            return PurchaseView("warning", "This checkout has expired", text, False)
        case PurchaseStatus.FAILED:
            text = "The payment did not arrive, so no credits were added. Nothing was charged. You can try again."
            return PurchaseView("error", "The payment failed", text, False)
