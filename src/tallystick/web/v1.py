"""The /v1 API for other back ends: accounts, spends, holds, grants and entries, with secret keys.

Every write carries an Idempotency-Key (S7): repeated, it answers the same again, with
`Idempotent-Replayed: true`.
"""

from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Path, Query, Response

from tallystick.api_keys import Scope
from tallystick.domain.account import LAST_ENTRY, EntryKind, GrantKind
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
from tallystick.domain.errors import AccountExists, InsufficientCredits, TallystickError
from tallystick.ledger import Receipt
from tallystick.service import Tallystick
from tallystick.web.problems import ProblemRoute, problem_body, status_of
from tallystick.web.quick import Plain, json_answer, quick_route
from tallystick.web.v1_access import Key, authorize, requires
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
    Problem,
    ReasonRequest,
    RemovalRequest,
    SpendRequest,
    account_answer,
    entry_shape,
    hold_answer,
)

_REPLAYED = {"Idempotent-Replayed": "true"}

AccountId = Annotated[str, Path(description="The account's id, as the host application names it.")]
Number = Annotated[int, Path(ge=1, le=LAST_ENTRY)]
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "The Idempotency-Key is missing, or the body is not JSON.",
        401: "The API key is missing, unknown or revoked.",
        402: "Not enough credits: says what is required, what is available, and where to buy.",
        403: "The API key lacks the scope.",
        404: "No such account, plan or entry.",
        409: "Not possible as things are.",
        422: "A value that cannot be used, or an Idempotency-Key that was used for another request.",
        503: "Overloaded, or the database does not answer: repeat with the same key after Retry-After.",
    }.items()
}


