"""The same API without `await`, for Django, Flask and scripts.

One event loop in a thread of its own does the work; calls from any number of threads share its batches.
"""

import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self, TypeVar

import structlog

from tallystick.api_keys import ApiKeys
from tallystick.balance import Balance, Spent
from tallystick.billing import Billing, Refund, RefundQuote
from tallystick.clock import Clock, system_clock
from tallystick.database.engine import Database
from tallystick.domain.account import Entry, GrantKind
from tallystick.domain.catalogue import Pack, Plan
from tallystick.domain.commands import HOLD_SECONDS
from tallystick.domain.errors import InsufficientCredits
from tallystick.domain.explain import Explanation
from tallystick.holding import Chunk, Holding, require_price
from tallystick.ledger import Ledger, Receipt
from tallystick.loop_thread import LoopThread
from tallystick.service import NotOpen, Tallystick

T = TypeVar("T")

log = structlog.get_logger(__name__)


class OpenInParent(NotOpen):
    """Tallystick was opened before this process was forked, and not in this process."""

    code = "open_in_parent"

    def __init__(self) -> None:
        super().__init__(
            "Tallystick is open in the process that this one was forked from, not in this one; connections and threads "
            "cannot be shared. Nothing was changed. Call open() in each worker after the fork: in post_fork of "
            "gunicorn, in @postfork of uWSGI."
        )


class SyncHolding:
    """Holding without `await`: what `with credits.hold(...) as hold` gives. See Holding for each method."""

    def __init__(self, holding: Holding, credits: "SyncTallystick") -> None:
        self._holding = holding
        self._credits = credits

    @property
    def account_id(self) -> str:
        """Whose credits it sets aside."""
        return self._holding.account_id

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
    def exhausted(self) -> bool:
        """Whether a `metered` stream ended because the account was empty."""
        return self._holding.exhausted

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

    def metered(self, stream: Iterable[Chunk], *, cost: Callable[[Chunk], int] = lambda _: 1) -> Iterator[Chunk]:
        """The stream, drawing each chunk's cost before it is passed on; it ends when the account is empty.

        `exhausted` says whether that was why. A chunk may cost 0. The stream and `cost` run in the caller's thread.
        """
        source = iter(stream)
        try:
            for chunk in source:
                price = require_price(cost(chunk))
                if price:
                    try:
                        self.draw(price)
                    except InsufficientCredits:
                        self._holding.exhausted = True
                        return
                else:
                    self._credits.run(self._holding._keep())
                yield chunk
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()


class SyncTallystick:
    """Tallystick without `await`. Takes the same arguments; open it before use, or use it with `with`."""

    def __init__(
        self,
        database_url: str = "sqlite:///tallystick.db",
        *,
        plans: Iterable[Plan],
        packs: Iterable[Pack] = (),
        clock: Clock = system_clock,
        **others: Any,
    ) -> None:
        self._unopened = Tallystick(database_url, plans=plans, packs=packs, clock=clock, **others)
        # By process id. What a process was forked with stays in here untouched: its connections are the parent's.
        self._processes: dict[int, _Process] = {}
        self.database_url = self._unopened.database_url
        self.catalogue = self._unopened.catalogue
        self.clock = self._unopened.clock
        self.remembered_accounts = self._unopened.remembered_accounts
        self.stripe = self._unopened.stripe

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` on the loop's thread and wait for it: for what has no method here, like those of `billing`.

        While somebody else opens or closes Tallystick, this waits for them first. Raises NotOpen, OpenInParent, and
        ClosedMeanwhile when it was closed and `work` did not end in time.
        """
        try:
            loop = self._opened.loop
        except NotOpen:
            work.close()
            raise
        return loop.run(work)

    def open(self) -> None:
        """See Tallystick.open. It is open in this process alone, not in those that are forked from it."""
        here = self._here
        with here.changing:
            if here.opened is not None:
                return
            opened = _Opened(copy(self._unopened), LoopThread())
            try:
                opened.loop.run(opened.credits.open())
            except BaseException:
                opened.loop.stop(opened.credits.close)
                raise
            here.opened = opened

    def close(self) -> None:
        """See Tallystick.close. Calls of other threads that are under way are finished, or given up after a few
        seconds; those get ClosedMeanwhile."""
        here = self._here
        with here.changing:
            opened, here.opened = here.opened, None
            if opened is not None:
                opened.loop.stop(opened.credits.close)

    @property
    def database(self) -> Database:
        """See Tallystick.database. Its methods are for `run`."""
        return self._credits.database

    @property
    def ledger(self) -> Ledger:
        """See Tallystick.ledger. Its methods are for `run`."""
        return self._credits.ledger

    @property
    def api_keys(self) -> ApiKeys:
        """See Tallystick.api_keys. Its methods are for `run`."""
        return self._credits.api_keys

    @property
    def billing(self) -> Billing:
        """See Tallystick.billing. Its methods are for `run`: `credits.run(credits.billing.purchases("ann"))`."""
        return self._credits.billing

    @property
    def _here(self) -> "_Process":
        return self._processes.setdefault(os.getpid(), _Process())

    @property
    def _opened(self) -> "_Opened":
        here = self._here
        opened = here.opened
        if opened is None:
            # Somebody may be opening it right now.
            with here.changing:
                opened = here.opened
        if opened is not None:
            return opened
        if any(other.opened for other in list(self._processes.values()) if other is not here):
            raise OpenInParent
        raise NotOpen

    @property
    def _credits(self) -> Tallystick:
        return self._opened.credits

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
        except BaseException as error:
            self._leave(holding, type(error))
            raise
        self._leave(holding, None)

    def _leave(self, holding: Holding, kind: type[BaseException] | None) -> None:
        try:
            self.run(holding.__aexit__(kind))
        except NotOpen as error:
            # As in Holding: what happened in the block matters more, and a hold runs out by itself.
            log.warning("hold_left_open", account=holding.account_id, hold=holding.id, reason=error.message)
            if kind is None and holding.drawn:
                raise

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


@dataclass(frozen=True, slots=True)
class _Opened:
    """What exists between open and close."""

    credits: Tallystick
    loop: LoopThread


@dataclass(slots=True)
class _Process:
    """How things stand in one process."""

    changing: threading.RLock = field(default_factory=threading.RLock)
    opened: _Opened | None = None
