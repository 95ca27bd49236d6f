"""Which entries may go to the archive, and the entry that stands for those that went. Pure.

How they are kept there, and how they leave the database, is the ledger's business.
"""

from datetime import datetime

from tallystick.domain.account import Account, Checkpoint, Entry, EntryKind
from tallystick.domain.commands import Archive
from tallystick.domain.errors import AlreadyArchived, Refusal
from tallystick.domain.record import record
from tallystick.domain.settle import Decision


def stays(entry: Entry) -> bool:
    """Whether an entry stays in the database whatever its age.

    What made a grant may be needed as long as there are refunds and reversals (S13, S23), and a checkpoint is
    what proves that others may go. There are few of both.
    """
    return entry.grant is not None or entry.kind is EntryKind.CHECKPOINT


def checkpoint(account: Account, command: Archive, now: datetime) -> Decision | Refusal:
    """Write the entry that stands for all up to number `command.up_to`."""
    if command.since != account.archived:
        return AlreadyArchived(account.id, account.archived)
    account, entry = record(
        account,
        EntryKind.CHECKPOINT,
        effective_at=now,
        recorded_at=now,
        key=command.key,
        request=command.request,
        checkpoint=Checkpoint(command.up_to, command.hash, command.state),
    )
    return Decision(account, (entry,))
