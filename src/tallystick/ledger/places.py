"""Which lane an account's commands go to. Knows nothing of what becomes of them."""

from collections.abc import Callable

Spread = Callable[[str], int]
"""Gives an account a number: those of one number, counted round the lanes, share a lane."""


class Places:
    """A place in a lane for each command that waits or is under way.

    While an account has one, its other commands go to the same lane, so that no two batches under way are about it and
    they are carried out in the order in which they came (S9). An account that has none goes where there is least to do,
    unless a `spread` says where it belongs.
    """

    def __init__(self, lanes: int, spread: Spread | None = None) -> None:
        self._spread = spread
        self._taken = [0] * lanes
        # Each account's lane, and how many places it has there.
        self._accounts: dict[str, tuple[int, int]] = {}

    def lane_of(self, account_id: str) -> int:
        """The lane for the account's next command."""
        place = self._accounts.get(account_id)
        if place is not None:
            return place[0]
        if self._spread is not None:
            return self._spread(account_id) % len(self._taken)
        return self._taken.index(min(self._taken))

    def take(self, account_id: str, lane: int) -> None:
        """A command goes to the `lane` that `lane_of` has just said."""
        self._taken[lane] += 1
        place = self._accounts.get(account_id)
        self._accounts[account_id] = (lane, 1 if place is None else place[1] + 1)

    def leave(self, account_id: str) -> None:
        """One of the account's commands is answered, or nobody waits for its answer any more."""
        lane, places = self._accounts[account_id]
        self._taken[lane] -= 1
        if places == 1:
            del self._accounts[account_id]
        else:
            self._accounts[account_id] = (lane, places - 1)
