"""What a measurement needs besides Python packages, and how to get it. Everything is said before anything runs."""

import importlib.util
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

TOOLS = Path(__file__).parents[1] / ".tools"
"""Where ./run has put virtualenv, since Debian's Python may lack the venv module."""


def find_pgbench() -> str | None:
    """Where pgbench is. Debian does not put a server's programs on PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"))
    return shutil.which("pgbench") or (str(versions[-1]) if versions else None)


def require_all(groups: Collection[str]) -> None:
    """End the bench with the whole list when anything is missing for these groups."""
    if missing := list(_missing(groups)):
        raise SystemExit("The bench needs what is not here:\n" + "\n".join(f"  {line}" for line in missing))


def _missing(groups: Collection[str]) -> Iterator[str]:
    if "postgresql" in groups and find_pgbench() is None:
        yield "pgbench: apt-get install -y --no-install-recommends postgresql-15 (or without the group postgresql)"
    for program, package in (("wrk", "wrk"), ("taskset", "util-linux")):
        if "http" in groups and shutil.which(program) is None:
            yield f"{program}: apt-get install -y {package} (or without the group http)"
    if "packages" in groups and not (TOOLS / "virtualenv").exists() and not importlib.util.find_spec("virtualenv"):
        yield "virtualenv: pip install --target .tools virtualenv (or without the group packages)"
