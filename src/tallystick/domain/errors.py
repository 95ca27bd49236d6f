"""Every error a caller can meet, as one small hierarchy with stable codes.

Knows nothing of transport: the web layer turns these into problem documents, the command line into
messages. `details` is JSON-safe and part of the public contract of its code.
"""

from datetime import datetime
from typing import Any, ClassVar


class TallystickError(Exception):
    """Base of all errors that Tallystick raises on purpose. `code` never changes once released."""

    code: str = "error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = details


class InvalidInput(TallystickError, ValueError):
    """A value that cannot be used, refused before anything was touched."""

    code = "invalid_input"


class InvalidAmount(InvalidInput):
    """Not a whole number of credits from 1 to 10^12 (S1)."""

    code = "invalid_amount"


class InvalidMoney(InvalidInput):
    """Not an amount of money with an ISO 4217 currency (S1)."""

    code = "invalid_money"


class InvalidInstant(InvalidInput):
    """A datetime without a timezone, or an interval that ends before it begins (S2)."""

    code = "invalid_instant"


class Refusal(TallystickError):
    """A command that the rules refuse. Returned by `decide`, raised by the ledger; changes nothing (S8)."""

    code = "refused"


class UnknownAccount(Refusal):
    """No account of that id has been opened."""

    code = "unknown_account"

    def __init__(self, account_id: str) -> None:
        super().__init__(
            f"There is no account {account_id!r}. Nothing was changed. Open the account first.",
            account_id=account_id,
        )


class AccountExists(Refusal):
    """The account was opened before, under another idempotency key."""

    code = "account_exists"

    def __init__(self, account_id: str) -> None:
        super().__init__(f"Account {account_id!r} is already open. Nothing was changed.", account_id=account_id)


class UnknownPlan(Refusal):
    """The catalogue has no plan of that name."""

    code = "unknown_plan"

    def __init__(self, plan: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"There is no plan {plan!r} in the catalogue. It has: {', '.join(known) or 'no plans'}.",
            plan=plan,
            known=list(known),
        )


class InsufficientCredits(Refusal):
    """Too few credits for an all-or-nothing spend (S11)."""

    code = "insufficient_credits"

    def __init__(self, *, required: int, available: int, can_buy: bool, resets_at: datetime | None) -> None:
        ways = []
        if can_buy:
            ways.append("buy bonus credits")
        if resets_at is not None:
            ways.append(f"wait for the next allowance at {resets_at.isoformat()}")
        if not can_buy:
            ways.append("move to a plan with more credits")
        super().__init__(
            f"This needs {required} credits and {available} are available. Nothing was spent. "
            f"To go on: {', or '.join(ways)}.",
            required=required,
            available=available,
            shortfall=required - available,
            can_buy=can_buy,
            resets_at=None if resets_at is None else resets_at.isoformat(),
        )


class IdempotencyConflict(Refusal):
    """An idempotency key that was used before for another request (S7)."""

    code = "idempotency_conflict"

    def __init__(self, account_id: str, key: str) -> None:
        super().__init__(
            f"Idempotency key {key!r} was already used on account {account_id!r} for another request. "
            "Nothing was changed. Use a new key for a new request.",
            account_id=account_id,
            key=key,
        )


class GrantExpired(Refusal):
    """A grant that would have lapsed before it was made."""

    code = "grant_expired"


class BalanceTooLarge(Refusal):
    """The account would hold more than 10^15 credits, beyond what every JSON reader can carry exactly."""

    code = "balance_too_large"


class Unavailable(TallystickError):
    """Something we depend on did not answer. Safe to try again with the same idempotency key."""

    code = "unavailable"
    retry_after: ClassVar[int] = 1


class Overloaded(Unavailable):
    """Too many commands are waiting already; this one was not taken."""

    code = "overloaded"


class LedgerUnavailable(Unavailable):
    """The database did not confirm the commit. The command may or may not have taken effect:
    repeat it with the same idempotency key to learn which (S7)."""

    code = "ledger_unavailable"
