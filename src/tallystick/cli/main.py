"""The commands and their help, in one place; what they do stands in the modules next to this one.

The web server takes a second to import, so it is imported by the commands that need it.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tallystick.catalogue_file import default_catalogue
from tallystick.cli import (
    accounts,
    archive,
    distribute,
    events,
    keys,
    migrate,
    purchases,
    reconcile,
    refunds,
    stripe_doctor,
    stripe_setup,
    subscriptions,
)
from tallystick.cli.running import exits_cleanly
from tallystick.cli.since import read_since, since_option
from tallystick.domain.account import LAST_ENTRY

app = typer.Typer(
    name="tallystick",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=(
        "The credits layer for Python apps: monthly allowances, credit packs sold through Stripe, and a "
        "ledger that proves every number.\n\n"
        "[bold]To look around[/bold], without a Stripe account: [cyan]tallystick demo[/cyan]\n\n"
        "[bold]To run it[/bold] with your own Stripe account: set STRIPE_SECRET_KEY, then "
        "[cyan]tallystick stripe setup[/cyan], [cyan]tallystick migrate[/cyan], "
        "[cyan]tallystick serve[/cyan].\n\n"
        "[bold]To look after it[/bold]: [cyan]tallystick credits show ACCOUNT[/cyan] and "
        "[cyan]tallystick verify[/cyan].\n\n"
        "Settings come from the environment or a .env file: DATABASE_URL, STRIPE_SECRET_KEY, "
        "STRIPE_WEBHOOK_SECRET, STRIPE_CREDIT_PACK_200_PRICE_ID, STRIPE_PLUS_PRICE_ID, BASE_URL, SECRET_KEY, "
        "PORT, TALLYSTICK_CATALOGUE."
    ),
)
credits_app = typer.Typer(
    name="credits", no_args_is_help=True, help="Look at an account, grant bonus credits, spend credits."
)
app.add_typer(credits_app)
keys_app = typer.Typer(name="keys", no_args_is_help=True, help="Secret keys for back ends that use the HTTP API.")
app.add_typer(keys_app)
stripe_app = typer.Typer(
    name="stripe", no_args_is_help=True, help="Set up your account at Stripe, and see whether all is well."
)
app.add_typer(stripe_app)
app.add_typer(purchases.app)
app.add_typer(subscriptions.app)
app.add_typer(events.app)
db_app = typer.Typer(name="db", no_args_is_help=True, help="The database past one machine.")
app.add_typer(db_app)

Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's id.")]
Key = Annotated[
    str | None,
    typer.Option(help="Idempotency key: the same key again changes nothing. Default: a new one."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


@app.command("demo")
@exits_cleanly
def run_demo(
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over: throw away what earlier runs kept.")] = False,
    once: Annotated[
        bool,
        typer.Option(
            "--once",
            help="Do one whole purchase without a person, print each step, end with one line of JSON.",
        ),
    ] = False,
    port: Annotated[int, typer.Option(help="Where the service listens; a free port if this one is taken.")] = 8000,
    data: Annotated[Path, typer.Option(help="The folder that keeps the demo's data between runs.")] = Path(
        "demo-data"
    ),
) -> None:
    """Run everything on this machine: the service, seeded customers, and a local Stripe to pay at.

    Needs no Stripe account, no database server and no settings. Stops on Ctrl-C.
    """
    from tallystick.cli import demo

    if once:
        raise typer.Exit(asyncio.run(demo.run_once()))
    asyncio.run(demo.run(data, port=port, fresh=fresh))


@app.command()
@exits_cleanly
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
) -> None:
    """Run the service with your own settings: pages for customers, API and Stripe webhook.

    Exits with 2, and says what to do, when settings are missing or the schema is old.
    """
    from tallystick.cli import serving

    serving.serve(host)


@app.command("migrate")
@exits_cleanly
def run_migrate() -> None:
    """Create the schema in DATABASE_URL, or bring it up to this version. Safe to repeat."""
    asyncio.run(migrate.migrate())


@db_app.command("distribute")
@exits_cleanly
def db_distribute(
    apply: Annotated[bool, typer.Option("--apply", help="Do it. Without this the steps are only shown.")] = False,
) -> None:
    """Spread the ledger's tables over a Citus cluster, by account. Everything else stays on the coordinator.

    Can be killed and run again: what is done already is left. Exits with 2 when the server has no Citus.
    """
    asyncio.run(distribute.distribute(apply=apply))


@app.command()
@exits_cleanly
def verify(
    account: Annotated[str | None, typer.Argument(metavar="[ACCOUNT]", help="One account; default: all.")] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Only what was written since the last proof of each account.")
    ] = False,
    from_archive: Annotated[
        Path | None,
        typer.Option("--archive", metavar="FOLDER", help="Read what was archived from this folder too."),
    ] = None,
) -> None:
    """Replay every entry from nothing and compare with what the database says.

    What is in an archive is taken from its checkpoint, unless the archive is given. Exits with 1 and shows
    each difference when anything is off. It can run while the service does.
    """
    raise typer.Exit(asyncio.run(accounts.verify_ledger(account, only_new=new, archive=from_archive)))


@app.command("archive")
@exits_cleanly
def archive_entries(
    before: Annotated[
        datetime,
        typer.Option(formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="What was recorded before this day, UTC."),
    ],
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the archive is kept; always the same folder.")],
    apply: Annotated[bool, typer.Option("--apply", help="Do it. Without this only the numbers are shown.")] = False,
) -> None:
    """Move old entries out of the database into files that prove what they say.

    It can run while the service does, and be stopped and started again. Their idempotency keys stay known.
    """
    raise typer.Exit(asyncio.run(archive.archive_entries(before.replace(tzinfo=UTC), to, apply=apply)))


@app.command()
def catalogue() -> None:
    """Print the catalogue file that comes with Tallystick, to copy and change."""
    Console().print(default_catalogue(), markup=False, highlight=False, end="")


@app.command("openapi")
@exits_cleanly
def openapi() -> None:
    """Print the OpenAPI description of the HTTP API."""
    from tallystick.cli import serving

    serving.print_openapi()


@app.command("reconcile")
@exits_cleanly
def run_reconcile(
    since: Annotated[str | None, since_option("From when. Default: from the last one on, or 30 days.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Repair what is safe to repair.")] = False,
    max_calls: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many calls to Stripe; run again to go on.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare purchases, refunds, disputes and subscriptions with Stripe. Exit 1 when something is left to do."""
    look_back = read_since(since)
    code = asyncio.run(reconcile.reconcile(since=look_back, apply=apply, max_calls=max_calls, as_json=as_json))
    raise typer.Exit(code)


