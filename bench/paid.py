"""Thousands of purchases that are paid at Stripe and not credited yet, each with the event that says so.

One is bought for real, at the sandbox; the others are copies of it under ids of their own, in the sandbox's
file and in the database. So whatever a purchase and its objects at Stripe are made of, the copies have it.
"""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select

from stripe_sandbox import Sandbox, SandboxServer
from tallystick import Pack, Plan, Tallystick
from tallystick.cli.customers import pay
from tallystick.database.schema import upgrade
from tallystick.database.tables import customers, purchases
from tallystick.domain.commands import OpenAccount

CREDITS = 200
KEY = "sk_test_bench"
SECRET = "whsec_bench"
PACK_PRICE, PLUS_PRICE = "price_benchCredits200", "price_benchPlus"
_PLANS = [Plan("free", 25), Plan("plus", 500, can_buy=True, stripe_price=PLUS_PRICE)]
_PACKS = [Pack("credits_200", credits=CREDITS, price="5.99 USD", stripe_price=PACK_PRICE)]
FIRST_BUYER = "first-buyer"
"""Who paid for the purchase that all others are copies of. Its event is not sent: `serve` finds it by itself."""


@dataclass(frozen=True)
class Copies:
    """How a text becomes that of the n-th purchase: the ids in it get a number of their own.

    `per_purchase` are told apart by n, `per_account` by the account, n modulo `accounts`.
    """

    per_purchase: tuple[str, ...]
    per_account: tuple[str, ...]
    accounts: int

    def text(self, text: str, n: int) -> str:
        """The n-th copy of `text`."""
        for id in self.per_purchase:
            text = text.replace(id, f"{id}x{n}")
        for id in self.per_account:
            text = text.replace(id, f"{id}x{n % self.accounts}")
        return text

    def row(self, row: dict[str, Any], n: int) -> dict[str, Any]:
        """The n-th copy of a row of the database."""
        return {name: self.text(value, n) if isinstance(value, str) else value for name, value in row.items()}


async def prepare(database_url: str, sandbox_file: Path, count: int, accounts: int) -> list[str]:
    """Fill the database and the sandbox's file. Returns the bodies of the events that are to come."""
    await upgrade(database_url)
    sandbox = Sandbox(sandbox_file)
    for price_id, amount, recurring in ((PACK_PRICE, 599, None), (PLUS_PRICE, 1900, "month")):
        sandbox.seed_price(
            price_id=price_id, product_name=price_id, unit_amount=amount, currency="usd", recurring=recurring
        )
    async with SandboxServer(sandbox) as stripe:
        credits = Tallystick(
            database_url,
            plans=_PLANS,
            packs=_PACKS,
            stripe_secret_key=KEY,
            stripe_webhook_secrets=[SECRET],
            stripe_api_base=stripe.url,
            base_url="http://127.0.0.1",
        )
        async with credits:
            await credits.open_account(FIRST_BUYER)
            await credits.set_plan(FIRST_BUYER, "plus", key="bench")
            started = await credits.billing.start_pack_checkout(FIRST_BUYER)
            await pay(started.url, "buyer@example.com")
            ids = [f"{FIRST_BUYER}x{n}" for n in range(accounts)]
            await asyncio.gather(*(credits.ledger.submit(OpenAccount(account_id=id, plan="free")) for id in ids))
            bodies = await _copy(credits, sandbox, count, accounts)
    sandbox.close()
    return bodies


async def _copy(credits: Tallystick, sandbox: Sandbox, count: int, accounts: int) -> list[str]:
    def look(connection: Connection) -> list[dict[str, Any]]:
        return [dict(connection.execute(select(table)).mappings().one()) for table in (purchases, customers)]

    purchase, customer = await credits.database.read(look)
    (event,) = sandbox.events("checkout.session.completed")
    stripe_customer = customer["stripe_customer_id"]
    objects = sandbox.store.connection.execute(
        "SELECT id, body FROM objects WHERE type != 'event' AND instr(body, ?)", (stripe_customer,)
    ).fetchall()
    bought = [(id, body) for id, body in objects if id != stripe_customer]
    copies = Copies(
        per_purchase=(purchase["id"], event["id"], *(id for id, _ in bought)),
        per_account=(stripe_customer, FIRST_BUYER),
        accounts=accounts,
    )
    with sandbox.store.transaction():
        for id, body in objects:
            for n in range(accounts if id == stripe_customer else count):
                sandbox.store.put(json.loads(copies.text(body, n)))

    def fill(connection: Connection) -> None:
        connection.execute(insert(customers), [copies.row(customer, n) for n in range(accounts)])
        connection.execute(insert(purchases), [copies.row(purchase, n) for n in range(count)])

    await credits.database.write(fill)
    body = json.dumps(event, indent=2)
    return [copies.text(body, n) for n in range(count)]
