"""Database addresses: what people write, and what each driver wants."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from tallystick.domain.errors import InvalidInput

Dialect = Literal["sqlite", "postgresql"]

_POOLED = "pgbouncer"


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """One database. `native` is the file's path on SQLite and the connection URI on PostgreSQL.

    `pooled` says that between us and PostgreSQL there is a PgBouncer, which may hand us another connection for
    every transaction.
    """

    dialect: Dialect
    native: str
    sqlalchemy: str
    pooled: bool = False


def parse_url(url: str) -> DatabaseUrl:
    """Read `sqlite:///file`, `postgresql://…` or `postgres://…`. Raises InvalidInput for anything else.

    As in every URL, `%20` in the name of a file is a space, and what comes after `?` are options, of which a file has
    none. `?pgbouncer=true` at the end of a PostgreSQL address is for us, and kept from the drivers.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        path = _file_of(url, rest)
        return DatabaseUrl("sqlite", path, file_url(path))
    if scheme in ("postgresql", "postgres"):
        parts = urlsplit(url)
        if not parts.path.strip("/"):
            raise InvalidInput("The PostgreSQL address names no database: postgresql://user@host/DATABASE.")
        options = parse_qsl(parts.query)
        others = [(name, value) for name, value in options if name != _POOLED]
        if len(others) < len(options):
            rest = urlunsplit(parts._replace(query=urlencode(others, safe="/,"))).partition("://")[2]
        pooled = _is_pooled([value for name, value in options if name == _POOLED])
        return DatabaseUrl("postgresql", f"postgresql://{rest}", f"postgresql+asyncpg://{rest}", pooled)
    raise InvalidInput(f"A database address starts with sqlite:/// or postgresql://, not {scheme[:20]!r}.")


def file_url(path: str | Path) -> str:
    """The address of a SQLite file, whatever characters are in its name."""
    return f"sqlite:///{quote(str(path))}"


def _file_of(url: str, rest: str) -> str:
    name, _, options = rest.removeprefix("/").partition("?")
    if options:
        raise InvalidInput(
            f"{url!r:.80} has options after the '?', and a SQLite file takes none. Nothing was changed. Leave them out, "
            "or write %3F for a '?' in the name of the file."
        )
    try:
        path = unquote(name, errors="strict")
        path.encode()
    except UnicodeError:
        path = ""
    if not rest.startswith("/") or not path or path == ":memory:" or "\x00" in path:
        raise InvalidInput(
            f"{url!r:.80} names no file. Write sqlite:///tallystick.db for a file in this folder, or "
            "sqlite:////var/lib/tallystick.db with four slashes for one anywhere."
        )
    return path


def _is_pooled(said: list[str]) -> bool:
    if set(said) - {"true", "false"}:
        raise InvalidInput("In DATABASE_URL, pgbouncer is either true or false: postgresql://…/app?pgbouncer=true.")
    return said[-1:] == ["true"]
