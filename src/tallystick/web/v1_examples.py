"""What the OpenAPI document shows of each operation of /v1: a morning of the account `acme`.

The answers are what the rules make of the requests, so they cannot say what the service would not. A test sends
the same requests to the service and compares.
"""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from tallystick.balance import balance_of
from tallystick.domain.account import Account, Entry
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import (
    Capture,
    Command,
    ExtendHold,
    GrantBonus,
    OpenAccount,
    PlaceHold,
    Release,
    Remove,
    Reverse,
    Spend,
)
from tallystick.domain.decide import decide
from tallystick.domain.errors import InsufficientCredits, Refusal
from tallystick.domain.taking_back import NO_PAST, Past
from tallystick.web.v1_refund_shapes import QuoteAnswer, RefundAnswer
from tallystick.web.v1_shapes import (
    AccountAnswer,
    BatchAnswer,
    BatchResult,
    EntriesPage,
    GrantRequest,
    Problem,
    account_answer,
    entry_shape,
    hold_answer,
    problem_shape,
    with_buy_at,
)

NOW = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
CATALOGUE = Catalogue((Plan("free", 25), Plan("plus", 500, can_buy=True)), ())
DASHBOARD = "https://credits.example.com/dashboard"

ACCOUNT = "acme"
SPEND, HOLD = 2, 4
"""The numbers of the spend that is reversed and of the hold that is resolved."""

PAGE = 2
"""How many entries a page is asked for."""

PURCHASE = "pur_5c0f6d1e8b7a4f3e9d2c1b0a99887766"


@dataclass(frozen=True, slots=True)
class Example:
    """The body of a request to an operation, and the answer. `key` is its idempotency key, if it needs one."""

    answer: object
    body: dict[str, Any] | None = None
    key: str | None = None

    def answered(self) -> dict[str, Any]:
        """The answer as JSON has it."""
        shown: dict[str, Any] = TypeAdapter(type(self.answer)).dump_python(self.answer, mode="json")
        return shown


class _Morning:
    """The account as it is so far, and its entries."""

    def __init__(self) -> None:
        self.account: Account | None = None
        self.entries: tuple[Entry, ...] = ()
        self.keys: Iterator[str] = (f"request-{number}" for number in range(8121, 9000))

    def ask(self, command: Command, past: Past = NO_PAST) -> Refusal | None:
        """Carry out `command`, or return why not."""
        outcome = decide(self.account, command, NOW, CATALOGUE, past)
        if isinstance(outcome, Refusal):
            return outcome
        self.account = outcome.account
        self.entries = (*self.entries, *outcome.entries)
        return None

    def show(self, kind: Any, body: dict[str, Any], *, past: Past = NO_PAST, **more: Any) -> Example:
        """A command of what the body says, and `more` that it does not; answered with its entry."""
        command = kind(account_id=ACCOUNT, key=next(self.keys), **{**body, **more})
        self.ask(command, past)
        return Example(entry_shape(self.entries[-1]), body or None, command.key)

    def balance(self) -> AccountAnswer:
        """The account as the API shows it."""
        if self.account is None:
            raise LookupError("the account is opened first")
        return account_answer(balance_of(self.account, CATALOGUE, NOW))


def _morning() -> dict[str, Example]:
    now = _Morning()
    told: dict[str, Example] = {}
    opened = now.show(OpenAccount, {"plan": "plus"})
    told["put_account"] = Example(now.balance(), opened.body, opened.key)
    told["spend"] = now.show(Spend, {"amount": 3, "operation": "generate"})
    past = Past(now.entries[SPEND - 1], origins={1: now.entries[0]})
    told["reverse_spend"] = now.show(Reverse, {"reason": "the model failed"}, past=past, entry=SPEND)
    held = now.show(PlaceHold, {"amount": 20, "seconds": 900, "operation": "transcribe"})
    told["place_hold"] = Example(hold_answer(now.entries[-1]), held.body, held.key)
    told["extend_hold"] = now.show(ExtendHold, {"amount": 10, "seconds": 1800}, hold=HOLD)
    # A hold is resolved once, so each of the two ways has a morning of its own.
    other = copy(now)
    told["release_hold"] = other.show(Release, {}, hold=HOLD)
    told["capture_hold"] = now.show(Capture, {"amount": 12}, hold=HOLD)
    gift: dict[str, Any] = {
        "credits": 200,
        "kind": "gifted",
        "expires_at": "2027-03-01T00:00:00Z",
        "reason": "thank you",
    }
    told["grant_credits"] = now.show(GrantBonus, gift, expires_at=GrantRequest(**gift).expires_at)
    told["remove_credits"] = now.show(Remove, {"amount": 50, "reason": "granted twice"})
    told["get_account"] = Example(now.balance())
    shown = [entry_shape(entry) for entry in reversed(now.entries[-PAGE:])]
    told["list_entries"] = Example(EntriesPage(entries=shown, next_before=shown[-1].seq))
    told["spend_batch"] = _batch(now)
    return told


def _batch(now: _Morning) -> Example:
    asked: list[dict[str, Any]] = [
        {"account_id": ACCOUNT, "key": "item-1", "amount": 3, "operation": "generate"},
        {"account_id": ACCOUNT, "key": "item-2", "amount": 10_000, "operation": "train"},
    ]
    results = []
    for spend in asked:
        refusal = now.ask(Spend(**spend))
        entry, problem = (None, _problem(refusal)) if refusal else (entry_shape(now.entries[-1]), None)
        results.append(
            BatchResult(status=problem.status if problem else 201, entry=entry, replayed=False, problem=problem)
        )
    return Example(BatchAnswer(results=results), {"spends": asked})


def _problem(refusal: Refusal) -> Problem:
    return problem_shape(with_buy_at(refusal, DASHBOARD) if isinstance(refusal, InsufficientCredits) else refusal)


_REFUNDS = {
    "quote_refund": Example(
        QuoteAnswer(
            purchase_id=PURCHASE,
            account_id=ACCOUNT,
            currency="USD",
            paid=599,
            refunded=0,
            refundable=599,
            amount=200,
            credits=200,
            unspent=150,
            unspent_worth=449,
            takes=66,
            debt=0,
        )
    ),
    "refund_purchase": Example(
        RefundAnswer(
            id="refund_0b9e5d7c3a1f4e2d8c6b5a4938271605",
            purchase_id=PURCHASE,
            amount=200,
            currency="USD",
            status="done",
            stripe_refund_id="re_3QXyZ2eZvKYlo2C10aBcDeFg",
            reason="charged twice",
            created_at=NOW,
        ),
        {"amount": 200, "reason": "charged twice"},
        "refund-77",
    ),
}

EXAMPLES = {**_morning(), **_REFUNDS}
"""One for each operation, those of the morning in the order in which they happen."""
