"""The subscriptions of one account, put into one line of time: at any instant one of them carries it. Pure.

So it does not matter which of them was heard of first (S27): what one did while another carried the account counts
from when it carries the account itself, and not at all if it never does.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from tallystick.billing.story import Command, Told

_NEVER = datetime.max.replace(tzinfo=UTC)

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Run:
    """One subscription from `began` to `ended`, None while it goes on, with all that it does.

    `allowance` is that of its plan: the greatest carries, and of equals the one that began first.
    """

    id: str
    began: datetime
    ended: datetime | None
    allowance: int
    told: tuple[Told, ...]


def in_order(runs: Iterable[Run]) -> tuple[Command, ...]:
    """What these subscriptions do to their account, in the order in which it counts."""
    counts: list[tuple[datetime, Command]] = []
    greater: list[Run] = []
    for run in sorted(runs, key=lambda run: (-run.allowance, run.began, run.id)):
        own = _span(run)
        carries = _without(own, map(_span, greater))
        for told in run.told:
            # What happens at its end still counts if it carries until then.
            spans = (start for start, end in carries if end > told.happened or end == own[1])
            at = next((max(start, told.happened) for start in spans), None)
            if at is not None:
                counts.append((at, told.command))
        greater.append(run)
    # Sorting keeps the order of what counts from the same instant on: that is the one in which it was told.
    counts.sort(key=lambda each: each[0])
    return tuple(command for _, command in counts)


def _span(run: Run) -> Span:
    return run.began, run.ended or _NEVER


def _without(span: Span, taken: Iterable[Span]) -> list[Span]:
    """What is left of a span of time, in its order."""
    left = [span]
    for start, end in taken:
        left = [part for each in left for part in _outside(each, start, end)]
    return left


def _outside(span: Span, start: datetime, end: datetime) -> list[Span]:
    """What of a span lies before `start`, and from `end` on; one that is only an instant lies there or it does not."""
    a, b = span
    if b <= start or a >= end:
        return [span]
    return [part for part in ((a, start), (end, b)) if part[0] < part[1]]
