"""The /v1 API for other back ends: accounts, spends, holds, grants and entries, with secret keys.

Every write carries an Idempotency-Key (S7): repeated, it answers the same again, with
`Idempotent-Replayed: true`.
"""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import TypeAdapter

from tallystick.domain.account import LAST_ENTRY, GrantKind
from tallystick.domain.commands import (
    Capture,
    ExtendHold,
    GrantBonus,
    KeyedCommand,
    PlaceHold,
    Release,
    Remove,
    Reverse,
    Spend,
)
from tallystick.domain.errors import AccountExists, InsufficientCredits, InvalidInput, TallystickError
from tallystick.ledger import Receipt
from tallystick.service import Tallystick
from tallystick.web.addresses import ExactRoute
from tallystick.web.problems import status_of
from tallystick.web.quick import Plain, json_answer, quick_route
from tallystick.web.v1_access import Key, authorize
from tallystick.web.v1_examples import ACCOUNT, HOLD, SPEND
from tallystick.web.v1_operations import OPERATIONS, REPLAYED, declare
from tallystick.web.v1_putting import command_of_put
from tallystick.web.v1_refunds import add_refunds
from tallystick.web.v1_shapes import (
    AccountAnswer,
    AccountRequest,
    BatchAnswer,
    BatchRequest,
    BatchResult,
    BatchSpend,
    CaptureRequest,
    EntriesPage,
    EntryShape,
    ExtensionRequest,
    GrantRequest,
    HoldAnswer,
    HoldRequest,
    PageRequest,
    ReasonRequest,
    RemovalRequest,
    SpendRequest,
    account_answer,
    entry_shape,
    hold_answer,
    problem_shape,
    refused_alone,
    with_buy_at,
)

