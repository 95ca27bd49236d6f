"""The states a process has written or read last, remembered, so that the next batch need not read them.

A remembered state may be stale: another process may have gone on with the account. That is safe, because an
account's number only goes up and those of its entries are unique: what was decided on a stale state cannot be
written (S5, S9). The store then reads and decides again.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import datetime

from tallystick.domain.account import Account
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import (
    Capture,
    Command,
    ExtendHold,
    GrantBonus,
    PlaceHold,
    Release,
    RenewAllowance,
    SetPlan,
    Spend,
)
from tallystick.domain.errors import InvalidInput, shown
from tallystick.ledger.batch import NO_HISTORY, Batch, decide_batch

REMEMBERED = 50_000
"""How many accounts are remembered at most, unless it is said otherwise: those that were written or read last. Each
takes about a kilobyte."""

LEAST_REMEMBERED, MOST_REMEMBERED = 1_000, 100_000_000
"""Fewer would not be worth it: a batch has 250."""

LONGEST_REST = 64
"""For how many batches memory is left alone, at most, when other processes keep outdating it."""


def require_remembered(accounts: object) -> int:
    """Return how many accounts are to be remembered, or raise InvalidInput for what is no such number."""
    if type(accounts) is not int or not LEAST_REMEMBERED <= accounts <= MOST_REMEMBERED:
        raise InvalidInput(
            f"remembered_accounts must be a whole number from {LEAST_REMEMBERED:,} to {MOST_REMEMBERED:,}, not "
            f"{shown(accounts)}. Nothing was changed.",
            name="remembered_accounts",
        )
    return accounts


_KNOWS_ENOUGH = (Spend, PlaceHold, Capture, Release, ExtendHold, GrantBonus, SetPlan, RenewAllowance)


class Memory:
    """The accounts that were written or read last, as they were then."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._rest = self._longest_rest = 0

    def remember(self, accounts: Iterable[Account]) -> None:
        """Keep what has just been committed or read; what was kept longest makes room."""
        kept = self._accounts
        for account in accounts:
            kept[account.id] = account
            kept.move_to_end(account.id)
        # A dict would look for its first one past all that were taken out before.
        while len(kept) > self._limit:
            kept.popitem(last=False)

    def forget(self, account_id: str) -> None:
        """The account is not there any more."""
        self._accounts.pop(account_id, None)

    def get(self, account_id: str) -> Account | None:
        """The account as this process knows it, or None when it is not remembered."""
        return self._accounts.get(account_id)

    def unknown(self, commands: Sequence[Command]) -> list[str]:
        """The accounts that have to be read and remembered before a batch can be decided from memory, sorted.

        Empty when it takes more than that; see `decide`. They may be read without locking them: what was decided
        on a stale state cannot be written.
        """
        ids = {command.account_id for command in commands if command.account_id not in self._accounts}
        if not ids or self._rest or not all(isinstance(command, _KNOWS_ENOUGH) for command in commands):
            return []
        return sorted(ids)

    @property
    def crowded(self) -> bool:
        """Whether other processes keep outdating it."""
        return self._longest_rest > 1

    def outdated(self) -> None:
        """A batch decided from memory could not be written, or another process has locked some of its accounts: it works
        on the same ones.

        The longer that goes on, the longer the next batches read at once instead of trying in vain.
        """
        self._longest_rest = min(LONGEST_REST, self._longest_rest * 2 or 1)
        self._rest = self._longest_rest

    def confirmed(self, batch: Batch) -> None:
        """A batch decided from memory was written."""
        self._longest_rest //= 2
        self.remember(batch.accounts)

    def compared(self, read: Iterable[Account]) -> None:
        """A batch began by reading these accounts. When all that are remembered among them are as they are
        remembered, nobody else is at work there, and memory need not rest longer.

        One of which none is remembered says nothing about that.
        """
        known = [(account, self._accounts[account.id]) for account in read if account.id in self._accounts]
        if known and all(account.seq == remembered.seq for account, remembered in known):
            self._longest_rest //= 2
            self._rest = 0

    def decide(self, commands: Sequence[Command], now: datetime, catalogue: Catalogue) -> Batch | None:
        """Decide a batch from memory alone, or None when it takes a look at the database.

        That is so when memory was outdated lately, when an account is not remembered, when a command refers
        to history, and when one would be refused: a refusal has to be judged on what is true now, after a look for the key (S7, S9).
        """
        if self._rest:
            self._rest -= 1
            return None
        accounts: dict[str, Account] = {}
        for command in commands:
            account = self._accounts.get(command.account_id)
            if account is None or not isinstance(command, _KNOWS_ENOUGH):
                return None
            accounts[account.id] = account
        batch = decide_batch(commands, accounts, {}, NO_HISTORY, now, catalogue)
        return None if any(isinstance(outcome, Exception) for outcome in batch.outcomes) else batch
