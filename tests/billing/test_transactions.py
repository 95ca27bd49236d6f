"""Every test here holds that Stripe is never called within a transaction; these hold that such a call is found."""

import asyncio
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.util import await_only

from stripe_sandbox import SandboxServer
from tallystick.clock import system_clock
from tallystick.domain.catalogue import Catalogue
from tests.billing.conftest import Shop, make_shop
from tests.transactions import Watch


async def test_a_call_within_a_transaction_is_found(shop: Shop, transactions: Watch) -> None:
    loop = asyncio.get_running_loop()

    def and_ask(connection: Connection) -> Any:
        connection.execute(text("DELETE FROM purchases"))
        asking = shop.billing._api.prices()
        if shop.database.dialect == "postgresql":
            return await_only(asking)
        return asyncio.run_coroutine_threadsafe(asking, loop).result(10)

    await shop.billing._api.prices()
    assert (transactions.calls, transactions.within) == (1, [])
    await shop.database.write(and_ask)
    await shop.billing._api.prices()
    (found,) = transactions.within
    assert found.startswith(f"get {shop.url}/v1/prices")
    transactions.within.clear()


async def test_a_call_within_a_transaction_of_the_ledger_is_found(
    database_url: str, server: SandboxServer, catalogue: Catalogue, transactions: Watch
) -> None:
    def clock_that_asks() -> datetime:
        transactions.called("what time it is")
        return system_clock()

    async with make_shop(database_url, catalogue, server, clock_that_asks) as shop:
        await shop.open()
    assert set(transactions.within) == {"what time it is"}
    assert len(transactions.within) < transactions.calls
    transactions.within.clear()
