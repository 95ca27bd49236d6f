"""What can be asked of an account. Checked when made: a command that exists is well formed (S1, S2, S7)."""

import json
import re
from dataclasses import Field, dataclass, field, fields
from datetime import datetime, timedelta
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from tallystick.domain.account import LAST_ENTRY, Account, GrantKind
from tallystick.domain.amounts import require_credits
from tallystick.domain.errors import InvalidInput, shown
from tallystick.domain.periods import Period, add_months, period_containing, require_instant

MAX_TEXT = 500
HOLD_SECONDS = 15 * 60
"""How long a hold lasts unless it is told otherwise (S12)."""

MAX_HOLD_SECONDS = 24 * 60 * 60
"""The longest a hold may last without being extended (S12)."""

MAX_MONTHS = 36
"""The longest a paid period may be: as long as Stripe bills at once."""

LONGEST_IDENTIFIER = 255
"""How many characters an id or an idempotency key may have."""

_IDENTIFIER = re.compile(rf"[\x21-\x7e]{{1,{LONGEST_IDENTIFIER}}}")


def require_identifier(value: object, name: str) -> str:
    """Return `value` if it is 1 to 255 visible ASCII characters, else raise InvalidInput."""
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise InvalidInput(
            f"{name} must be 1 to {LONGEST_IDENTIFIER} visible ASCII characters without spaces, not {shown(value)}. "
            "Nothing was changed.",
            name=name,
        )
    return value


def require_number(value: object, name: str, least: int = 1) -> int:
    """Return `value` if it is a whole number from `least` to the last that a database can count to.

    Raises InvalidInput.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LAST_ENTRY:
        raise InvalidInput(
            f"{name} must be a whole number from {least} to {LAST_ENTRY:,}, not {shown(value)}. Nothing was changed.",
            name=name,
        )
    return value


def _require_hold_seconds(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_HOLD_SECONDS:
        raise InvalidInput(
            f"A hold lasts from 1 to {MAX_HOLD_SECONDS:,} seconds, not {shown(value)}. Nothing was changed.",
            name="seconds",
        )


def require_text(value: object, name: str) -> None:
    """Raise InvalidInput unless `value` is text that every database takes, and not too much of it."""
    if not isinstance(value, str) or len(value) > MAX_TEXT or "\x00" in value or not _is_unicode(value):
        raise InvalidInput(
            f"{name} must be text of at most {MAX_TEXT} characters, without NUL and in valid Unicode. "
            "Nothing was changed.",
            name=name,
        )


def require_reason(value: str) -> None:
    """Raise InvalidInput unless `value` is a reason that the ledger can say: text, and not blank."""
    require_text(value, "reason")
    if not value.strip():
        raise InvalidInput("Give a reason: it is what the ledger will say about this. Nothing was changed.")


def _is_unicode(text: str) -> bool:
    """False for half a pair of surrogates, which a str may hold and no database takes."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require_reference(value: object) -> None:
    if value is not None:
        require_text(value, "reference")


