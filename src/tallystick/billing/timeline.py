"""The subscriptions of one account, put into one line of time: at any instant one of them carries it. Pure.

So it does not matter which of them was heard of first (S27): what one did while another carried the account counts
from when it carries the account itself, and not at all if it never does.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from tallystick.billing.rests import Rest
from tallystick.billing.told import Command, Told

_NEVER = datetime.max.replace(tzinfo=UTC)

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Run:
    """One subscription from `began` to `ended`, None while it goes on, with all that it does and when it rested.

    `allowances` are those of its plans, each with the instant from which, in their order: the greatest carries, and
    of equals the one that began first.
    """

    id: str
    began: datetime
    ended: datetime | None
    allowances: tuple[tuple[datetime, int], ...]
    told: tuple[Told, ...]
    rests: tuple[Rest, ...] = ()


def in_order(runs: Iterable[Run]) -> tuple[Command, ...]:
    """What these subscriptions do to their account, in the order in which it counts."""
    runs = sorted(runs, key=lambda run: (run.began, run.id))
    carries = _carried(runs)
    counts: list[tuple[Span, Command]] = []
    for run in runs:
        others = [span for other in runs if other is not run for span in carries[other.id]]
        for told in run.told:
            span = _counts_in(run, told, carries[run.id])
            if told.rest is not None:
                at = told.happened
                span = None if _any_within(others, told.rest) else (at, at if span is None else span[1])
            if span is not None:
                counts.append((span, told.command))
    # At one instant, what ceases to carry then comes before what goes on. Sorting keeps the order in which it was told.
    counts.sort(key=lambda each: each[0])
    return tuple(command for _, command in counts)


def _counts_in(run: Run, told: Told, carries: list[Span]) -> Span | None:
    """From when it counts, and until when its subscription carries the account then."""
    # What happens at its end, or as it begins to rest, still counts if it carries until then.
    at, rests = told.happened, {rest.began for rest in run.rests}
    spans = ((start, end) for start, end in carries if end > at or end == run.ended or (end == at and at in rests))
    return next(((max(start, at), end) for start, end in spans), None)


def _carried(runs: list[Run]) -> dict[str, list[Span]]:
    """When each of these carries the account, in the order of time."""
    turns = {instant for run in runs for instant in _turns(run)}
    carries: dict[str, list[Span]] = {run.id: [] for run in runs}
    for start, end in pairwise(sorted(turns)):
        found = _greatest((run for run in runs if _is_live(run, start)), start)
        if found is not None:
            carries[found.id].append((start, end))
    for run in runs:
        for at in _touched(run):
            if _greatest((other for other in runs if other is run or _is_live(other, at)), at) is run:
                carries[run.id].append((at, at))
        carries[run.id].sort()
    return carries


def _touched(run: Run) -> list[datetime]:
    """The instants at which it went on, and rested again or ended at once."""
    over = {run.ended, *(rest.began for rest in run.rests)}
    return [at for at in (run.began, *(rest.ended for rest in run.rests)) if at is not None and at in over]


def _greatest(runs: Iterable[Run], at: datetime) -> Run | None:
    return min(runs, key=lambda run: (-_allowance(run, at), run.began, run.id), default=None)


def _turns(run: Run) -> list[datetime]:
    """The instants at which it may begin or cease to carry."""
    rests = [instant for rest in run.rests for instant in (rest.began, rest.ended or _NEVER)]
    return [run.began, run.ended or _NEVER, *rests, *(at for at, _ in run.allowances)]


def _is_live(run: Run, at: datetime) -> bool:
    rests = any(rest.began <= at < (rest.ended or _NEVER) for rest in run.rests)
    return run.began <= at < (run.ended or _NEVER) and not rests


def _allowance(run: Run, at: datetime) -> int:
    """That of its plan at an instant; before it had any, of its first one."""
    since = [allowance for start, allowance in run.allowances if start <= at]
    return since[-1] if since else next((allowance for _, allowance in run.allowances), 0)


def _any_within(spans: list[Span], rest: Rest) -> bool:
    return any(start < (rest.ended or _NEVER) and end > rest.began for start, end in spans)
