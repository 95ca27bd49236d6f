"""The ways in for a random life: the ledger itself, and the HTTP API in front of it."""

import asyncio
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import asyncpg
import httpx2

from tallystick import Tallystick
from tallystick.api_keys import Scope
from tallystick.database.urls import parse_url
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import (
    Capture,
    ClawBack,
    ExtendHold,
    GrantBonus,
    KeyedCommand,
    OpenAccount,
    PlaceHold,
    Release,
    Remove,
    RenewAllowance,
    Reverse,
    SetPlan,
    Spend,
)
from tallystick.domain.errors import Refusal
from tallystick.ledger import Ledger
from tallystick.ledger.archiving import archive
from tallystick.ledger.postgres_store import PostgresStore
from tallystick.ledger.verify import verify
from tallystick.web.app import WebSettings, create_app
from tests.conftest import FrozenClock

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What became of a command: the number of its entry, or the code of its refusal."""

    seq: int = 0
    replayed: bool = False
    refused: str = ""


class Door(Protocol):
    """A way in. Everything waits until it is done."""

    def submit(self, command: KeyedCommand) -> Answer: ...

    def balances(self, id: str) -> tuple[int, int, int, int]:
        """Monthly, bonus, available, debt."""

    def restart(self) -> None: ...

    def crash(self, command: KeyedCommand) -> bool:
        """Go down while `command` is under way, come back, and say whether it has happened."""

    def sweep(self) -> None: ...

    def archive(self, before: datetime) -> None: ...

    def archived(self, id: str) -> int:
        """The number up to which entries are in the archive."""

    def differences(self, id: str) -> list[str]: ...

    def close(self) -> None: ...


async def _submitted(ledger: Ledger, command: KeyedCommand) -> Answer:
    try:
        receipt = await ledger.submit(command)
    except Refusal as refusal:
        return Answer(refused=refusal.code)
    return Answer(receipt.entry.seq, receipt.replayed)


async def _archived(ledger: Ledger, before: datetime, now: datetime) -> None:
    with tempfile.TemporaryDirectory() as folder:
        done = await archive(ledger.store, before, Path(folder), now, apply=True)
    assert done.differences == []


class DirectDoor:
    """The ledger, called as a library."""

    def __init__(self, url: str, catalogue: Catalogue, clock: FrozenClock) -> None:
        self._of = (url, catalogue, clock)
        self._loop = asyncio.new_event_loop()
        self._ledger = self._run(Ledger.open(*self._of))
        self._watch: Any = None
        """A connection of its own to PostgreSQL, made for the first crash and kept for the next."""

    def _run(self, work: Awaitable[T]) -> T:
        return self._loop.run_until_complete(work)

    def submit(self, command: KeyedCommand) -> Answer:
        return self._run(_submitted(self._ledger, command))

    def balances(self, id: str) -> tuple[int, int, int, int]:
        account = self._run(self._ledger.account(id))
        return account.monthly, account.bonus, account.available, account.debt

    def restart(self) -> None:
        self._run(self._ledger.close())
        self._ledger = self._run(Ledger.open(*self._of))

    def crash(self, command: KeyedCommand) -> bool:
        self._run(self._go_down(command))
        self._ledger = self._run(Ledger.open(*self._of))
        return self._run(self._ledger.entry_by_key(command.account_id, command.key)) is not None

    async def _go_down(self, command: KeyedCommand) -> None:
        under_way = asyncio.create_task(self._ledger.submit(command))
        await asyncio.sleep(0.001)
        store = self._ledger.store
        if isinstance(store, PostgresStore):
            store.connections.terminate()
            if self._watch is None:
                self._watch = await asyncpg.connect(parse_url(self._of[0]).native, statement_cache_size=0)
            await _quiet(self._watch)
        else:
            await store.close()
        under_way.cancel()
        await asyncio.gather(under_way, return_exceptions=True)

    def sweep(self) -> None:
        self._run(self._ledger.sweep())

    def archive(self, before: datetime) -> None:
        self._run(_archived(self._ledger, before, self._of[2].now))

    def archived(self, id: str) -> int:
        return self._run(self._ledger.account(id)).archived

    def differences(self, id: str) -> list[str]:
        return self._run(verify(self._ledger, id)).differences

    def close(self) -> None:
        self._run(self._ledger.close())
        if self._watch is not None:
            self._run(self._watch.close())
        self._loop.close()


async def _quiet(connection: Any) -> None:
    """Wait until PostgreSQL is done with what a ledger that went down had asked of it."""
    at_work = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND (application_name = 'tallystick ledger' OR state <> 'idle')"
    )
    while await connection.fetchval(at_work):
        await asyncio.sleep(0.001)


class HttpDoor:
    """The whole service behind /v1, as another back end sees it.

    The application is made once for all restarts, since that takes as long as dozens of steps: what it remembers is
    in `Tallystick`, which is closed and opened.
    """

    def __init__(self, url: str, catalogue: Catalogue, clock: FrozenClock) -> None:
        self._clock = clock
        self._loop = asyncio.new_event_loop()
        self._credits = Tallystick(url, plans=catalogue.plans, clock=clock, base_url="http://127.0.0.1")
        app = create_app(self._credits, WebSettings(base_url="http://127.0.0.1", secret_key="s" * 32))
        self._run(self._credits.open())
        _, secret = self._run(self._credits.api_keys.create("life", frozenset([Scope.ADMIN])))
        self._http = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app),
            base_url="http://127.0.0.1/v1/accounts/",
            headers={"Authorization": f"Bearer {secret}"},
        )

    def _run(self, work: Awaitable[T]) -> T:
        return self._loop.run_until_complete(work)

    def submit(self, command: KeyedCommand) -> Answer:
        if isinstance(command, RenewAllowance | ClawBack):
            # What follows from payments comes from billing, inside the service.
            return self._run(_submitted(self._credits.ledger, command))
        return self._run(self._send(command))

    async def _send(self, command: KeyedCommand) -> Answer:
        method, path, body = _request(command)
        answer = await self._http.request(
            method, command.account_id + path, json=body, headers={"Idempotency-Key": command.key}
        )
        said: dict[str, Any] = answer.json()
        if answer.is_error:
            return Answer(refused=said["code"])
        seq = said["id"] if path == "/holds" else said.get("seq", 0)
        return Answer(seq, answer.headers.get("Idempotent-Replayed") == "true")

    def balances(self, id: str) -> tuple[int, int, int, int]:
        said = self._run(self._http.get(id)).json()
        return said["monthly"], said["bonus"], said["available"], said["debt"]

    def restart(self) -> None:
        self._run(self._reopen())

    def crash(self, command: KeyedCommand) -> bool:
        self._run(self._go_down(command))
        self._run(self._reopen())
        entries = self._run(self._http.get(command.account_id + "/entries?limit=200")).json()["entries"]
        return any(entry["key"] == command.key for entry in entries)

    async def _go_down(self, command: KeyedCommand) -> None:
        """The client goes away in the middle of its request."""
        under_way = asyncio.create_task(self._send(command))
        await asyncio.sleep(0.002)
        under_way.cancel()
        await asyncio.gather(under_way, return_exceptions=True)

    async def _reopen(self) -> None:
        await self._credits.close()
        await self._credits.open()

    def sweep(self) -> None:
        self._run(self._credits.ledger.sweep())

    def archive(self, before: datetime) -> None:
        self._run(_archived(self._credits.ledger, before, self._clock.now))

    def archived(self, id: str) -> int:
        return self._run(self._credits.ledger.account(id)).archived

    def differences(self, id: str) -> list[str]:
        return self._run(verify(self._credits.ledger, id)).differences

    def close(self) -> None:
        self._run(self._http.aclose())
        self._run(self._credits.close())
        self._loop.close()


def _request(command: KeyedCommand) -> tuple[str, str, dict[str, Any]]:
    match command:
        case OpenAccount() | SetPlan():
            return "PUT", "", {"plan": command.plan}
        case Spend():
            return "POST", "/spends", {"amount": command.amount}
        case Reverse():
            return "POST", f"/spends/{command.entry}/reverse", {}
        case PlaceHold():
            return "POST", "/holds", {"amount": command.amount, "seconds": command.seconds}
        case Capture():
            return "POST", f"/holds/{command.hold}/capture", {"amount": command.amount}
        case ExtendHold():
            return "POST", f"/holds/{command.hold}/extend", {"amount": command.amount, "seconds": command.seconds}
        case Remove():
            return "POST", "/removals", {"amount": command.amount, "reason": command.reason}
        case Release():
            return "POST", f"/holds/{command.hold}/release", {}
        case GrantBonus():
            return (
                "POST",
                "/grants",
                {
                    "credits": command.credits,
                    "kind": command.kind,
                    "effective_at": _written(command.effective_at),
                    "expires_at": _written(command.expires_at),
                },
            )
    raise AssertionError(f"{type(command).__name__} has no route")


def _written(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
