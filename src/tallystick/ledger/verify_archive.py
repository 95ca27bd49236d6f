"""Proof of a ledger together with its archive: replay every account from its very first entry (S5).

Looks at each line of the archive, at the hash over them in each checkpoint, and at everything in the database
that came from there. Can run while the service does, but not while a run of the archive does.
"""

from collections.abc import Iterator
from pathlib import Path

from tallystick.domain.account import Checkpoint, Entry, EntryKind
from tallystick.domain.replay import LedgerMismatch, Replay
from tallystick.ledger.archive_files import Line, first_hash, next_hash, read_archive
from tallystick.ledger.ledger import Ledger
from tallystick.ledger.verify import PAGE, Verification, differences_between

_ALL = 2**31


async def verify_archive(ledger: Ledger, folder: Path) -> Verification:
    """Prove all accounts from nothing, with the archive in `folder`. Raises ArchiveUnreadable."""
    whole = Verification(0, 0, [])
    archived = read_archive(folder)
    next_id, lines = next(archived, (None, iter(())))
    after = ""
    while ids := await ledger.store.account_ids(after, PAGE):
        for id in ids:
            while next_id is not None and next_id < id:
                whole.differences.append(f"Account {next_id} is in the archive and not in the database.")
                next_id, lines = next(archived, (None, iter(())))
            whole = _together(whole, await _verify_one(ledger, id, lines if next_id == id else iter(())))
            if next_id == id:
                next_id, lines = next(archived, (None, iter(())))
        after = ids[-1]
    return whole


def _together(one: Verification, other: Verification) -> Verification:
    return Verification(
        one.accounts + other.accounts, one.entries + other.entries, [*one.differences, *other.differences]
    )


async def _verify_one(ledger: Ledger, account_id: str, lines: Iterator[Line]) -> Verification:
    replaying = Replay(account_id)
    differences: list[str] = []
    try:
        written = await ledger.store.account(account_id)
        if written is None:
            return Verification(0, 0, [f"Account {account_id} has no row in accounts."])
        if written.archived:
            differences += await _replay_archived(ledger, replaying, lines, written.archived)
        if not differences:
            await _replay_live(ledger, replaying, written.seq)
            differences += differences_between(written, replaying.account)
    except LedgerMismatch as mismatch:
        differences.append(mismatch.message)
    return Verification(1, replaying.account.seq, differences)


async def _replay_archived(ledger: Ledger, replaying: Replay, lines: Iterator[Line], up_to: int) -> list[str]:
    """Replay an account's archive up to number `up_to`: lines above that were never taken out of the database."""
    id = replaying.account.id
    kept = await _kept(ledger, id, up_to)
    marks = {
        c.up_to: c for e in await ledger.store.entries(id, None, _ALL, EntryKind.CHECKPOINT) if (c := e.checkpoint)
    }
    hash = first_hash(id)
    differences = []
    for line in lines:
        if line.seq > up_to or line.seq != replaying.account.seq + 1:
            break
        entry = line.entry()
        replaying.step(entry)
        hash = next_hash(hash, line)
        if kept.pop(entry.seq, entry) != entry:
            differences.append(f"Account {id}, entry {entry.seq}: the archive and the database say different things.")
        if entry.seq in marks:
            differences += _against(marks[entry.seq], hash, replaying)
    if replaying.account.seq < up_to:
        differences.append(f"Account {id}: the archive has no entry {replaying.account.seq + 1}.")
    return differences


def _against(mark: Checkpoint, hash: str, replaying: Replay) -> list[str]:
    id = replaying.account.id
    differences = [] if mark.hash == hash else [f"Account {id}: the archive up to entry {mark.up_to} was changed."]
    return differences + differences_between(mark.state, replaying.account)


async def _kept(ledger: Ledger, account_id: str, up_to: int) -> dict[int, Entry]:
    """Entries that are in the archive and in the database."""
    found: dict[int, Entry] = {}
    last = 0
    while page := await ledger.store.entries_after(account_id, last, PAGE):
        found |= {entry.seq: entry for entry in page if entry.seq <= up_to}
        last = page[-1].seq
        if last > up_to:
            break
    return found


async def _replay_live(ledger: Ledger, replaying: Replay, up_to: int) -> None:
    while replaying.account.seq < up_to:
        page = await ledger.store.entries_after(replaying.account.id, replaying.account.seq, PAGE)
        for entry in page:
            if entry.seq <= up_to:
                replaying.step(entry)
        if not page:
            break
