"""What an operator does to give money back at a shell: look at what it comes to, then do it."""

import uuid

import typer
from rich.table import Table

from tallystick.billing import AfterRefund, Billing, Refund, RefundQuote
from tallystick.cli.accounts import print_json
from tallystick.cli.installation import billing
from tallystick.cli.tables import print_table, text_console
from tallystick.domain.amounts import Money
from tallystick.domain.errors import InvalidMoney


async def refund(
    purchase_id: str, *, amount: str | None, reason: str, key: str | None, apply: bool, as_json: bool
) -> None:
    """Print what a refund comes to; with `apply`, or when the operator agrees, make it.

    One whose `key` is known was agreed to before: it is finished if it has to be, and told.
    Raises what Refunds.quote and Refunds.refund raise.
    """
    async with billing() as room:
        known = next((each for each in await room.refunds_of(purchase_id) if each.key == key), None)
        if known is not None:
            minor = None if amount is None else _minor(amount, known.amount)
            await _make(room, purchase_id, minor, known.key, reason, as_json=as_json)
            return
        whole = await room.quote_refund(purchase_id)
        minor = None if amount is None else _minor(amount, whole.paid)
        quote = whole if minor is None else await room.quote_refund(purchase_id, minor)
        if as_json and not apply:
            print_json(_plain(quote))
            return
        if not as_json:
            _print(quote)
        if not apply and not typer.confirm("Refund it?"):
            text_console().print("Nothing was refunded.")
            return
        key = key or f"shell-{uuid.uuid4().hex}"
        await _make(room, purchase_id, quote.amount.minor, key, reason, as_json=as_json)


async def _make(room: Billing, purchase_id: str, amount: int | None, key: str, reason: str, *, as_json: bool) -> None:
    """Make a refund, and print how the purchase and its account stand after it."""
    made = await room.refund(purchase_id, amount, key=key, reason=reason)
    after = await room.after_refund(made)
    if as_json:
        print_json(_told(made, after))
        return
    console = text_console()
    console.print(f"{_outcome(made, after)} At Stripe it is {made.stripe_refund_id}.")
    console.print(
        f"Taken back by now: {after.taken_back:,} of the {after.credits:,} credits, for {after.refunded} refunded. "
        f"{after.account_id} owes {after.debt:,}."
    )


def _outcome(made: Refund, after: AfterRefund) -> str:
    """Where the money is."""
    match after.at_stripe:
        case "pending" | "requires_action":
            return f"{made.amount} is on its way back to the buyer, and has not arrived yet."
        case "failed" | "canceled":
            return f"{made.amount} did not reach the buyer, and can be refunded once more under another key."
    return f"Refunded {made.amount}."


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


def _told(made: Refund, after: AfterRefund) -> dict[str, object]:
    return {
        "purchase": made.purchase_id,
        "account": after.account_id,
        "refund": made.id,
        "stripe_refund": made.stripe_refund_id,
        "key": made.key,
        "status": made.status if after.at_stripe in (None, "succeeded") else after.at_stripe,
        "reason": made.reason,
        "currency": made.amount.currency,
        "amount": made.amount.minor,
        "refunded": after.refunded.minor,
        "credits": after.credits,
        "taken_back": after.taken_back,
        "debt": after.debt,
    }
