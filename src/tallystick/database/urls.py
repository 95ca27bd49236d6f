"""Database addresses: what people write, and what each driver wants."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from tallystick.domain.errors import InvalidInput

Dialect = Literal["sqlite", "postgresql"]


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """One database. `native` is the file's path on SQLite and the connection URI on PostgreSQL."""

    dialect: Dialect
    native: str
    sqlalchemy: str


def parse_url(url: str) -> DatabaseUrl:
    """Read `sqlite:///file`, `postgresql://…` or `postgres://…`. Raises InvalidInput for anything else."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        path = rest.removeprefix("/")
        if not rest.startswith("/") or not path or path == ":memory:":
            raise InvalidInput(
                f"{url!r:.80} names no file. Write sqlite:///tallystick.db for a file in this folder, or "
                "sqlite:////var/lib/tallystick.db with four slashes for one anywhere."
            )
        return DatabaseUrl("sqlite", path, f"sqlite+aiosqlite:///{path}")
    if scheme in ("postgresql", "postgres"):
        if not urlsplit(url).path.strip("/"):
            raise InvalidInput("The PostgreSQL address names no database: postgresql://user@host/DATABASE.")
        return DatabaseUrl("postgresql", f"postgresql://{rest}", f"postgresql+asyncpg://{rest}")
    raise InvalidInput(f"A database address starts with sqlite:/// or postgresql://, not {scheme[:20]!r}.")
