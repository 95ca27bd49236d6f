"""How a SQLite file is opened, by the ledger and by everything else."""

import sqlite3
from pathlib import Path

import pytest

from tallystick.database.schema import upgrade
from tallystick.database.sqlite import LOG_BYTES, PAGE_BYTES, prepare
from tallystick.database.urls import file_url
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import OpenAccount, Spend
from tallystick.ledger import Ledger
from tallystick.ledger.sqlite_store import connect
from tallystick.ledger.verify import verify
from tests.conftest import FrozenClock

FULL = 2


def asked(connection: sqlite3.Connection, pragma: str) -> object:
    return connection.execute(f"PRAGMA {pragma}").fetchone()[0]


@pytest.mark.parametrize("pages", [PAGE_BYTES, 4_096])
def test_every_commit_is_on_the_disk_and_the_log_is_as_long_whatever_pages_a_file_has(
    tmp_path: Path, pages: int
) -> None:
    with sqlite3.connect(tmp_path / "app.db") as made:
        made.execute(f"PRAGMA page_size={pages}")
        made.execute("CREATE TABLE kept (n)")
    made.close()
    connection = sqlite3.connect(tmp_path / "app.db")
    prepare(connection)
    assert asked(connection, "journal_mode") == "wal"
    assert asked(connection, "synchronous") == FULL
    assert asked(connection, "page_size") == pages
    assert asked(connection, "wal_autocheckpoint") == LOG_BYTES // pages
    connection.close()


async def test_a_new_file_has_our_pages_and_an_older_one_is_used_with_its_own(
    tmp_path: Path, catalogue: Catalogue, clock: FrozenClock
) -> None:
    older = sqlite3.connect(tmp_path / "older.db")
    older.execute("PRAGMA page_size=4096")
    older.execute("PRAGMA journal_mode=WAL")
    older.close()
    for name, pages in (("new.db", PAGE_BYTES), ("older.db", 4_096)):
        url = file_url(tmp_path / name)
        await upgrade(url)
        ledger = await Ledger.open(url, catalogue, clock)
        await ledger.submit(OpenAccount(account_id="a", plan="free"))
        await ledger.submit(Spend(account_id="a", key="k", amount=1))
        assert (await verify(ledger)).differences == []
        await ledger.close()
        connection = connect(str(tmp_path / name))
        assert asked(connection, "page_size") == pages
        connection.close()
