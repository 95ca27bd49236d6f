"""What an operator does with accounts at a shell: look, grant, spend, verify. Needs no Stripe."""

import dataclasses
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from tallystick.cli.running import EXIT_REFUSED
from tallystick.cli.tables import print_table, text_console
from tallystick.clock import system_clock
from tallystick.config import environment, load_ledger_settings
from tallystick.database.schema import require_current
from tallystick.domain.account import Account, Entry, GrantKind
from tallystick.domain.commands import GrantBonus, KeyedCommand, Remove, Spend
from tallystick.domain.errors import InvalidInput
from tallystick.ledger import Ledger
from tallystick.ledger.verify import verify
from tallystick.ledger.verify_archive import verify_archive


@asynccontextmanager
async def open_ledger() -> AsyncIterator[Ledger]:
    """The ledger of DATABASE_URL. Raises SchemaOutOfDate and what opening a ledger raises."""
    url, catalogue = load_ledger_settings(environment())
    await require_current(url)
    ledger = await Ledger.open(url, catalogue, system_clock)
    try:
        yield ledger
    finally:
        await ledger.close()


async def show(account_id: str, *, entries: int, as_json: bool) -> None:
    """Print balances and the latest entries. Raises UnknownAccount, InvalidInput."""
    async with open_ledger() as ledger:
        account = await ledger.account(account_id)
        latest = await ledger.entries(account_id, limit=entries)
    if as_json:
        print_json({**_balances(account), "entries": [_plain(entry) for entry in latest]})
        return
    _print_account(account)
    _print_entries(latest)


async def grant(account_id: str, credits: int, *, reason: str, key: str | None, as_json: bool) -> None:
    """Add bonus credits that an operator decided on. Raises what the ledger refuses."""
    command = GrantBonus(
        account_id=account_id, key=key or _new_key(), credits=credits, kind=GrantKind.ADJUSTED, reason=reason
    )
    await _submit(command, as_json=as_json)


async def spend(account_id: str, amount: int, *, operation: str, key: str | None, as_json: bool) -> None:
    """Spend credits in burn order. Raises what the ledger refuses."""
    command = Spend(account_id=account_id, key=key or _new_key(), amount=amount, operation=operation)
    await _submit(command, as_json=as_json)


async def remove(account_id: str, credits: int, *, reason: str, key: str | None, as_json: bool) -> None:
    """Take credits away, as an operator's correction. Raises what the ledger refuses."""
    await _submit(
        Remove(account_id=account_id, key=key or _new_key(), amount=credits, reason=reason), as_json=as_json
    )


async def verify_ledger(account_id: str | None, *, only_new: bool, archive: Path | None) -> int:
    """Replay the ledger and print what is off. Returns the exit code: 0 when every number is proven."""
    if archive is not None and (account_id is not None or only_new):
        raise InvalidInput("With --archive everything is proven from the very first entry. Leave the rest out.")
    async with open_ledger() as ledger:
        if archive is None:
            result = await verify(ledger, account_id, only_new=only_new)
        else:
            result = await verify_archive(ledger, archive)
    console = text_console()
    for difference in result.differences:
        console.print(difference, style="red")
    counts = f"{result.accounts:,} accounts, {result.entries:,} {'new ' if only_new else ''}entries"
    if result.differences:
        console.print(f"{counts}: {len(result.differences):,} differences.", style="bold red")
        return EXIT_REFUSED
    console.print(f"{counts}: every number is proven.", style="green")
    return 0


def print_json(value: Any) -> None:
    """Print one JSON object on one line, for programs."""
    text_console().print(json.dumps(value), soft_wrap=True)


async def _submit(command: KeyedCommand, *, as_json: bool) -> None:
    async with open_ledger() as ledger:
        receipt = await ledger.submit(command)
        account = await ledger.account(command.account_id)
    if as_json:
        print_json({**_balances(account), "replayed": receipt.replayed, "entry": _plain(receipt.entry)})
        return
    if receipt.replayed:
        text_console().print(f"Key {command.key} was used before: this is its first answer, nothing changed.")
    _print_entries([receipt.entry])
    _print_account(account)


def _new_key() -> str:
    return f"shell:{uuid.uuid4()}"


def _balances(account: Account) -> dict[str, Any]:
    return {
        "account": account.id,
        "plan": account.plan,
        "monthly": account.monthly,
        "bonus": account.bonus,
        "held": account.held,
        "available": account.available,
        "debt": account.debt,
        "resets_at": _plain(account.resets_at(system_clock())),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _print_account(account: Account) -> None:
    table = Table(title=f"Account {account.id}, plan {account.plan}", title_justify="left")
    for name in ("monthly", "bonus", "held", "available", "debt"):
        table.add_column(name, justify="right")
    table.add_column("resets at (UTC)")
    resets_at = account.resets_at(system_clock())
    numbers = (account.monthly, account.bonus, account.held, account.available, account.debt)
    table.add_row(*(f"{n:,}" for n in numbers), "" if resets_at is None else f"{resets_at:%Y-%m-%d %H:%M}")
    print_table(table)


def _print_entries(entries: list[Entry]) -> None:
    table = Table(title="Entries, newest first", title_justify="left")
    for name in ("#", "amount", "monthly", "bonus"):
        table.add_column(name, justify="right")
    for name in ("what", "why", "at (UTC)"):
        table.add_column(name)
    for entry in entries:
        table.add_row(
            str(entry.seq),
            f"{entry.amount:+,}",
            f"{entry.monthly:,}",
            f"{entry.bonus:,}",
            entry.kind.replace("_", " "),
            entry.reason,
            f"{entry.effective_at:%Y-%m-%d %H:%M:%S}",
        )
    print_table(table)
