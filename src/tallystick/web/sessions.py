"""Who is signed in: an opaque token in a cookie, its HMAC in the database."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select, update

from tallystick.clock import Clock
from tallystick.database.engine import Database
from tallystick.database.tables import sessions

COOKIE = "tallystick_session"
LIFETIME = timedelta(days=30)
_RENEW_AFTER = timedelta(days=1)

AT_ONCE = 500
"""How many go in one transaction: a few milliseconds, in which nobody else can write on SQLite."""


@dataclass(frozen=True, slots=True)
class Session:
    """A living session. `renewed` is True when it was just prolonged: the cookie has to be, too."""

    user_id: str
    renewed: bool


class Sessions:
    """Sessions of signed-in users. Whoever reads the table cannot sign in with what is in it."""

    def __init__(self, database: Database, clock: Clock, secret_key: str) -> None:
        self._database = database
        self._clock = clock
        self._key = secret_key.encode()

    async def start(self, user_id: str) -> str:
        """A new session; returns the token for the cookie."""
        token = secrets.token_urlsafe(32)
        now = self._clock()
        adding = insert(sessions).values(
            token_hash=self._hash(token), user_id=user_id, created_at=now, expires_at=now + LIFETIME
        )
        await self._database.write(lambda connection: connection.execute(adding))
        return token

    async def find(self, token: str) -> Session | None:
        """The session of that token, or None. A session in use stays alive."""
        now = self._clock()
        query = select(sessions.c.user_id, sessions.c.expires_at).where(sessions.c.token_hash == self._hash(token))
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        if row is None or row.expires_at <= now:
            return None
        renewed = row.expires_at - now < LIFETIME - _RENEW_AFTER
        if renewed:
            await self._renew(token, now)
        return Session(row.user_id, renewed)

    async def end(self, token: str) -> None:
        """Sign out."""
        ending = delete(sessions).where(sessions.c.token_hash == self._hash(token))
        await self._database.write(lambda connection: connection.execute(ending))

    async def forget(self) -> int:
        """Forget the sessions that have run out. Returns how many there were. Raises DatabaseUnavailable."""
        now = self._clock()
        over = select(sessions.c.token_hash).where(sessions.c.expires_at <= now)
        some = select(over.limit(AT_ONCE).with_for_update(skip_locked=True).cte("over"))
        forgetting = delete(sessions).where(sessions.c.token_hash.in_(some)).returning(sessions.c.token_hash)
        gone = 0
        # Looked for first: on SQLite, who writes keeps all others from it.
        while await self._database.read(lambda connection: connection.execute(select(over.exists())).scalar_one()):
            went = await self._database.write(lambda connection: len(connection.execute(forgetting).all()))
            gone += went
            if went < AT_ONCE:
                break
        return gone

    async def _renew(self, token: str, now: datetime) -> None:
        renewing = (
            update(sessions).where(sessions.c.token_hash == self._hash(token)).values(expires_at=now + LIFETIME)
        )
        await self._database.write(lambda connection: connection.execute(renewing))

    def _hash(self, token: str) -> str:
        return hmac.new(self._key, token.encode(), hashlib.sha256).hexdigest()
