"""`python -m tallystick.testing --seeds 5000`: many rough days, one after the other."""

import argparse
from collections import Counter

from rich.console import Console

from tallystick.domain.catalogue import Pack, Plan
from tallystick.domain.commands import require_number
from tallystick.testing.simulation import simulate

PLANS = (Plan("free", 25), Plan("plus", 500, can_buy=True, stripe_price="price_plus"), Plan("team", 100))
PACKS = (Pack("credits_200", credits=200, price="5.99 USD", stripe_price="price_pack"),)


def count(text: str) -> int:
    """A whole number from 1. Raises ValueError for anything else."""
    return require_number(int(text), "this")


def main() -> None:
    """Simulate seed after seed and print what they came to; the first broken rule ends it."""
    parser = argparse.ArgumentParser(prog="python -m tallystick.testing", description=__doc__)
    parser.add_argument("--seeds", type=count, default=100, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=count, default=100, help="steps of each seed")
    asked = parser.parse_args()
    total: Counter[str] = Counter()
    for seed in range(asked.first, asked.first + asked.seeds):
        day = simulate(PLANS, PACKS, seed=seed, steps=asked.steps)
        total.update(day.faults)
        counts = {name: getattr(day, name) for name in ("steps", "accepted", "refused", "unknown", "entries")}
        total.update(counts)
    faults = ", ".join(f"{name} {count:,}" for name, count in sorted(total.items()))
    Console().print(f"{asked.seeds:,} seeds from {asked.first}: every rule held. {faults}")


main()
