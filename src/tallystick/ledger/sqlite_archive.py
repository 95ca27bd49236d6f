"""What went to the archive, on a SQLite file: keys that were used, checkpoints, and entries that leave.

The functions work inside a transaction of the store's.
"""

import sqlite3
from collections.abc import Sequence

from tallystick.domain.account import Entry
from tallystick.ledger.batch import Key, unpacked
from tallystick.ledger.codec import key_digest, pack
from tallystick.ledger.sqlite_rows import entries_where

# What left together with an entry of that number.
_PACKED = "SELECT packed FROM checkpoints WHERE account_id = ? AND up_to > ? ORDER BY up_to LIMIT 1"


def find_archived(connection: sqlite3.Connection, wanted: Sequence[Key]) -> dict[Key, Entry]:
    """The entries of those `wanted` keys that are in the archive."""
    found: dict[Key, Entry] = {}
    for id, key in wanted:
        query = "SELECT seq FROM archived_keys WHERE account_id = ? AND digest = ?"
        for (seq,) in connection.execute(query, (id, key_digest(key))).fetchall():
            found |= unpacked([(id, key)], [row[0] for row in connection.execute(_PACKED, (id, seq))])
    return found


def find_checkpoint(connection: sqlite3.Connection, account_id: str) -> Entry | None:
    """The latest entry that stands for what is in the archive, or None."""
    latest = "(SELECT seq FROM checkpoints WHERE account_id = ?1 ORDER BY up_to DESC LIMIT 1)"
    found = entries_where(connection, f"account_id = ?1 AND seq = {latest}", (account_id,))
    return found[0] if found else None


def take_out(connection: sqlite3.Connection, checkpoint: Entry, going: Sequence[Entry]) -> None:
    """Pack entries that are `going`, keep their keys, and delete the entries."""
    if checkpoint.checkpoint is None:
        raise TypeError(f"entry {checkpoint.seq} is no checkpoint")
    id = checkpoint.account_id
    connection.execute(
        "INSERT INTO checkpoints (account_id, up_to, seq, packed) VALUES (?, ?, ?, ?)",
        (id, checkpoint.checkpoint.up_to, checkpoint.seq, pack(going)),
    )
    connection.executemany(
        "INSERT INTO archived_keys (account_id, digest, seq) VALUES (?, ?, ?)",
        [(id, key_digest(e.key), e.seq) for e in going if e.key is not None],
    )
    connection.executemany(
        "DELETE FROM entries WHERE account_id = ? AND seq = ?", [(id, entry.seq) for entry in going]
    )
