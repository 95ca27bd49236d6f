"""The one clock. Everything that needs to know the time is handed a `Clock`; nothing else reads one (S2)."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)