AccountId = Annotated[
    str,
    Path(
        description="The account's id, as the host application names it: visible ASCII characters without spaces.",
        examples=[ACCOUNT],
        json_schema_extra={"minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    ),
]
Number = Annotated[int, Path(ge=1, le=LAST_ENTRY, json_schema_extra={"format": "int64"})]
SpendNumber = Annotated[Number, Path(description="The number of the spend's entry.", examples=[SPEND])]
HoldNumber = Annotated[Number, Path(description="The hold's id.", examples=[HOLD])]

_write_entry = TypeAdapter(EntryShape).serializer.to_json
_write_batch = TypeAdapter(BatchAnswer).serializer.to_json


def make_v1(credits: Tallystick) -> APIRouter:
    """The routes, for one Tallystick."""
    # What comes without a Content-Type is JSON too.
    router = APIRouter(prefix="/v1", route_class=ExactRoute, tags=["v1"], strict_content_type=False)
    declared = partial(declare, credits)
    dashboard = None if credits.stripe is None else credits.stripe.base_url + "/dashboard"

    async def take(command: KeyedCommand) -> Receipt:
        try:
            return await credits.ledger.submit(command)
        except InsufficientCredits as refusal:
            raise with_buy_at(refusal, dashboard) from refusal

    async def submit(command: KeyedCommand, response: Response) -> Receipt:
        receipt = await take(command)
        if receipt.replayed:
            response.headers.update(REPLAYED)
        return receipt

    # The two that make up the load come first, since routes are tried in order.
    async def spend(id: AccountId, asked: SpendRequest, key: Key, response: Response) -> EntryShape:
        """Consume credits in burn order, all or nothing."""
        return entry_shape((await submit(_spend(id, key, asked), response)).entry)

    async def spend_quickly(plain: Plain) -> Response | None:
        asked = plain.body_as(SpendRequest)
        if asked is None or not plain.key:
            return None
        await authorize(credits, plain.secret, OPERATIONS["spend"].scope)
        receipt = await take(_spend(plain.path["id"], plain.key, asked))
        answer = _write_entry(entry_shape(receipt.entry))
        return json_answer(answer, 201, REPLAYED if receipt.replayed else None)

    router.add_api_route(
        "/accounts/{id}/spends",
        spend,
        methods=["POST"],
        route_class_override=quick_route(spend_quickly),
        **declared("spend"),
    )

    async def batch(asked: BatchRequest) -> BatchAnswer:
        """Up to 1,000 spends over any accounts, each with its own key and its own result."""
        made = [_made(spend) for spend in asked.spends]
        answers = iter(await credits.ledger.submit_all([c for c in made if isinstance(c, Spend)]))
        outcomes = [next(answers) if isinstance(c, Spend) else c for c in made]
        return BatchAnswer(results=[_result(outcome, dashboard) for outcome in outcomes])

    async def batch_quickly(plain: Plain) -> Response | None:
        asked = plain.body_as(BatchRequest)
        if asked is None:
            return None
        await authorize(credits, plain.secret, OPERATIONS["spend_batch"].scope)
        return json_answer(_write_batch(await batch(asked)), 200)

    router.add_api_route(
        "/spends:batch",
        batch,
        methods=["POST"],
        route_class_override=quick_route(batch_quickly),
        **declared("spend_batch"),
    )

    async def put(id: str, asked: AccountRequest, key: str, response: Response) -> None:
        command = await command_of_put(credits, id, asked, key)
        if command is not None:
            await submit(command, response)

    @router.get("/accounts/{id}", **declared("get_account"))
    async def account(id: AccountId) -> AccountAnswer:
        """Balances, plan, reset date and what will expire."""
        return account_answer(await credits.balance(id))

    @router.put("/accounts/{id}", **declared("put_account"))
    async def put_account(id: AccountId, asked: AccountRequest, key: Key, response: Response) -> AccountAnswer:
        """Open the account on a plan, or put it on that plan when it is open.

        Answers with the account as it is now, also to a repeated request: what the first one did is not done again.
        """
        try:
            await put(id, asked, key, response)
        except AccountExists:
            # Opened by somebody else in the meantime: now it is put on the plan.
            await put(id, asked, key, response)
        return account_answer(await credits.balance(id))

    @router.post("/accounts/{id}/spends/{seq}/reverse", **declared("reverse_spend"))
    async def reverse(
        id: AccountId, seq: SpendNumber, key: Key, response: Response, asked: ReasonRequest | None = None
    ) -> EntryShape:
        """Return a spend's credits to the grants they came from."""
        reason = "" if asked is None else asked.reason
        command = Reverse(account_id=id, key=key, entry=seq, reason=reason)
        return entry_shape((await submit(command, response)).entry)

    @router.post("/accounts/{id}/holds", **declared("place_hold"))
    async def hold(id: AccountId, asked: HoldRequest, key: Key, response: Response) -> HoldAnswer:
        """Set credits aside for work whose cost is not known yet."""
        command = PlaceHold(
            account_id=id, key=key, amount=asked.amount, seconds=asked.seconds, operation=asked.operation
        )
        return hold_answer((await submit(command, response)).entry)

    @router.post("/accounts/{id}/holds/{hold}/capture", **declared("capture_hold"))
    async def capture(
        id: AccountId, hold: HoldNumber, asked: CaptureRequest, key: Key, response: Response
    ) -> EntryShape:
        """Consume credits of a hold, and what is available if that is not enough; release the rest."""
        command = Capture(account_id=id, key=key, hold=hold, amount=asked.amount)
        return entry_shape((await submit(command, response)).entry)

    @router.post("/accounts/{id}/holds/{hold}/extend", **declared("extend_hold"))
    async def extend(
        id: AccountId, hold: HoldNumber, asked: ExtensionRequest, key: Key, response: Response
    ) -> EntryShape:
        """Set more aside in a hold, or let it last longer, or both."""
        command = ExtendHold(account_id=id, key=key, hold=hold, amount=asked.amount, seconds=asked.seconds)
        return entry_shape((await submit(command, response)).entry)

    @router.post("/accounts/{id}/holds/{hold}/release", **declared("release_hold"))
    async def release(id: AccountId, hold: HoldNumber, key: Key, response: Response) -> EntryShape:
        """Give back everything a hold has set aside."""
        return entry_shape((await submit(Release(account_id=id, key=key, hold=hold), response)).entry)

    @router.post("/accounts/{id}/grants", **declared("grant_credits"))
    async def grant(id: AccountId, asked: GrantRequest, key: Key, response: Response) -> EntryShape:
        """Add bonus credits."""
        command = GrantBonus(
            account_id=id,
            key=key,
            credits=asked.credits,
            kind=GrantKind(asked.kind),
            effective_at=asked.effective_at,
            expires_at=asked.expires_at,
            reason=asked.reason,
            reference=asked.reference,
        )
        return entry_shape((await submit(command, response)).entry)

    @router.post("/accounts/{id}/removals", **declared("remove_credits"))
    async def remove(id: AccountId, asked: RemovalRequest, key: Key, response: Response) -> EntryShape:
        """Take credits away, with a reason: an operator's correction."""
        command = Remove(account_id=id, key=key, amount=asked.amount, reason=asked.reason)
        return entry_shape((await submit(command, response)).entry)

    @router.get("/accounts/{id}/entries", **declared("list_entries"))
    async def entries(id: AccountId, asked: Annotated[PageRequest, Query()]) -> EntriesPage:
        """The account's ledger, newest first."""
        await credits.balance(id)
        found = await credits.ledger.entries(id, before=asked.before, limit=asked.limit + 1, kind=asked.kind)
        page = found[: asked.limit]
        return EntriesPage(
            entries=[entry_shape(entry) for entry in page],
            next_before=page[-1].seq if len(found) > asked.limit else None,
        )

    add_refunds(router, credits)
    return router


def _spend(account_id: str, key: str, asked: SpendRequest | BatchSpend) -> Spend:
    return Spend(account_id=account_id, key=key, amount=asked.amount, operation=asked.operation)


def _made(asked: BatchSpend) -> Spend | TallystickError:
    try:
        return _spend(asked.account_id, asked.key, asked)
    except InvalidInput as error:
        return refused_alone(asked) or error


def _result(outcome: Receipt | TallystickError, dashboard: str | None) -> BatchResult:
    if isinstance(outcome, Receipt):
        return BatchResult(status=201, entry=entry_shape(outcome.entry), replayed=outcome.replayed, problem=None)
    error = with_buy_at(outcome, dashboard) if isinstance(outcome, InsufficientCredits) else outcome
    return BatchResult(status=status_of(error), entry=None, replayed=False, problem=problem_shape(error))
