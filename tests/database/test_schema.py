"""The schema: migrations make what the tables module says, and entries cannot be changed (S4)."""

import asyncio
import re
import sqlite3
import uuid
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Table, inspect, text
from sqlalchemy.exc import DBAPIError

from tallystick.billing.subscription_table import SubscriptionTable
from tallystick.database.engine import Database, DatabaseUnavailable
from tallystick.database.schema import SchemaOutOfDate, create_if_empty, pending_revisions, require_current, upgrade
from tallystick.database.tables import metadata
from tallystick.database.urls import file_url, parse_url
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import GrantBonus, OpenAccount, Reverse, Spend
from tallystick.domain.errors import InvalidInput
from tallystick.ledger import Ledger
from tallystick.ledger.verify import verify
from tests.conftest import FrozenClock, with_database
from tests.ledger.raw import fetch

T0 = datetime(2026, 1, 31, tzinfo=UTC)


def _difference(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def test_migrations_make_exactly_the_tables_of_the_tables_module(database_url: str) -> None:
    database = Database.connect(database_url)
    assert await database.read(_difference) == []
    await database.close()


async def test_bonus_credits_is_an_integer_on_the_account_row_that_starts_at_zero(database_url: str) -> None:
    database = Database.connect(database_url)
    columns = await database.read(lambda connection: inspect(connection).get_columns("accounts"))
    await database.close()
    (bonus,) = [c for c in columns if c["name"] == "bonus_credits"]
    assert bonus["type"].python_type is int
    assert bonus["nullable"] is False
    assert "0" in str(bonus["default"])


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("FROM purchases ORDER BY created_at DESC LIMIT 20", id="the newest purchases"),
        pytest.param(
            "FROM purchases WHERE dispute IS NOT NULL ORDER BY created_at DESC LIMIT 20", id="disputed purchases"
        ),
        pytest.param("FROM subscriptions WHERE stripe_customer_id = 'cus_1'", id="subscriptions of a customer"),
        pytest.param("FROM sessions WHERE expires_at <= '2026-01-01' LIMIT 20", id="sessions that have run out"),
    ],
)
async def test_what_is_asked_often_walks_no_whole_table(database_url: str, query: str) -> None:
    database = Database.connect(database_url)

    def plan(connection: Connection) -> str:
        postgres = connection.dialect.name == "postgresql"
        if postgres:
            # So little as there is here would be walked in any case.
            connection.execute(text("SET enable_seqscan = off"))
        explain = "EXPLAIN" if postgres else "EXPLAIN QUERY PLAN"
        return "\n".join(map(str, connection.execute(text(f"{explain} SELECT * {query}"))))

    said = await database.read(plan)
    await database.close()
    assert re.search(r"Index Scan|USING INDEX", said), said
    assert not re.search(r"Seq Scan|Sort|TEMP B-TREE", said), said
    assert ("disputed" in said) == ("dispute IS NOT NULL" in query), said


@pytest.mark.parametrize("statement", ["UPDATE entries SET amount = 1", "DELETE FROM entries", "TRUNCATE entries"])
async def test_s4_the_database_refuses_to_change_entries(ledger: Ledger, database_url: str, statement: str) -> None:
    await ledger.submit(OpenAccount(account_id="a", plan="free"))
    database = Database.connect(database_url)
    # SQLite has no TRUNCATE; there the statement fails as well, and the entries stay.
    with pytest.raises(DBAPIError, match=r"append-only|TRUNCATE"):
        await database.write(lambda connection: connection.execute(text(statement)))
    count = text("SELECT count(*) FROM entries")
    assert await database.read(lambda connection: connection.execute(count).scalar_one()) == 1
    await database.close()


