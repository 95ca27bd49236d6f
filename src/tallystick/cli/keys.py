"""The secret keys of back ends that use the HTTP API, made and ended at a shell. Needs no Stripe."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from rich.console import Console
from rich.table import Table

from tallystick.api_keys import ApiKey, ApiKeys, to_scopes
from tallystick.cli.accounts import print_json
from tallystick.cli.tables import print_table, text_console
from tallystick.clock import system_clock
from tallystick.config import environment, load_ledger_settings
from tallystick.database.engine import Database
from tallystick.database.schema import require_current


@asynccontextmanager
async def _keys() -> AsyncIterator[ApiKeys]:
    url, _ = load_ledger_settings(environment())
    await require_current(url)
    database = Database.connect(url)
    try:
        yield ApiKeys(database, system_clock)
    finally:
        await database.close()


async def create(name: str, scopes: list[str], *, as_json: bool) -> None:
    """Make a key and print its secret, this once. Raises InvalidInput."""
    wanted = to_scopes(scopes)
    async with _keys() as keys:
        key, secret = await keys.create(name, wanted)
    if as_json:
        print_json({"id": key.id, "name": key.name, "scopes": sorted(key.scopes), "secret": secret})
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Key {key.id} ({', '.join(sorted(key.scopes))}). Its secret, shown only now:\n")
    console.print(f"  {secret}\n", markup=False)
    console.print("Send it as: Authorization: Bearer …")


async def show_all(*, as_json: bool) -> None:
    """Print all keys, without their secrets."""
    async with _keys() as keys:
        found = await keys.list()
    if as_json:
        print_json([_plain(key) for key in found])
        return
    if not found:
        text_console().print("No keys yet. Make one with: tallystick keys create NAME --scope spend")
        return
    table = Table()
    for name in ("id", "name", "starts with", "scopes", "created", "last used", "state"):
        table.add_column(name)
    for key in found:
        scopes = ", ".join(sorted(key.scopes))
        state = "revoked" if key.revoked_at else "valid"
        used = _day(key.last_used_at) if key.last_used_at else "never"
        table.add_row(key.id, key.name, key.prefix + "…", scopes, _day(key.created_at), used, state)
    print_table(table)


async def revoke(id: str) -> None:
    """End a key for good. Raises UnknownApiKey."""
    async with _keys() as keys:
        await keys.revoke(id)
    text_console().print(f"Key {id} is revoked. Running services refuse it within seconds.")


def _plain(key: ApiKey) -> dict[str, str | list[str] | None]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at.isoformat(),
        "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
    }


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M}"
