"""What can be made to go wrong with deliveries, and how often. Pure: it knows no store, no clock and no network.

Everything that is left to chance comes from one seed, and is decided when an event is queued, in the order of the
events: the same events with the same seed go wrong in the same way.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from stripe_sandbox.choices import Choice


class Does(Choice):
    """What happens to a delivery."""

    DUPLICATE = "duplicate"
    """It is sent again, 1 to `amount` times."""
    REORDER = "reorder"
    """It waits until `amount` deliveries are waiting; they are sent in another order."""
    DELAY = "delay"
    """It is sent `amount` seconds later."""
    DROP = "drop"
    """It is never sent, unless it is redelivered."""
    WRONG_SIGNATURE = "wrong_signature"
    """Its first try carries a signature that does not fit; the next one is right."""
    STALE = "stale"
    """The signature of its first try is `amount` seconds old; the next one is right."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One way in which deliveries go wrong, and which ones it strikes.

    `types` are event types (none named: all), `endpoint` is an endpoint's id (None: all). Of the deliveries that are
    left it strikes every `every`-th, at most `times` times (None: for as long as it is set).
    """

    does: Does
    amount: float = 1
    types: tuple[str, ...] = ()
    endpoint: str | None = None
    every: int = 1
    times: int | None = None

    def __post_init__(self) -> None:
        if self.amount <= 0 or self.every < 1 or (self.times is not None and self.times < 1):
            raise ValueError("amount, every and times are positive numbers.")


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of one delivery: sent `copies` times (0: dropped) after `delay` seconds, in a group whose order
    changes or not, the first try with a `fault` of the form "wrong_signature" or "stale SECONDS"."""

    copies: int = 1
    delay: float = 0.0
    fault: str = ""
    grouped: bool = False


class Knobs:
    """The knobs that are set, and how often each has struck."""

    def __init__(self) -> None:
        self.clear()

    def clear(self, seed: int | None = None) -> None:
        """Set none. `seed` makes what follows repeatable; None takes a new one."""
        self._set: list[Knob] = []
        self._seen: list[int] = []
        self._random = random.Random(seed)  # noqa: S311 - chance for tests, not secrets
        self._group: list[int] = []

    def add(self, knob: Knob) -> None:
        """Set one more."""
        self._set.append(knob)
        self._seen.append(0)

    def __iter__(self) -> Iterator[Knob]:
        """The knobs that are set."""
        return iter(self._set)

    def plan(self, type: str, endpoint: str) -> Plan:
        """What becomes of the next delivery of an event of `type` to `endpoint`."""
        copies, delay, fault, grouped = 1, 0.0, "", False
        for knob in self._striking(type, endpoint):
            match knob.does:
                case Does.DUPLICATE:
                    copies += self._random.randint(1, round(knob.amount))
                case Does.REORDER:
                    grouped = True
                case Does.DELAY:
                    delay += knob.amount
                case Does.DROP:
                    return Plan(copies=0)
                case Does.WRONG_SIGNATURE:
                    fault = knob.does
                case Does.STALE:
                    fault = f"{knob.does} {round(knob.amount)}"
        return Plan(copies, delay, fault, grouped)

    def group(self, delivery: int) -> list[int]:
        """Take a delivery into the group whose order changes. Returns the group in its new order once it is full,
        else nothing."""
        self._group.append(delivery)
        size = max(round(knob.amount) for knob in self._set if knob.does is Does.REORDER)
        if len(self._group) < size:
            return []
        full, self._group = self._group, []
        self._random.shuffle(full)
        return full

    def _striking(self, type: str, endpoint: str) -> Iterator[Knob]:
        for n, knob in enumerate(self._set):
            if (knob.types and type not in knob.types) or knob.endpoint not in (None, endpoint):
                continue
            self._seen[n] += 1
            struck, rest = divmod(self._seen[n], knob.every)
            if rest == 0 and (knob.times is None or struck <= knob.times):
                yield knob
