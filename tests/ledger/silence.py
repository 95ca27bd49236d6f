"""A database that carries out what is next written, and is not heard of again for a while."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from tallystick.domain.errors import LedgerUnavailable
from tallystick.ledger import Ledger, postgres_connections
from tallystick.ledger.postgres_store import PostgresStore


@contextmanager
def unheard(ledger: Ledger) -> Iterator[None]:
    """What `ledger` writes takes effect, and then its connection is lost: neither the answer nor another try comes
    through."""
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(ledger.store, PostgresStore):
            _lose_connections(ledger.store, patch)
        else:
            _lose_answers(ledger.store, patch)
        yield


def _lose_connections(store: PostgresStore, patch: pytest.MonkeyPatch) -> None:
    acquire, used = store.connections.acquire, []

    @asynccontextmanager
    async def once() -> AsyncIterator[Any]:
        if not used:
            used.append(True)
            async with acquire() as connection:
                yield connection
        raise ConnectionResetError

    patch.setattr(store.connections, "acquire", once)
    patch.setattr(postgres_connections, "FIRST_PAUSE", 0.001)


def _lose_answers(store: Any, patch: pytest.MonkeyPatch) -> None:
    write = store._write

    async def silent(work: Any) -> Any:
        await write(work)
        raise LedgerUnavailable("The connection was lost.")

    patch.setattr(store, "_write", silent)