def make_v1(credits: Tallystick) -> APIRouter:
    """The routes, for one Tallystick."""
    router = APIRouter(prefix="/v1", route_class=ProblemRoute, tags=["v1"], responses=_PROBLEMS)

    def scope(wanted: Scope) -> Any:
        return requires(credits, wanted)

    async def take(command: KeyedCommand) -> Receipt:
        try:
            return await credits.ledger.submit(command)
        except InsufficientCredits as refusal:
            raise _where_to_buy(credits, refusal) from refusal

    async def submit(command: KeyedCommand, response: Response) -> Receipt:
        receipt = await take(command)
        if receipt.replayed:
            response.headers.update(_REPLAYED)
        return receipt

    # The two that make up the load come first, since routes are tried in order.
    async def spend(id: AccountId, asked: SpendRequest, key: Key, response: Response) -> EntryShape:
        """Consume credits in burn order, all or nothing."""
        return entry_shape((await submit(_spend(id, key, asked), response)).entry)

    async def spend_quickly(plain: Plain) -> Response | None:
        asked = plain.body_as(SpendRequest)
        if asked is None or not plain.key:
            return None
        await authorize(credits, plain.secret, Scope.SPEND)
        receipt = await take(_spend(plain.path["id"], plain.key, asked))
        return json_answer(entry_shape(receipt.entry), 201, _REPLAYED if receipt.replayed else None)

    router.add_api_route(
        "/accounts/{id}/spends",
        spend,
        methods=["POST"],
        status_code=201,
        dependencies=[scope(Scope.SPEND)],
        route_class_override=quick_route(spend_quickly),
    )

    async def batch(asked: BatchRequest) -> BatchAnswer:
        """Up to 1,000 spends over any accounts, each with its own key and its own result."""
        made = [_made(spend) for spend in asked.spends]
        answers = iter(await credits.ledger.submit_all([c for c in made if isinstance(c, Spend)]))
        outcomes = [next(answers) if isinstance(c, Spend) else c for c in made]
        return BatchAnswer(results=[_result(credits, outcome) for outcome in outcomes])

    async def batch_quickly(plain: Plain) -> Response | None:
        asked = plain.body_as(BatchRequest)
        if asked is None:
            return None
        await authorize(credits, plain.secret, Scope.SPEND)
        return json_answer(await batch(asked), 200)

    router.add_api_route(
        "/spends:batch",
        batch,
        methods=["POST"],
        dependencies=[scope(Scope.SPEND)],
        route_class_override=quick_route(batch_quickly),
    )

    async def put(id: str, asked: AccountRequest, key: str, response: Response) -> None:
        command = await command_of_put(credits, id, asked, key)
        if command is not None:
            await submit(command, response)

    @router.get("/accounts/{id}", dependencies=[scope(Scope.READ)])
    async def account(id: AccountId) -> AccountAnswer:
        """Balances, plan, reset date and what will expire."""
        return account_answer(await credits.balance(id))

    @router.put("/accounts/{id}", dependencies=[scope(Scope.ADMIN)])
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

    @router.post("/accounts/{id}/spends/{seq}/reverse", status_code=201, dependencies=[scope(Scope.SPEND)])
    async def reverse(
        id: AccountId, seq: Number, key: Key, response: Response, asked: ReasonRequest | None = None
    ) -> EntryShape:
        """Return a spend's credits to the grants they came from."""
        reason = "" if asked is None else asked.reason
        command = Reverse(account_id=id, key=key, entry=seq, reason=reason)
        return entry_shape((await submit(command, response)).entry)

    @router.post("/accounts/{id}/holds", status_code=201, dependencies=[scope(Scope.SPEND)])
    async def hold(id: AccountId, asked: HoldRequest, key: Key, response: Response) -> HoldAnswer:
        """Set credits aside for work whose cost is not known yet."""
        command = PlaceHold(
            account_id=id, key=key, amount=asked.amount, seconds=asked.seconds, operation=asked.operation
        )
        return hold_answer((await submit(command, response)).entry)

    @router.post("/accounts/{id}/holds/{hold}/capture", status_code=201, dependencies=[scope(Scope.SPEND)])
    async def capture(id: AccountId, hold: Number, asked: CaptureRequest, key: Key, response: Response) -> EntryShape:
        """Consume credits of a hold, and what is available if that is not enough; release the rest."""
        command = Capture(account_id=id, key=key, hold=hold, amount=asked.amount)
        return entry_shape((await submit(command, response)).entry)

    @router.post("/accounts/{id}/holds/{hold}/extend", status_code=201, dependencies=[scope(Scope.SPEND)])
    async def extend(
        id: AccountId, hold: Number, asked: ExtensionRequest, key: Key, response: Response
    ) -> EntryShape:
        """Set more aside in a hold, or let it last longer, or both."""
        command = ExtendHold(account_id=id, key=key, hold=hold, amount=asked.amount, seconds=asked.seconds)
        return entry_shape((await submit(command, response)).entry)

    @router.post("/accounts/{id}/holds/{hold}/release", status_code=201, dependencies=[scope(Scope.SPEND)])
    async def release(id: AccountId, hold: Number, key: Key, response: Response) -> EntryShape:
        """Give back everything a hold has set aside."""
        return entry_shape((await submit(Release(account_id=id, key=key, hold=hold), response)).entry)

    @router.post("/accounts/{id}/grants", status_code=201, dependencies=[scope(Scope.GRANT)])
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

    @router.post("/accounts/{id}/removals", status_code=201, dependencies=[scope(Scope.ADMIN)])
    async def remove(id: AccountId, asked: RemovalRequest, key: Key, response: Response) -> EntryShape:
        """Take credits away, with a reason: an operator's correction."""
        command = Remove(account_id=id, key=key, amount=asked.amount, reason=asked.reason)
        return entry_shape((await submit(command, response)).entry)

    @router.get("/accounts/{id}/entries", dependencies=[scope(Scope.READ)])
    async def entries(
        id: AccountId,
        before: Annotated[int | None, Query(ge=1, le=LAST_ENTRY, description="The page's cursor.")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        kind: Annotated[EntryKind | None, Query(description="Only entries of this kind.")] = None,
    ) -> EntriesPage:
        """The account's ledger, newest first."""
        await credits.balance(id)
        found = await credits.ledger.entries(id, before=before, limit=limit + 1, kind=kind)
        page = found[:limit]
        return EntriesPage(
            entries=[entry_shape(entry) for entry in page],
            next_before=page[-1].seq if len(found) > limit else None,
        )

    add_refunds(router, credits)
    return router


def _spend(account_id: str, key: str, asked: SpendRequest) -> Spend:
    return Spend(account_id=account_id, key=key, amount=asked.amount, operation=asked.operation)


def _made(asked: BatchSpend) -> Spend | TallystickError:
    try:
        return _spend(asked.account_id, asked.key, asked)
    except TallystickError as error:
        return error


def _result(credits: Tallystick, outcome: Receipt | TallystickError) -> BatchResult:
    if isinstance(outcome, Receipt):
        return BatchResult(status=201, entry=entry_shape(outcome.entry), replayed=outcome.replayed)
    error = _where_to_buy(credits, outcome) if isinstance(outcome, InsufficientCredits) else outcome
    return BatchResult(status=status_of(error), problem=problem_body(error))


def openapi_document(credits: Tallystick) -> dict[str, Any]:
    """The OpenAPI 3.1 description of /v1: what `docs/openapi.json` holds."""
    app = FastAPI(title="Tallystick", version="1", summary="Credits for any back end.")
    app.include_router(make_v1(credits))
    return app.openapi()


def _where_to_buy(credits: Tallystick, refusal: InsufficientCredits) -> InsufficientCredits:
    if credits.stripe is not None and refusal.details["can_buy"]:
        refusal.details["buy_at"] = credits.stripe.base_url + "/dashboard"
    return refusal
