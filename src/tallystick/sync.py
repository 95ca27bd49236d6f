"""The same API without `await`, for Django, Flask and scripts.

One event loop in a thread of its own does the work; calls from any number of threads share its batches.
"""

import threading
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Self, TypeVar

import structlog

from tallystick.balance import Balance, Spent
from tallystick.billing import Refund, RefundQuote
from tallystick.clock import Clock, system_clock
from tallystick.domain.account import Entry, GrantKind
from tallystick.domain.catalogue import Pack, Plan
from tallystick.domain.commands import HOLD_SECONDS
from tallystick.domain.explain import Explanation
from tallystick.holding import Holding
from tallystick.ledger import Receipt
from tallystick.loop_thread import LoopThread
from tallystick.service import NotOpen, Tallystick

T = TypeVar("T")

log = structlog.get_logger(__name__)


class SyncHolding:
    """Holding without `await`: what `with credits.hold(...) as hold` gives. See Holding for each method."""

    def __init__(self, holding: Holding, credits: "SyncTallystick") -> None:
        self._holding = holding
        self._credits = credits

    @property
    def id(self) -> int:
        """The hold's number."""
        return self._holding.id

    @property
    def amount(self) -> int:
        """How many credits it sets aside."""
        return self._holding.amount

    @property
    def drawn(self) -> int:
        """How many credits were drawn."""
        return self._holding.drawn

    @property
    def expires_at(self) -> datetime | None:
        """When it runs out."""
        return self._holding.expires_at

    def capture(self, amount: int) -> Receipt:
        """Consume `amount` credits and release the rest."""
        return self._credits.run(self._holding.capture(amount))

    def release(self) -> Receipt:
        """Give everything back now."""
        return self._credits.run(self._holding.release())

    def extend(self, amount: int | None = None, *, seconds: int | None = None) -> None:
        """Set more aside, or let it last longer."""
        self._credits.run(self._holding.extend(amount, seconds=seconds))

    def draw(self, amount: int) -> None:
        """Note that `amount` credits of work are about to be delivered."""
        self._credits.run(self._holding.draw(amount))


class SyncTallystick:
    """Tallystick without `await`. Takes the same arguments; open it before use, or use it with `with`."""

    def __init__(
        self,
        database_url: str = "sqlite:///tallystick.db",
        *,
        plans: Iterable[Plan],
        packs: Iterable[Pack] = (),
        clock: Clock = system_clock,
        **stripe: Any,
    ) -> None:
        self._credits = Tallystick(database_url, plans=plans, packs=packs, clock=clock, **stripe)
        self._changing = threading.RLock()
        self._loop: LoopThread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` on the loop's thread and wait for it: for what has no method here, like billing.

        While somebody else opens or closes Tallystick, this waits for them first. Raises NotOpen, and
        ClosedMeanwhile when it was closed and `work` did not end in time.
        """
        loop = self._loop
        if loop is None:
            with self._changing:
                loop = self._loop
        if loop is None:
            work.close()
            raise NotOpen
        return loop.run(work)

    def open(self) -> None:
        """See Tallystick.open."""
        with self._changing:
            if self._loop is not None:
                return
            loop = LoopThread()
            try:
                loop.run(self._credits.open())
            except BaseException:
                loop.stop(self._credits.close)
                raise
            self._loop = loop

    def close(self) -> None:
        """See Tallystick.close. Calls of other threads that are under way are finished, or given up after a few
        seconds; those get ClosedMeanwhile."""
        with self._changing:
            loop, self._loop = self._loop, None
            if loop is not None:
                loop.stop(self._credits.close)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open_account(self, account_id: str, plan: str | None = None) -> Balance:
        """See Tallystick.open_account."""
        return self.run(self._credits.open_account(account_id, plan))

    def balance(self, account_id: str) -> Balance:
        """See Tallystick.balance."""
        return self.run(self._credits.balance(account_id))

    def balance_at(self, account_id: str, instant: datetime) -> Entry | None:
        """See Tallystick.balance_at."""
        return self.run(self._credits.balance_at(account_id, instant))

    def spend(self, account_id: str, amount: int, *, key: str, operation: str = "") -> Spent:
        """See Tallystick.spend."""
        return self.run(self._credits.spend(account_id, amount, key=key, operation=operation))

    def reverse(self, account_id: str, seq: int, *, key: str, reason: str = "") -> Entry:
        """See Tallystick.reverse."""
        return self.run(self._credits.reverse(account_id, seq, key=key, reason=reason))

    @contextmanager
    def hold(
        self,
        account_id: str,
        amount: int,
        *,
        operation: str = "",
        seconds: int = HOLD_SECONDS,
        key: str | None = None,
    ) -> Iterator[SyncHolding]:
        """See Tallystick.hold."""
        holding = self._credits.hold(account_id, amount, operation=operation, seconds=seconds, key=key)
        self.run(holding.__aenter__())
        try:
            yield SyncHolding(holding, self)
        finally:
            try:
                self.run(holding.__aexit__())
            except NotOpen as error:
                # As in Holding: what happened in the block matters more, and the hold runs out by itself.
                log.warning("hold_left_open", account=account_id, hold=holding.id, reason=error.message)

    def grant(
        self,
        account_id: str,
        credits: int,
        *,
        key: str,
        kind: GrantKind = GrantKind.ADJUSTED,
        effective_at: datetime | None = None,
        expires_at: datetime | None = None,
        reason: str = "",
    ) -> Balance:
        """See Tallystick.grant."""
        return self.run(
            self._credits.grant(
                account_id,
                credits,
                key=key,
                kind=kind,
                effective_at=effective_at,
                expires_at=expires_at,
                reason=reason,
            )
        )

    def adjust(self, account_id: str, credits: int, *, key: str, reason: str) -> Balance:
        """See Tallystick.adjust."""
        return self.run(self._credits.adjust(account_id, credits, key=key, reason=reason))

    def set_plan(self, account_id: str, plan: str, *, key: str, reason: str = "") -> Balance:
        """See Tallystick.set_plan."""
        return self.run(self._credits.set_plan(account_id, plan, key=key, reason=reason))

    def quote_refund(self, purchase_id: str, amount: int | None = None) -> RefundQuote:
        """See Tallystick.quote_refund."""
        return self.run(self._credits.quote_refund(purchase_id, amount))

    def refund(self, purchase_id: str, amount: int | None = None, *, key: str, reason: str = "") -> Refund:
        """See Tallystick.refund."""
        return self.run(self._credits.refund(purchase_id, amount, key=key, reason=reason))

    def entries(self, account_id: str, *, before: int | None = None, limit: int = 50) -> list[Entry]:
        """See Tallystick.entries."""
        return self.run(self._credits.entries(account_id, before=before, limit=limit))

    def explain(self, account_id: str, seq: int) -> Explanation:
        """See Tallystick.explain."""
        return self.run(self._credits.explain(account_id, seq))
