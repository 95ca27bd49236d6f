"""What more callers at once bring: the curve for the docs, with pgbench beside it."""

import asyncio
import json
from pathlib import Path

from bench import others
from bench.curves import Curve, chart
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
    curves = [Curve("tallystick", ours), Curve("pgbench", by_pgbench)]
    title = f"Spends a second over {accounts:,} accounts, PostgreSQL"
    PICTURE.write_text(chart(title, "callers at once", curves, logarithmic=True))
    kept = {curve.name: curve.points for curve in curves}
    (HERE / "callers.json").write_text(json.dumps(kept, indent=1) + "\n")
