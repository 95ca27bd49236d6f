"""How often somebody may try to sign in or up, counted in memory for each process."""

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

PER_EMAIL = parse("10 per 5 minutes")
PER_CLIENT = parse("50 per 5 minutes")
RETRY_AFTER = 300


class Attempts:
    """Counts them by client and by e-mail."""

    def __init__(self) -> None:
        # Of what a moving window has counted nothing is ever forgotten in memory.
        self._storage = MemoryStorage()
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    def too_many(self, client: str, email: str) -> bool:
        """Count one more, and whether it was one too many."""
        # The client first: one that is refused must not make room for e-mails.
        return not (self._limiter.hit(PER_CLIENT, "client", client) and self._limiter.hit(PER_EMAIL, "email", email))
