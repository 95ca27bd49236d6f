"""What a subscription does to its account, one thing after the other: a command each, with when it happened. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime

from tallystick.billing.rests import Rest
from tallystick.domain.commands import RenewAllowance, SetPlan

Command = RenewAllowance | SetPlan


@dataclass(frozen=True, slots=True)
class Told:
    """A command, when what it says happened, and until when it matters; both in Unix seconds.

    Where it opens the first plan's month, `rest` is the rest because of which it does. What was paid for may have
    been `paid_at` a later instant than that from which it counts.
    """

    at: int
    until: int
    command: Command
    rest: Rest | None = None
    paid_at: int | None = None

    @property
    def happened(self) -> datetime:
        """When what it says happened."""
        return instant(self.at)


def instant(seconds: int) -> datetime:
    """Stripe's Unix seconds as an instant."""
    return datetime.fromtimestamp(seconds, UTC)


def only_prolongs(command: Command) -> bool:
    """Whether it leaves the allowance that is running as it is, and only says what comes after that (S17)."""
    return isinstance(command, RenewAllowance) and command.prolongs


def counts_since(command: Command) -> datetime | None:
    """The instant from which it counts."""
    return command.period.start if isinstance(command, RenewAllowance) else command.since
