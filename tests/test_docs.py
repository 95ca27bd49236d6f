"""What the docs promise is there: every test that the scenario table names, and every file that a page links to."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.md")])


def test_every_scenario_is_held_by_the_test_it_names_on_both_databases() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "scenarios.md").read_text()))
    assert len(named) > 30
    collecting = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", "tests/billing", "tests/web"]
    listed = subprocess.run(collecting, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout
    runs = re.findall(r"::(test_\w+)\[(?:.+-)?(sqlite|postgresql)(?:-.+)?\]$", listed, re.MULTILINE)
    missing = {(name, database) for name in named for database in ("sqlite", "postgresql")} - set(runs)
    assert missing == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []
