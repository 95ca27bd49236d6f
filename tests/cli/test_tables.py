"""Tables: whole where nobody folds them, and rows as lists where a terminal is too narrow, so that ids stay whole."""

import pytest
from rich.table import Table

from tallystick.cli.tables import print_table

ID = "cs_test_" + "a1" * 29
ERROR = f"stripe_rejected: No such checkout.session: '{ID}'; a similar object exists in live mode"


@pytest.fixture
def table() -> Table:
    table = Table(title="What was refused, which is a long story for such a narrow table")
    for name in ("event", "tries", "last error"):
        table.add_column(name)
    table.add_row(ID, "12", ERROR)
    table.add_row("evt_2", "1", "")
    return table


@pytest.mark.parametrize("columns", ["40", "80"])
def test_what_is_no_terminal_gets_one_whole_line_for_each_row(
    table: Table, columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    print_table(table)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if ID in line)
    assert ERROR in line


def test_a_terminal_that_is_wide_enough_shows_a_table(
    table: Table, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_a_terminal(monkeypatch, columns=300)
    print_table(table)
    assert f"│ {ID} │ 12    │ {ERROR} │" in capsys.readouterr().out


def test_a_terminal_that_is_too_narrow_shows_each_row_as_a_list(
    table: Table, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_a_terminal(monkeypatch, columns=80)
    print_table(table)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        table.title,
        f"event       {ID}",
        "tries       12",
        f"last error  {ERROR}",
        "",
        "event       evt_2",
        "tries       1",
        "",
    ]


def test_a_list_of_facts_that_is_too_wide_stays_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_a_terminal(monkeypatch, columns=40)
    facts = Table("", "", show_header=False)
    facts.add_row("last error", ERROR)
    print_table(facts)
    assert capsys.readouterr().out == f"last error  {ERROR}\n"


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, *, columns: int) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
