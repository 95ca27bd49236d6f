"""`tallystick db distribute`: the ledger over a Citus cluster."""

from rich.console import Console

from tallystick.config import environment, load_database_url
from tallystick.database.schema import require_current
from tallystick.database.urls import parse_url
from tallystick.ledger.postgres_distribution import LOCAL_TABLES, Step


async def distribute(*, apply: bool) -> None:
    """Print what is left to do, or do it, for the database of DATABASE_URL."""
    from tallystick.ledger import postgres_distribute

    url = load_database_url(environment())
    if parse_url(url).dialect == "postgresql":
        await require_current(url)
    steps = await postgres_distribute.left(url)
    console = Console()
    waiting = [step for step, done in steps if not done]
    if not waiting and not apply:
        console.print("The ledger is distributed already.")
    elif apply:
        done = await postgres_distribute.distribute(url, lambda step: _tell(console, step))
        console.print(
            f"{done} steps were done. The ledger is distributed." if done else "The ledger is distributed already.",
            highlight=False,
        )
    else:
        for step, done in steps:
            _tell(console, step, "done" if done else "")
        console.print(f"\nThese stay on the coordinator: {', '.join(LOCAL_TABLES)}.", highlight=False)
        console.print(
            "Nothing was changed. Stop every process of Tallystick and make a backup, then go on with --apply.",
            style="bold",
        )


def _tell(console: Console, step: Step, state: str = "") -> None:
    console.print(f"\n{step.name}{f' ({state})' if state else ''}", style="bold", markup=False, highlight=False)
    console.print(f"{step.reason}", markup=False, highlight=False)
    console.print(" ".join(step.statement.split()), style="dim", markup=False, highlight=False)