@pytest.mark.parametrize(
    ("seq", "key", "reverses", "replaced"),
    [
        (1, None, None, "the first entry"),
        (2, "spend", None, "an entry as it is"),
        (3, None, None, "the last entry"),
        (4, "spend", None, "by its key"),
        (4, "another", 2, "by what it reverses"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
@pytest.mark.parametrize("verb", ["REPLACE", "INSERT OR REPLACE", "INSERT OR IGNORE"])
async def test_s4_on_sqlite_no_entry_is_replaced(
    sqlite_url: str, catalogue: Catalogue, verb: str, seq: int, key: str | None, reverses: int | None, replaced: str
) -> None:
    ledger = await Ledger.open(sqlite_url, catalogue, lambda: T0)
    await ledger.submit(OpenAccount(account_id="a", plan="free"))
    await ledger.submit(Spend(account_id="a", key="spend", amount=1))
    await ledger.submit(Reverse(account_id="a", key="back", entry=2))
    await ledger.close()
    with sqlite3.connect(parse_url(sqlite_url).native) as connection:
        before = connection.execute("SELECT * FROM entries").fetchall()
        assert len(before) == 3
        # Its amount follows from what is there, so only that something is in its way can be wrong.
        statement = (
            f"{verb} INTO entries (account_id, seq, kind, amount, monthly, bonus, held, debt, effective_at, recorded_at, "
            "key, request, reverses, detail) SELECT account_id, ?1, kind, "
            "CASE ?1 WHEN 4 THEN 0 ELSE (SELECT amount FROM entries WHERE seq = ?1) END, "
            "coalesce((SELECT monthly FROM entries WHERE seq = ?1), monthly), bonus, held, debt, effective_at, "
            "'1970-01-01', ?2, request, ?3, detail FROM entries WHERE seq = 3"
        )
        with pytest.raises(sqlite3.IntegrityError, match=r"append-only|does not follow"):
            connection.execute(statement, (seq, key, reverses))
        assert connection.execute("SELECT * FROM entries").fetchall() == before


@pytest.mark.parametrize(
    ("seq", "amount", "monthly"),
    [(3, -1, 22), (3, 1, 26), (4, -1, 23), (3, 0, 25), (1, 25, 25)],
    ids=["too little left", "too much left", "a number left out", "nothing moved", "a number taken"],
)
async def test_s5_the_database_refuses_an_entry_that_does_not_follow(
    ledger: Ledger, database_url: str, seq: int, amount: int, monthly: int
) -> None:
    await ledger.submit(OpenAccount(account_id="a", plan="free"))
    await ledger.submit(Spend(account_id="a", key="k", amount=1))
    following = text(
        "INSERT INTO entries (account_id, seq, kind, amount, monthly, bonus, held, debt, effective_at, recorded_at, "
        "detail) SELECT account_id, :seq, kind, :amount, :monthly, bonus, held, debt, effective_at, recorded_at, detail "
        "FROM entries WHERE account_id = 'a' AND seq = 2"
    )
    database = Database.connect(database_url)
    with pytest.raises(DBAPIError, match=r"does not follow|unique|UNIQUE"):
        await database.write(lambda c: c.execute(following, {"seq": seq, "amount": amount, "monthly": monthly}))
    await database.write(lambda c: c.execute(following, {"seq": 3, "amount": -2, "monthly": 22}))
    await database.close()


async def test_s5_a_first_entry_starts_from_nothing(ledger: Ledger, database_url: str) -> None:
    await ledger.submit(OpenAccount(account_id="a", plan="free"))
    first = (
        "INSERT INTO entries (account_id, seq, kind, amount, monthly, bonus, held, debt, effective_at, recorded_at, "
        "detail) SELECT 'b', {seq}, kind, amount, monthly + {more}, bonus, held, debt, effective_at, recorded_at, detail "
        "FROM entries"
    )
    database = Database.connect(database_url)
    for seq, more in ((1, 1), (2, 0)):
        with pytest.raises(DBAPIError, match="does not follow"):
            wrong = text(first.format(seq=seq, more=more))
            await database.write(lambda connection, wrong=wrong: connection.execute(wrong))
    right = text(first.format(seq=1, more=0))
    await database.write(lambda connection: connection.execute(right))
    await database.close()


async def test_an_empty_database_is_reported_and_a_migration_mends_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    with pytest.raises(SchemaOutOfDate, match="tallystick migrate"):
        await require_current(url)
    await upgrade(url)
    await upgrade(url)
    await require_current(url)
    assert await pending_revisions(url) == []


async def test_a_database_that_has_tables_is_never_upgraded_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as old:
        old.execute("CREATE TABLE accounts (id TEXT)")
    await create_if_empty(f"sqlite:///{path}")
    assert (await pending_revisions(f"sqlite:///{path}"))[:1] == ["0001"]


@pytest.fixture(params=["sqlite", "postgresql"])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any schema."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'old.db'}"
    server, name = request.getfixturevalue("postgres_server"), f"old_{uuid.uuid4().hex[:8]}"
    asyncio.run(_create(server, name))
    return with_database(server, name)


async def _create(server: str, name: str) -> None:
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()


async def _copy(here: Database, there: Database, table: Table) -> None:
    rows = await here.read(lambda connection: connection.execute(table.select()).mappings().all())

    def fill(connection: Connection) -> None:
        known = {column["name"] for column in inspect(connection).get_columns(table.name)}
        for row in rows:
            connection.execute(table.insert().values({k: v for k, v in row.items() if k in known}))

    await there.write(fill)


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004", "0007", "0009", "0019"])
async def test_every_released_schema_is_upgraded_with_what_is_in_it(
    old_url: str, database_url: str, ledger: Ledger, catalogue: Catalogue, revision: str
) -> None:
    """A ledger lives on after the upgrade as if nothing had been, and every number is still proven."""
    await ledger.submit(OpenAccount(account_id="a", plan="free"))
    await ledger.submit(GrantBonus(account_id="a", key="g", credits=200))
    spent = (await ledger.submit(Spend(account_id="a", key="s", amount=30))).entry
    before = await ledger.account("a")
    await upgrade(old_url, revision)
    here, there = Database.connect(database_url), Database.connect(old_url)
    for table in (metadata.tables["accounts"], metadata.tables["entries"]):
        await _copy(here, there, table)
    await here.close()
    await there.close()
    await upgrade(old_url)
    upgraded = await Ledger.open(old_url, catalogue, ledger._clock)
    assert await upgraded.account("a") == before
    assert (await verify(upgraded)).differences == []
    again = await upgraded.submit(Spend(account_id="a", key="s", amount=30))
    assert again.replayed
    await upgraded.submit(Reverse(account_id="a", key="r", entry=spent.seq))
    assert (await upgraded.account("a")).available == 225
    await upgraded.close()


async def test_s9_ids_sort_by_the_codes_of_their_characters_in_a_database_of_any_language(postgres_url: str) -> None:
    """A process sorts the accounts that it locks by that, and no other one may come upon them in another order."""
    names = "table_name = ANY('{accounts,entries,proofs,checkpoints,archived_keys}') AND column_name = ANY"
    found = await fetch(
        postgres_url,
        "SELECT table_name, column_name, collation_name FROM information_schema.columns "
        f"WHERE {names}('{{id,account_id,key}}')",
    )
    assert sorted(found) == [
        ("accounts", "id", "C"),
        ("archived_keys", "account_id", "C"),
        ("checkpoints", "account_id", "C"),
        ("entries", "account_id", "C"),
        ("entries", "key", "C"),
        ("proofs", "account_id", "C"),
    ]


async def test_a_subscription_kept_by_the_version_before_is_upgraded_and_may_still_be_written_by_it(
    old_url: str, catalogue: Catalogue
) -> None:
    await upgrade(old_url, "0013")
    there = Database.connect(old_url)
    written = {"account_id": "a", "plan": "plus", "status": "active", "cancel_at_period_end": False, "updated_at": T0}
    insert = metadata.tables["subscriptions"].insert().values(**written)
    await there.write(lambda connection: connection.execute(insert.values(id="sub_1")))
    await upgrade(old_url)
    await there.write(lambda connection: connection.execute(insert.values(id="sub_2")))
    kept = await SubscriptionTable(there, catalogue, lambda: T0).of_account("a")
    assert {(each.id, each.plan, each.changes_at, each.next_plan) for each in kept} == {
        ("sub_1", "plus", None, None),
        ("sub_2", "plus", None, None),
    }
    await there.close()


async def test_a_write_is_all_or_nothing(database_url: str) -> None:
    database = Database.connect(database_url)
    statement = text("INSERT INTO customers VALUES ('a', 'cus_1', '2026-01-01 00:00:00+00', NULL)")

    def change(connection: Connection) -> None:
        connection.execute(statement)
        raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        await database.write(change)
    count = text("SELECT count(*) FROM customers")
    assert await database.read(lambda connection: connection.execute(count).scalar_one()) == 0
    await database.write(lambda connection: connection.execute(statement))
    assert await database.read(lambda connection: connection.execute(count).scalar_one()) == 1
    await database.close()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://x/y",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///%3Amemory%3A",
        "sqlite:///%00",
        "sqlite:///%FF",
        "sqlite:///\ud800",
        "postgresql://host",
        "x",
    ],
)
def test_an_address_that_names_no_database_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        parse_url(url)


@pytest.mark.parametrize("name", ["q r.db", "q%20r.db", "a?b=c.db", "a+b#c&d.db", "100%.db", "Grüße 世界.db"])
async def test_a_sqlite_address_is_one_file_for_all_who_read_it(
    tmp_path: Path, catalogue: Catalogue, clock: FrozenClock, name: str
) -> None:
    url = file_url(tmp_path / name)
    assert parse_url(url).native == str(tmp_path / name)
    await upgrade(url)
    await require_current(url)
    ledger = await Ledger.open(url, catalogue, clock)
    await ledger.submit(OpenAccount(account_id="a", plan="free"))
    await ledger.close()
    assert {path.name for path in tmp_path.iterdir()} == {name}


async def test_an_escaped_character_of_a_sqlite_address_is_what_it_stands_for(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/q%20r.db", f"sqlite:///{tmp_path}/q r.db", f"sqlite:///{tmp_path}/q r.db?"):
        await upgrade(url)
        await require_current(url)
    assert {path.name for path in tmp_path.iterdir()} == {"q r.db"}


def test_options_of_a_sqlite_address_are_refused_for_there_are_none() -> None:
    with pytest.raises(InvalidInput, match=r"options after the '\?'.*%3F"):
        parse_url("sqlite:///app.db?mode=ro")


def test_whether_there_is_a_pgbouncer_is_for_us_and_the_rest_of_the_address_for_the_driver() -> None:
    url = parse_url("postgresql://u:p%40@host:6432/app?sslmode=require&pgbouncer=true")
    assert url.pooled
    assert url.native == "postgresql://u:p%40@host:6432/app?sslmode=require"
    assert not parse_url("postgresql://u@/app?host=/tmp/pg").pooled
    assert parse_url("postgresql://u@/app?host=/tmp/pg&pgbouncer=false").native == "postgresql://u@/app?host=/tmp/pg"
    with pytest.raises(InvalidInput, match="pgbouncer"):
        parse_url("postgresql://u@host/app?pgbouncer=yes")


async def test_both_spellings_of_postgresql_are_understood(postgres_url: str) -> None:
    rest = postgres_url.split("://", 1)[1]
    for scheme in ("postgres", "postgresql"):
        connection = await asyncpg.connect(parse_url(f"{scheme}://{rest}").native)
        await connection.close()
        await require_current(f"{scheme}://{rest}")


async def test_a_database_that_is_gone_is_told_as_unavailable_not_as_a_fault_of_ours(tmp_path: Path) -> None:
    gone = tmp_path / "folder" / "gone.db"
    for url in (f"sqlite:///{gone}", "postgresql://nobody@127.0.0.1:9/nothing"):
        database = Database.connect(url)
        for attempt in (database.read, database.write):
            with pytest.raises(DatabaseUnavailable) as refused:
                await attempt(lambda connection: connection.execute(text("SELECT 1")))
            assert refused.value.code == "database_unavailable"
        await database.close()


async def test_connections_that_were_cut_are_told_as_unavailable_and_come_back(postgres_url: str) -> None:
    database = Database.connect(postgres_url)
    for attempt in (database.read, database.write):
        with pytest.raises(DatabaseUnavailable):
            await attempt(
                lambda connection: connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
            )
        assert await attempt(lambda connection: connection.execute(text("SELECT 1")).scalar_one()) == 1
    await database.close()
