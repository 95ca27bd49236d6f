"""What Stripe's dashboard has switches for: how long drafts wait, how failed payments are retried, and tax."""

import json
from dataclasses import asdict, dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from stripe_sandbox.sandbox import Sandbox

_NAME = "billing"
AFTER_RETRIES = ("cancel", "unpaid", "past_due")


@dataclass(frozen=True, slots=True)
class BillingSettings:
    """Settings of a sandbox's billing. Raises ValueError for what cannot be."""

    draft_seconds: int = 0
    """How long the invoice of a renewal stays a draft. Stripe's is about an hour, 3600."""

    retry_days: tuple[int, ...] = (3, 5, 7)
    """Days between the tries to collect an invoice, each counted from the try before."""

    after_retries: str = "cancel"
    """What becomes of a subscription when the last try has failed: one of `AFTER_RETRIES`."""

    upcoming_days: int = 7
    """How long before a renewal `invoice.upcoming` is sent; 0 sends none."""

    tax_percent: str = "0"
    """What automatic tax adds, the same everywhere."""

    def __post_init__(self) -> None:
        if self.draft_seconds < 0 or self.upcoming_days < 0 or any(days < 0 for days in self.retry_days):
            raise ValueError("Times must not be negative.")
        if self.after_retries not in AFTER_RETRIES:
            raise ValueError(f"after_retries must be one of {', '.join(AFTER_RETRIES)}.")
        try:
            percent = Decimal(self.tax_percent)
        except InvalidOperation as error:
            raise ValueError("tax_percent must be a number.") from error
        if not 0 <= percent <= 100:
            raise ValueError("tax_percent must be between 0 and 100.")


def read(sandbox: Sandbox) -> BillingSettings:
    """The settings that hold."""
    kept = json.loads(sandbox.store.setting(_NAME, "{}"))
    if "retry_days" in kept:
        kept["retry_days"] = tuple(kept["retry_days"])
    return BillingSettings(**kept)


def change(sandbox: Sandbox, **changes: Any) -> BillingSettings:
    """Change settings; they hold from now on. Raises ValueError for what cannot be."""
    changed = replace(read(sandbox), **changes)
    sandbox.store.set(_NAME, json.dumps(asdict(changed)))
    return changed
