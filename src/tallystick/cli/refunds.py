"""What an operator does to give money back at a shell: look at what it comes to, then do it."""

import uuid

import typer
from rich.console import Console
from rich.table import Table

from tallystick.billing import Refund, RefundQuote
from tallystick.cli.accounts import print_json
from tallystick.cli.installation import billing
from tallystick.cli.tables import print_table, text_console
from tallystick.domain.amounts import Money
from tallystick.domain.errors import InvalidMoney


async def refund(
    purchase_id: str, *, amount: str | None, reason: str, key: str | None, apply: bool, as_json: bool
) -> None:
    """Print what a refund comes to; with `apply`, or when the operator agrees, make it.

    Raises what Refunds.quote and Refunds.refund raise.
    """
    async with billing() as room:
        whole = await room.quote_refund(purchase_id)
        minor = None if amount is None else _minor(amount, whole.paid)
        quote = whole if minor is None else await room.quote_refund(purchase_id, minor)
        if as_json and not apply:
            print_json(_plain(quote))
            return
        if not as_json:
            _print(quote)
        if not apply and not typer.confirm("Refund it?"):
            Console().print("Nothing was refunded.")
            return
        done = await room.refund(
            purchase_id, quote.amount.minor, key=key or f"shell-{uuid.uuid4().hex}", reason=reason
        )
    if as_json:
        print_json({**_plain(quote), **_told(done)})
        return
    Console().print(f"Refunded {done.amount}. At Stripe it is {done.stripe_refund_id}.", highlight=False)


def _minor(amount: str, paid: Money) -> int:
    """What an operator typed, like 2.00 or "2.00 USD", in minor units of what was paid."""
    money = Money.parse(amount if " " in amount else f"{amount} {paid.currency}")
    if money.currency != paid.currency:
        raise InvalidMoney(
            f"It was paid in {paid.currency}, so it is refunded in {paid.currency}. Nothing was refunded."
        )
    return money.minor


def _print(quote: RefundQuote) -> None:
    table = Table(title=f"Refund of {quote.purchase_id}", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in (
        ("account", quote.account_id),
        ("paid", quote.paid),
        ("refunded before", quote.refunded),
        ("to be refunded now", quote.amount),
        ("credits bought", f"{quote.credits:,}"),
        ("of these unspent", f"{quote.unspent:,}, worth {quote.unspent_worth}"),
        ("credits taken back now", f"{quote.takes:,}"),
        ("of these used already, so owed", f"{quote.debt:,}"),
    ):
        table.add_row(name, str(value))
    print_table(table)
    if quote.warning is not None:
        text_console().print(quote.warning, style="yellow")


def _plain(quote: RefundQuote) -> dict[str, object]:
    return {
        "purchase": quote.purchase_id,
        "account": quote.account_id,
        "currency": quote.paid.currency,
        "paid": quote.paid.minor,
        "refunded": quote.refunded.minor,
        "refundable": quote.refundable.minor,
        "amount": quote.amount.minor,
        "credits": quote.credits,
        "unspent": quote.unspent,
        "unspent_worth": quote.unspent_worth.minor,
        "takes": quote.takes,
        "debt": quote.debt,
        "dispute": quote.dispute,
        "warning": quote.warning,
    }


def _told(done: Refund) -> dict[str, object]:
    return {"refund": done.id, "stripe_refund": done.stripe_refund_id, "status": done.status}
