"""Distributing the ledger: our steps, on a stand-in for Citus's catalogue. Nothing here has seen Citus itself."""

import uuid

import asyncpg
import pytest

from tallystick.cli import distribute as command
from tallystick.clock import system_clock
from tallystick.database.schema import require_current, upgrade
from tallystick.database.tables import metadata
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import OpenAccount, Spend
from tallystick.domain.errors import LedgerUnavailable
from tallystick.ledger import Ledger
from tallystick.ledger.errors import CitusMissing, DistributionFailed, DistributionUnfinished
from tallystick.ledger.postgres_distribute import distribute, left
from tallystick.ledger.postgres_distribution import LOCAL_TABLES, SHARDED_TABLES, STEPS, Step
from tallystick.ledger.verify import verify
from tests.conftest import with_database
from tests.ledger.citus_stand_in import stand_in
from tests.ledger.raw import execute, fetch

CATALOGUE = Catalogue([Plan("free", 25)])


class Killed(Exception):
    """As if the process had been."""


async def opened(url: str) -> Ledger:
    return await Ledger.open(url, CATALOGUE, system_clock)


def test_every_table_is_either_on_shards_or_stays() -> None:
    assert sorted([*SHARDED_TABLES, *LOCAL_TABLES]) == sorted(metadata.tables)
    assert SHARDED_TABLES == {
        "accounts": "id",
        "entries": "account_id",
        "proofs": "account_id",
        "checkpoints": "account_id",
        "archived_keys": "account_id",
    }
    assert all(step.reason for step in STEPS)


async def test_nothing_in_the_schema_reaches_from_one_shard_to_another(postgres_url: str) -> None:
    """No unique index without the account, no foreign key in or out, no sequence, and the account always first."""
    for table, column in SHARDED_TABLES.items():
        unique = await fetch(
            postgres_url,
            "SELECT indexrelid::regclass, (SELECT attname FROM pg_attribute WHERE attrelid = indrelid AND attnum = "
            f"indkey[0])::text FROM pg_index WHERE indisunique AND indrelid = '{table}'::regclass",
        )
        assert unique
        assert {first for _, first in unique} == {column}, unique
    names = ", ".join(f"'{table}'::regclass" for table in SHARDED_TABLES)
    crossing = (
        f"SELECT conname FROM pg_constraint WHERE contype = 'f' AND (conrelid IN ({names}) OR confrelid IN ({names}))"
    )
    assert await fetch(postgres_url, crossing) == []
    sequences = (
        "SELECT refobjid::regclass FROM pg_depend JOIN pg_class ON pg_class.oid = objid AND relkind = 'S' "
        f"WHERE refobjid IN ({names})"
    )
    assert await fetch(postgres_url, sequences) == []
    drawn = f"SELECT adrelid::regclass FROM pg_attrdef WHERE adrelid IN ({names}) AND pg_get_expr(adbin, adrelid) LIKE '%nextval%'"
    assert await fetch(postgres_url, drawn) == []


async def test_without_citus_it_says_what_is_missing_and_changes_nothing(postgres_url: str) -> None:
    for url, what in ((postgres_url, "has no Citus"), ("sqlite:///x.db", "SQLite")):
        with pytest.raises(CitusMissing, match=what) as refused:
            await distribute(url, lambda _step: pytest.fail("a step was begun"))
        assert refused.value.code == "citus_missing"
        assert "Nothing was changed" in refused.value.message
    with pytest.raises(LedgerUnavailable):
        await left("postgresql://nobody@127.0.0.1:9/nothing")


async def test_killed_before_any_step_it_goes_on_from_there_and_no_ledger_opens_half_way(postgres_url: str) -> None:
    await stand_in(postgres_url)
    ledger = await opened(postgres_url)
    await ledger.submit(OpenAccount(account_id="a", plan="free"))
    await ledger.close()
    done: list[Step] = []
    begun = 0

    def one_only(step: Step) -> None:
        nonlocal begun
        begun += 1
        if begun > 1:
            raise Killed
        done.append(step)

    while waiting := [step for step, is_done in await left(postgres_url) if not is_done]:
        if any("create_distributed_table" in step.statement for step in done):
            with pytest.raises(DistributionUnfinished) as refused:
                await opened(postgres_url)
            assert refused.value.code == "distribution_unfinished"
        else:
            await (await opened(postgres_url)).close()
        begun = 0
        try:
            assert await distribute(postgres_url, one_only) == 1
        except Killed:
            assert len(waiting) > 1
        assert done[-1] == waiting[0]
    # The stand-in's one worker is the database itself, so what the coordinator is told it has been told as well.
    assert done == [step for step in STEPS if step.name != "Allow triggers on distributed tables, on every worker"]
    assert await distribute(postgres_url, lambda _step: pytest.fail("it was done already")) == 0
    ledger = await opened(postgres_url)
    await ledger.submit(Spend(account_id="a", key="k", amount=1))
    assert (await verify(ledger)).differences == []
    await ledger.close()
    together = await fetch(postgres_url, "SELECT count(*), count(DISTINCT colocationid) FROM pg_dist_partition")
    assert together == [(5, 1)]


