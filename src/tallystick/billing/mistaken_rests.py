"""Months in which something was done for a rest of which more has been heard since: done anew (S27). Pure.

Where the end of one rest and the beginning of the next are still unheard, two rests look like one long one. What was
done for that is not told any more once they are heard, and the month is brought to where it would be without it. So is
one that began as the first plan's while it was not heard that the rest was over.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tallystick.billing.told import Command, counts_since
from tallystick.domain.account import Account, Allowance, Entry
from tallystick.domain.catalogue import Plan
from tallystick.domain.commands import RenewAllowance, SetPlan

_FOR_A_REST = ("rest:", "rested:")
_ANEW = re.compile(r"(?:^|:)anew:(\d+)")


def began_as_the_first_plans(account: Account, first: Plan, now: datetime) -> bool:
    """Whether the running month is one of a paid time that opened as the first plan's, as while a subscription rests."""
    month = account.allowance
    return month is not None and now in month.period and month.is_paid_at(now) and month.plan == first.name


def done_anew(
    told: Sequence[Command], account: Account, done: Iterable[Entry], first: Plan, now: datetime, *, carried: bool
) -> tuple[Command, ...]:
    """What is told, where something was `done` for a rest that is not told any more, or where the month of an account
    that is `carried` began as the first plan's and no rest is told: then all that followed, once more.

    `done` are the changes of plan that the ledger has since the running month was opened, and maybe earlier ones. What
    was used of a month by then is not owed, as of any that was opened in error.
    """
    done = tuple(done)
    known = _by_what_was_done(told, done)
    month = account.allowance
    if month is None or now not in month.period:
        return known
    since = {entry.seq: entry.key for entry in done if entry.seq >= month.opened_by and entry.key is not None}
    mistaken = [seq for seq, key in since.items() if key.startswith(_FOR_A_REST) and not _is_told(key, told)]
    mended = [int(seq) for key in since.values() for seq in _ANEW.findall(key)]
    begun = next((n for n, command in enumerate(told) if isinstance(command, SetPlan) and command.rests), None)
    if carried and begun is None and began_as_the_first_plans(account, first, now):
        mistaken.append(month.opened_by)
    if not mistaken and not mended:
        return known
    # It is named by the last mistake, so that it is done once for each.
    name = f"anew:{max(mistaken + mended)}"
    if begun is not None:
        return (*known[:begun], *(_once_more(command, name) for command in told[begun:]))
    return _as_it_began(told, account.id, month, name, first, now) or known


def _by_what_was_done(told: Sequence[Command], done: Iterable[Entry]) -> tuple[Command, ...]:
    """The same, where what was done anew in an earlier month goes by the key under which that was."""
    keys = {_plain(key): key for entry in done if (key := entry.key) is not None and _plain(key) != key}
    return tuple(replace(each, key=keys[each.key]) if each.key in keys else each for each in told)


def _is_told(key: str, told: Sequence[Command]) -> bool:
    """Whether what was done under a key is told still: a rest whose end has been heard since is the same one."""
    plain = _plain(key)
    return any(command.key == plain or command.key.startswith(f"{plain}:") for command in told)


def _plain(key: str) -> str:
    """The key under which it was told, of what was done anew; any other as it is."""
    return key.split(":anew:")[0]


def _once_more(command: Command, name: str) -> Command:
    return command if isinstance(command, RenewAllowance) else replace(command, key=f"{command.key}:{name}")


def _as_it_began(
    told: Sequence[Command], account_id: str, month: Allowance, name: str, first: Plan, now: datetime
) -> tuple[Command, ...] | None:
    """The month as the one of the plan with which it began, and what was changed within it; None if nothing paid for it."""
    start = month.period.start
    paid = [c for c in told if isinstance(c, RenewAllowance) and now in c.period]
    if not paid:
        return None
    before = [command for command in told if (counts_since(command) or now) <= start]
    after = [command for command in told if command not in before]
    emptied = SetPlan(
        account_id=account_id,
        key=name,
        plan=first.name,
        since=start - timedelta.resolution,
        rests=True,
        reason="Subscription did not rest",
        reference=paid[-1].reference,
    )
    plan = before[-1].plan if before else paid[-1].plan
    whole = replace(emptied, key=f"{name}:{plan}", plan=plan, since=start, rests=False)
    return (*before, emptied, whole, *(_once_more(command, name) for command in after))
