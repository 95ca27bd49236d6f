"""Our customer at Stripe for each account: made once, then kept."""

import hashlib

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from tallystick.billing.stripe_api import StripeApi
from tallystick.clock import Clock
from tallystick.database.engine import Database
from tallystick.database.tables import customers


def client_reference(account_id: str) -> str:
    """The account as a session's client_reference_id, for which Stripe has 200 characters."""
    return account_id[:200]


class Customers:
    """Which customer of Stripe belongs to which account."""

    def __init__(self, database: Database, api: StripeApi, clock: Clock) -> None:
        self._database = database
        self._api = api
        self._clock = clock

    async def of_account(self, account_id: str) -> str | None:
        """The account's customer id at Stripe, if it has one."""
        query = select(customers.c.stripe_customer_id).where(customers.c.account_id == account_id)
        return await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())

    async def account_of(self, stripe_customer_id: str) -> str | None:
        """The account that a customer of Stripe belongs to, if it is one of ours."""
        query = select(customers.c.account_id).where(customers.c.stripe_customer_id == stripe_customer_id)
        return await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())

    async def ensure(self, account_id: str, email: str | None) -> str:
        """The account's customer, made now if it has none. Several callers end with the same one."""
        known = await self.of_account(account_id)
        if known is not None:
            return known
        fingerprint = hashlib.sha256(f"{account_id}\n{email}".encode()).hexdigest()[:32]
        made = await self._api.create_customer(account_id, email, f"tallystick-customer-{fingerprint}")
        dialect = postgresql if self._database.dialect == "postgresql" else sqlite
        adding = (
            dialect.insert(customers)
            .values(account_id=account_id, stripe_customer_id=made["id"], created_at=self._clock())
            .on_conflict_do_nothing(index_elements=["account_id"])
        )
        await self._database.write(lambda connection: connection.execute(adding))
        kept = await self.of_account(account_id)
        if kept is None:
            raise LookupError(f"the customer of {account_id} was just written")
        return kept
