"""`tallystick reconcile`: compare with Stripe, show progress, tell every difference, repair the safe ones."""

from datetime import datetime

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tallystick.billing import Difference, Report
from tallystick.cli.accounts import print_json
from tallystick.cli.installation import billing
from tallystick.cli.running import EXIT_REFUSED


async def reconcile(*, since: datetime | None, apply: bool, max_calls: int | None, as_json: bool) -> int:
    """Walk, print the report, and return the exit code: 0 when nothing is left to do.

    Raises what Billing.reconcile raises; called again, it goes on where it was.
    """
    console = Console(stderr=True)
    progress = Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console)
    with progress:
        task = progress.add_task("Looking at Stripe …", total=None)

        def watch(phase: str, report: Report) -> None:
            looked_at = sum(report.looked_at.values())
            progress.update(task, description=f"{phase}: {looked_at:,} looked at, {report.calls:,} calls to Stripe")

        async with billing() as room:
            report = await room.reconcile(since=since, apply=apply, max_calls=max_calls, watch=watch)
    if as_json:
        print_json(report.as_json())
    else:
        _print(report)
    return 0 if report.is_healthy else EXIT_REFUSED


def _print(report: Report) -> None:
    console = Console(highlight=False)
    _differences(console, "Repaired", report.repaired)
    _differences(console, "Left" if report.applied else "To be repaired, or for an operator", report.left)
    looked_at = ", ".join(f"{count:,} {what}" for what, count in report.looked_at.items()) or "nothing"
    console.print(
        f"Since {report.since:%Y-%m-%d %H:%M} UTC: looked at {looked_at}, with {report.calls:,} calls to Stripe."
    )
    if not report.finished:
        console.print("[yellow]Not finished: it stopped at its limit of calls. Run it again, and it goes on.[/]")
    if any(difference.is_safe for difference in report.left) and not report.applied:
        console.print("Repair what is safe with: tallystick reconcile --apply")
    console.print(f"Credits by what Stripe says: {report.expected:,}. Credits in the ledger: {report.booked:,}.")
    colour = "red" if report.unexplained else "green"
    console.print(f"[{colour}]Unexplained difference: {report.unexplained:,} credits.[/]")


def _differences(console: Console, title: str, found: list[Difference]) -> None:
    if not found:
        return
    table = Table(title=f"{title}: {len(found):,}", title_justify="left")
    for name in ("what", "about", "account", "in words", "to do"):
        table.add_column(name, overflow="fold")
    for each in found:
        to_do = each.suggestion or ("--apply" if each.is_safe else "")
        table.add_row(each.kind.replace("_", " "), each.subject, each.account_id or "", each.what, to_do)
    console.print(table)
