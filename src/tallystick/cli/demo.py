"""`tallystick demo`: everything on one machine, with customers to be. And `--once`: a purchase by itself."""

import asyncio
import shlex
import signal
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tallystick.cli import house
from tallystick.cli.accounts import print_json
from tallystick.cli.customers import FREE, OPERATOR, PASSWORD, PLUS, seed
from tallystick.cli.once import Walkthrough, WentWrong


async def run(folder: Path, *, port: int, fresh: bool) -> None:
    """Run until Ctrl-C or SIGTERM. Data stays in `folder`, unless `fresh` throws it away first."""
    if fresh:
        house.clear(folder)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with house.open_house(folder, port=port) as running:
        await seed(running)
        _welcome(running, folder)
        await stop.wait()
    Console().print("Stopped. The data is kept; `--fresh` starts over.")


async def run_once() -> int:
    """Do one whole purchase in a house of its own. Returns the exit code: 0 when all of it came out right."""
    console = Console(soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="tallystick-demo-") as folder:
        async with house.open_house(Path(folder), port=0, sandbox_port=0) as running:
            await seed(running)
            walkthrough = Walkthrough(running, say=lambda text: console.print(text, highlight=False))
            result: dict[str, Any]
            try:
                await walkthrough.run()
                result = {"ok": True}
            except WentWrong as error:
                console.print(f"Went wrong: {error}", style="red", markup=False)
                result = {"ok": False, "error": str(error)}
    print_json({**result, "steps": walkthrough.steps})
    return 0 if result["ok"] else 1


def _welcome(running: house.House, folder: Path) -> None:
    console = Console()
    console.print("\n[bold]Tallystick is running.[/bold] Everything stays on this machine.\n")
    places = Table.grid(padding=(0, 2))
    places.add_row("Open", f"[link={running.url}]{running.url}[/link]")
    places.add_row("The sandbox", f"{running.sandbox_url}/sandbox/  (what Stripe sees)")
    places.add_row("Data", f"{folder}  (`--fresh` starts over)")
    console.print(places)
    # In a table a long path would be cut, and is there to be copied.
    settings = shlex.quote(str(folder / house.SETTINGS_FILE))
    console.print(f"Commands in another shell: . {settings} && ./run purchases list", highlight=False, soft_wrap=True)
    people = Table(title="\nSign in as", title_justify="left")
    for column in ("who", "e-mail", "password"):
        people.add_column(column)
    for who, email in (
        ("a FREE customer", FREE),
        ("a PLUS customer, who can buy", PLUS),
        ("an operator", OPERATOR),
    ):
        people.add_row(who, email, PASSWORD)
    console.print(people)
    console.print(
        "\nPay with [bold]4242 4242 4242 4242[/bold], any future date and any CVC. Ctrl-C stops.\n",
        highlight=False,
    )
