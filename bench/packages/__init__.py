"""Packages one would install instead, each run in a virtual environment of its own."""

import os
import subprocess
import sys
from pathlib import Path

from bench.needs import TOOLS

HERE = Path(__file__).parent
NOSTRO = ("spend_with_nostro.py", "hf-nostro[postgres]==0.2.0")
CREDIT_LEDGER = ("spend_with_credit_ledger.py", "credit-ledger[postgres]==0.3.0")


def spends_per_second(package: tuple[str, str], url: str, accounts: int, count: int) -> float:
    """How many spends a second the package gets through from 32 threads."""
    script, requirement = package
    python = _environment(requirement)
    if package is NOSTRO:
        migrate = (python, "-m", "nostro", "migrate", "--dsn", url, "--scale", "0")
        subprocess.run(migrate, check=True, capture_output=True)
    command = (python, HERE / script, url, str(accounts), str(count))
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _environment(requirement: str) -> Path:
    """The Python of an environment that has `requirement`, made on first use."""
    folder = HERE / ".environments" / requirement.partition("[")[0]
    python = folder / "bin" / "python"
    made = folder / "made"
    if not made.exists():
        subprocess.run(
            (sys.executable, "-m", "virtualenv", "--quiet", folder),
            check=True,
            env={**os.environ, "PYTHONPATH": str(TOOLS)},
        )
        subprocess.run((python, "-m", "pip", "install", "--quiet", requirement), check=True)
        made.touch()
    return python
