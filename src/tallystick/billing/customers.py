"""Our customer at Stripe for each account: made once, kept, and made anew when it was deleted there."""

import hashlib
from typing import Any

import structlog
from sqlalchemy import Connection, Table, bindparam, delete, select, union_all, update
from sqlalchemy.dialects import postgresql, sqlite

from tallystick.billing.stripe_api import StripeApi
from tallystick.clock import Clock
from tallystick.database.engine import Database
from tallystick.database.tables import customers, other_customers
from tallystick.domain.errors import InvalidInput, UnknownAccount
from tallystick.ledger import Ledger

log = structlog.get_logger(__name__)


def client_reference(account_id: str) -> str:
    """The account as a session's client_reference_id, for which Stripe has 200 characters."""
    return account_id[:200]


_KEPT = union_all(
    *(
        select(table.c.account_id).where(table.c.stripe_customer_id == bindparam("customer"))
        for table in (customers, other_customers)
    )
).limit(1)


class Customers:
    """Which customers of Stripe belong to which account.

    An account has one that its checkouts use. Others may belong to it too: a former one that was deleted, or
    a double that somebody made in the dashboard.
    """

    def __init__(self, database: Database, api: StripeApi, ledger: Ledger, clock: Clock) -> None:
        self._database = database
        self._api = api
        self._ledger = ledger
        self._clock = clock

    async def of_account(self, account_id: str) -> str | None:
        """The customer id at Stripe that the account's checkouts use, if it has one."""
        query = select(customers.c.stripe_customer_id).where(customers.c.account_id == account_id)
        return await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())

    async def kept(self, stripe_customer_id: str) -> str | None:
        """The account that a customer of Stripe belongs to by our own books."""
        given = {"customer": stripe_customer_id}
        return await self._database.read(lambda connection: connection.execute(_KEPT, given).scalar_one_or_none())

    async def account_of(self, stripe_customer_id: str) -> str | None:
        """The account that a customer of Stripe belongs to, if it is one of ours.

        One that we do not know belongs to the account that its metadata names: only whoever has the secret
        key can write that. It is kept.
        """
        known = await self.kept(stripe_customer_id)
        if known is not None:
            return known
        customer = await self._api.customer(stripe_customer_id)
        named = ((customer or {}).get("metadata") or {}).get("account_id")
        if named is None or not await self._is_account(named):
            return None
        log.warning("customer_doubled", account_id=named, stripe_customer_id=stripe_customer_id)
        await self._database.write(lambda connection: self._remember(connection, named, stripe_customer_id))
        return str(named)

    async def ensure(self, account_id: str, email: str | None) -> str:
        """The account's customer, made now if it has none, or none that is still there at Stripe.

        An `email` that is another than the last one given is changed there too; one that was changed there in the
        meantime, by the customer in the portal or by somebody in the dashboard, is left alone. Several callers end
        with the same customer.
        """
        known = await self.of_account(account_id)
        if known is not None:
            customer = await self._api.customer(known)
            if customer is not None:
                await self._follow(customer, email)
                return known
            await self.forget(known)
        # Those before are part of the key: Stripe would answer with one of them again.
        former = "\n".join(await self._former(account_id))
        fingerprint = hashlib.sha256(f"{account_id}\n{email}\n{former}".encode()).hexdigest()[:32]
        made = await self._api.create_customer(account_id, email, f"tallystick-customer-{fingerprint}")
        adding = (
            self._insert(customers)
            .values(account_id=account_id, stripe_customer_id=made["id"], created_at=self._clock(), email=email)
            .on_conflict_do_nothing(index_elements=["account_id"])
        )
        await self._database.write(lambda connection: connection.execute(adding))
        kept = await self.of_account(account_id)
        if kept is None:
            raise LookupError(f"the customer of {account_id} was just written")
        return kept

    async def forget(self, stripe_customer_id: str) -> None:
        """Use a customer for no more checkouts. What still comes from Stripe about it is still its account's."""
        gone = delete(customers).where(customers.c.stripe_customer_id == stripe_customer_id)

        def put_aside(connection: Connection) -> str | None:
            account_id = connection.execute(gone.returning(customers.c.account_id)).scalar_one_or_none()
            if account_id is not None:
                self._remember(connection, account_id, stripe_customer_id)
            return account_id

        account_id = await self._database.write(put_aside)
        if account_id is not None:
            log.warning("customer_deleted", account_id=account_id, stripe_customer_id=stripe_customer_id)

    async def _follow(self, customer: dict[str, Any], email: str | None) -> None:
        """Let a customer have the e-mail of its account if that has changed."""
        ours = customers.c.stripe_customer_id == customer["id"]
        asking = select(customers.c.email).where(ours)
        given = await self._database.read(lambda connection: connection.execute(asking).scalar_one_or_none())
        if email is None or email == given:
            return
        if customer.get("email") != email:
            await self._api.update_customer(customer["id"], email)
        keeping = update(customers).where(ours).values(email=email)
        await self._database.write(lambda connection: connection.execute(keeping))

    async def _former(self, account_id: str) -> list[str]:
        """The customers that belong to an account and that its checkouts do not use."""
        column = other_customers.c.stripe_customer_id
        query = select(column).where(other_customers.c.account_id == account_id).order_by(column)
        return list(await self._database.read(lambda connection: connection.execute(query).scalars().all()))

    def _remember(self, connection: Connection, account_id: str, stripe_customer_id: str) -> None:
        connection.execute(
            self._insert(other_customers)
            .values(stripe_customer_id=stripe_customer_id, account_id=account_id)
            .on_conflict_do_nothing(index_elements=["stripe_customer_id"])
        )

    async def _is_account(self, account_id: str) -> bool:
        try:
            await self._ledger.account(account_id)
        # What was written at Stripe by hand may be no id at all.
        except (UnknownAccount, InvalidInput):
            return False
        return True

    def _insert(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        return postgresql.insert(table) if self._database.dialect == "postgresql" else sqlite.insert(table)
