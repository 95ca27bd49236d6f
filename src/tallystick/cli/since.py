"""`--since`: how every command that looks back reads from when."""

from datetime import UTC, datetime
from typing import Any

import typer

from tallystick.domain.errors import InvalidInput


def since_option(what: str) -> Any:
    """The option, whose help begins with `what`; its value is for `read_since`."""
    how = "A day like 2026-11-01, or a moment like 2026-11-01T09:30; UTC unless it says otherwise, as +01:00 does."
    return typer.Option(metavar="TIME", help=f"{what} {how}")


def read_since(text: str | None) -> datetime | None:
    """A day, which is its first moment, or an instant in ISO 8601; UTC unless it says otherwise. Raises InvalidInput."""
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(
            f"--since is a day like 2026-11-01 or a moment like 2026-11-01T09:30, not {text!r:.40}. "
            "Nothing was changed."
        ) from error
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