async def test_a_step_that_the_server_dies_in_is_done_again_and_one_that_is_refused_says_which(
    postgres_url: str,
) -> None:
    await stand_in(postgres_url)
    dying = (
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NEW; END $$; "
        "CREATE TRIGGER dies AFTER INSERT ON pg_dist_shard FOR EACH STATEMENT EXECUTE FUNCTION die()"
    )
    await execute(postgres_url, dying.format("PERFORM pg_terminate_backend(pg_backend_pid());"))
    with pytest.raises(LedgerUnavailable, match="run it again"):
        await distribute(postgres_url, lambda _step: None)
    await execute(postgres_url, "DROP FUNCTION die CASCADE")
    await execute(postgres_url, dying.format("RAISE EXCEPTION 'no room';"))
    with pytest.raises(DistributionFailed, match=r"Distribute accounts by id.*no room") as refused:
        await distribute(postgres_url, lambda _step: None)
    assert refused.value.code == "distribution_failed"
    await execute(postgres_url, "DROP FUNCTION die CASCADE")
    assert await fetch(postgres_url, "SELECT count(*) FROM pg_dist_partition") == [(0,)]
    assert await distribute(postgres_url, lambda _step: None) > 0


async def test_a_shard_without_its_triggers_is_told(postgres_url: str) -> None:
    await stand_in(postgres_url)
    await execute(postgres_url, "DROP TRIGGER entries_append_only ON entries")
    with pytest.raises(DistributionFailed, match="entries_append_only"):
        await distribute(postgres_url, lambda _step: None)


async def test_s5_the_trigger_looks_at_the_shard_that_it_was_fired_by(postgres_url: str) -> None:
    await stand_in(postgres_url)
    await distribute(postgres_url, lambda _step: None)
    await execute(
        postgres_url,
        "CREATE TABLE entries_102008 (LIKE entries INCLUDING ALL); "
        "CREATE TRIGGER entries_running_102008 AFTER INSERT ON entries_102008 REFERENCING NEW TABLE AS written "
        "FOR EACH STATEMENT EXECUTE FUNCTION tallystick_refuse_drift()",
    )
    written = (
        "INSERT INTO {} (account_id, seq, kind, amount, monthly, bonus, held, debt, effective_at, recorded_at, detail) "
        "SELECT 'a', seq, 'spent', amount, monthly, 0, 0, 0, now(), now(), '{{}}'::json "
        "FROM (VALUES {}) AS new(seq, amount, monthly)"
    )
    for table in ("entries_102008", "entries"):
        for wrong in ("(2, -1, 24)", "(1, 25, 24)", "(1, 25, 25), (2, -1, 25)"):
            with pytest.raises(asyncpg.CheckViolationError, match=r"entry [12] of account a does not follow"):
                await execute(postgres_url, written.format(table, wrong))
        await execute(postgres_url, written.format(table, "(1, 25, 25), (2, -1, 24)"))
        await execute(postgres_url, written.format(table, "(3, -4, 20)"))


async def test_the_command_prints_the_steps_and_does_them_when_told(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres_url)

    async def said(*, apply: bool) -> str:
        await command.distribute(apply=apply)
        return " ".join(capsys.readouterr().out.split())

    for apply in (False, True):
        with pytest.raises(CitusMissing):
            await said(apply=apply)
    await stand_in(postgres_url)
    shown = await said(apply=False)
    assert all(step.name in shown for step in STEPS)
    assert "Nothing was changed" in shown
    assert await fetch(postgres_url, "SELECT count(*) FROM pg_dist_partition") == [(0,)]
    assert f"{len(STEPS) - 1} steps were done" in await said(apply=True)
    for apply in (False, True):
        assert await said(apply=apply) == "The ledger is distributed already."


async def test_an_upgrade_leaves_the_columns_alone_by_which_tables_are_distributed(postgres_server: str) -> None:
    name = f"older_{uuid.uuid4().hex[:8]}"
    await execute(postgres_server, f"CREATE DATABASE {name}")
    url = with_database(postgres_server, name)
    await upgrade(url, "0019")
    await stand_in(url)
    await execute(url, "INSERT INTO pg_dist_partition VALUES ('accounts', 'h', 'id', 1)")
    await upgrade(url)
    await require_current(url)
    query = (
        "SELECT collation_name FROM information_schema.columns WHERE table_name = 'accounts' AND column_name = 'id'"
    )
    assert await fetch(url, query) == [(None,)]
