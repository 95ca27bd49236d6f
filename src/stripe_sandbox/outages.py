"""Calls of the API that are made to fail. Pure bookkeeping: `gate` lets it happen."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from stripe_sandbox.choices import Choice


class Fails(Choice):
    """How a call fails."""

    RATE_LIMIT = "rate_limit"
    """429: too many requests. It was not carried out."""
    LOCK_TIMEOUT = "lock_timeout"
    """429: the object is busy; to be retried. It was not carried out."""
    FORBIDDEN = "forbidden"
    """403: the key is a restricted one that lacks the permission for it. It was not carried out."""
    SERVER_ERROR = "server_error"
    """500."""
    RESET = "reset"
    """The connection breaks before an answer."""
    TIMEOUT = "timeout"
    """No answer for `seconds`, then the connection breaks."""
    SLOW = "slow"
    """The right answer, after `seconds`."""


@dataclass(frozen=True, slots=True)
class Outage:
    """The next `times` calls (None: all) of `method` (None: any) whose path begins with `path` fail.

    `executed`: the call was carried out all the same, and only its answer is lost. A 500 is kept under the call's
    idempotency key then, as Stripe keeps it.
    """

    fails: Fails
    times: int | None = 1
    method: str | None = None
    path: str = "/"
    executed: bool = False
    seconds: float = 60.0

    def __post_init__(self) -> None:
        if (self.times is not None and self.times < 1) or self.seconds < 0:
            raise ValueError("times is positive, and seconds is not negative.")
        if self.executed and self.fails in (Fails.RATE_LIMIT, Fails.LOCK_TIMEOUT, Fails.FORBIDDEN):
            raise ValueError("What is refused with 403 or 429 was not carried out.")


class Outages:
    """The outages that are set, in the order in which they were."""

    def __init__(self) -> None:
        self._set: list[Outage] = []

    def fail(
        self,
        fails: Fails | str,
        *,
        times: int | None = 1,
        method: str | None = None,
        path: str = "/",
        executed: bool = False,
        seconds: float = 60.0,
    ) -> None:
        """Let calls fail from now on; see `Outage` and `Fails` for what the words mean.

        Raises ValueError for a `fails` that is not there, and for what cannot be.
        """
        self._set.append(Outage(Fails(fails), times, method and method.upper(), path, executed, seconds))

    def clear(self) -> None:
        """Let every call through again."""
        self._set.clear()

    def __iter__(self) -> Iterator[Outage]:
        """The outages that are set, with how often each will still happen."""
        return iter(self._set)

    def next(self, method: str, path: str) -> Outage | None:
        """The outage that this call meets, if it meets one; that counts."""
        for n, outage in enumerate(self._set):
            if outage.method in (None, method) and path.startswith(outage.path):
                if outage.times == 1:
                    del self._set[n]
                elif outage.times is not None:
                    self._set[n] = replace(outage, times=outage.times - 1)
                return outage
        return None
