"""What a ledger needs of a database. Two implementations, one for each; nothing else talks to the tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from tallystick.domain.account import Account, Entry, EntryKind
from tallystick.domain.commands import Archive, Command
from tallystick.ledger.batch import Outcome


@dataclass(frozen=True, slots=True)
class Proof:
    """An account as it is written, and as its entries say it is, both as of one instant.

    `replayed` is how many entries were looked at for it.
    """

    written: Account
    proven: Account
    replayed: int


@dataclass(frozen=True, slots=True)
class Due:
    """An account and the instant since which it is due. They come in the order of instants, then of ids."""

    since: datetime
    account_id: str


FIRST_DUE = Due(datetime.min.replace(tzinfo=UTC), "")
"""Comes before every account."""


def proof_begins(account: Account, kept: Account | None, checkpoint: Entry | None) -> Account | None:
    """The proven state from which a replay goes on: one that was kept, or that of the archive; None is the beginning.

    `kept` is no use when some of what came after it is in the archive.
    """
    if kept is not None and kept.seq >= account.archived:
        return kept
    return None if checkpoint is None or checkpoint.checkpoint is None else checkpoint.checkpoint.state


class Store(Protocol):
    """One database's accounts and entries. Every method may raise LedgerUnavailable."""

    @property
    def lanes(self) -> int:
        """How many batches the database can usefully commit at once."""

    @property
    def crowded(self) -> bool:
        """Whether other processes change the same accounts so often that one batch of all lanes at a time is best."""

    async def commit(self, commands: Sequence[Command], *, wait: bool = True) -> Sequence[Outcome | None]:
        """Decide and write `commands` in one transaction; returns an outcome for each, once it is durable.

        Without `wait` commands may be left out, with all others of their accounts, because another process is at work
        there just now. None stands for what became of them: nothing.
        """

    async def account(self, account_id: str) -> Account | None:
        """The account as it is written, not settled to now."""

    async def entries(
        self, account_id: str, before: int | None, limit: int, kind: EntryKind | None = None
    ) -> list[Entry]:
        """Entries below number `before`, newest first, all of them or those of one kind."""

    async def entries_after(self, account_id: str, seq: int, limit: int) -> list[Entry]:
        """Entries above number `seq`, oldest first."""

    async def entry_by_key(self, account_id: str, key: str) -> Entry | None:
        """The entry that answered an idempotency key."""

    async def entry_at(self, account_id: str, instant: datetime) -> Entry | None:
        """The last entry that counted at `instant`."""

    async def due(self, now: datetime, limit: int, after: Due) -> list[Due]:
        """Accounts that time has changed, or will have by `now`: those that come after `after`, in order."""

    async def account_ids(self, after: str, limit: int) -> list[str]:
        """Ids of accounts that sort after `after`, in order, including those that only have entries."""

    async def prove(self, account_id: str, *, only_new: bool = False) -> Proof | None:
        """Replay the account's entries, or those since the last proof. None when it has no row.

        Raises LedgerMismatch.
        """

    async def keep_proof(self, account: Account) -> None:
        """Remember that `account` was proven, as the start of the next proof of what is new."""

    async def checkpoint(self, account_id: str) -> Entry | None:
        """The latest entry that stands for what is in the archive, or None."""

    async def archive(self, command: Archive, going: Sequence[Entry]) -> Outcome:
        """Write the checkpoint and take the entries out that are `going`, in one transaction (S7, S8)."""

    async def close(self) -> None:
        """Close all connections."""
