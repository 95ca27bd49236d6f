"""What a reconciliation found: counts, differences, and what is left that nothing explains. Plain data."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from tallystick.billing.differences import Difference


@dataclass(slots=True)
class Report:
    """One reconciliation, while it goes on and when it is done.

    `expected` are the credits that the ledger should have of all purchases looked at by what Stripe says,
    `booked` those that it has. `repaired` were different and are not any more; `left` are for an operator,
    or, without `applied`, still to be repaired. Once it is done, all that was made until `walked_until` was looked at
    by it or by one before; None while there is a gap.
    """

    since: datetime
    applied: bool
    looked_at: Counter[str] = field(default_factory=Counter)
    expected: int = 0
    booked: int = 0
    repaired: list[Difference] = field(default_factory=list)
    left: list[Difference] = field(default_factory=list)
    calls: int = 0
    finished: bool = False
    walked_until: datetime | None = None

    @property
    def unexplained(self) -> int:
        """Credits that differ in sum without being in any difference that was found: 0 on a healthy system."""
        return self.expected - self.booked - sum(difference.credits for difference in self.left)

    @property
    def is_healthy(self) -> bool:
        """Whether it came to its end, nothing is left to do, and every credit is explained."""
        return self.finished and not self.left and not self.unexplained

    def as_json(self) -> dict[str, Any]:
        """For programs; ends with what is unexplained."""
        return {
            "since": self.since.isoformat(),
            "walked_until": None if self.walked_until is None else self.walked_until.isoformat(),
            "applied": self.applied,
            "finished": self.finished,
            "stripe_calls": self.calls,
            "looked_at": dict(self.looked_at),
            "repaired": [_plain(difference) for difference in self.repaired],
            "left": [_plain(difference) for difference in self.left],
            "expected_credits": self.expected,
            "booked_credits": self.booked,
            "unexplained_credits": self.unexplained,
        }


def _plain(difference: Difference) -> dict[str, Any]:
    return {**asdict(difference), "kind": str(difference.kind), "safe": difference.is_safe}
