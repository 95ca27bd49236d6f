"""Watches that nobody waits for Stripe while a transaction is open: it would hold its locks and its connection for as
long as Stripe takes. The drivers themselves tell what is open, so it does not matter who began it.
"""

import sqlite3
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import pytest
import stripe
from asyncpg.transaction import Transaction, TransactionState

IsOpen = Callable[[], bool]

_begun: ContextVar[tuple[IsOpen, ...]] = ContextVar("begun", default=())
"""The transactions that were begun on the way here: in this task or thread, or in one that has led to it."""


@dataclass
class Watch:
    """What was seen since a test began."""

    transactions: int = 0
    calls: int = 0
    within: list[str] = field(default_factory=list)
    """The calls that were made while a transaction was open."""

    def begun(self, is_open: IsOpen) -> None:
        self.transactions += 1
        _begun.set((*(earlier for earlier in _begun.get() if earlier()), is_open))

    def called(self, what: str) -> None:
        self.calls += 1
        if any(is_open() for is_open in _begun.get()):
            self.within.append(what)


def watch(patch: pytest.MonkeyPatch) -> Watch:
    """Watch both drivers and the HTTP client of the Stripe SDK."""
    watched = Watch()
    _watch_sqlite(watched, patch)
    _watch_postgresql(watched, patch)
    _watch_stripe(watched, patch)
    return watched


def _watch_sqlite(watched: Watch, patch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def connecting(database: Any, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(database, *args, **kwargs)

        def is_open() -> bool:
            try:
                return connection.in_transaction
            except sqlite3.ProgrammingError:
                # It is closed.
                return False

        def said(statement: str) -> None:
            if statement.startswith("BEGIN"):
                watched.begun(is_open)

        # The sandbox's own database is none of ours.
        if database != ":memory:":
            connection.set_trace_callback(said)
        return connection

    patch.setattr(sqlite3, "connect", connecting)
    patch.setattr(sqlite3.dbapi2, "connect", connecting)


def _watch_postgresql(watched: Watch, patch: pytest.MonkeyPatch) -> None:
    start = Transaction.start

    async def starting(transaction: Any) -> None:
        await start(transaction)
        watched.begun(lambda: transaction._state is TransactionState.STARTED)

    patch.setattr(Transaction, "start", starting)


def _watch_stripe(watched: Watch, patch: pytest.MonkeyPatch) -> None:
    request, request_async = stripe.HTTPXClient.request, stripe.HTTPXClient.request_async

    def asking(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        watched.called(f"{method} {url}")
        return request(self, method, url, *args, **kwargs)

    async def asking_async(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        watched.called(f"{method} {url}")
        return await request_async(self, method, url, *args, **kwargs)

    patch.setattr(stripe.HTTPXClient, "request", asking)
    patch.setattr(stripe.HTTPXClient, "request_async", asking_async)
