"""How commands print tables and text: nothing is cut or broken, so that ids can be copied and programs find whole lines."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

NO_TERMINAL = 100_000
"""The width of what is no terminal: files and programs take lines of any length."""


# What a terminal would act on, ESC above all, as the pictures that Unicode has of it; line ends and tabs are ours.
_SHOWN = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}


class _PlainConsole(Console):
    """Prints text as it is: names and reasons are written by customers, and are not to be obeyed."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(text.translate(_SHOWN), **options)


def text_console(*, stderr: bool = False) -> Console:
    """Standard output, or stderr, for plain text, folded at the width of a terminal and nowhere else."""
    console = _PlainConsole(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = NO_TERMINAL
    return console


def print_table(table: Table) -> None:
    """Print a table of text, or each row as a list of its own where the terminal is too narrow for a table."""
    console = text_console()
    anyhow = console.options.update_width(NO_TERMINAL)
    if console.measure(table, options=anyhow).maximum <= console.width:
        console.print(table)
    else:
        _print_rows(console, table)


def _print_rows(console: Console, table: Table) -> None:
    names = [str(column.header) for column in table.columns]
    width = max(map(len, names))
    if table.title:
        console.print(str(table.title), soft_wrap=True)
    for row in zip(*(column.cells for column in table.columns), strict=True):
        if not table.show_header:
            console.print(*row, sep="  ", soft_wrap=True)
            continue
        for name, cell in zip(names, row, strict=True):
            if cell:
                console.print(f"{name:<{width}}  {cell}", soft_wrap=True)
        console.print()
