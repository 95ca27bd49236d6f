"""When a subscription rested, unpaid or paused, as its events tell it: Stripe's object only says that it rests. Pure.

An event says at which instant it was made, so it does not matter when, how often, or in which order they come (S27).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from tallystick.billing.event_shapes import is_thin, kind_of

RESTING = frozenset({"paused", "unpaid"})
"""Statuses of a subscription that carries no plan, and may again (S16)."""

_OF_TYPE = {"customer.subscription.paused": True, "customer.subscription.resumed": False}


@dataclass(frozen=True, slots=True)
class Turn:
    """A subscription began to rest, or went on, `at` an instant."""

    at: datetime
    rests: bool


@dataclass(frozen=True, slots=True)
class Rest:
    """A time in which a subscription rested; without `ended` it has not gone on as far as we have heard."""

    began: datetime
    ended: datetime | None


def turn_told(event: dict[str, Any]) -> Turn | None:
    """The turn that an event about a subscription tells, in either shape; None when it tells none."""
    before, after = _statuses(event)
    rests = _OF_TYPE.get(kind_of(event["type"]))
    if rests is None and before is not None and (before in RESTING) != (after in RESTING):
        rests = after in RESTING
    return None if rests is None else Turn(_made(event), rests)


def rests_of(turns: Iterable[Turn], *, rests_now: bool | None = None) -> tuple[Rest, ...]:
    """The rests that these turns come to, in their order, and whether it `rests_now`, if that is known.

    One without any length is none.
    """
    rests: list[Rest] = []
    began: datetime | None = None
    both: datetime | None = None
    for at, together in groupby(sorted(turns, key=lambda turn: turn.at), key=lambda turn: turn.at):
        told = {turn.rests for turn in together}
        if len(told) == 2:
            # That one came first which can follow what was before.
            rests += [Rest(began, at)] if began is not None and began < at else []
            began, both = None if began is None else at, at
            continue
        begins = told.pop()
        if begins == (began is not None) and both is not None:
            began = _once_more(began, both)
        if begins and began is None:
            began = at
        elif not begins and began is not None:
            rests += [Rest(began, at)] if began < at else []
            began = None
        both = None
    if rests_now is not None and rests_now != (began is not None) and both is not None:
        began = _once_more(began, both)
    return (*rests, Rest(began, None)) if began is not None else tuple(rests)


def _once_more(began: datetime | None, both: datetime) -> datetime | None:
    """Since when it rests if it turned once more at an instant at which it did both: else what is told next cannot be."""
    return both if began is None else None


def gone_on_by(rests: tuple[Rest, ...], paid: Iterable[datetime]) -> tuple[Rest, ...]:
    """The same, where one of which the end was not heard ended with the next payment: what rests is not paid.

    A subscription says that it has gone on, not since when; one that has ended does not even say whether it had.
    """
    if not rests or rests[-1].ended is not None:
        return rests
    *before, last = rests
    return (*before, Rest(last.began, min((at for at in paid if at > last.began), default=None)))


def _statuses(event: dict[str, Any]) -> tuple[str | None, str | None]:
    """The statuses that an event says it led from and to; None where it does not."""
    if is_thin(event):
        changes = event.get("changes") or {}
        before, after = changes.get("before") or {}, changes.get("after") or {}
    else:
        before, after = event["data"].get("previous_attributes") or {}, event["data"]["object"]
    return before.get("status"), after.get("status")


def _made(event: dict[str, Any]) -> datetime:
    made = event["created"]
    return datetime.fromisoformat(made) if isinstance(made, str) else datetime.fromtimestamp(made, UTC)
