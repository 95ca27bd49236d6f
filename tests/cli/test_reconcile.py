"""The progress bar of `tallystick reconcile`."""

from collections import Counter
from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from tallystick.billing import PHASES, Report
from tallystick.cli.reconcile import progress


@pytest.mark.parametrize("terminal", [True, False])
def test_it_says_in_which_phase_the_walk_is_and_is_there_on_a_terminal_alone(terminal: bool) -> None:
    seen = StringIO()
    report = Report(datetime(2026, 11, 1, tzinfo=UTC), applied=True, looked_at=Counter(charges=1_200), calls=44)
    with progress(Console(file=seen, force_terminal=terminal, width=120)) as watch:
        watch("charges", report)
    wanted = f"Phase {PHASES.index('charges') + 1} of {len(PHASES)}: charges"
    assert (wanted in seen.getvalue(), "1,200 looked at, 44 calls" in seen.getvalue()) == (terminal, terminal)
    assert terminal or seen.getvalue() == ""
