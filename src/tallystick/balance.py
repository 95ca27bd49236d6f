"""What a host application is told of an account: plain answers, made from the account's state."""

from dataclasses import dataclass
from datetime import datetime

from tallystick.domain.account import Account
from tallystick.domain.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Expiry:
    """Credits that lapse at an instant unless they are used before."""

    credits: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account has at one instant, in credits (S6).

    `allowance` is the size of the open allowance that `monthly` is left of, 0 when none is open;
    `resets_at` is when it ends. `frozen` of what is `held` waits for the end of a dispute (S25). `expiries` say
    what will lapse, soonest first, without what is held.
    """

    account_id: str
    plan: str
    monthly: int
    allowance: int
    bonus: int
    held: int
    frozen: int
    available: int
    debt: int
    resets_at: datetime | None
    can_buy: bool
    expiries: tuple[Expiry, ...]


@dataclass(frozen=True, slots=True)
class Spent:
    """A spend that happened: how much came from where, and the balances after it (S10).

    `replayed` is True when this answers a key that was used before (S7): nothing was spent again.
    """

    seq: int
    amount: int
    monthly: int
    bonus: int
    available: int
    replayed: bool


def balance_of(account: Account, catalogue: Catalogue, now: datetime) -> Balance:
    """The balances of a settled account at `now`."""
    plan = catalogue.plan(account.plan)
    resets_at = account.resets_at(now)
    open_allowance = account.allowance if resets_at is not None else None
    expiring = [(g.expires_at, g.free) for g in account.grants if g.expires_at is not None and g.free]
    return Balance(
        account_id=account.id,
        plan=account.plan,
        monthly=account.monthly,
        allowance=0 if open_allowance is None else open_allowance.credits,
        bonus=account.bonus,
        held=account.held,
        frozen=account.frozen,
        available=account.available,
        debt=account.debt,
        resets_at=resets_at,
        can_buy=plan is not None and plan.can_buy,
        expiries=tuple(Expiry(credits, at) for at, credits in sorted(expiring)),
    )
