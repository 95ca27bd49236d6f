"""`tallystick purchases`: which there are, and where each stands."""

import asyncio
from typing import Annotated

import typer
from rich.table import Table

from tallystick.billing import Purchase, PurchaseStatus
from tallystick.cli.accounts import print_json
from tallystick.cli.installation import billing
from tallystick.cli.running import exits_cleanly
from tallystick.cli.tables import print_table, text_console

app = typer.Typer(name="purchases", no_args_is_help=True, help="Purchases of packs, and where each stands.")


@app.command("list")
@exits_cleanly
def list_purchases(
    account: Annotated[str | None, typer.Option(help="Only those of this account.")] = None,
    state: Annotated[PurchaseStatus | None, typer.Option(help="Only those that stand there.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many at most.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Show purchases, newest first."""
    asyncio.run(_list(account, state, limit, as_json=as_json))


async def _list(account: str | None, state: PurchaseStatus | None, limit: int, *, as_json: bool) -> None:
    async with billing() as room:
        found = await room.latest_purchases(limit, state, account_id=account)
    if as_json:
        print_json({"purchases": [_plain(purchase) for purchase in found]})
    elif found:
        _print(found)
    else:
        text_console().print("No such purchases.")


def _print(purchases: list[Purchase]) -> None:
    table = Table()
    for name in (
        "purchase",
        "account",
        "begun (UTC)",
        "credits",
        "for",
        "state",
        "refunded",
        "taken back",
        "dispute",
    ):
        table.add_column(name, justify="right" if name in ("credits", "for", "refunded", "taken back") else "left")
    for each in purchases:
        table.add_row(
            each.id,
            each.account_id,
            f"{each.created_at:%Y-%m-%d %H:%M:%S}",
            f"{each.credits:,}",
            str(each.comes_to),
            each.status.replace("_", " "),
            str(each.refunded) if each.refunded_minor else "",
            f"{each.clawed_back:,}" if each.clawed_back else "",
            (each.dispute or "").replace("_", " "),
        )
    print_table(table)


def _plain(purchase: Purchase) -> dict[str, object]:
    return {
        "id": purchase.id,
        "account": purchase.account_id,
        "pack": purchase.pack_id,
        "quantity": purchase.quantity,
        "credits": purchase.credits,
        "currency": purchase.price.currency,
        "amount": purchase.comes_to.minor,
        "status": purchase.status,
        "problem": purchase.problem,
        "refunded": purchase.refunded_minor,
        "taken_back": purchase.clawed_back,
        "dispute": purchase.dispute,
        "checkout_session": purchase.checkout_session_id,
        "payment_intent": purchase.payment_intent_id,
        "created_at": purchase.created_at.isoformat(),
    }
