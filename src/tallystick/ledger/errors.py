"""What can be wrong with the database of a ledger, as against with what is asked of it."""

from collections.abc import Iterable

from tallystick.domain.errors import TallystickError
from tallystick.domain.replay import LedgerMismatch


class PlannerSettingsMissing(TallystickError):
    """Behind PgBouncer the ledger's settings have to be the role's own, and they are not."""

    code = "planner_settings_missing"

    def __init__(self, statements: Iterable[str]) -> None:
        lines = "".join(f"\n  {statement}" for statement in statements)
        super().__init__(
            "Behind PgBouncer the ledger cannot give PostgreSQL its planner settings when it connects, so its role "
            f"must have them. Nothing was changed. Run these once, as that role or as a superuser:{lines}\n"
            "Then let PgBouncer connect anew (RECONNECT on its console), and start again."
        )


class CitusMissing(TallystickError):
    """The ledger is to be distributed, and its database is none that Citus can distribute."""

    code = "citus_missing"

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}, so the ledger cannot be distributed. Nothing was changed. {remedy}")


class DistributionFailed(TallystickError):
    """A step of the distribution was refused by the database."""

    code = "distribution_failed"

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(
            f"The step '{step}' was refused: {reason}\n"
            "The steps before it are done; it and those after it are not, and a ledger that is distributed in part "
            "does not open. Remove what is in the way, then run again: tallystick db distribute --apply",
            step=step,
        )


class DistributionUnfinished(TallystickError):
    """Some tables of the ledger are distributed and others are not, or a guard of theirs is missing."""

    code = "distribution_unfinished"

    def __init__(self) -> None:
        super().__init__(
            "The ledger's tables are distributed only in part, so nothing may be written to them. Nothing was "
            "changed. Finish it: tallystick db distribute --apply"
        )


def does_not_follow(refused: Exception) -> LedgerMismatch:
    """What is told when the database refuses what was decided on what it had said itself."""
    return LedgerMismatch(
        f"The row of an account and its entries disagree, so the database refuses what follows from it ({refused}). "
        "Nothing was changed. An operator finds out more with: tallystick verify"
    )
