"""Secret keys for back ends that use the HTTP API: shown once, stored hashed, scoped, revocable.

Knows nothing of HTTP; how a key travels is the web room's business.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import Connection, Row, insert, select, update

from tallystick.clock import Clock
from tallystick.database.engine import Database, DatabaseUnavailable
from tallystick.database.tables import api_keys
from tallystick.domain.errors import InvalidInput, TallystickError

PREFIX = "tsk_"
TRUSTED_FOR = timedelta(seconds=5)
"""How long a key is taken at its word before it is looked up again: a revocation takes effect within this."""

USE_NOTED_EVERY = timedelta(minutes=1)

log = structlog.get_logger(__name__)


class Scope(StrEnum):
    """What a key may do. `admin` may do everything."""

    READ = "read"
    SPEND = "spend"
    GRANT = "grant"
    ADMIN = "admin"


class InvalidApiKey(TallystickError):
    """No key, or one that is unknown or revoked."""

    code = "invalid_api_key"

    def __init__(self) -> None:
        super().__init__(
            "The API key is missing, unknown or revoked. Nothing was changed. Send a valid one as "
            "'Authorization: Bearer tsk_…'; make one with: tallystick keys create NAME --scope spend"
        )


class MissingScope(TallystickError):
    """A key that may not do this."""

    code = "missing_scope"

    def __init__(self, required: Scope) -> None:
        super().__init__(
            f"This API key does not have the scope {required.value!r}. Nothing was changed. Use one that has it.",
            required=required.value,
        )


class UnknownApiKey(TallystickError):
    """No key has that id."""

    code = "unknown_api_key"

    def __init__(self, id: str) -> None:
        super().__init__(f"There is no API key {id!r}. Nothing was changed. See: tallystick keys list", id=id)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key, without its secret. `prefix` is how its owner recognises it."""

    id: str
    name: str
    prefix: str
    scopes: frozenset[Scope]
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    def require(self, scope: Scope) -> None:
        """Raise MissingScope unless the key has `scope`."""
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            raise MissingScope(scope)


def to_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """The scopes of these names. Raises InvalidInput for an unknown one, or for none."""
    known = [scope.value for scope in Scope]
    wanted = list(names)
    wrong = sorted(set(wanted) - set(known))
    if wrong or not wanted:
        raise InvalidInput(
            f"{', '.join(wrong) or 'Nothing'} is not a scope. Nothing was changed. There are: {', '.join(known)}."
        )
    return frozenset(Scope(name) for name in wanted)


class ApiKeys:
    """The keys of one installation."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._trusted: dict[str, tuple[ApiKey, datetime]] = {}
        self._looking: dict[str, asyncio.Task[ApiKey]] = {}

    async def create(self, name: str, scopes: frozenset[Scope]) -> tuple[ApiKey, str]:
        """Make a key. The secret is in the answer and nowhere else."""
        if not name.strip() or len(name) > 100:
            raise InvalidInput("An API key needs a name of at most 100 characters. Nothing was changed.")
        secret = PREFIX + secrets.token_urlsafe(32)
        key = ApiKey("key_" + secrets.token_hex(8), name.strip(), secret[:10], scopes, self._clock(), None, None)
        adding = insert(api_keys).values(
            id=key.id,
            name=key.name,
            prefix=key.prefix,
            secret_hash=_hash(secret),
            scopes=" ".join(sorted(scopes)),
            created_at=key.created_at,
        )
        await self._database.write(lambda connection: connection.execute(adding))
        return key, secret

    async def list(self) -> list[ApiKey]:
        """All keys, also revoked ones, oldest first."""
        query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        return await self._database.read(lambda connection: [_key(row) for row in connection.execute(query)])

    async def revoke(self, id: str) -> None:
        """End a key for good; harmless to repeat. Raises UnknownApiKey."""
        now = self._clock()

        def revoke(connection: Connection) -> None:
            if connection.execute(select(api_keys).where(api_keys.c.id == id)).first() is None:
                raise UnknownApiKey(id)
            still_valid = (api_keys.c.id == id) & api_keys.c.revoked_at.is_(None)
            connection.execute(update(api_keys).where(still_valid).values(revoked_at=now))

        await self._database.write(revoke)
        self._trusted.clear()

    async def authenticate(self, secret: str) -> ApiKey:
        """The key of `secret`, looked up at most every few seconds. Raises InvalidApiKey."""
        hashed = _hash(secret)
        trusted = self._trusted.get(hashed)
        if trusted is not None and self._clock() < trusted[1]:
            return trusted[0]
        # Requests that come while it is being looked up wait for that instead of asking too.
        looking = self._looking.get(hashed)
        if looking is None:
            looking = self._looking[hashed] = asyncio.create_task(self._look_up(hashed))
            looking.add_done_callback(lambda _done: self._looking.pop(hashed, None))
        return await asyncio.shield(looking)

    async def _look_up(self, hashed: str) -> ApiKey:
        now = self._clock()
        self._trusted.pop(hashed, None)
        query = select(api_keys).where(api_keys.c.secret_hash == hashed)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        if row is None or row.revoked_at is not None:
            raise InvalidApiKey
        key = _key(row)
        if key.last_used_at is None or key.last_used_at + USE_NOTED_EVERY <= now:
            noting = update(api_keys).where(api_keys.c.id == key.id).values(last_used_at=now)
            try:
                await self._database.write(lambda connection: connection.execute(noting))
            except DatabaseUnavailable as error:
                # A disk that is full takes no note, and yet can be read.
                log.warning("api_key_use_not_noted", key=key.id, reason=error.message)
        self._trusted[hashed] = (key, now + TRUSTED_FOR)
        return key


def _hash(secret: str) -> str:
    # The secret has 256 random bits: a slow hash would protect nothing more.
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        row.id,
        row.name,
        row.prefix,
        frozenset(Scope(name) for name in row.scopes.split()),
        row.created_at,
        row.last_used_at,
        row.revoked_at,
    )
