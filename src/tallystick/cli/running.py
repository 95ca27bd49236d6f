"""How every command runs: warnings on stderr, errors as one clear message and an exit code, never a traceback."""

import functools
from collections.abc import Callable
from typing import ParamSpec

import typer

from tallystick.cli.tables import text_console
from tallystick.config import ConfigurationError
from tallystick.database.schema import CannotConnect, SchemaOutOfDate
from tallystick.domain.errors import TallystickError
from tallystick.ledger.errors import CitusMissing, DistributionUnfinished, PlannerSettingsMissing
from tallystick.logs import configure_logging

P = ParamSpec("P")

EXIT_REFUSED = 1
EXIT_SETTINGS = 2
_NEEDS_SET_UP = (
    ConfigurationError,
    SchemaOutOfDate,
    CannotConnect,
    PlannerSettingsMissing,
    CitusMissing,
    DistributionUnfinished,
)


def exits_cleanly(command: Callable[P, None]) -> Callable[P, None]:
    """Turn our errors into a message and an exit code: 2 for what the operator must set up, else 1.

    Only warnings are logged, and on stderr: what a command answers on stdout can be read by a program.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        configure_logging(quiet=True)
        try:
            command(*args, **kwargs)
        except TallystickError as error:
            text_console(stderr=True).print(error.message, style="red")
            needs_set_up = isinstance(error, _NEEDS_SET_UP)
            raise typer.Exit(EXIT_SETTINGS if needs_set_up else EXIT_REFUSED) from error
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return run
