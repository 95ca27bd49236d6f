"""Where the sandbox keeps everything: one SQLite file, or memory. Objects are JSON, in order of creation.

Keys that begin with an underscore are the sandbox's own; they are never sent to anybody.
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Object = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL,
    body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS objects_type ON objects (type, seq);
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, request TEXT NOT NULL, status INTEGER NOT NULL,
    body TEXT NOT NULL, request_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, endpoint_id TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, due REAL, answer TEXT NOT NULL DEFAULT '', fault TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due);
CREATE TABLE IF NOT EXISTS later (id INTEGER PRIMARY KEY, due INTEGER NOT NULL, what TEXT NOT NULL,
    object_id TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS later_due ON later (due);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Store:
    """Objects by id and by type. Every change happens inside `transaction`."""

    def __init__(self, database: str | Path) -> None:
        self._lock = threading.RLock()
        self._depth = 0
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

    def put(self, body: Object) -> None:
        """Keep `body` under its id, new or changed."""
        with self.transaction():
            self.connection.execute(
                "INSERT INTO objects (id, type, body) VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET body = excluded.body",
                (body["id"], body["object"], json.dumps(body)),
            )

    def delete(self, id: str) -> None:
        """Take the object of that id away."""
        with self.transaction():
            self.connection.execute("DELETE FROM objects WHERE id = ?", (id,))

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
        return {key: public(inner) for key, inner in value.items() if not key.startswith("_")}
    return [public(inner) for inner in value] if isinstance(value, list) else value
