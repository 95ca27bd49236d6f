"""Until when the running month should go by what a subscription does to its account: as a new account would have it. Pure."""

from collections.abc import Iterable
from datetime import datetime

from tallystick.billing.told import Command
from tallystick.domain.account import Account
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import OpenAccount, RenewAllowance
from tallystick.domain.decide import decide
from tallystick.domain.settle import Decision


def month_end(account_id: str, told: Iterable[Command], now: datetime, catalogue: Catalogue) -> datetime | None:
    """When the month ends that was paid for and runs at `now`; None while nothing is paid for."""
    told = tuple(told)
    if not any(isinstance(command, RenewAllowance) and now in command.period for command in told):
        return None
    account: Account | None = None
    for command in (OpenAccount(account_id=account_id, plan=catalogue.first_plan.name), *told):
        outcome = decide(account, command, now, catalogue)
        # What a new account refuses the real one has refused as well.
        account = outcome.account if isinstance(outcome, Decision) else account
    return None if account is None else account.resets_at(now)
