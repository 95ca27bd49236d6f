"""What PUT /v1/accounts/{id} comes to: an account that is opened, or put on another plan, once for each key."""

from tallystick.domain.account import EntryKind
from tallystick.domain.commands import KeyedCommand, OpenAccount, SetPlan, require_identifier
from tallystick.domain.errors import IdempotencyConflict, UnknownAccount
from tallystick.service import Tallystick
from tallystick.web.v1_shapes import AccountRequest


async def command_of_put(credits: Tallystick, id: str, asked: AccountRequest, key: str) -> KeyedCommand | None:
    """The command that `key` was used for before, or the one that the account needs now; None when it needs none.

    A plan is set also when the account is on it already: the entry keeps the key, so that a repetition that
    comes late does not undo what happened in between (S7). Raises InvalidInput, IdempotencyConflict.
    """
    require_identifier(key, "idempotency key")
    # In this order: what a twin of this request opens in between is found by its key.
    is_open = await _is_open(credits, id)
    first = await credits.ledger.entry_by_key(id, key)
    opens = not is_open if first is None else first.kind is EntryKind.ACCOUNT_OPENED
    if opens:
        plan = asked.plan or credits.catalogue.first_plan.name
        return OpenAccount(account_id=id, key=key, plan=plan, reason=asked.reason)
    if asked.plan is not None:
        return SetPlan(account_id=id, key=key, plan=asked.plan, reason=asked.reason)
    if first is not None:
        raise IdempotencyConflict(id, key)
    return None


async def _is_open(credits: Tallystick, id: str) -> bool:
    try:
        await credits.ledger.account(id)
    except UnknownAccount:
        return False
    return True
