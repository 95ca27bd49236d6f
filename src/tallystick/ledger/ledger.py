"""The one door to an account: every change is a command that goes through `submit`."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Self

from tallystick.clock import Clock
from tallystick.database.turns import Turns
from tallystick.database.urls import parse_url
from tallystick.domain.account import Account, Entry, EntryKind
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import KeyedCommand, Settle, require_identifier, require_number
from tallystick.domain.errors import (
    EntryArchived,
    Refusal,
    TallystickError,
    Unavailable,
    UnknownAccount,
    UnknownEntry,
)
from tallystick.domain.explain import Explanation, explain
from tallystick.domain.missed import may_have_missed
from tallystick.domain.record import blank
from tallystick.domain.replay import replay
from tallystick.domain.settle import settle
from tallystick.ledger.batch import Receipt, Settled
from tallystick.ledger.lanes import Lanes
from tallystick.ledger.memory import REMEMBERED
from tallystick.ledger.places import Spread
from tallystick.ledger.store import FIRST_DUE, Store

SWEEP_PAGE = 200

AT_ONCE = 50
"""How many entries are looked at of what time did in one go: grants that ended, a period that began."""


class BalancesArchived(EntryArchived):
    """What an account had at an instant is in the archive. Which entry says it is known only there."""

    def __init__(self, account_id: str, instant: datetime, first_kept: Entry) -> None:
        since = first_kept.effective_at.isoformat()
        Refusal.__init__(
            self,
            f"What account {account_id!r} had at {instant.isoformat()} is in the archive. Its entries are kept here "
            f"from number {first_kept.seq:,} on, which counted from {since}. Nothing was changed. Ask for that instant "
            "or a later one, or look it up in the archive.",
            account_id=account_id,
            archived=first_kept.seq,
            kept_since=since,
        )


class Ledger:
    """Accounts and their entries in one database. Belongs to the event loop that opened it."""

    def __init__(self, store: Store, catalogue: Catalogue, clock: Clock, spread: Spread | None = None) -> None:
        """`spread` says which accounts' commands may be in one batch, when not all may."""
        self.store = store
        self._catalogue = catalogue
        self._clock = clock
        self._lanes = Lanes(store.commit, store.lanes, spread, lambda: store.crowded)

    @classmethod
    async def open(
        cls,
        url: str,
        catalogue: Catalogue,
        clock: Clock,
        turns: Turns | None = None,
        *,
        remembered: int = REMEMBERED,
    ) -> Self:
        """Connect to a database whose schema is current. Raises LedgerUnavailable when it cannot be reached.

        With `turns` it shares SQLite's one writer with others of this process. So many accounts are `remembered`.
        """
        parsed = parse_url(url)
        if parsed.dialect == "sqlite":
            from tallystick.ledger.sqlite_store import SqliteStore

            file = SqliteStore(parsed.native, catalogue, clock, turns=turns, remembered=remembered)
            return cls(file, catalogue, clock)
        from tallystick.ledger.postgres_store import PostgresStore

        store = await PostgresStore.open(parsed, catalogue, clock, remembered)
        return cls(store, catalogue, clock, store.spread)

    async def close(self) -> None:
        """Finish the commands that were taken, then disconnect."""
        await self._lanes.close()
        await self.store.close()

    def now(self) -> datetime:
        """What time it is for this ledger."""
        return self._clock()

    async def submit(self, command: KeyedCommand) -> Receipt:
        """Carry out `command`. Returns once it is durable (S8).

        Raises a Refusal when the rules refuse it, Overloaded when it was not taken, LedgerUnavailable
        when the database did not confirm it: then repeat it with the same key (S7).
        """
        answer = await self._lanes.submit(command)
        if not isinstance(answer, Receipt):
            raise TypeError(f"{type(command).__name__} has no idempotency key, so it has no receipt")
        return answer

    async def submit_all(self, commands: Sequence[KeyedCommand]) -> list[Receipt | TallystickError]:
        """Carry out `commands`, each by itself. Returns what `submit` would have returned or raised for each."""
        answers = [self._lanes.submit(command) for command in commands]
        outcomes: list[Receipt | TallystickError] = []
        try:
            for answer in answers:
                try:
                    outcome = await answer
                except TallystickError as error:
                    outcomes.append(error)
                    continue
                if not isinstance(outcome, Receipt):
                    raise TypeError("a command without a receipt")
                outcomes.append(outcome)
        finally:
            # Whoever goes away takes what has not begun with him.
            for answer in answers:
                answer.cancel()
        return outcomes

    async def account(self, account_id: str) -> Account:
        """The account as it is now, with what time has done applied (S14). Raises UnknownAccount, InvalidInput."""
        return settle(await self._written(account_id), self._clock(), self._catalogue).account

    async def entries(
        self, account_id: str, *, before: int | None = None, limit: int = 50, kind: EntryKind | None = None
    ) -> list[Entry]:
        """Entries of the account, newest first, of one `kind` and below number `before` if these are given.

        Raises UnknownAccount, and InvalidInput for a `before` that is no number of an entry or a `limit` below 0.
        """
        require_identifier(account_id, "account id")
        require_number(limit, "limit", 0)
        if before is not None:
            require_number(before, "before")
        found = await self.store.entries(account_id, before, limit, kind)
        if not found:
            await self._written(account_id)
        return found

    async def entry_by_key(self, account_id: str, key: str) -> Entry | None:
        """The entry that carries an idempotency key, or None. Raises InvalidInput."""
        require_identifier(account_id, "account id")
        require_identifier(key, "idempotency key")
        return await self.store.entry_by_key(account_id, key)

    async def entry_at(self, account_id: str, instant: datetime) -> Entry | None:
        """The last entry that counted at `instant`, written down or not, or None.

        One that was not is what time had done by then (S14). It is never written where a later period has taken the
        place of that one; its number belongs to another entry then. At an instant to come the account is as it is now.
        Raises UnknownAccount, InvalidInput, and BalancesArchived when that entry is in the archive.
        """
        account = await self._written(account_id)
        due = settle(account, min(instant, self._clock()), self._catalogue).entries
        if due:
            return due[-1]
        found = await self.store.entry_at(account_id, instant)
        if found is None:
            return None
        # Of what is in the archive only what made grants and the very last entry are still here. The first entry
        # may be among the former: before it there was nothing. Looked up now, as an archive may have just run.
        archived = (await self._written(account_id)).archived
        if found.seq < archived:
            (first_kept,) = await self.store.entries_after(account_id, archived - 1, 1)
            raise BalancesArchived(account_id, instant, first_kept)
        if may_have_missed(found, await self.store.entries_after(account_id, found.seq, AT_ONCE)):
            missed = settle(await self._after(account_id, found.seq), instant, self._catalogue).entries
            return missed[-1] if missed else found
        return found

    async def entries_up_to(self, account_id: str, seq: int) -> list[Entry]:
        """The account's entries from the first to number `seq`, in order.

        Raises UnknownEntry, UnknownAccount, InvalidInput, and EntryArchived when some of them are in the archive.
        """
        begins, found = await self._from_the_archive_on(account_id, seq)
        if begins.seq:
            raise EntryArchived(account_id, begins.seq, begins.seq)
        return found

    async def explain(self, account_id: str, seq: int) -> Explanation:
        """Why entry number `seq` says what it says.

        Raises UnknownEntry, UnknownAccount, InvalidInput, and EntryArchived.
        """
        begins, history = await self._from_the_archive_on(account_id, seq)
        made = [lot.grant_id for lot in history[-1].lots if lot.grant_id <= begins.seq]
        older = [await self.store.entries(account_id, number + 1, 1) for number in made]
        return explain(begins, history, [entry for found in older for entry in found])

    async def _after(self, account_id: str, seq: int) -> Account:
        """The account as it was after entry number `seq`. Raises EntryArchived."""
        checkpoint = await self.store.checkpoint(account_id)
        if checkpoint is not None and checkpoint.checkpoint is not None and checkpoint.checkpoint.up_to == seq:
            return checkpoint.checkpoint.state
        begins, history = await self._from_the_archive_on(account_id, seq)
        return replay(account_id, history, begins)

    async def _from_the_archive_on(self, account_id: str, seq: int) -> tuple[Account, list[Entry]]:
        """The account after what is in the archive, and its entries from there to number `seq`, in order."""
        require_identifier(account_id, "account id")
        require_number(seq, "the number of an entry")
        checkpoint = await self.store.checkpoint(account_id)
        begins = blank(account_id)
        if checkpoint is not None and checkpoint.checkpoint is not None:
            begins = checkpoint.checkpoint.state
        if seq <= begins.seq:
            raise EntryArchived(account_id, seq, begins.seq)
        is_there = seq <= (await self._written(account_id)).seq
        found = await self.store.entries(account_id, seq + 1, seq - begins.seq) if is_there else []
        if not found or found[0].seq != seq:
            raise UnknownEntry(account_id, seq)
        if await self.store.checkpoint(account_id) != checkpoint:
            # An archive ran in between, and has taken entries that were to be among these.
            return await self._from_the_archive_on(account_id, seq)
        return begins, found[::-1]

    async def _written(self, account_id: str) -> Account:
        """The account as it is written, not settled to now. Raises UnknownAccount, InvalidInput."""
        account = await self.store.account(require_identifier(account_id, "account id"))
        if account is None:
            raise UnknownAccount(account_id)
        return account

    async def sweep(self) -> int:
        """Write down what time has done to accounts that nobody touches (S14). Returns how many it had changed.

        What fails for one of them is raised when all others have had their turn; Unavailable at once.
        """
        swept = 0
        failed: BaseException | None = None
        now, after = self._clock(), FIRST_DUE
        # Page after page: an account can be due and yet have nothing to write down, and then it stays due.
        while due := await self.store.due(now, SWEEP_PAGE, after):
            settling = (self._lanes.submit(Settle(account_id=each.account_id)) for each in due)
            settled = await asyncio.gather(*settling, return_exceptions=True)
            swept += sum(isinstance(answer, Settled) and answer.entries > 0 for answer in settled)
            for answer in settled:
                if isinstance(answer, Unavailable):
                    raise answer
                if isinstance(answer, BaseException):
                    failed = failed or answer
            after = due[-1]
        if failed is not None:
            raise failed
        return swept
