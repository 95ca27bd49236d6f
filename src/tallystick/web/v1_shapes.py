"""What the /v1 API is sent and answers: models and dataclasses that check requests and describe both in OpenAPI."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, ValidationError
from pydantic_core import PydanticCustomError

from tallystick.balance import Balance
from tallystick.domain.account import LAST_ENTRY, Entry, EntryKind
from tallystick.domain.amounts import MAX_CREDITS
from tallystick.domain.commands import HOLD_SECONDS, MAX_HOLD_SECONDS, MAX_TEXT
from tallystick.domain.errors import InsufficientCredits, TallystickError
from tallystick.domain.frozen import cheaply_made
from tallystick.web.problems import from_validation, problem_body

# Said of every whole number, since generators of clients take 32 bits for it otherwise.
Whole = Annotated[int, Field(json_schema_extra={"format": "int64"})]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Credits = Annotated[Whole, Field(strict=True, ge=1, le=MAX_CREDITS, description="Whole credits (S1).", examples=[3])]
Seconds = Annotated[Whole, Field(strict=True, ge=1, le=MAX_HOLD_SECONDS)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Operation = Annotated[
    str,
    Field(max_length=MAX_TEXT, description="What it is for; the entry's `reason` repeats it.", examples=["generate"]),
]
Why = Annotated[Text, Field(description="Why; the ledger keeps it.", examples=["the model failed"])]
BonusKind = Literal["bought", "gifted", "promotional", "adjusted"]

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _written_in_full(value: object) -> object:
    # Left to itself, the model takes numbers for seconds or milliseconds since 1970, by their size.
    if isinstance(value, str) and _RFC_3339.fullmatch(value):
        return value
    raise PydanticCustomError(
        "rfc_3339", "Input should be a date and time with an offset as RFC 3339 has it, like 2027-03-01T00:00:00Z"
    )


Instant = Annotated[AwareDatetime, BeforeValidator(_written_in_full)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PageRequest(_Request):
    """Which entries a page is to have."""

    before: Annotated[
        Annotated[int, Field(json_schema_extra={"format": "int64"})] | None,
        Field(ge=1, le=LAST_ENTRY, description="Only older ones than this entry: the last page's `next_before`."),
    ] = None
    limit: Annotated[int, Field(ge=1, le=200, description="How many at most.", examples=[2])] = 50
    kind: Annotated[EntryKind | None, Field(description="Only entries of this kind.")] = None


class AccountRequest(_Request):
    """Which plan the account is to be on; a new account without one starts on the first plan."""

    plan: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=64,
            description="A plan of the catalogue. Left out, an open account stays on its plan.",
            examples=["plus"],
        ),
    ] = None
    reason: Why = ""


class SpendRequest(_Request):
    """A spend of known cost."""

    amount: Credits
    operation: Operation = ""


class BatchSpend(_Request):
    """One spend of a batch, with its own idempotency key. What is wrong with one of these values, its result says."""

    account_id: Annotated[InstanceOf[str], Field(description="The account that pays.", examples=["acme"])]
    key: Annotated[
        InstanceOf[str],
        Field(
            description="Its idempotency key, unique in the account: 1 to 255 visible ASCII characters.",
            examples=["item-1"],
        ),
    ]
    amount: Annotated[Whole, Field(strict=True, description="Whole credits, from 1 to 10^12 (S1).", examples=[3])]
    operation: Annotated[
        InstanceOf[str],
        Field(
            description=f"What it is for, in at most {MAX_TEXT} characters; the entry's `reason` repeats it.",
            examples=["generate"],
        ),
    ] = ""


class BatchRequest(_Request):
    """Spends over any accounts. They are independent: one that is refused does not touch the others."""

    spends: Annotated[list[BatchSpend], Field(min_length=1, max_length=1_000, description="In any order.")]


class HoldRequest(_Request):
    """How much to set aside, and for how many seconds."""

    amount: Credits
    seconds: Annotated[Seconds, Field(description="After so many seconds it counts as released (S12).")] = (
        HOLD_SECONDS
    )
    operation: Operation = ""


class ExtensionRequest(_Request):
    """How much more to set aside, and how many seconds from now the hold is to last; one of them, or both."""

    amount: Annotated[Credits | None, Field(description="How much more to set aside.", examples=[10])] = None
    seconds: Annotated[
        Seconds | None,
        Field(description="How long from now it is to last; never shortens it.", examples=[1800]),
    ] = None


class CaptureRequest(_Request):
    """What the work cost."""

    amount: Credits


class GrantRequest(_Request):
    """Bonus credits, usable from `effective_at` (now) until `expires_at` (never)."""

    credits: Annotated[Credits, Field(examples=[200])]
    kind: Annotated[
        BonusKind,
        Field(description="Where they come from. Promotional credits are spent before the others (S10)."),
    ] = "adjusted"
    effective_at: Annotated[Instant | None, Field(description="From when on they are usable; now.")] = None
    expires_at: Annotated[Instant | None, Field(description="When they lapse; never.")] = None
    reason: Why = ""
    reference: Annotated[
        str | None, Field(max_length=255, description="Your own id of what this is for.", examples=["order-77"])
    ] = None


class RemovalRequest(_Request):
    """How much to take away, and why."""

    amount: Credits
    reason: Annotated[str, Field(min_length=1, max_length=MAX_TEXT, description="Why.", examples=["granted twice"])]


class ReasonRequest(_Request):
    """Why."""

    reason: Why = ""


class ExpiryShape(BaseModel):
    """Credits that lapse at an instant unless they are used before."""

    credits: Annotated[Whole, Field(description="How many.")]
    expires_at: Annotated[datetime, Field(description="When.")]


class AccountAnswer(BaseModel):
    """What an account has now, in credits: monthly + bonus - held = available (S6)."""

    id: Annotated[str, Field(description="The account's id, as the host application names it.")]
    plan: Annotated[str, Field(description="The plan it is on.")]
    monthly: Annotated[Whole, Field(description="What is left of the current period's allowance.")]
    allowance: Annotated[Whole, Field(description="The size of that allowance; 0 when none is open.")]
    bonus: Annotated[Whole, Field(description="Bought, gifted, promotional and adjusted credits; never reset.")]
    held: Annotated[Whole, Field(description="Set aside by holds, or frozen.")]
    frozen: Annotated[Whole, Field(description="What of `held` waits for the end of a dispute (S25).")]
    available: Annotated[Whole, Field(description="What can be spent now.")]
    debt: Annotated[
        Whole, Field(description="What it owes of refunded credits; the next bonus credits repay it (S24).")
    ]
    resets_at: Annotated[
        datetime | None,
        Field(description="When the open allowance lapses and the next opens; null when none is open."),
    ]
    can_buy: Annotated[bool, Field(description="Whether its plan may buy packs (S19).")]
    expiries: Annotated[list[ExpiryShape], Field(description="What will lapse, soonest first, without what is held.")]


# What makes up the load is answered with plain objects. A model checks every value once more as it is made, which took
# longer than writing the answer (decision 0008).
@cheaply_made
@dataclass(frozen=True, slots=True)
class LotShape:
    """So many credits of one grant."""

    grant: Annotated[Whole, Field(description="The number of the entry that made the grant.")]
    kind: Annotated[str, Field(description="`allowance`, or one of the kinds of bonus credits.")]
    amount: Annotated[Whole, Field(description="How many credits.")]


@cheaply_made
@dataclass(frozen=True, slots=True)
class EntryShape:
    """One immutable entry, with the balances after it."""

    account_id: Annotated[str, Field(description="Whose ledger it is in.")]
    seq: Annotated[Whole, Field(description="Its number in that ledger: 1, 2, 3, … (S5).")]
    kind: Annotated[EntryKind, Field(description="What has happened.")]
    amount: Annotated[Whole, Field(description="The change of monthly + bonus: negative for a spend, 0 for a hold.")]
    monthly: Annotated[Whole, Field(description="Monthly credits after it.")]
    bonus: Annotated[Whole, Field(description="Bonus credits after it.")]
    held: Annotated[Whole, Field(description="What is set aside after it.")]
    available: Annotated[Whole, Field(description="What could be spent after it.")]
    debt: Annotated[Whole, Field(description="What was owed after it.")]
    lots: Annotated[
        list[LotShape], Field(description="Which grants it took from, set aside or returned to, and how much (S10).")
    ]
    lapsed: Annotated[
        list[LotShape], Field(description="Of a reversal: what did not come back, because its grant is over (S13).")
    ]
    hold: Annotated[Whole | None, Field(description="The id of the hold it is about.")]
    hold_until: Annotated[datetime | None, Field(description="That hold's deadline.")]
    reverses: Annotated[Whole | None, Field(description="Of a reversal: the number of the entry it reverses.")]
    key: Annotated[str | None, Field(description="The idempotency key it was asked for with (S7).")]
    reason: Annotated[str, Field(description="What the caller said it was for.")]
    reference: Annotated[str | None, Field(description="The caller's own id of what it is for.")]
    effective_at: Annotated[datetime, Field(description="The instant from which it counts.")]
    recorded_at: Annotated[datetime, Field(description="When it was written down.")]


class HoldAnswer(BaseModel):
    """A hold as it was placed. In a replay it may have been resolved since, or its deadline may have passed."""

    id: Annotated[Whole, Field(description="What to capture, extend or release.")]
    amount: Annotated[Whole, Field(description="How much it sets aside.")]
    expires_at: Annotated[datetime, Field(description="When it counts as released, unless it is extended.")]
    entry: Annotated[EntryShape, Field(description="The entry that placed it.")]


class EntriesPage(BaseModel):
    """A page of entries, newest first."""

    entries: Annotated[list[EntryShape], Field(description="At most `limit` of them.")]
    next_before: Annotated[
        Whole | None, Field(description="What to give as `before` for the next page; null on the last.")
    ]


class Problem(BaseModel):
    """An error as RFC 9457 describes it. Further members depend on `code`; expect codes that are not listed yet."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(description="`urn:tallystick:problem:` and the code.")]
    title: Annotated[str, Field(description="A summary of the status, for people.")]
    status: Annotated[int, Field(description="The HTTP status.", examples=[404])]
    detail: Annotated[str, Field(description="What happened, what state things are in, what to do; for people.")]
    code: Annotated[str, Field(description="Stable: what a program decides by.", examples=["unknown_account"])]


