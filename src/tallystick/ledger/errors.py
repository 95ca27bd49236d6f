"""What can be wrong with the database of a ledger, as against with what is asked of it."""

from collections.abc import Iterable

from tallystick.domain.errors import TallystickError


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
