"""Creating and upgrading the schema, and refusing to work on an old one."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from tallystick.database.engine import Database, DatabaseUnavailable
from tallystick.database.urls import parse_url
from tallystick.domain.errors import TallystickError

T = TypeVar("T")

_UPGRADE_LOCK = 7_102_311_849
"""An advisory lock on PostgreSQL, so that two processes that start together do not both create the schema."""


class SchemaOutOfDate(TallystickError):
    """The database does not have this version's schema."""

    code = "schema_out_of_date"

    def __init__(self, pending: list[str]) -> None:
        super().__init__(
            f"The database needs {len(pending)} migration(s) before this version can use it: "
            f"{', '.join(pending)}. Nothing was changed. Run: tallystick migrate",
            pending=pending,
        )


class CannotConnect(TallystickError):
    """The database of DATABASE_URL cannot be reached at all."""

    code = "cannot_connect"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Cannot connect to the database: {reason.strip().rstrip('.')}. Nothing was changed. "
            "Check DATABASE_URL, and that the database is there and running."
        )


async def upgrade(url: str, to: str = "head") -> None:
    """Bring the schema of `url` up to this version, or to the revision `to`.

    Safe to repeat, also by several processes at once.
    """
    await _run(url, lambda connection: _upgrade(connection, to), writes=True)


async def create_if_empty(url: str) -> None:
    """Create the schema in a database that has none of its tables; leave every other one alone."""
    if await _run(url, _is_empty, writes=False):
        await upgrade(url)


async def pending_revisions(url: str) -> list[str]:
    """The migrations that `url` has not had, oldest first. Asking makes no database file."""
    parsed = parse_url(url)
    path = Path(parsed.native)
    if parsed.dialect == "sqlite" and path.parent.is_dir() and not path.exists():
        return _newer_than(None)
    return await _run(url, _pending, writes=False)


async def require_current(url: str) -> None:
    """Raise SchemaOutOfDate unless `url` has this version's schema."""
    pending = await pending_revisions(url)
    if pending:
        raise SchemaOutOfDate(pending)


async def _run(url: str, work: Callable[[Connection], T], *, writes: bool) -> T:
    parsed = parse_url(url)
    folder = Path(parsed.native).parent
    if parsed.dialect == "sqlite" and not folder.is_dir():
        raise CannotConnect(f"there is no folder {folder}")
    database = Database.connect(url)
    try:
        return await (database.write(work) if writes else database.read(work))
    except DatabaseUnavailable as error:
        reason = error.__cause__
        # The driver's own words, without SQLAlchemy's frame and the name of the exception around them.
        raise CannotConnect(str(getattr(reason, "orig", None) or reason).rpartition(">: ")[2]) from error
    finally:
        await database.close()


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(resources.files("tallystick.database") / "migrations"))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection, to: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})")
    command.upgrade(_config(connection), to)


def _is_empty(connection: Connection) -> bool:
    return not inspect(connection).has_table("accounts")


def _pending(connection: Connection) -> list[str]:
    return _newer_than(MigrationContext.configure(connection).get_current_revision())


def _newer_than(revision: str | None) -> list[str]:
    newer = ScriptDirectory.from_config(_config(None)).iterate_revisions("head", revision or "base")
    return [script.revision for script in reversed(list(newer))]