class InsufficientCreditsProblem(Problem):
    """Too few credits for something that is all or nothing (S11). Nothing was changed."""

    required: Annotated[Whole, Field(description="How many it needs.")]
    available: Annotated[Whole, Field(description="How many there are.")]
    shortfall: Annotated[Whole, Field(description="How many are missing.")]
    can_buy: Annotated[bool, Field(description="Whether the account's plan may buy packs (S19).")]
    resets_at: Annotated[Moment | None, Field(description="When the next allowance opens; null when none is open.")]
    buy_at: Annotated[str | None, Field(description="Where its owner buys credits; null if it cannot.")]


@cheaply_made
@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one spend: its entry, or its problem."""

    status: Annotated[int, Field(description="What the single route would have answered.", examples=[201])]
    entry: Annotated[EntryShape | None, Field(description="The entry of a spend that happened.")]
    replayed: Annotated[bool, Field(description="Whether its key was used before: nothing was spent again (S7).")]
    problem: Annotated[InsufficientCreditsProblem | Problem | None, Field(description="Why a spend did not happen.")]


@cheaply_made
@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """The results, in the order of the spends."""

    results: Annotated[list[BatchResult], Field(description="One for each spend, in their order.")]


def problem_shape(error: TallystickError) -> Problem:
    """An error as it stands inside an answer: the same as the problem document."""
    model = InsufficientCreditsProblem if isinstance(error, InsufficientCredits) else Problem
    return model(**problem_body(error))


def refused_alone(asked: BatchSpend) -> TallystickError | None:
    """What the route of single spends says is wrong with the body of such a spend; None if nothing is."""
    try:
        SpendRequest(amount=asked.amount, operation=asked.operation)
    except ValidationError as wrong:
        found = [{**each, "loc": ("body", *each["loc"])} for each in wrong.errors()]
        return from_validation(RequestValidationError(found))
    return None


def with_buy_at(refusal: InsufficientCredits, dashboard: str | None) -> InsufficientCredits:
    """The refusal, saying where the account's owner can buy; nowhere when its plan may not, or nothing is sold."""
    refusal.details["buy_at"] = dashboard if refusal.details["can_buy"] else None
    return refusal


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
