"""What the ledger says to PostgreSQL: its statements, and rows as their arguments.

Every one is for many accounts at once. Knows nothing of connections.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from tallystick.ledger.codec import ACCOUNT_COLUMNS, ENTRY_COLUMNS

_TEXT = ("text", "json")
# Ids and keys are visible characters and JSON escapes all others, so these two occur in no text of a ledger.
_BETWEEN, _NULL = "\x1f", "\x1e"
ACCOUNT_TYPES = ("text", "text", "bigint", "bigint", "bigint", "bigint", "bigint", "timestamptz", "text")
ENTRY_TYPES = (
    *("text", "bigint", "text"),
    *("bigint",) * 5,
    *("timestamptz",) * 2,
    *("text", "text", "bigint", "json"),
)


def _rows(names: Sequence[str], types: Sequence[str], *, after: int = 0, once: Collection[str] = ()) -> str:
    """A table `new` of rows whose columns are arguments, from the one `after` others on.

    A column that is given `once` is a value. In a FROM, PostgreSQL would write each array to a table of its own first.
    """
    values = ", ".join(
        (f"${n}::{type}" if name in once else f"unnest({_array(n, type)})") + f" AS {name}"
        for n, (name, type) in enumerate(zip(names, types, strict=True), after + 1)
    )
    return f"(SELECT {values}) AS new"


def _array(n: int, type: str) -> str:
    # One text: the driver would look at every element of an array.
    return f"string_to_array(${n}, E'\\x1f', E'\\x1e')::{type}[]" if type in _TEXT else f"${n}::text::{type}[]"


Rows = Sequence[tuple[Any, ...]]


def columns(rows: Rows, types: Sequence[str]) -> list[str]:
    """`rows` as one argument for each column, as the statements here take them."""
    return [_column(values, type) for values, type in zip(_values(rows, types), types, strict=True)]


def _values(rows: Rows, types: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True)) or [()] * len(types)


def _column(values: Sequence[Any], type: str) -> str:
    if type in _TEXT:
        return _BETWEEN.join([_NULL if value is None else value for value in values])
    if type == "bigint":
        # A list of numbers writes itself in one go.
        return "{" + repr([*values])[1:-1].replace("None", "NULL") + "}"
    return f"{{{','.join(['NULL' if value is None else _iso(value) for value in values])}}}"


# A batch has few different instants: the moment of its decision, and the ends of periods.
_iso = lru_cache(4_096)(datetime.isoformat)


ACCOUNT = ", ".join(ACCOUNT_COLUMNS)
ENTRY = ", ".join(ENTRY_COLUMNS)


@dataclass(frozen=True, slots=True)
class Reads:
    """What a batch asks before it is decided. The first argument is always the ids of its accounts.

    `only` is what says once more that nothing but these accounts is meant, for a database that has to see it.
    """

    lock_accounts: str
    lock_free_accounts: str
    find_keys: str
    find_entries: str
    find_reversals: str
    find_archived: str

    @classmethod
    def saying(cls, only: Callable[[str], str]) -> "Reads":
        """The statements, with `only` of each column that names an account among their conditions."""
        entry = ", ".join("entries." + name for name in ENTRY_COLUMNS)
        # What is remembered is not read again: of an account that is still at that number only the id comes back.
        account = ", ".join(
            f"CASE WHEN accounts.seq <> wanted.seq THEN accounts.{name} END AS {name}"
            for name in ACCOUNT_COLUMNS
            if name != "id"
        )
        lock = (
            f"SELECT accounts.id, {account} FROM unnest($1::text[], $2::bigint[]) AS wanted(id, seq) "
            f"JOIN accounts ON accounts.id = wanted.id{only('accounts.id')} "
            'ORDER BY accounts.id COLLATE "C" FOR UPDATE OF accounts'
        )
        return cls(
            lock_accounts=lock,
            lock_free_accounts=lock + " SKIP LOCKED",
            find_keys=f"SELECT {entry} FROM unnest($1::text[], $2::text[]) AS wanted(account_id, key) "
            "JOIN entries ON entries.account_id = wanted.account_id AND entries.key = wanted.key"
            + only("entries.account_id"),
            find_entries=f"SELECT {entry} FROM unnest($1::text[], $2::bigint[]) AS wanted(account_id, seq) "
            "JOIN entries ON entries.account_id = wanted.account_id AND entries.seq = wanted.seq"
            + only("entries.account_id"),
            find_reversals="SELECT entries.account_id, entries.reverses, entries.seq "
            "FROM unnest($1::text[], $2::bigint[]) AS wanted(account_id, reverses) "
            "JOIN entries ON entries.account_id = wanted.account_id AND entries.reverses = wanted.reverses"
            + only("entries.account_id"),
            # Of every wanted key that was archived, what left together with it.
            find_archived="SELECT DISTINCT archived_keys.account_id, (SELECT min(up_to) FROM checkpoints "
            "WHERE checkpoints.account_id = archived_keys.account_id AND up_to > archived_keys.seq"
            f"{only('checkpoints.account_id')}) AS up_to "
            "FROM unnest($1::text[], $2::bigint[]) AS wanted(account_id, digest) JOIN archived_keys "
            "ON archived_keys.account_id = wanted.account_id AND archived_keys.digest = wanted.digest"
            + only("archived_keys.account_id"),
        )


def changes(new: str) -> str:
    """What an UPDATE sets an account's columns to: those of `new`.

    A number that is not above the account's own becomes none, which its column refuses, and with it the statement:
    numbers of entries that are in the archive are free again, so that entries alone would not be in the way of what
    was decided on a state from before.
    """
    changed = [name for name in ACCOUNT_COLUMNS if name not in ("id", "seq")]
    ahead = f"seq = CASE WHEN accounts.seq < {new}.seq THEN {new}.seq END"
    return ", ".join([ahead, *(f"{name} = {new}.{name}" for name in changed)])


READS = Reads.saying(lambda _column: "")
WRITE_ACCOUNTS = (
    f"INSERT INTO accounts ({ACCOUNT}) SELECT * FROM {_rows(ACCOUNT_COLUMNS, ACCOUNT_TYPES)} "
    f"ON CONFLICT (id) DO UPDATE SET {changes('excluded')}"
)
WRITE_ENTRIES = f"INSERT INTO entries ({ENTRY}) SELECT * FROM {_rows(ENTRY_COLUMNS, ENTRY_TYPES)}"
FIND_ACCOUNTS = f"SELECT {ACCOUNT} FROM accounts WHERE id = ANY($1::text[])"
FIND_PACKED = "SELECT packed FROM checkpoints WHERE account_id = $1 AND up_to = $2"
FIND_CHECKPOINT = (
    f"SELECT {', '.join('entries.' + name for name in ENTRY_COLUMNS)} FROM checkpoints "
    "JOIN entries ON entries.account_id = checkpoints.account_id AND entries.seq = checkpoints.seq "
    "WHERE checkpoints.account_id = $1 ORDER BY up_to DESC LIMIT 1"
)
KEEP_CHECKPOINT = "INSERT INTO checkpoints (account_id, up_to, seq, packed) VALUES ($1, $2, $3, $4)"
KEEP_KEYS = "INSERT INTO archived_keys (account_id, digest, seq) SELECT $1, * FROM unnest($2::bigint[], $3::bigint[])"
REMOVE_ENTRIES = "DELETE FROM entries WHERE account_id = $1 AND seq = ANY($2::bigint[])"
FIND_PROOF = "SELECT account FROM proofs WHERE account_id = $1"
KEEP_PROOF = (
    "INSERT INTO proofs (account_id, seq, account) VALUES ($1, $2, $3) ON CONFLICT (account_id) "
    "DO UPDATE SET seq = excluded.seq, account = excluded.account WHERE proofs.seq < excluded.seq"
)

ONCE = (("effective_at", "recorded_at"), ("kind", "reverses"), ("held", "debt"))
"""Columns that have one value in all rows of most batches, which is given once then and not read for each row: one
moment, only spends, no holds and no debts. These go together, so that there are eight statements and not hundreds.
"""


def batch(accounts: Rows, entries: Rows) -> tuple[str, list[Any]]:
    """The statement that writes a batch, and its arguments.

    One statement is one transaction and one round trip. Had another process gone on with one of the accounts, the
    number of an entry is taken, and nothing of the statement happens.
    """
    values = [*_values(accounts, ACCOUNT_TYPES), *_values(entries, ENTRY_TYPES)]
    once = frozenset(name for names in ONCE if all(_same(values[n]) for n in _PLACES[names]) for name in names)
    arguments = [
        column[0] if name in once else _column(column, type)
        for column, name, type in zip(values, _NAMES, (*ACCOUNT_TYPES, *ENTRY_TYPES), strict=True)
    ]
    return write_batch(once), [*arguments, len(accounts)]


_NAMES = (*ACCOUNT_COLUMNS, *ENTRY_COLUMNS)
_PLACES = {names: [n for n, name in enumerate(_NAMES) if name in names] for names in ONCE}


def _same(values: Sequence[Any]) -> bool:
    return bool(values) and values.count(values[0]) == len(values)


@lru_cache
def write_batch(once: frozenset[str]) -> str:
    """The statement that writes a batch in which these columns are given once."""
    accounts = _rows(ACCOUNT_COLUMNS, ACCOUNT_TYPES, once=once)
    entries = _rows(ENTRY_COLUMNS, ENTRY_TYPES, after=len(ACCOUNT_COLUMNS), once=once)
    # Asking for the count makes it lock the accounts before it writes entries, as every other batch does. Where it is
    # not that of the accounts, a row has vanished, and entries of no number are refused.
    complete = f"(SELECT count(*) FROM changed) = ${len(_NAMES) + 1}::bigint"
    values = ", ".join(f"CASE WHEN {complete} THEN seq END" if name == "seq" else name for name in ENTRY_COLUMNS)
    return (
        f"WITH changed AS (UPDATE accounts SET {changes('new')} FROM {accounts} WHERE accounts.id = new.id RETURNING 1) "
        f"INSERT INTO entries ({ENTRY}) SELECT {values} FROM {entries}"
    )
