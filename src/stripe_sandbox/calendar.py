"""Billing periods: days, weeks, months and years counted from an anchor, clamped to the month's last day."""

from calendar import monthrange
from datetime import UTC, datetime


def plus_intervals(anchor: int, interval: str, count: int) -> int:
    """The Unix time `count` intervals (day, week, month, year) after `anchor`, or before it."""
    if interval in ("day", "week"):
        return anchor + count * (86_400 if interval == "day" else 604_800)
    start = datetime.fromtimestamp(anchor, UTC)
    months = count * (12 if interval == "year" else 1)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def period_at(anchor: int, interval: str, count: int, instant: int) -> tuple[int, int]:
    """The period of `count` intervals, counted from `anchor`, that `instant` is in: its start and its end."""
    lengths = {"day": 86_400, "week": 604_800, "month": 2_629_746, "year": 31_556_952}
    n = (instant - anchor) // (lengths[interval] * count)
    while plus_intervals(anchor, interval, n * count) > instant:
        n -= 1
    while plus_intervals(anchor, interval, (n + 1) * count) <= instant:
        n += 1
    return plus_intervals(anchor, interval, n * count), plus_intervals(anchor, interval, (n + 1) * count)
