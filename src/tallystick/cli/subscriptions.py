"""`tallystick subscriptions`: what an operator does with one that Stripe has lost."""

import asyncio
from typing import Annotated

import typer

from tallystick.cli.accounts import print_json
from tallystick.cli.installation import billing
from tallystick.cli.running import exits_cleanly
from tallystick.cli.tables import text_console

app = typer.Typer(
    name="subscriptions", no_args_is_help=True, help="Subscriptions that Stripe does not have any more."
)


@app.callback()
def subscriptions() -> None:
    """Subscriptions that Stripe does not have any more: `tallystick reconcile` names them."""


@app.command("end")
@exits_cleanly
def end_subscription(
    subscription: Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="The subscription's id, sub_…")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a sentence.")] = False,
) -> None:
    """End here a subscription that Stripe does not have. Refused while Stripe has it; nothing is changed there."""
    asyncio.run(_end(subscription, as_json=as_json))


async def _end(subscription_id: str, *, as_json: bool) -> None:
    async with billing() as room:
        account_id = await room.end_lost_subscription(subscription_id)
    if as_json:
        print_json({"subscription": subscription_id, "account": account_id, "status": "lost"})
        return
    text_console().print(
        f"Stripe does not have {subscription_id}, so it has ended here. What {account_id} has of its monthly credits "
        "stays until their period ends."
    )
