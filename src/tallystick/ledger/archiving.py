"""Moving old entries out of the database into an archive, so that years of history stay cheap.

What goes is proven first, then it is on the archive's disk, and only then one transaction writes the checkpoint
that stands for it and takes it out. Killed anywhere, a step has happened or it has not; a next run goes on.
"""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path

from tallystick.domain.account import Account, Entry
from tallystick.domain.archiving import stays
from tallystick.domain.commands import Archive
from tallystick.domain.errors import AlreadyArchived, InvalidInput, Refusal
from tallystick.domain.record import blank
from tallystick.domain.replay import LedgerMismatch, replay
from tallystick.ledger.archive_files import SUFFIX, ArchiveWriter, first_hash, line_of, make_folder, next_hash
from tallystick.ledger.store import Store

YOUNGEST = timedelta(days=90)
"""Younger entries stay: they are still looked at, explained and reversed."""

STEP = 5_000
"""The most entries that one transaction takes out: its account waits for so long."""

LEAST = 20
"""An account with fewer entries to take out is left alone: a checkpoint takes as much room as they do."""

_PAGE = 500


@dataclass(slots=True)
class Archived:
    """What a run came to, or would come to. `stayed` are entries that are in the archive and in the database."""

    accounts: int = 0
    entries: int = 0
    stayed: int = 0
    differences: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Step:
    """So many entries of one account: the command that stands for them, and those of them that leave."""

    command: Archive
    entries: list[Entry]
    going: list[Entry]


async def archive(store: Store, before: datetime, folder: Path, now: datetime, *, apply: bool) -> Archived:
    """Move entries that were recorded before `before` into `folder`, or only count them.

    An account whose entries do not add up is left as it is, and told in `differences`. Raises InvalidInput when
    `before` is less than 90 days ago, and ArchiveUnwritable.
    """
    if before > now - YOUNGEST:
        raise InvalidInput(
            f"Only what is {YOUNGEST.days} days old can be archived: before {now - YOUNGEST:%Y-%m-%d} or earlier. "
            "Nothing was changed."
        )
    done = Archived()
    if apply:
        make_folder(folder)
    writer = ArchiveWriter(folder / f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}{SUFFIX}")
    ready: list[_Step] = []
    touched: set[str] = set()
    async for step in _steps(store, before, done):
        touched.add(step.command.account_id)
        done.entries += len(step.going)
        done.stayed += len(step.entries) - len(step.going)
        if not apply:
            continue
        for entry in step.entries:
            writer.add(line_of(entry))
        ready.append(step)
        if sum(len(step.entries) for step in ready) >= STEP:
            await _take_out(store, writer, ready)
    await _take_out(store, writer, ready)
    done.accounts = len(touched)
    return done


async def _take_out(store: Store, writer: ArchiveWriter, ready: list[_Step]) -> None:
    """Take out what is `ready`, once the archive's disk has it."""
    writer.flush()
    for step in ready:
        outcome = await store.archive(step.command, step.going)
        if isinstance(outcome, Refusal) and not isinstance(outcome, AlreadyArchived):
            raise outcome
    ready.clear()


async def _steps(store: Store, before: datetime, done: Archived) -> AsyncIterator[_Step]:
    after = ""
    while ids := await store.account_ids(after, _PAGE):
        for id in ids:
            try:
                async for step in _steps_of(store, id, before):
                    yield step
            except LedgerMismatch as mismatch:
                done.differences.append(mismatch.message)
        after = ids[-1]


async def _steps_of(store: Store, account_id: str, before: datetime) -> AsyncIterator[_Step]:
    checkpoint = await store.checkpoint(account_id)
    state: Account = blank(account_id)
    hash = first_hash(account_id)
    last: list[Entry] = []
    if checkpoint is not None and checkpoint.checkpoint is not None:
        state, hash = checkpoint.checkpoint.state, checkpoint.checkpoint.hash
        # The last entry that was archived stayed, to say what the account had from then on. Another one does now.
        last = await store.entries(account_id, state.seq + 1, 1)
    while True:
        page = await store.entries_after(account_id, state.seq, STEP)
        entries = list(takewhile(lambda entry: entry.recorded_at < before, page))
        going = [entry for entry in (*last, *entries[:-1]) if not stays(entry)]
        if len(going) < LEAST:
            return
        since, state = state.seq, replay(account_id, entries, state)
        for entry in entries:
            hash = next_hash(hash, line_of(entry))
        key = f"archive:{state.seq}:{hash}"
        command = Archive(account_id=account_id, key=key, since=since, up_to=state.seq, hash=hash, state=state)
        yield _Step(command, entries, going)
        if len(entries) < STEP:
            return
        last = entries[-1:]
