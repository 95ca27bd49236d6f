"""Every error a caller can meet, as one small hierarchy with stable codes.

Knows nothing of transport: the web layer turns these into problem documents, the command line into
messages. `details` is JSON-safe and part of the public contract of its code.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar


def shown(value: object) -> str:
    """Any value as a message may quote it: short, and without the pain of writing out a huge number."""
    try:
        text = repr(value)
    except ValueError:
        return f"a {type(value).__name__} of thousands of digits"
    return text if len(text) <= 80 else f"{text[:79]}…"


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

    def __init__(
        self, *, required: int, available: int, can_buy: bool, resets_at: datetime | None, ways: Sequence[str]
    ) -> None:
        """`ways` are those by which so many can be reached. `resets_at` is told also when waiting is none of them."""
        super().__init__(
            f"This needs {required} credits and {available} are available. Nothing was spent. "
            f"To go on: {', or '.join(ways or ['ask for fewer at a time'])}.",
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


class UnknownEntry(Refusal):
    """The account's ledger has no entry of that number."""

    code = "unknown_entry"

    def __init__(self, account_id: str, entry: int) -> None:
        super().__init__(
            f"Account {account_id!r} has no entry {entry}. Nothing was changed.", account_id=account_id, entry=entry
        )


class EntryArchived(Refusal):
    """An entry that is in the archive, no longer in the database."""

    code = "entry_archived"

    def __init__(self, account_id: str, entry: int, archived: int) -> None:
        super().__init__(
            f"Entry {entry} of account {account_id!r} is in the archive, as all up to {archived:,} are. Nothing was "
            "changed. What it says can be read there; it can no longer be reversed or explained here.",
            account_id=account_id,
            entry=entry,
            archived=archived,
        )


class AlreadyArchived(Refusal):
    """Another run of the archive took these entries."""

    code = "already_archived"

    def __init__(self, account_id: str, archived: int) -> None:
        super().__init__(
            f"Another run has archived account {account_id!r} up to entry {archived:,} meanwhile. Nothing was changed.",
            account_id=account_id,
            archived=archived,
        )


class NotReversible(Refusal):
    """An entry that did not consume credits."""

    code = "not_reversible"

    def __init__(self, entry: int, kind: str) -> None:
        super().__init__(
            f"Entry {entry} is '{kind}'; only spends and captures can be reversed. Nothing was changed.",
            entry=entry,
            kind=kind,
        )


class AlreadyReversed(Refusal):
    """A spend that was reversed before, under another idempotency key (S13)."""

    code = "already_reversed"

    def __init__(self, entry: int, reversed_by: int) -> None:
        super().__init__(
            f"Entry {entry} was reversed before, by entry {reversed_by}. Nothing was changed.",
            entry=entry,
            reversed_by=reversed_by,
        )


class HoldNotOpen(Refusal):
    """A hold that was captured or released, ran out, or never was (S12)."""

    code = "hold_not_open"

    def __init__(self, hold: int) -> None:
        super().__init__(
            f"Hold {hold} is not open: it was captured, released, or its deadline has passed. Nothing was "
            "changed. Place a new hold, or spend directly.",
            hold=hold,
        )


class WorkNotCharged(HoldNotOpen):
    """A hold asked for again by its key, which was released or ran out before anything was captured (S7, S12)."""

    def __init__(self, hold: int, key: str) -> None:
        Refusal.__init__(
            self,
            f"The hold of key {key!r} was released, or ran out, and nothing was charged for its work. Nothing was "
            "changed, and the work was not begun again. Use another key for another attempt.",
            hold=hold,
            key=key,
        )


class TooManyHolds(Refusal):
    """An account has as many open holds as it may have at once."""

    code = "too_many_holds"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"This account has {limit:,} open holds already. Nothing was set aside. "
            "Capture or release some of them, or wait until they run out.",
            limit=limit,
        )


class ClawbackSuperseded(Refusal):
    """A later look at the payment was acted on already, so this one is out of date (S27)."""

    code = "clawback_superseded"

    def __init__(self, grant: int, version: int) -> None:
        super().__init__(
            f"What is taken back of grant {grant} was decided by version {version} or a later one already. "
            "Nothing was changed.",
            grant=grant,
            version=version,
        )


class NotABonusGrant(Refusal):
    """A number that is not that of a bonus grant of so many credits."""

    code = "not_a_bonus_grant"

    def __init__(self, grant: int, amount: int) -> None:
        super().__init__(
            f"Entry {grant} did not grant {amount} bonus credits or more. Nothing was changed.",
            grant=grant,
            amount=amount,
        )


class GrantExpired(Refusal):
    """A grant that would have lapsed before it was made."""

    code = "grant_expired"

    def __init__(self, expires_at: datetime) -> None:
        super().__init__(
            f"This grant would have expired at {expires_at.isoformat()}, before now. "
            "Nothing was granted. Give a later expires_at, or none.",
            expires_at=expires_at.isoformat(),
        )


class BalanceTooLarge(Refusal):
    """The account would hold more than 10^15 credits, beyond what every JSON reader can carry exactly."""

    code = "balance_too_large"

    def __init__(self, account_id: str, limit: int) -> None:
        super().__init__(
            f"Account {account_id!r} would hold more than {limit:,} credits. Nothing was granted.", limit=limit
        )


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
