"""A batch of any size is written whole, by few different statements."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tallystick.clock import system_clock
from tallystick.database.schema import upgrade
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import GrantBonus, OpenAccount, Spend
from tallystick.domain.errors import Refusal
from tallystick.ledger.batch import NO_HISTORY, decide_batch
from tallystick.ledger.sqlite_rows import AT_ONCE, account_of, entries_where, write_rows, written_row
from tallystick.ledger.sqlite_store import connect

SIZES = (
    1,
    2,
    7,
    15,
    16,
    17,
    18,
    31,
    33,
    63,
    65,
    102,
    127,
    129,
    250,
    AT_ONCE - 1,
    AT_ONCE,
    AT_ONCE + 1,
    AT_ONCE * 2 + 3,
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    asyncio.run(upgrade(f"sqlite:///{tmp_path}/ledger.db"))
    with closing(connect(f"{tmp_path}/ledger.db")) as connection:
        yield connection


@pytest.mark.parametrize("size", SIZES)
def test_a_batch_of_any_size_is_written_whole(
    connection: sqlite3.Connection, size: int, catalogue: Catalogue
) -> None:
    commands = [
        OpenAccount(account_id="a", plan=catalogue.first_plan.name),
        GrantBonus(account_id="a", key="g", credits=10_000),
        *(Spend(account_id="a", key=f"s{n}", amount=1) for n in range(size)),
    ][:size]
    batch = decide_batch(commands, {}, {}, NO_HISTORY, system_clock(), catalogue)
    assert not [outcome for outcome in batch.outcomes if isinstance(outcome, Refusal)]
    (account,) = batch.accounts
    rows = [written_row(entry, account if entry.seq == account.seq else None, None) for entry in batch.entries]

    write_rows(connection, rows)

    assert entries_where(connection, "account_id = ? ORDER BY seq", ("a",)) == batch.entries
    assert account_of(connection, "a") == account


def test_an_eighth_of_a_statements_rows_is_empty_at_most_and_the_driver_keeps_all_statements() -> None:
    asked: list[tuple[int, str]] = []

    class Connection:
        def execute(self, statement: str, values: tuple[None, ...]) -> None:
            asked.append((len(values), statement))

    write_rows(Connection(), [(None,)])  # type: ignore[arg-type]
    ((_, one),) = asked
    row = (None,) * one.count("?")
    asked.clear()
    for size in range(1, AT_ONCE + 1):
        write_rows(Connection(), [row] * size)  # type: ignore[arg-type]

    assert all(size <= values / len(row) <= size * 9 / 8 for size, (values, _) in enumerate(asked, 1))
    # What `sqlite3.connect` keeps by default, with room for the store's other statements.
    assert len({statement for _, statement in asked}) < 128 / 2
