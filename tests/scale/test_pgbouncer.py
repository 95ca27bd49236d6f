"""The ledger and everything else through a real PgBouncer in transaction mode."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import Connection, insert, select, text

from tallystick.clock import system_clock
from tallystick.database.engine import Database
from tallystick.database.schema import require_current, upgrade
from tallystick.database.tables import customers
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import Capture, GrantBonus, OpenAccount, PlaceHold, Reverse, Spend
from tallystick.domain.errors import InsufficientCredits, LedgerUnavailable
from tallystick.ledger import Ledger, Receipt
from tallystick.ledger.errors import PlannerSettingsMissing
from tallystick.ledger.postgres_store import PostgresStore
from tallystick.ledger.verify import verify
from tests.ledger.doors import DirectDoor
from tests.ledger.test_stateful import live
from tests.scale.conftest import SERVER_CONNECTIONS, Bouncer

CATALOGUE = Catalogue([Plan("free", 25)])
ACCOUNTS = 20


async def test_s7_s9_ledgers_that_share_a_few_connections_agree(pooled_url: str) -> None:
    ledgers = [await Ledger.open(pooled_url, CATALOGUE, system_clock) for _ in range(3)]
    for n in range(ACCOUNTS):
        await ledgers[0].submit(OpenAccount(account_id=f"acc{n}", plan="free"))
    # Each key comes twice, through two ledgers, and more is asked for than is there.
    spends = [
        (ledgers[turn % 3], Spend(account_id=f"acc{turn % ACCOUNTS}", key=f"k{turn // 2 // ACCOUNTS}", amount=1))
        for turn in range(ACCOUNTS * 60)
    ]
    answers = await asyncio.gather(*(ledger.submit(spend) for ledger, spend in spends), return_exceptions=True)
    first = [answer for answer in answers if isinstance(answer, Receipt) and not answer.replayed]
    assert {type(answer) for answer in answers} == {Receipt, InsufficientCredits}
    assert len(first) == 25 * ACCOUNTS
    assert (await verify(ledgers[0])).differences == []
    # What was prepared on one connection would not be found on the next.
    store = ledgers[0].store
    assert isinstance(store, PostgresStore)
    async with store.connections.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0
    for ledger in ledgers:
        await ledger.close()


async def test_s12_s13_holds_and_reversals_work_behind_pgbouncer(pooled_url: str) -> None:
    ledger = await Ledger.open(pooled_url, CATALOGUE, system_clock)
    await ledger.submit(OpenAccount(account_id="a", plan="free"))
    held = await ledger.submit(PlaceHold(account_id="a", key="h", amount=20))
    captured = await ledger.submit(Capture(account_id="a", key="c", hold=held.entry.seq, amount=7))
    await ledger.submit(Reverse(account_id="a", key="r", entry=captured.entry.seq))
    assert [entry.kind for entry in await ledger.entries("a")] == ["reversed", "captured", "held", "account_opened"]
    assert (await ledger.account("a")).available == 25
    assert (await verify(ledger)).differences == []
    assert (await verify(ledger, only_new=True)).entries == 0
    await ledger.close()


def test_s5_to_s18_any_life_behind_pgbouncer_agrees_with_the_model(pooled_url: str) -> None:
    # The same one for every life: it has the settings of the role.
    live(DirectDoor, lambda: nullcontext(pooled_url), 80)


async def test_what_is_not_the_ledger_prepares_nothing_either(pooled_url: str) -> None:
    """More transactions at once than there are connections, each with several statements."""
    await upgrade(pooled_url)
    await require_current(pooled_url)
    database = Database.connect(pooled_url)

    async def write(n: int) -> None:
        row = {"account_id": f"a{n}", "stripe_customer_id": f"cus_{n}", "created_at": system_clock()}
        mine = select(customers.c.stripe_customer_id).where(customers.c.account_id == f"a{n}")

        def write_and_read(connection: Connection) -> str:
            connection.execute(insert(customers).values(row))
            return str(connection.execute(mine).scalar_one())

        assert await database.write(write_and_read) == f"cus_{n}"
        assert await database.read(lambda connection: connection.execute(mine).scalar_one()) == f"cus_{n}"

    await asyncio.gather(*map(write, range(60)))

    def count(what: str) -> Callable[[Connection], int]:
        return lambda connection: connection.execute(text(f"SELECT count(*) FROM {what}")).scalar_one()

    assert await database.read(count("pg_prepared_statements")) == 0
    assert await database.read(count("pg_stat_activity WHERE datname = current_database()")) <= SERVER_CONNECTIONS
    await database.close()


async def test_s8_a_pgbouncer_that_is_killed_and_started_again_loses_nothing(
    bouncer: Bouncer, pooled_url: str
) -> None:
    ledger = await Ledger.open(pooled_url, CATALOGUE, system_clock)
    await ledger.submit(OpenAccount(account_id="a", plan="free"))
    await ledger.submit(GrantBonus(account_id="a", key="g", credits=10_000))
    going = True
    acknowledged = []

    async def call(caller: int) -> None:
        n = 0
        while going:
            n += 1
            spend = Spend(account_id="a", key=f"{caller}-{n}", amount=1)
            while True:
                try:
                    await ledger.submit(spend)
                except LedgerUnavailable:
                    continue
                acknowledged.append(spend.key)
                break

    callers = [asyncio.create_task(call(n)) for n in range(20)]
    for _ in range(2):
        await asyncio.sleep(0.3)
        await asyncio.to_thread(bouncer.kill)
        await asyncio.to_thread(bouncer.start)
    so_far = len(acknowledged)
    while len(acknowledged) < so_far + 100:
        await asyncio.sleep(0.01)
    going = False
    await asyncio.gather(*callers)
    account = await ledger.account("a")
    entries = await ledger.entries_up_to("a", account.seq)
    assert {entry.key for entry in entries} == {"tallystick:open", "g", *acknowledged}
    assert account.available == 10_025 - len(acknowledged)
    assert (await verify(ledger)).differences == []
    await ledger.close()


async def test_an_address_that_does_not_say_pgbouncer_is_told_how_to(bouncer: Bouncer, postgres_url: str) -> None:
    url = bouncer.url(urlsplit(postgres_url).path.strip("/"), say_so=False)
    with pytest.raises(LedgerUnavailable, match=r"\?pgbouncer=true"):
        await Ledger.open(url, CATALOGUE, system_clock)


async def test_missing_planner_settings_are_told_as_the_statements_that_mend_it(
    bouncer: Bouncer, postgres_url: str
) -> None:
    url = bouncer.url(urlsplit(postgres_url).path.strip("/"))
    with pytest.raises(PlannerSettingsMissing) as missing:
        await Ledger.open(url, CATALOGUE, system_clock)
    statements = [line.strip() for line in missing.value.message.splitlines() if "ALTER ROLE" in line]
    assert len(statements) == 3
    connection = await asyncpg.connect(postgres_url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()
    # PgBouncer's connections were made before that.
    await asyncio.to_thread(bouncer.kill)
    await asyncio.to_thread(bouncer.start)
    await (await Ledger.open(url, CATALOGUE, system_clock)).close()
    await asyncio.to_thread(bouncer.kill)
