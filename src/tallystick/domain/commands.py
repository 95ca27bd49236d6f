"""What can be asked of an account. Checked when made: a command that exists is well formed (S1, S2, S7)."""

import json
import re
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from tallystick.domain.account import GrantKind
from tallystick.domain.amounts import require_credits
from tallystick.domain.errors import InvalidInput
from tallystick.domain.periods import Period, require_instant

MAX_TEXT = 500
_IDENTIFIER = re.compile(r"[\x21-\x7e]{1,255}")


def require_identifier(value: object, name: str) -> str:
    """Return `value` if it is 1 to 255 visible ASCII characters, else raise InvalidInput."""
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise InvalidInput(
            f"{name} must be 1 to 255 visible ASCII characters without spaces, not {value!r:.80}. "
            "Nothing was changed.",
            name=name,
        )
    return value


def _require_text(value: object, name: str) -> None:
    if not isinstance(value, str) or len(value) > MAX_TEXT or "\x00" in value:
        raise InvalidInput(f"{name} must be text of at most {MAX_TEXT} characters.", name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keyed:
    """What every caller's command has: the account it is for and its idempotency key (S7)."""

    account_id: str
    key: str

    def _check(self) -> None:
        require_identifier(self.account_id, "account id")
        require_identifier(self.key, "idempotency key")

    @property
    def request(self) -> str:
        """The request in canonical form: two commands with one key are the same when these are equal (S7)."""
        facts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("account_id", "key")}
        return json.dumps([type(self).__name__, facts], default=_plain, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Period):
        return [value.start, value.end]
    raise TypeError(f"{type(value).__name__} has no canonical form")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAccount(_Keyed):
    """Open an account on a plan. A plan that renews by itself opens its first allowance at once."""

    plan: str
    key: str = "open"

    def __post_init__(self) -> None:
        self._check()
        require_identifier(self.plan, "plan")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPlan(_Keyed):
    """Put the account on another plan, now. Bonus credits stay as they are (S18)."""

    plan: str
    reason: str = ""
    reference: str | None = None

    def __post_init__(self) -> None:
        self._check()
        require_identifier(self.plan, "plan")
        _require_text(self.reason, "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewAllowance(_Keyed):
    """Open the allowance of `plan` for `period`, because it was paid (S15). Does not change the plan."""

    plan: str
    period: Period
    reason: str = ""
    reference: str | None = None

    def __post_init__(self) -> None:
        self._check()
        require_identifier(self.plan, "plan")
        _require_text(self.reason, "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantBonus(_Keyed):
    """Add bonus credits. Usable from `effective_at` (default: now) until `expires_at` (default: for ever)."""

    credits: int
    kind: GrantKind = GrantKind.BOUGHT
    effective_at: datetime | None = None
    expires_at: datetime | None = None
    reason: str = ""
    reference: str | None = None

    def __post_init__(self) -> None:
        self._check()
        require_credits(self.credits, "credits")
        if self.kind is GrantKind.ALLOWANCE:
            raise InvalidInput("An allowance is opened by its plan, not granted as bonus credits.")
        for name in ("effective_at", "expires_at"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, require_instant(value, name))
        if self.effective_at and self.expires_at and self.expires_at <= self.effective_at:
            raise InvalidInput("A grant must expire after it takes effect.")
        _require_text(self.reason, "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend(_Keyed):
    """Consume credits in burn order, all or nothing (S10, S11). `operation` says what they were spent on."""

    amount: int
    operation: str = ""

    def __post_init__(self) -> None:
        self._check()
        require_credits(self.amount)
        _require_text(self.operation, "operation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Write down what time has done to an account nobody touches (S14). Harmless to repeat: it has no key."""

    account_id: str


Command = OpenAccount | SetPlan | RenewAllowance | GrantBonus | Spend | Settle
KeyedCommand = OpenAccount | SetPlan | RenewAllowance | GrantBonus | Spend
