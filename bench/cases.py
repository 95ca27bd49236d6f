"""The lines of the table: each a figure, what it is compared to, and the ratio it should reach."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.house import machine

RESULTS = Path(__file__).parent / "results.json"
Figures = dict[str, list[float]]


@dataclass(frozen=True)
class Case:
    """One line of the table. `at_most` turns the target round, for times."""

    name: str
    figure: str
    baseline: str
    target: float
    at_most: bool = False


CASES = (
    Case("PostgreSQL, 10,000 accounts, 256 callers", "pg spread", "pgbench spread", 1.2),
    Case("PostgreSQL, one hot account, 256 callers", "pg hot", "pgbench hot", 10),
    Case(
        "processor time of both sides, 10,000 accounts, µs",
        "pg spread µs",
        "pgbench spread µs",
        1 / 1.2,
        at_most=True,
    ),
    Case("processor time of both sides, one account, µs", "pg hot µs", "pgbench hot µs", 1 / 10, at_most=True),
    Case("beside an ORM with SELECT FOR UPDATE, 10,000 accounts", "pg spread", "orm spread", 1.2),
    Case("beside an ORM with SELECT FOR UPDATE, one account", "pg hot", "orm hot", 10),
    Case("beside credit-ledger, 10,000 accounts", "pg spread", "credit-ledger spread", 1.2),
    Case("beside credit-ledger, one account", "pg hot", "credit-ledger hot", 10),
    Case("beside hf-nostro, 1,000 accounts", "pg spread", "hf-nostro spread", 1.2),
    Case("beside hf-nostro, one account", "pg hot", "hf-nostro hot", 10),
    Case("two processes on the same accounts, beside one", "pg pair", "pg one process", 0.9),
    Case("one caller alone, p50 in ms", "pg alone ms", "by hand alone ms", 1.3, at_most=True),
    Case("SQLite, 10,000 accounts, 256 callers", "sqlite spread", "sqlite3 spread", 4),
    Case("SQLite, one hot account, 256 callers", "sqlite hot", "sqlite3 hot", 4),
    Case("POST spends over HTTP, beside an empty JSON route", "http spread", "http empty", 0.4),
    Case("processor time of the service, beside the same, µs", "http spread µs", "http empty µs", 2.5, at_most=True),
    Case("POST spends over HTTP, one hot account", "http hot", "pgbench hot", 1.5),
    Case("POST spends over HTTP, p99 in ms", "http p99 ms", "50 ms", 1, at_most=True),
    Case("POST batches of 100, in spends", "http batch", "http spread", 3),
    Case("10 open grants on the account, beside 2", "pg 10 grants", "pg 2 grants", 1 / 1.2),
    Case("1,000 open grants on the account, beside 2", "pg 1000 grants", "pg 2 grants", 1 / 3),
    Case("verify of 1,000,000 entries, in seconds", "verify s", "60 s", 1, at_most=True),
)
GIVEN = {"50 ms": 50.0, "60 s": 60.0}
"""What is compared to a time that is given, not measured."""


def lines(figures: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Every case that was measured, with medians and the median of the ratios of its rounds."""
    found = []
    for case in CASES:
        values = figures.get(case.figure, ())
        baselines = figures.get(case.baseline, [GIVEN[case.baseline]] * len(values) if case.baseline in GIVEN else ())
        if not values or not baselines:
            continue
        # Round by round: what disturbed one side of a round most likely disturbed the other one too.
        ratio = statistics.median(value / base for value, base in zip(values, baselines, strict=False))
        met = ratio <= case.target if case.at_most else ratio >= case.target
        medians = {"value": statistics.median(values), "baseline_value": statistics.median(baselines)}
        found.append({**asdict(case), **medians, "ratio": ratio, "met": met})
    return found


def report(figures: Figures, rounds: int, loads: Sequence[float]) -> None:
    """Print the table and write the figures."""
    busy = f"load average {min(loads):.1f} to {max(loads):.1f}"
    table = Table(title=f"{rounds} rounds, medians; spends a second unless said otherwise; {busy}")
    for column in ("case", "figure", "compared to", "baseline", "ratio", "target", "met"):
        table.add_column(column, justify="left" if column in ("case", "compared to") else "right")
    found = lines(figures)
    for line in found:
        target = f"{'≤' if line['at_most'] else '≥'} {line['target']:.2f}"
        values = (_number(line["value"]), line["baseline"], _number(line["baseline_value"]), f"{line['ratio']:.2f}")
        table.add_row(line["name"], *values, target, "yes" if line["met"] else "no")
    Console(width=150).print(table)
    kept = {"machine": machine(), "load_averages": list(loads), "rounds": rounds, "cases": found, "figures": figures}
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


def _number(value: float) -> str:
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
