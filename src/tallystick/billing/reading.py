"""Reading Stripe's invoices, their lines and waiting invoice items, in the current shape and the older one, and
subscription schedules.

Turns what an endpoint sends into plain facts. Knows no catalogue, no account, and asks nobody.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an invoice, or an invoice item that waits for one.

    `id` is that of the invoice item where there is one: it stays the same when the item moves onto an
    invoice. `start` and `end` are Unix seconds, `amount` is in minor units. `full` says that it bills a
    subscription's item for a whole period; a proration bills, or with a negative amount gives back, a part.
    """

    id: str
    price: str | None
    start: int
    end: int
    amount: int
    full: bool
    proration: bool


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice of a subscription. `metadata` is what the subscription's said when it was made.

    `paid_at` is when it was paid, in Unix seconds like `created`, if it was.
    """

    id: str
    status: str
    reason: str
    created: int
    lines: tuple[Line, ...]
    metadata: dict[str, str]
    paid_at: int | None = None

    @property
    def full_lines(self) -> tuple[Line, ...]:
        """The lines that bill for a whole period."""
        return tuple(line for line in self.lines if line.full)


@dataclass(frozen=True, slots=True)
class Phase:
    """What a subscription is to become: from `start`, in Unix seconds, it bills for these prices."""

    start: int
    prices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is planned for a subscription: its phases to come, in their order, and when it ends if it is to end."""

    phases: tuple[Phase, ...]
    ends: int | None


def subscription_of(invoice: dict[str, Any]) -> str | None:
    """The subscription that an invoice or an invoice item belongs to."""
    details = _details(invoice)
    found: str | None = details.get("subscription") or invoice.get("subscription")
    return found


def read_invoice(invoice: dict[str, Any]) -> Invoice:
    """An invoice as Stripe sends it."""
    older = invoice.get("subscription_details") or {}
    return Invoice(
        id=invoice["id"],
        status=invoice["status"],
        reason=invoice.get("billing_reason") or "",
        created=invoice["created"],
        lines=tuple(map(_read_line, invoice["lines"]["data"])),
        metadata=_details(invoice).get("metadata") or older.get("metadata") or {},
        paid_at=(invoice.get("status_transitions") or {}).get("paid_at"),
    )


def read_waiting(item: dict[str, Any]) -> Line:
    """An invoice item that waits for the next invoice."""
    return Line(
        id=item["id"],
        price=price_of(item),
        start=item["period"]["start"],
        end=item["period"]["end"],
        amount=item["amount"],
        full=False,
        proration=bool(item.get("proration")),
    )


def price_of(line: dict[str, Any]) -> str | None:
    """The price that a line or an invoice item is for."""
    current = ((line.get("pricing") or {}).get("price_details") or {}).get("price")
    older = line.get("price") or line.get("plan") or {}
    found: str | None = current or older.get("id")
    return found


def period_end_of(subscription: dict[str, Any], item: dict[str, Any]) -> int | None:
    """When the period of a subscription's item ends."""
    found: int | None = item.get("current_period_end") or subscription.get("current_period_end")
    return found


def read_schedule(schedule: dict[str, Any]) -> Schedule | None:
    """What a subscription schedule plans; None when it is over, or has let the subscription go."""
    current = schedule.get("current_phase")
    if schedule["status"] != "active" or current is None:
        return None
    phases = sorted(schedule["phases"], key=lambda phase: phase["start_date"])
    return Schedule(
        phases=tuple(
            Phase(phase["start_date"], tuple(item["price"] for item in phase["items"]))
            for phase in phases
            if phase["start_date"] >= current["end_date"]
        ),
        ends=phases[-1]["end_date"] if schedule["end_behavior"] == "cancel" else None,
    )


def _details(of: dict[str, Any]) -> dict[str, Any]:
    return (of.get("parent") or {}).get("subscription_details") or {}


def _read_line(line: dict[str, Any]) -> Line:
    parent = line.get("parent") or {}
    of_item = parent.get("subscription_item_details")
    details = of_item or parent.get("invoice_item_details") or line
    item = details.get("invoice_item")
    proration = bool(details.get("proration"))
    billed = of_item is not None or line.get("type") == "subscription"
    return Line(
        id=item or line["id"],
        price=price_of(line),
        start=line["period"]["start"],
        end=line["period"]["end"],
        amount=line["amount"],
        full=billed and not proration and item is None,
        proration=proration,
    )
