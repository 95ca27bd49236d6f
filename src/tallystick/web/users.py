"""The people who sign in: e-mail, password, and which account is theirs. Only the standalone service has them;
a host application brings its own."""

import asyncio
import re
import uuid
from dataclasses import dataclass
from typing import Any

from pwdlib import PasswordHash
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from tallystick.clock import Clock
from tallystick.database.engine import Database
from tallystick.database.tables import users
from tallystick.domain.errors import InvalidInput

SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 200

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who can sign in."""

    id: str
    email: str
    account_id: str
    is_operator: bool


class EmailTaken(InvalidInput):
    """Somebody has signed up with that e-mail."""

    code = "email_taken"


class Users:
    """Everybody who has signed up."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._hasher = PasswordHash.recommended()
        # What a wrong e-mail is compared with, so that it takes as long as a wrong password.
        self._decoy = self._hasher.hash(uuid.uuid4().hex)

    async def create(self, email: str, password: str, *, is_operator: bool = False) -> User:
        """Sign somebody up. Raises InvalidInput for an e-mail or password that cannot be used, EmailTaken."""
        email = normalise(email)
        if not _EMAIL.fullmatch(email) or len(email) > 254:
            raise InvalidInput("This is not an e-mail address.", field="email")
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise InvalidInput(
                f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.", field="password"
            )
        hashed = await asyncio.to_thread(self._hasher.hash, password)
        user = User(uuid.uuid4().hex, email, f"acct_{uuid.uuid4().hex}", is_operator)
        adding = insert(users).values(
            id=user.id,
            email=user.email,
            password_hash=hashed,
            account_id=user.account_id,
            is_operator=is_operator,
            created_at=self._clock(),
        )
        try:
            await self._database.write(lambda connection: connection.execute(adding))
        except IntegrityError as error:
            raise EmailTaken(
                "There is an account with this e-mail already. Sign in instead.", field="email"
            ) from error
        return user

    async def authenticate(self, email: str, password: str) -> User | None:
        """Who that is, or None; for an unknown e-mail it takes as long as for a wrong password."""
        row = await self._row(users.c.email == normalise(email))
        hashed = self._decoy if row is None else row["password_hash"]
        fits = await asyncio.to_thread(self._hasher.verify, password[:LONGEST_PASSWORD], hashed)
        return _user(row) if fits and row is not None else None

    async def find(self, email: str) -> User | None:
        """The user with that e-mail."""
        row = await self._row(users.c.email == normalise(email))
        return None if row is None else _user(row)

    async def get(self, id: str) -> User | None:
        """The user with that id."""
        row = await self._row(users.c.id == id)
        return None if row is None else _user(row)

    async def _row(self, condition: Any) -> Any:
        query = select(users).where(condition)
        return await self._database.read(lambda connection: connection.execute(query).mappings().one_or_none())


def normalise(email: str) -> str:
    """E-mail addresses that differ only in case or surrounding blanks are the same."""
    return email.strip().lower()


def _user(row: Any) -> User:
    return User(row["id"], row["email"], row["account_id"], row["is_operator"])
