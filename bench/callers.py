"""What more callers at once bring: the curve for the docs, with pgbench beside it."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import others
from bench.curves import Curve, Point, chart
from bench.house import spends_per_second
from tallystick.ledger import Ledger

CALLERS = (1, 4, 16, 64, 256, 1_024)
PGBENCH_CLIENTS = (1, 4, 16, 64)
HERE = Path(__file__).parent
PICTURE = HERE.parent / "docs" / "callers.svg"


async def draw_callers(plain: str, ledger: Ledger, accounts: int, count: int) -> None:
    """Measure with more and more callers, write `bench/callers.json` and the curve."""
    ours = [(float(n), await spends_per_second(ledger, accounts, min(count, 2_000 * n), callers=n)) for n in CALLERS]
    by_pgbench = [
        (float(n), await asyncio.to_thread(others.pgbench, plain, accounts, 3, clients=n)) for n in PGBENCH_CLIENTS
    ]
    measured = {"tallystick": ours, "pgbench": by_pgbench}
    (HERE / "callers.json").write_text(json.dumps(measured, indent=1) + "\n")
    draw(measured, accounts)


def draw(measured: Mapping[str, Sequence[Point]], accounts: int) -> None:
    """The curves for the docs."""
    curves = [Curve(name, points) for name, points in measured.items()]
    title = f"Spends a second over {accounts:,} accounts, PostgreSQL"
    PICTURE.write_text(chart(title, "callers at once", curves, logarithmic=True))
