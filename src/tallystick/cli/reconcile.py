"""`tallystick reconcile`: compare with Stripe, show progress, tell every difference, repair the safe ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tallystick.billing import PHASES, REPAIR, Difference, Report, Watch
from tallystick.cli.accounts import print_json
from tallystick.cli.installation import billing
from tallystick.cli.running import EXIT_REFUSED
from tallystick.cli.tables import print_table, text_console


async def reconcile(*, since: datetime | None, apply: bool, max_calls: int | None, as_json: bool) -> int:
    """Walk, print the report, and return the exit code: 0 when nothing is left to do.

    Raises what Billing.reconcile raises; called again, it goes on where it was.
    """
    with progress(Console(stderr=True)) as watch:
        async with billing() as room:
            report = await room.reconcile(since=since, apply=apply, max_calls=max_calls, watch=watch)
    if as_json:
        print_json(report.as_json())
    else:
        _print(report)
    return 0 if report.is_healthy else EXIT_REFUSED


@contextmanager
def progress(console: Console) -> Iterator[Watch]:
    """A bar over the phases of a walk, on a terminal and as long as it goes on."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("Looking at Stripe", total=len(PHASES), counts="")

        def watch(phase: str, report: Report) -> None:
            done = PHASES.index(phase)
            named = f"Phase {done + 1} of {len(PHASES)}: {phase.replace('_', ' ')}"
            counts = f"{report.looked_at[phase]:,} looked at, {report.calls:,} calls to Stripe"
            bar.update(task, completed=done, description=named, counts=counts)

        yield watch


def _print(report: Report) -> None:
    console = text_console()
    _print_differences(f"Repaired: {len(report.repaired):,}", report.repaired)
    title = "Left" if report.applied else "To be repaired, or for an operator"
    _print_differences(f"{title}: {len(report.left):,}", report.left, to_do=True)
    looked_at = (
        ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in report.looked_at.items()) or "nothing"
    )
    console.print(
        f"Since {report.since:%Y-%m-%d %H:%M} UTC: looked at {looked_at}, with {report.calls:,} calls to Stripe."
    )
    if not report.finished:
        console.print("Not finished: it stopped at its limit of calls. Run it again, and it goes on.", style="yellow")
    if any(difference.is_safe for difference in report.left) and not report.applied:
        console.print(f"Repair what is safe with: {REPAIR}")
    console.print(f"Credits by what Stripe says: {report.expected:,}. Credits in the ledger: {report.booked:,}.")
    colour = "red" if report.unexplained else "green"
    console.print(f"Unexplained difference: {report.unexplained:,} credits.", style=colour)


def _print_differences(title: str, found: list[Difference], *, to_do: bool = False) -> None:
    if not found:
        return
    table = Table(title=title, title_justify="left")
    for name in ("what", "about", "account", "credits", "in words", *(["to do"] if to_do else [])):
        table.add_column(name, justify="right" if name == "credits" else "left")
    for each in found:
        credits = f"{each.credits:+,}" if each.credits else ""
        told = (each.kind.replace("_", " "), each.subject, each.account_id or "", credits, each.what)
        table.add_row(*told, *([each.suggestion or REPAIR] if to_do else []))
    print_table(table)