@app.command("refund")
@exits_cleanly
def refund(
    purchase: Annotated[str, typer.Argument(metavar="PURCHASE", help="The purchase's id, pur_…")],
    amount: Annotated[str | None, typer.Option(help="How much, like 2.00. Default: all that is left.")] = None,
    reason: Annotated[str, typer.Option(help="Why; for your own books.")] = "",
    key: Key = None,
    apply: Annotated[bool, typer.Option("--yes", help="Do not ask: do it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a refund comes to in money and credits, ask, and make it. With --json it only says, unless --yes.

    One that was asked for before with the same --key is told again, and finished if it was not.
    """
    asyncio.run(refunds.refund(purchase, amount=amount, reason=reason, key=key, apply=apply, as_json=as_json))


@stripe_app.command("setup")
@exits_cleanly
def run_stripe_setup(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done. So it is with a live key.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Do it, with a live key too.")] = False,
    new_secret: Annotated[
        bool, typer.Option("--new-secret", help="Replace the webhook endpoint by one with a new signing secret.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make what is missing at Stripe: products, prices, webhook endpoint, customer portal. Safe to repeat.

    Needs STRIPE_SECRET_KEY alone, and prints the other settings. Exit 1 when something is left that only you can do.
    """
    code = asyncio.run(stripe_setup.setup(dry_run=dry_run, apply=apply, new_secret=new_secret, as_json=as_json))
    raise typer.Exit(code)


@stripe_app.command("doctor")
@exits_cleanly
def run_stripe_doctor(as_json: AsJson = False) -> None:
    """Check key, clock, prices, webhook endpoint, portal, database and inbox, and say how to mend what is wrong.

    Changes nothing. Exit 1 when something is wrong.
    """
    raise typer.Exit(asyncio.run(stripe_doctor.doctor(as_json=as_json)))


@keys_app.command("create")
@exits_cleanly
def keys_create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[str], typer.Option(help="read, spend, grant or admin; several times for several.")],
    as_json: AsJson = False,
) -> None:
    """Make a key and show its secret, this once."""
    asyncio.run(keys.create(name, scope, as_json=as_json))


@keys_app.command("list")
@exits_cleanly
def keys_list(as_json: AsJson = False) -> None:
    """Show all keys: what they may do, when they were last used."""
    asyncio.run(keys.show_all(as_json=as_json))


@keys_app.command("revoke")
@exits_cleanly
def keys_revoke(id: Annotated[str, typer.Argument(metavar="KEY", help="The key's id, key_…")]) -> None:
    """End a key for good."""
    asyncio.run(keys.revoke(id))


@credits_app.command("show")
@exits_cleanly
def credits_show(
    account: Account,
    entries: Annotated[int, typer.Option(min=0, max=LAST_ENTRY, help="How many of the latest entries to show.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show an account's balances and its latest entries."""
    asyncio.run(accounts.show(account, entries=entries, as_json=as_json))


@credits_app.command("grant")
@exits_cleanly
def credits_grant(
    account: Account,
    credits: Annotated[int, typer.Argument(help="How many bonus credits.")],
    reason: Annotated[str, typer.Option(help="Why; the customer sees it in the history.")] = "",
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Add bonus credits to an account. They never expire."""
    asyncio.run(accounts.grant(account, credits, reason=reason, key=key, as_json=as_json))


@credits_app.command("remove")
@exits_cleanly
def credits_remove(
    account: Account,
    credits: Annotated[int, typer.Argument(help="How many credits.")],
    reason: Annotated[str, typer.Option(help="Why; the customer sees it in the history.")],
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Take credits away, in the order in which they would be spent: a correction."""
    asyncio.run(accounts.remove(account, credits, reason=reason, key=key, as_json=as_json))


@credits_app.command("spend")
@exits_cleanly
def credits_spend(
    account: Account,
    amount: Annotated[int, typer.Argument(help="How many credits.")],
    operation: Annotated[str, typer.Option(help="What for; the customer sees it in the history.")] = "",
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Spend credits of an account, monthly ones first, all or nothing."""
    asyncio.run(accounts.spend(account, amount, operation=operation, key=key, as_json=as_json))
