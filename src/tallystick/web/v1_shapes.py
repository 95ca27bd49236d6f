"""What the /v1 API is sent and answers, as models: they check requests and describe both in the OpenAPI file."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from tallystick.balance import Balance
from tallystick.domain.account import Entry, EntryKind
from tallystick.domain.amounts import MAX_CREDITS
from tallystick.domain.commands import HOLD_SECONDS, MAX_HOLD_SECONDS, MAX_TEXT

Credits = Annotated[int, Field(strict=True, ge=1, le=MAX_CREDITS, description="Whole credits (S1).", examples=[3])]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Operation = Annotated[str, Field(max_length=MAX_TEXT, description="What it is for.", examples=["generate"])]
BonusKind = Literal["bought", "gifted", "promotional", "adjusted"]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AccountRequest(_Request):
    """Which plan the account is to be on; a new account without one starts on the first plan."""

    plan: Annotated[str | None, Field(max_length=64, examples=["free"])] = None
    reason: Text = ""


class SpendRequest(_Request):
    """A spend of known cost."""

    amount: Credits
    operation: Operation = ""


class BatchSpend(SpendRequest):
    """One spend of a batch, with its own idempotency key."""

    account_id: Annotated[str, Field(max_length=255, examples=["acme"])]
    key: Annotated[str, Field(max_length=255, examples=["request-8124"])]


class BatchRequest(_Request):
    """Spends over any accounts. They are independent: one that is refused does not touch the others."""

    spends: Annotated[list[BatchSpend], Field(min_length=1, max_length=1_000)]


class HoldRequest(_Request):
    """How much to set aside, and for how many seconds."""

    amount: Credits
    seconds: Annotated[int, Field(strict=True, ge=1, le=MAX_HOLD_SECONDS)] = HOLD_SECONDS
    operation: Operation = ""


class ExtensionRequest(_Request):
    """How much more to set aside, and how many seconds from now the hold is to last; one of them, or both."""

    amount: Credits | None = None
    seconds: Annotated[int | None, Field(strict=True, ge=1, le=MAX_HOLD_SECONDS)] = None


class CaptureRequest(_Request):
    """What the work cost."""

    amount: Credits


class GrantRequest(_Request):
    """Bonus credits, usable from `effective_at` (now) until `expires_at` (never)."""

    credits: Credits
    kind: BonusKind = "adjusted"
    effective_at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None
    reason: Text = ""
    reference: Annotated[str | None, Field(max_length=255)] = None


class RemovalRequest(_Request):
    """How much to take away, and why."""

    amount: Credits
    reason: Annotated[str, Field(min_length=1, max_length=MAX_TEXT, examples=["granted twice"])]


class ReasonRequest(_Request):
    """Why."""

    reason: Text = ""


class ExpiryShape(BaseModel):
    """Credits that lapse at an instant unless they are used before."""

    credits: int
    expires_at: datetime


class AccountAnswer(BaseModel):
    """What an account has now, in credits: monthly + bonus - held = available (S6)."""

    id: Annotated[str, Field(examples=["acme"])]
    plan: Annotated[str, Field(examples=["plus"])]
    monthly: int
    allowance: int
    bonus: int
    held: int
    frozen: Annotated[int, Field(description="What of `held` waits for the end of a dispute (S25).")]
    available: int
    debt: int
    resets_at: datetime | None
    can_buy: bool
    expiries: list[ExpiryShape]


class LotShape(BaseModel):
    """So many credits of one grant."""

    grant: int
    kind: str
    amount: int


class EntryShape(BaseModel):
    """One immutable entry, with the balances after it."""

    account_id: str
    seq: int
    kind: EntryKind
    amount: int
    monthly: int
    bonus: int
    held: int
    available: int
    debt: int
    lots: list[LotShape]
    lapsed: list[LotShape]
    hold: int | None
    hold_until: datetime | None
    reverses: int | None
    key: str | None
    reason: str
    reference: str | None
    effective_at: datetime
    recorded_at: datetime


class HoldAnswer(BaseModel):
    """An open hold."""

    id: int
    amount: int
    expires_at: datetime
    entry: EntryShape


class EntriesPage(BaseModel):
    """A page of entries, newest first; `next_before` is the next page's cursor, null on the last."""

    entries: list[EntryShape]
    next_before: int | None


class Problem(BaseModel):
    """An error as RFC 9457 describes it; `code` is stable."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(examples=["urn:tallystick:problem:insufficient_credits"])]
    title: Annotated[str, Field(examples=["Not enough credits"])]
    status: Annotated[int, Field(examples=[402])]
    detail: str
    code: Annotated[str, Field(examples=["insufficient_credits"])]


class BatchResult(BaseModel):
    """What became of one spend: its entry, or its problem."""

    status: int
    entry: EntryShape | None = None
    replayed: bool = False
    problem: dict[str, Any] | None = None


class BatchAnswer(BaseModel):
    """The results, in the order of the spends."""

    results: list[BatchResult]


def account_answer(balance: Balance) -> AccountAnswer:
    """A balance as the API shows it."""
    return AccountAnswer(
        id=balance.account_id,
        plan=balance.plan,
        monthly=balance.monthly,
        allowance=balance.allowance,
        bonus=balance.bonus,
        held=balance.held,
        frozen=balance.frozen,
        available=balance.available,
        debt=balance.debt,
        resets_at=balance.resets_at,
        can_buy=balance.can_buy,
        expiries=[ExpiryShape(credits=e.credits, expires_at=e.expires_at) for e in balance.expiries],
    )


def entry_shape(entry: Entry) -> EntryShape:
    """An entry as the API shows it."""
    return EntryShape(
        account_id=entry.account_id,
        seq=entry.seq,
        kind=entry.kind,
        amount=entry.amount,
        monthly=entry.monthly,
        bonus=entry.bonus,
        held=entry.held,
        available=entry.available,
        debt=entry.debt,
        lots=[LotShape(grant=lot.grant_id, kind=lot.kind, amount=lot.amount) for lot in entry.lots],
        lapsed=[LotShape(grant=lot.grant_id, kind=lot.kind, amount=lot.amount) for lot in entry.lapsed],
        hold=entry.hold,
        hold_until=entry.hold_until,
        reverses=entry.reverses,
        key=entry.key,
        reason=entry.reason,
        reference=entry.reference,
        effective_at=entry.effective_at,
        recorded_at=entry.recorded_at,
    )


def hold_answer(entry: Entry) -> HoldAnswer:
    """The hold that `entry` placed."""
    return HoldAnswer(
        id=entry.seq,
        amount=sum(lot.amount for lot in entry.lots),
        expires_at=entry.hold_until or entry.effective_at,
        entry=entry_shape(entry),
    )
