"""How a SQLite file is opened. Everything in this package that opens one asks here."""

from typing import Any

BUSY_SECONDS = 10
"""How long a writer waits for one of another process: SQLite has one writer at a time."""

PAGE_BYTES = 2_048
"""The pages of a new file. A batch changes a few rows on many pages, and each of these is written whole (decision 0016).

An older file keeps the pages it was made with.
"""

LOG_BYTES = 128 << 20
"""How long the log becomes before it is copied into the file. A page that many batches changed is copied once."""


def prepare(connection: Any) -> None:
    """Give the driver's new connection the settings relied on: every commit is on the disk, and readers never wait."""
    # Only counts while the file is empty, and not in WAL mode any more.
    connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    connection.execute(f"PRAGMA wal_autocheckpoint={LOG_BYTES // page}")
