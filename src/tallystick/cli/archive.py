"""`tallystick archive`: old entries go from the database to a folder, provably."""

from datetime import datetime
from pathlib import Path

from tallystick.cli.accounts import open_ledger
from tallystick.cli.running import EXIT_REFUSED
from tallystick.cli.tables import text_console
from tallystick.clock import system_clock
from tallystick.ledger.archiving import archive


async def archive_entries(before: datetime, folder: Path, *, apply: bool) -> int:
    """Move entries from before `before` into `folder`, or say how many would go. Returns the exit code."""
    async with open_ledger() as ledger:
        done = await archive(ledger.store, before, folder, system_clock(), apply=apply)
    console = text_console()
    for difference in done.differences:
        console.print(difference, style="red")
    what = "went" if apply else "would go"
    console.print(
        f"{done.entries:,} entries of {done.accounts:,} accounts {what} to {folder}; {done.stayed:,} more are copied "
        "there and stay, because they made grants or are the last ones."
    )
    if done.entries:
        then = (
            f"Prove it: tallystick verify --archive {folder}" if apply else "Nothing was changed. Go on with --apply."
        )
        console.print(then)
    if not done.differences:
        return 0
    console.print(f"{len(done.differences):,} accounts do not add up and were left as they are.", style="bold red")
    return EXIT_REFUSED
