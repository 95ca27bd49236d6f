"""Where the sandbox keeps everything: one SQLite file, or memory. Objects are JSON, in order of creation.

Keys that begin with an underscore are the sandbox's own; they are never sent to anybody. Three of them the store
knows: `_due`, the Unix time at which something happens to the object by itself; `_turn`, who goes first at the
same time (lower numbers do; 1 where there is none); and `_clock`, the test clock of an object that does not show it.
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Object = dict[str, Any]

WAKE = "wake"
"""What an object does by itself when its `_due` has come."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL,
    body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS objects_type ON objects (type, seq);
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, request TEXT NOT NULL, status INTEGER NOT NULL,
    body TEXT NOT NULL, request_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, endpoint_id TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, due REAL, answer TEXT NOT NULL DEFAULT '', fault TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due);
CREATE TABLE IF NOT EXISTS agenda (id INTEGER PRIMARY KEY, what TEXT NOT NULL, object_id TEXT NOT NULL,
    clock TEXT NOT NULL, due INTEGER NOT NULL, turn INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS agenda_due ON agenda (clock, due, turn, id);
CREATE INDEX IF NOT EXISTS agenda_object ON agenda (object_id);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Store:
    """Objects by id and by type. Every change happens inside `transaction`."""

    def __init__(self, database: str | Path) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self.rehearsing = False
        """Whether what is done now will be put back; nobody is told of it."""
        self.connection = sqlite3.connect(database, timeout=10, isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=NORMAL")
        self.connection.executescript(_SCHEMA)
        self._add_what_is_new()

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def _add_what_is_new(self) -> None:
        """A file of an earlier version lacks columns that came later."""
        columns = {row[1] for row in self.connection.execute("PRAGMA table_info(deliveries)")}
        if "fault" not in columns:
            self.connection.execute("ALTER TABLE deliveries ADD COLUMN fault TEXT NOT NULL DEFAULT ''")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; transactions inside one another are one."""
        with self._lock:
            outermost = self._depth == 0
            if outermost:
                self.connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                if outermost:
                    self.connection.execute("ROLLBACK")
                raise
            else:
                if outermost:
                    self.connection.execute("COMMIT")
            finally:
                self._depth -= 1

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """What is done inside is put back when an exception leaves it, also inside a transaction that goes on."""
        with self.transaction():
            self.connection.execute("SAVEPOINT attempt")
            try:
                yield
            except BaseException:
                self.connection.execute("ROLLBACK TO attempt")
                raise
            finally:
                self.connection.execute("RELEASE attempt")

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """What is done inside never happened: everything is put back at the end."""
        with self.transaction():
            self.connection.execute("SAVEPOINT rehearsal")
            before, self.rehearsing = self.rehearsing, True
            try:
                yield
            finally:
                self.rehearsing = before
                self.connection.execute("ROLLBACK TO rehearsal")
                self.connection.execute("RELEASE rehearsal")

    def put(self, body: Object, type: str | None = None) -> None:
        """Keep `body` under its id, new or changed; a new one as what it is, or as another `type`."""
        with self.transaction():
            self.connection.execute(
                "INSERT INTO objects (id, type, body) VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET body = excluded.body",
                (body["id"], type or body["object"], json.dumps(body)),
            )
            self.connection.execute("DELETE FROM agenda WHERE object_id = ? AND what = ?", (body["id"], WAKE))
            if body.get("_due") is not None:
                clock = body.get("test_clock") or body.get("_clock") or ""
                self.book(WAKE, body["id"], body["_due"], clock, body.get("_turn", 1))

    def delete(self, id: str) -> None:
        """Forget the object of that id."""
        with self.transaction():
            self.connection.execute("DELETE FROM objects WHERE id = ?", (id,))
            self.connection.execute("DELETE FROM agenda WHERE object_id = ? AND what = ?", (id, WAKE))

    def book(self, what: str, object_id: str, due: int, clock: str, turn: int = 1) -> None:
        """Put on the agenda of a test clock (or, with an empty one, of everybody's) what is to happen to an object."""
        with self.transaction():
            self.connection.execute(
                "INSERT INTO agenda (what, object_id, clock, due, turn) VALUES (?, ?, ?, ?, ?)",
                (what, object_id, clock, due, turn),
            )

    def take_due(self, clock: str, until: int) -> tuple[int, str, str] | None:
        """Take the first thing from that agenda that is due by `until`: when it is due, what it is, and to which."""
        with self.transaction():
            row = self.connection.execute(
                "SELECT id, due, what, object_id FROM agenda WHERE clock = ? AND due <= ? "
                "ORDER BY due, turn, id LIMIT 1",
                (clock, until),
            ).fetchone()
            if row is None:
                return None
            self.connection.execute("DELETE FROM agenda WHERE id = ?", row[:1])
        return row[1], row[2], row[3]

    def get(self, id: str, type: str | None = None) -> Object | None:
        """The object of that id, and of that type if one is given."""
        with self._lock:
            row = self.connection.execute("SELECT type, body FROM objects WHERE id = ?", (id,)).fetchone()
        if row is None or (type is not None and row[0] != type):
            return None
        body: Object = json.loads(row[1])
        return body

    def newest_first(self, type: str, keep: Callable[[Object], bool] = lambda _: True) -> list[Object]:
        """All objects of a type that `keep` says yes to."""
        with self._lock:
            rows = self.connection.execute(
                "SELECT body FROM objects WHERE type = ? ORDER BY seq DESC", (type,)
            ).fetchall()
        return [body for body in map(json.loads, (row[0] for row in rows)) if keep(body)]

    def setting(self, name: str, default: str) -> str:
        """A kept setting."""
        with self._lock:
            row = self.connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return default if row is None else str(row[0])

    def set(self, name: str, value: str) -> None:
        """Keep a setting."""
        with self.transaction():
            self.connection.execute(
                "INSERT INTO settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )


def public(value: Any) -> Any:
    """`value` without the sandbox's own keys, at any depth."""
    if isinstance(value, dict):
        # Most of what is inside is neither, and it is not asked for that by a call each.
        return {
            key: public(inner) if isinstance(inner, (dict, list)) else inner
            for key, inner in value.items()
            if key[:1] != "_"
        }
    return [public(inner) for inner in value] if isinstance(value, list) else value
