"""Which shard an account is on, when Citus has distributed the ledger: found out without a round trip.

Citus gives every shard a range of hashes, and an account goes to the shard whose range its id's hash falls into.
The hash is PostgreSQL's own of a text. Shards that move to another server keep their ranges.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tallystick.database.tables import LEDGER_TABLES
from tallystick.ledger.errors import DistributionUnfinished

REMEMBERED = 50_000
"""Of how many accounts the hash is remembered: those that were asked for last."""

_WORD = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Shards:
    """The shards of the ledger, by the lowest hash of each, ascending."""

    lows: Sequence[int]

    def __len__(self) -> int:
        return len(self.lows)

    def of(self, account_id: str) -> int:
        """The place of the account's shard among all."""
        return bisect_right(self.lows, text_hash(account_id)) - 1


@lru_cache(REMEMBERED)
def text_hash(text: str) -> int:
    """PostgreSQL's `hashtext`: Bob Jenkins' lookup3 with PostgreSQL's own start, as a signed number of 32 bits."""
    data = text.encode()
    a = b = c = (0x9E3779B9 + len(data) + 3923095) & _WORD
    whole = len(data) // 12 * 12
    for at in range(0, whole, 12):
        a = (a + int.from_bytes(data[at : at + 4], "little")) & _WORD
        b = (b + int.from_bytes(data[at + 4 : at + 8], "little")) & _WORD
        c = (c + int.from_bytes(data[at + 8 : at + 12], "little")) & _WORD
        a, b, c = _mixed(a, b, c)
    rest = data[whole:]
    a = (a + int.from_bytes(rest[:4], "little")) & _WORD
    b = (b + int.from_bytes(rest[4:8], "little")) & _WORD
    # The lowest byte is the length's.
    c = (c + (int.from_bytes(rest[8:], "little") << 8)) & _WORD
    found = _last_mixed(a, b, c)
    return found - (1 << 32) if found >> 31 else found


def _rotated(word: int, by: int) -> int:
    return ((word << by) | (word >> (32 - by))) & _WORD


def _mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    for by in (4, 6, 8, 16, 19, 4):
        a, b, c = b, (c + b) & _WORD, ((a - c) & _WORD) ^ _rotated(c, by)
    return a, b, c


def _last_mixed(a: int, b: int, c: int) -> int:
    for by in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotated(b, by)) & _WORD
        a, b, c = b, c, a
    return b


async def find_shards(connection: Any) -> Shards | None:
    """The shards that Citus keeps the ledger on, or None when it is not distributed.

    Raises DistributionUnfinished when it is only in part.
    """
    if not await connection.fetchval("SELECT to_regclass('pg_dist_partition') IS NOT NULL"):
        return None
    distributed, guarded = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM pg_dist_partition WHERE partmethod = 'h' "
        "AND logicalrelid = ANY($1::text[]::regclass[])), "
        "EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'entries'::regclass AND tgname = 'entries_running')",
        [table.name for table in LEDGER_TABLES],
    )
    if not distributed:
        return None
    if distributed < len(LEDGER_TABLES) or not guarded:
        raise DistributionUnfinished
    rows = await connection.fetch(
        "SELECT shardminvalue::integer FROM pg_dist_shard WHERE logicalrelid = 'accounts'::regclass ORDER BY 1"
    )
    return Shards([row[0] for row in rows])