def _require_bonus_kind(value: object) -> GrantKind:
    try:
        kind = GrantKind(value)  # type: ignore[arg-type]
    except ValueError:
        known = ", ".join(kind.value for kind in GrantKind if kind is not GrantKind.ALLOWANCE)
        raise InvalidInput(
            f"A grant is one of {known}, not {shown(value)}. Nothing was changed.", name="kind"
        ) from None
    if kind is GrantKind.ALLOWANCE:
        raise InvalidInput("An allowance is opened by its plan, not granted as bonus credits. Nothing was changed.")
    return kind


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
        """The request in canonical form: two commands with one key are the same when these are equal (S7).

        What does not count when commands are compared is no part of it.
        """
        asked = [f.name for f in fields(self) if f.name not in ("account_id", "key") and self._is_asked(f)]
        facts = {name: getattr(self, name) for name in asked}
        return json.dumps([type(self).__name__, facts], default=_plain, separators=(",", ":"))

    def _is_asked(self, field: Field[Any]) -> bool:
        # What requests did not have once is a part of it only where it is given: else none of then would be the same.
        return field.compare and not (field.metadata.get("later") and getattr(self, field.name) == field.default)


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
    key: str = "tallystick:open"
    reason: str = field(default="", metadata={"later": True})

    def __post_init__(self) -> None:
        self._check()
        require_identifier(self.plan, "plan")
        require_text(self.reason, "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPlan(_Keyed):
    """Put the account on another plan. Bonus credits stay as they are (S18).

    `since` is the instant from which the change counts, if that lies before the command: what an upgrade
    adds depends on it (S17), and an allowance that time has opened since then under the plan from before is
    taken away again (S27). With it, leaving a paid plan is for good: what was paid for ends with the running month;
    unless the subscription only `rests`: then what was paid for goes on when the plan does.
    """

    plan: str
    reason: str = ""
    reference: str | None = None
    since: datetime | None = None
    rests: bool = field(default=False, metadata={"later": True})

    def __post_init__(self) -> None:
        self._check()
        require_identifier(self.plan, "plan")
        require_text(self.reason, "reason")
        _require_reference(self.reference)
        if self.since is not None:
            object.__setattr__(self, "since", require_instant(self.since, "since"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewAllowance(_Keyed):
    """Open the allowance of `plan` because `period` was paid for (S15). Does not change the plan.

    A `period` of several `months` opens an allowance each month. With `prolongs` it was paid because a
    running subscription was changed, so the allowance that is open runs to its end first: changing back
    and forth must not open it anew (S17). `follows` is that end, for when it is over or was never opened here (S27);
    what was paid is the same whether it is known or not, so it is no part of the request.
    """

    plan: str
    period: Period
    months: int = 1
    prolongs: bool = False
    follows: datetime | None = field(default=None, compare=False)
    reason: str = ""
    reference: str | None = None

    def __post_init__(self) -> None:
        self._check()
        require_identifier(self.plan, "plan")
        if isinstance(self.months, bool) or not isinstance(self.months, int) or not 1 <= self.months <= MAX_MONTHS:
            raise InvalidInput(
                f"months must be a whole number from 1 to {MAX_MONTHS}, not {shown(self.months)}. Nothing was changed.",
                name="months",
            )
        if self.follows is not None:
            object.__setattr__(self, "follows", require_instant(self.follows, "follows"))
        require_text(self.reason, "reason")
        _require_reference(self.reference)

    @property
    def anchor(self) -> datetime:
        """What the months of the period are counted from (S3).

        A period that is shorter than its months is what is left until a billing date that stays as it is.
        """
        is_whole = add_months(self.period.start, self.months) <= self.period.end
        return self.period.start if is_whole else add_months(self.period.end, -self.months)

    def month_at(self, instant: datetime) -> Period:
        """The part of the period that lies in its month in which `instant` does (S15).

        One month is as long as it was billed for: from 30 April to 31 May where that is when a 31st was anchored.
        """
        if self.months == 1:
            return self.period
        month = period_containing(self.anchor, instant)
        return Period(max(month.start, self.period.start), min(month.end, self.period.end))


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
        object.__setattr__(self, "kind", _require_bonus_kind(self.kind))
        for name in ("effective_at", "expires_at"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, require_instant(value, name))
        if self.effective_at and self.expires_at and self.expires_at <= self.effective_at:
            raise InvalidInput("A grant must expire after it takes effect.")
        require_text(self.reason, "reason")
        _require_reference(self.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend(_Keyed):
    """Consume credits in burn order, all or nothing (S10, S11). `operation` says what they were spent on."""

    amount: int
    operation: str = ""

    def __post_init__(self) -> None:
        self._check()
        require_credits(self.amount)
        require_text(self.operation, "operation")

    @property
    def request(self) -> str:
        """As for every command, written without the detour over its fields: this is the hot path."""
        return f'["Spend",{{"amount":{self.amount},"operation":{quoted(self.operation)}}}]'


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverse(_Keyed):
    """Return the credits of a spend or a capture, the entry number `entry`, to where they came from (S13)."""

    entry: int
    reason: str = ""

    def __post_init__(self) -> None:
        self._check()
        require_number(self.entry, "entry")
        require_text(self.reason, "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceHold(_Keyed):
    """Set credits aside, in burn order, for `seconds` or until they are captured or released (S12)."""

    amount: int
    seconds: int = HOLD_SECONDS
    operation: str = ""

    def __post_init__(self) -> None:
        self._check()
        require_credits(self.amount)
        _require_hold_seconds(self.seconds)
        require_text(self.operation, "operation")

    def deadline(self, now: datetime) -> datetime:
        """When a hold that is placed at `now` runs out."""
        return now + timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendHold(_Keyed):
    """Set aside `amount` more in an open hold, or let it last `seconds` from now, or both (S12)."""

    hold: int
    amount: int | None = None
    seconds: int | None = None

    def __post_init__(self) -> None:
        self._check()
        require_number(self.hold, "hold")
        if self.amount is None and self.seconds is None:
            raise InvalidInput("Extend a hold by an amount, by seconds, or by both. Nothing was changed.")
        if self.amount is not None:
            require_credits(self.amount)
        if self.seconds is not None:
            _require_hold_seconds(self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture(_Keyed):
    """Consume `amount` of an open hold, and what is available if that is not enough; release the rest (S12)."""

    hold: int
    amount: int

    def __post_init__(self) -> None:
        self._check()
        require_number(self.hold, "hold")
        require_credits(self.amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(_Keyed):
    """Give back everything an open hold has set aside (S12)."""

    hold: int
    reason: str = ""

    def __post_init__(self) -> None:
        self._check()
        require_number(self.hold, "hold")
        require_text(self.reason, "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove(_Keyed):
    """Take credits away in burn order, all or nothing: an operator's correction, not a consumption."""

    amount: int
    reason: str

    def __post_init__(self) -> None:
        self._check()
        require_credits(self.amount)
        require_reason(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClawBack(_Keyed):
    """Let exactly `total` credits of the bonus grant number `grant` be taken back, no more and no less (S23).

    What was used of it already becomes debt (S24); what was taken too much is restored. With `frozen`,
    what remains of the grant is out of reach as well (S25). The wish is absolute, so it does not matter how
    often, or from where, it is said; of two that cross, the one with the higher `version` counts.
    """

    grant: int
    total: int
    version: int
    frozen: bool = False
    reason: str = ""
    reference: str | None = None

    def __post_init__(self) -> None:
        self._check()
        require_number(self.grant, "grant")
        if self.total != 0 or isinstance(self.total, bool):
            require_credits(self.total, "total")
        require_number(self.version, "version")
        require_text(self.reason, "reason")
        _require_reference(self.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Write down what time has done to an account nobody touches (S14). Harmless to repeat: it has no key."""

    account_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive(_Keyed):
    """Record that entries up to number `up_to` are in the archive, what they came to, and a `hash` over them.

    Those up to `since` are there already. Only the store gives this one, in the transaction that takes the
    entries out.
    """

    since: int
    up_to: int
    hash: str
    state: Account

    @property
    def request(self) -> str:
        """As for every command; the state follows from the entries."""
        return f'["Archive",{{"up_to":{self.up_to},"hash":{quoted(self.hash)}}}]'


KeyedCommand = (
    OpenAccount
    | SetPlan
    | RenewAllowance
    | GrantBonus
    | Spend
    | Reverse
    | PlaceHold
    | ExtendHold
    | Capture
    | Release
    | Remove
    | ClawBack
)
Command = KeyedCommand | Archive | Settle
