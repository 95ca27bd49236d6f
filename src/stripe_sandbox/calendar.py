"""Billing periods: months and years counted from an anchor, clamped to the month's last day."""

from calendar import monthrange
from datetime import UTC, datetime


def plus_intervals(anchor: int, interval: str, count: int) -> int:
    """The Unix time `count` intervals (day, week, month, year) after `anchor`."""
    if interval in ("day", "week"):
        return anchor + count * (86_400 if interval == "day" else 604_800)
    start = datetime.fromtimestamp(anchor, UTC)
    months = count * (12 if interval == "year" else 1)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())
